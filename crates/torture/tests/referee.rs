//! The referee sees what is broken, and what is told of it leads there again.

use torture::{
    Class, Day, FOR_EVER, Fault, FaultKind, Given, Invariant, Joins, Only, SECOND, Trace, Way, day, play, shrink,
};

/// A calm day of so many hosts, all there from the beginning.
fn calm(hosts: u32) -> Day {
    let mut day = day(Class::Calm, 1, Some(hosts));
    day.hosts.iter_mut().for_each(|host| host.joins = Joins::At(0));
    day
}

/// Nothing reaches the first host any more, and nobody is told: as nothing says that it passes, the host is held to its time.
fn cut_off(mut day: Day) -> Day {
    day.faults.push(Fault {
        at: day.seeded_at,
        lasts: FOR_EVER,
        kind: FaultKind::Cut {
            hosts: [day.hosts[0].id].into(),
            seeders: true,
            way: Way::Both,
            silent: true,
        },
    });
    day
}

#[test]
fn who_is_never_done_is_told() {
    let day = cut_off(calm(4));
    let broken = play(&day, Trace::off()).broken.unwrap();
    assert_eq!(broken.invariant, Invariant::Never);
    assert_eq!(broken.host, Some(day.hosts[0].id));
    assert!(broken.at > day.seeded_at + 5 * SECOND, "{broken}");
}

#[test]
fn what_is_broken_is_made_smaller() {
    let mut day = cut_off(calm(9));
    day.faults.push(Fault {
        at: 0,
        lasts: SECOND,
        kind: FaultKind::Slow {
            host: day.hosts[3].id,
            times: 2,
        },
    });
    let broken = play(&day, Trace::off()).broken.unwrap();
    let (only, seen) = shrink(&day, &broken, 60);
    assert_eq!(only.hosts, Some(vec![day.hosts[0].id.get()]));
    assert_eq!((only.faults.clone(), only.chunks), (Some(vec![0]), Some(1)));
    let again = play(&day.clone().restricted(&only), Trace::off()).broken;
    assert_eq!(again, Some(seen));
}

#[test]
fn a_log_says_who_does_what_when() {
    let mut lines = Vec::new();
    let day = calm(2);
    let mut sink = |line: &str| lines.push(line.to_owned());
    let played = play(&day, Trace::to(&mut sink));
    assert_eq!(played.broken, None);
    for said in ["comes: Honest", "dials h0", "Manifest", "is complete"] {
        assert!(lines.iter().any(|line| line.contains(said)), "{said} is not in the log");
    }
    assert_eq!(play(&day, Trace::off()).events, played.events, "a log changes nothing");
}

#[test]
fn a_command_says_all_that_a_day_is_drawn_from() {
    let given = Given {
        class: Class::Crash,
        seed: 79,
        hosts: Some(4),
        only: "hosts=10+12,faults=-,chunks=8".parse().unwrap(),
    };
    let command = given.command();
    assert_eq!(
        command,
        "harness torture --class crash --seeds 79..80 --hosts 4 --only hosts=10+12,faults=-,chunks=8 --trace"
    );
    let day = given.day();
    assert_eq!((day.hosts.len(), day.faults.len()), (2, 0));
    assert!("hosts=1;2".parse::<Only>().is_err() && "host=1".parse::<Only>().is_err());
}
