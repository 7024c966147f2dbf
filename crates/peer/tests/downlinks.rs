//! A sender is not ahead of a receiver whose link is slower than its own, whatever the transport buffers between them.
//!
//! Method: a seeder and one host behind a slow downlink, which asks for three chunks at a time. What the seeder has sent is looked
//! at before what the host holds, again and again: of three chunks one is on its way, and one may be there and not hashed yet
//! on a busy machine. A sender that is ahead would have sent all three.

mod rig;

use std::time::{Duration, Instant};

use peer::{Shaping, TransportKind};
use rig::{Fleet, SEGMENT, data, in_process, member};
use swarm::ByteRate;

/// What takes longer than this on a busy machine does not happen.
const LONG: Duration = Duration::from_secs(60);
const CHUNK: u32 = 64 << 10;

async fn a_sender_is_not_ahead_over(transport: TransportKind) {
    let rate = |bytes| ByteRate::from_bytes_per_second(bytes);
    let shaping = Shaping {
        uplink: rate(100_000_000),
        downlink: rate(1_000_000),
        ..Shaping::default()
    };
    let mut fleet = Fleet::shaped(transport, shaping).await;
    fleet.add_many(1..=1).await;
    fleet.wait_joined(1).await;
    fleet.seed(&data(16 * CHUNK as usize), CHUNK);
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < LONG, "not all 16 chunks have come");
        let sent = fleet.seeders[0].1.report().traffic.sent;
        let held = u64::from(fleet.hosts[&member(1)].report().chunks_held);
        assert!(
            sent <= held * u64::from(CHUNK) + u64::from(2 * CHUNK + SEGMENT),
            "{sent} bytes sent, {held} chunks held"
        );
        if held == 16 {
            return;
        }
        // Others run meanwhile; how long this takes is of no matter.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_is_not_ahead_over_the_in_process_transport() {
    a_sender_is_not_ahead_over(in_process()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_is_not_ahead_over_tcp() {
    a_sender_is_not_ahead_over(TransportKind::Tcp).await;
}
