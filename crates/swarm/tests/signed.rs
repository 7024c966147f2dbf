//! A host that asks somebody whether a build is to be believed, before it believes anything of it.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes as ByteBuffer;
use swarm::{
    Action, BuildInfo, Bytes, Contact, DisconnectReason, Event, HostId, Manifest, Message, Peer, PeerConfig, Seeder,
    SeederConfig, Signed, Time, Verifier,
};

const SEEDER: HostId = HostId::new(0);
const OTHER: HostId = HostId::new(1);
const A: HostId = HostId::new(2);

/// Believes what is signed with its word, and says of it that it has this size.
#[derive(Debug)]
struct Word {
    size: u64,
    asked: AtomicUsize,
}

impl Verifier for Word {
    fn verify(&self, build: &BuildInfo) -> Result<Signed, String> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if build.signature != "word" {
            return Err("is not signed".to_owned());
        }
        Ok(Signed {
            size: Bytes::new(self.size),
            chunk_size: 64,
        })
    }
}

struct Host {
    peer: Peer,
    now: Time,
    word: Arc<Word>,
}

impl Host {
    /// Connected with both seeders and a neighbour.
    fn trusting(size: u64) -> Self {
        let contact = |host: HostId| Contact {
            host,
            address: "".into(),
        };
        let word = Arc::new(Word {
            size,
            asked: AtomicUsize::new(0),
        });
        let mut config = PeerConfig::with_seeders(HostId::new(9), "".into(), [SEEDER, OTHER].map(contact));
        config.verifier = Some(Arc::<Word>::clone(&word));
        let mut host = Self {
            peer: Peer::new(config, 1, Time::ZERO),
            now: Time::ZERO,
            word,
        };
        while host.peer.poll_action().is_some() {}
        for other in [SEEDER, OTHER, A] {
            host.tell(Event::Connected(other));
        }
        host
    }

    fn tell(&mut self, event: Event) -> Vec<Action> {
        self.peer.handle_event(self.now, event);
        std::iter::from_fn(|| self.peer.poll_action()).collect()
    }

    fn hear(&mut self, from: HostId, signature: &'static str) -> Vec<Action> {
        let info = BuildInfo {
            signature: ByteBuffer::from(signature),
            ..build().info()
        };
        self.tell(Event::Message(from, Message::Build(Box::new(info))))
    }

    /// All that it does in so long.
    fn pass(&mut self, seconds: u64) -> Vec<Action> {
        let until = self.now + Duration::from_secs(seconds);
        let mut done = Vec::new();
        while let Some(at) = self.peer.next_wakeup().filter(|at| *at <= until) {
            self.now = at;
            done.extend(self.tell(Event::Wakeup));
        }
        self.now = until;
        done
    }
}

fn build() -> Manifest {
    Manifest::of("app.zip", &[7; 1000], 64).unwrap()
}

fn refused(actions: &[Action]) -> Option<(HostId, &str)> {
    actions.iter().find_map(|action| match action {
        Action::Refuse { by, why, .. } => Some((*by, why.as_str())),
        _ => None,
    })
}

fn is_dropped(actions: &[Action], host: HostId) -> bool {
    let reason = DisconnectReason::UnprovenBuild;
    actions.contains(&Action::Disconnect { host, reason })
}

fn asks_for_manifest(actions: &[Action]) -> bool {
    let asks = |action: &Action| matches!(action, Action::Send(_, Message::ManifestRequest));
    actions.iter().any(asks)
}

fn opens(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::OpenStore(_)))
}

#[test]
fn a_build_that_is_not_believed_is_not_fetched_and_who_announces_it_is_dropped_with_a_sentence() {
    let mut host = Host::trusting(1000);
    let actions = host.hear(SEEDER, "");
    assert_eq!(refused(&actions), Some((SEEDER, "is not signed")));
    assert!(is_dropped(&actions, SEEDER), "{actions:?}");
    let manifest = Arc::new(build());
    let later = host.pass(5);
    assert!(!asks_for_manifest(&later), "{later:?}");
    assert!(!opens(&host.tell(Event::Message(A, Message::Manifest(manifest)))));
    // It is not dialled again for a while, and then it is.
    let dials = |actions: &[Action]| {
        actions
            .iter()
            .any(|action| matches!(action, Action::Connect(c) if c.host == SEEDER))
    };
    assert!(!dials(&later), "{later:?}");
    assert!(dials(&host.pass(120)));
}

#[test]
fn another_seeder_is_believed_while_one_is_not() {
    let mut host = Host::trusting(1000);
    assert!(refused(&host.hear(SEEDER, "forged")).is_some());
    assert_eq!(refused(&host.hear(OTHER, "word")), None);
    assert!(asks_for_manifest(&host.pass(5)));
    let opened = host.tell(Event::Message(A, Message::Manifest(Arc::new(build()))));
    assert!(opens(&opened), "{opened:?}");
}

#[test]
fn who_verifies_is_asked_once_for_a_build_that_is_believed() {
    let mut host = Host::trusting(1000);
    for _ in 0..10 {
        host.hear(SEEDER, "word");
        host.hear(OTHER, "word");
    }
    assert_eq!(host.word.asked.load(Ordering::Relaxed), 1);
}

#[test]
fn a_build_of_another_size_than_was_signed_is_refused_and_its_bringer_is_not_to_blame() {
    let mut host = Host::trusting(999);
    assert_eq!(refused(&host.hear(SEEDER, "word")), None);
    host.pass(1);
    let actions = host.tell(Event::Message(A, Message::Manifest(Arc::new(build()))));
    assert_eq!(refused(&actions).unwrap().0, SEEDER);
    assert!(is_dropped(&actions, SEEDER) && !opens(&actions));
    assert_eq!(host.peer.stats().neighbours_banned, 0);
}

#[test]
fn a_seeder_passes_on_who_vouches_for_its_build() {
    let mut seeder = Seeder::new(SeederConfig::new(SEEDER), 1, Time::ZERO);
    seeder.sign(ByteBuffer::from_static(b"word"));
    seeder.sign(vec![b'x'; 513].into());
    seeder.seed(Time::ZERO, Arc::new(build()));
    let announce = Message::Announce {
        address: "".into(),
        wanted: 1,
        complete: false,
        zone: None,
        links: Box::default(),
    };
    seeder.handle_event(Time::ZERO, Event::Connected(A));
    seeder.handle_event(Time::ZERO, Event::Message(A, announce));
    let said = std::iter::from_fn(|| seeder.poll_action()).filter_map(|action| match action {
        Action::Send(_, Message::Build(info)) => Some(info.signature),
        _ => None,
    });
    let said: Vec<ByteBuffer> = said.collect();
    assert!(
        !said.is_empty() && said.iter().all(|signature| signature == "word"),
        "{said:?}"
    );
}
