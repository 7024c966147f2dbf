//! Swarms of certified members, against those who are none: over TCP and over QUIC.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod rig;
mod stranger;

use std::time::{Duration, Instant};

use libp2p::identity::Keypair;
use peer::TransportKind;
use rig::{Fleet, certificate, data, key};
use signing::{MemberTerms, Moment};
use stranger::{Answered, LET_IN, Shows, come};

const HOUR: Duration = Duration::from_secs(3600);

fn text(keypair: &Keypair, change: impl FnOnce(&mut MemberTerms)) -> Shows {
    let peer = keypair.public().to_peer_id();
    Shows::Text(certificate(&key(1), peer, change).to_string().into_bytes())
}

/// Everybody who is no member, by what is wrong with them, and what they are answered.
fn strangers(keypair: &Keypair) -> Vec<(&'static str, Shows, Answered)> {
    let peer = keypair.public().to_peer_id();
    let now = Moment::now();
    let another = Keypair::generate_ed25519().public().to_peer_id();
    let mut forged = certificate(&key(1), peer, |_| {}).to_string();
    forged = forged.replace("host=host-1", "host=host-2");
    vec![
        ("nothing in it", Shows::Text(Vec::new()), vec![]),
        ("no certificate", Shows::Text(b"let me in".to_vec()), vec![]),
        ("not even text", Shows::Text(vec![0xff; 300]), vec![]),
        ("too long", Shows::Raw(vec![0xff; 64 << 10]), vec![]),
        (
            "of another key",
            Shows::Text(certificate(&key(2), peer, |_| {}).to_string().into_bytes()),
            vec![3],
        ),
        (
            "of another peer",
            Shows::Text(certificate(&key(1), another, |_| {}).to_string().into_bytes()),
            vec![4],
        ),
        ("changed", Shows::Text(forged.into_bytes()), vec![5]),
        (
            "ended",
            text(keypair, |terms| {
                terms.not_before = Moment::from_millis(1_000).unwrap();
                terms.not_after = Moment::from_millis(now.as_millis() - 1_000).unwrap();
            }),
            vec![1],
        ),
        (
            "of the future",
            text(keypair, |terms| terms.not_before = now.plus(HOUR / 2)),
            vec![2],
        ),
    ]
}

async fn strangers_are_shown_the_door(kind: TransportKind) {
    let mut fleet = Fleet::closed(kind).await;
    fleet.add_many(1..=2).await;
    fleet.wait_joined(2).await;
    let build = data(1 << 20);
    fleet.seed(&build, 64 << 10);
    fleet.wait_complete(2).await;
    let nodes = || {
        fleet
            .hosts
            .values()
            .chain(fleet.seeders.iter().map(|(_, seeder)| seeder))
    };
    for node in nodes() {
        let before = node.endpoint().connections();
        let keypair = Keypair::generate_ed25519();
        let address = node.address();
        for (what, shows, expected) in strangers(&keypair) {
            let began = Instant::now();
            let answered = tokio::time::timeout(Duration::from_secs(5), come(&address, &keypair, shows));
            assert_eq!(answered.await.expect(what), expected, "{what}");
            assert!(began.elapsed() < Duration::from_secs(5), "{what}");
            assert_eq!(node.endpoint().connections(), before, "{what}");
        }
    }
    // The same one with a certificate is let in: that others are not shows something.
    let keypair = Keypair::generate_ed25519();
    let address = nodes().next().unwrap().address();
    let answered = come(&address, &keypair, text(&keypair, |_| {})).await;
    assert_eq!(answered.first(), Some(&LET_IN));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_shown_the_door_over_tcp() {
    strangers_are_shown_the_door(TransportKind::Tcp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_shown_the_door_over_quic() {
    strangers_are_shown_the_door(TransportKind::Quic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_fleet_fetches_within_a_process_too() {
    for kind in [rig::in_process(), TransportKind::Memory] {
        let mut fleet = Fleet::closed(kind).await;
        fleet.add_many(1..=3).await;
        fleet.seed(&data(1 << 20), 64 << 10);
        fleet.wait_complete(3).await;
    }
}

/// Ten seconds, and not longer: whoever has dialled is to say who they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_has_ten_seconds() {
    for kind in [TransportKind::Tcp, TransportKind::Quic] {
        let fleet = Fleet::closed(kind).await;
        let address = fleet.seeders[0].1.address();
        let keypair = Keypair::generate_ed25519();
        let began = Instant::now();
        let came = tokio::time::timeout(Duration::from_secs(20), come(&address, &keypair, Shows::Nothing));
        assert_eq!(came.await.unwrap(), Vec::<u8>::new());
        let took = began.elapsed();
        assert!(
            took > Duration::from_secs(8) && took < Duration::from_secs(15),
            "{took:?}"
        );
    }
}
