//! `harness torture`: days with faults, drawn by the thousand and held to what is promised.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use torture::{ClassSummary, Course, Failure, Given, Summary, Told, Trace, play};

use super::print;
use crate::cli::{Format, TortureArguments};
use crate::exit::Exit;
use crate::machine;

pub(crate) async fn torture(arguments: TortureArguments) -> Exit {
    if arguments.trace {
        return trace(&arguments);
    }
    let course = Course {
        seeds: arguments.seeds.clone(),
        class: arguments.class,
        hosts: arguments.hosts,
        only: arguments.only.clone().unwrap_or_default(),
        regressions: arguments.only.is_none() && !arguments.no_regressions,
        jobs: arguments.jobs.map_or_else(machine::cores, usize::from),
        shrink_tries: arguments.shrink,
    };
    let stop = Arc::new(AtomicBool::new(false));
    let interrupted = {
        let stop = Arc::clone(&stop);
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                stop.store(true, Ordering::Relaxed);
            }
        })
    };
    let began = Instant::now();
    let mut failures = Vec::new();
    let summary = tokio::task::block_in_place(|| {
        let days = usize::try_from(course.seeds.end - course.seeds.start).unwrap_or(0);
        let mut bar = crate::progress::Steps::new("days", days);
        let summary = course.run(&stop, &mut |told| match told {
            Told::Progress { played, of } => {
                bar.set_length(of);
                bar.show(played);
            }
            Told::Failed(failure) => bar.suspend(|| tell(&mut failures, failure, false)),
            Told::Smaller(failure) => bar.suspend(|| tell(&mut failures, failure, true)),
        });
        bar.finish();
        summary
    });
    interrupted.abort();
    match arguments.format {
        Format::Text => print(&table(&summary, began.elapsed())),
        Format::Json => print(&format!("{:#}\n", json(&summary, &failures, began.elapsed()))),
    }
    if summary.failures() > 0 {
        Exit::No
    } else if summary.stopped {
        Exit::Interrupted
    } else {
        Exit::Success
    }
}

/// One day with its log.
fn trace(arguments: &TortureArguments) -> Exit {
    let Some(class) = arguments.class else {
        say!("harness: --trace is of one day; expected --class and --seeds with one seed");
        return Exit::Usage;
    };
    let given = Given {
        class,
        seed: arguments.seeds.start,
        hosts: arguments.hosts,
        only: arguments.only.clone().unwrap_or_default(),
    };
    let day = given.day();
    print(&format!("{day:#?}\n{day}\n"));
    let mut say = |line: &str| print(&format!("{line}\n"));
    let played = play(&day, Trace::to(&mut say));
    match played.broken {
        Some(broken) => {
            print(&format!("{broken}\n"));
            Exit::No
        }
        None => {
            let seconds = Duration::from_nanos(played.ended_at).as_secs_f64();
            print(&format!("all was well; everybody was done at {seconds:.3} s\n"));
            Exit::Success
        }
    }
}

fn tell(failures: &mut Vec<(Failure, bool)>, failure: &Failure, smaller: bool) {
    let Failure { given, broken, was } = failure;
    let what = if smaller { "smaller" } else { "failed" };
    say!("{what}: {} seed {}: {broken}", given.class, given.seed);
    if let Some(was) = was {
        say!("    once: {was}");
    }
    say!("    {}", given.day());
    say!("    {}", given.command());
    failures.push((failure.clone(), smaller));
}

fn table(summary: &Summary, took: Duration) -> String {
    let mut text = String::from("class          days failed  lateness p50    p99    max   longest  broken\n");
    for (class, of_it) in &summary.classes {
        let broken: Vec<String> = of_it
            .failures
            .iter()
            .map(|(invariant, days)| format!("{invariant} {days}"))
            .collect();
        let _ = writeln!(
            text,
            "{class:<12} {:>6} {:>6}  {:>12} {:>6} {:>6} {:>7.1} s  {}",
            of_it.days,
            of_it.failed(),
            share(of_it.lateness(50)),
            share(of_it.lateness(99)),
            share(of_it.lateness(100)),
            Duration::from_nanos(of_it.longest).as_secs_f64(),
            broken.join(", ")
        );
    }
    let events: u64 = summary.classes.values().map(|class| class.events).sum();
    let _ = writeln!(
        text,
        "{} days, {} failed; {events} events in {:.1} s. Lateness is what share of its time the latest host of a day took.",
        summary.days(),
        summary.failures(),
        took.as_secs_f64()
    );
    if summary.stopped {
        text.push_str("Stopped before the end.\n");
    }
    text
}

fn share(share: f64) -> String {
    if share.is_finite() {
        format!("{:.0} %", share * 100.0)
    } else {
        "late".to_owned()
    }
}

fn json(summary: &Summary, failures: &[(Failure, bool)], took: Duration) -> serde_json::Value {
    let of_class = |of_it: &ClassSummary| {
        let lateness = |percent| Some(of_it.lateness(percent)).filter(|share| share.is_finite());
        let broken: serde_json::Map<String, serde_json::Value> = of_it
            .failures
            .iter()
            .map(|(invariant, days)| (invariant.to_string(), (*days).into()))
            .collect();
        serde_json::json!({
            "days": of_it.days, "failed": of_it.failed(), "broken": broken, "events": of_it.events,
            "lateness": {"p50": lateness(50), "p99": lateness(99), "max": lateness(100)},
            "longest_seconds": Duration::from_nanos(of_it.longest).as_secs_f64(),
        })
    };
    let classes: serde_json::Map<String, serde_json::Value> = summary
        .classes
        .iter()
        .map(|(class, of_it)| (class.to_string(), of_class(of_it)))
        .collect();
    let failure = |(failure, smaller): &(Failure, bool)| {
        serde_json::json!({
            "class": failure.given.class.word(), "seed": failure.given.seed, "smaller": smaller,
            "broken": failure.broken.invariant.word(), "host": failure.broken.host.map(|host| host.get()),
            "at_seconds": Duration::from_nanos(failure.broken.at).as_secs_f64(), "what": failure.broken.what,
            "command": failure.given.command(), "once": failure.was,
        })
    };
    serde_json::json!({
        "days": summary.days(), "failed": summary.failures(), "stopped": summary.stopped,
        "seconds": took.as_secs_f64(), "classes": classes,
        "failures": failures.iter().map(failure).collect::<Vec<_>>(),
    })
}
