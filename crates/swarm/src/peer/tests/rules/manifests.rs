//! Whom a peer asks for the manifest, and what it takes from whom.

use super::*;

const OTHER_SEEDER: HostId = HostId::new(50);

/// A host of two seeders, that has heard of a build from the first, and the manifest of that.
fn of_two_seeders() -> (Driven, Arc<Manifest>) {
    let seeder = |host| Contact {
        host,
        address: "".into(),
    };
    let mut config = PeerConfig::new(HostId::new(9), "".into(), seeder(SEEDER));
    config.seeders.push(seeder(OTHER_SEEDER));
    let mut driven = Driven::of(Peer::new(config, 1, Time::ZERO));
    for host in [SEEDER, OTHER_SEEDER] {
        driven.tell(Event::Connected(host));
    }
    let manifest = Arc::new(Manifest::of("build", &[7; 100], 64).unwrap());
    let info = Box::new(manifest.info());
    assert!(asked(&driven.tell(Event::Message(SEEDER, Message::Build(info)))).is_empty());
    (driven, manifest)
}

fn asked(actions: &[Action]) -> Vec<HostId> {
    let asked = actions.iter().filter_map(|action| match action {
        Action::Send(host, Message::ManifestRequest) => Some(*host),
        _ => None,
    });
    asked.collect()
}

/// Whom it asks the next so many times, when nobody answers.
fn asks_next(driven: &mut Driven, times: usize) -> Vec<HostId> {
    let mut hosts = Vec::new();
    for _ in 0..times {
        driven.now = driven.peer.timers.get(Timer::ManifestRetry).expect("it waits for it");
        hosts.extend(asked(&driven.tell(Event::Wakeup)));
    }
    hosts
}

#[test]
fn where_nobody_else_knows_the_build_its_seeders_are_asked() {
    let (mut driven, _) = of_two_seeders();
    assert_eq!(
        driven.peer.timers.get(Timer::ManifestRetry),
        Some(Time::ZERO + Duration::from_secs(1))
    );
    let (first, second) = (SEEDER, OTHER_SEEDER);
    assert_eq!(asks_next(&mut driven, 4), [first, second, second, first]);
}

#[test]
fn seeders_have_their_turn_one_after_the_other() {
    let (mut driven, _) = of_two_seeders();
    driven.tell(Event::Connected(A));
    assert_eq!(asked(&driven.tell(Event::Message(A, Message::HaveAll))), [A]);
    let turns = [OTHER_SEEDER, A, SEEDER, A, OTHER_SEEDER, A, SEEDER];
    assert_eq!(asks_next(&mut driven, turns.len()), turns);
}
