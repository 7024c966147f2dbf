//! Workers that tell of many hosts over sealed connections, to a run that puts together what it hears.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use peer::Clock;
use scenario::{HostState, LatencySummary, LiveFacts};
use tokio::net::{TcpListener, TcpStream};

use super::super::fleet::Slice;
use super::super::pipe::{self, Listener, Pipe};
use super::super::protocol::{Probed, Spent, ToWorker};
use super::super::sealed::{self, RunKey};
use super::super::worker::Worker;
use super::super::workers::merged;
use super::*;
use crate::machine;

const WORKERS: u32 = 4;
/// What each says that it has spent.
const SPENT: Spent = Spent {
    cpu_seconds: 2.0,
    coordination_cpu_seconds: 0.5,
};

/// What a host came to: each has a latency of its own, so that a percentile that is not exact is another host's.
fn host(index: u32, is_done: bool) -> HostTold {
    let complete = is_done.then_some(u64::from(index) + 1);
    let outcome = HostOutcome {
        region: 0,
        host: index,
        state: if is_done {
            HostState::Verified
        } else {
            HostState::Pending
        },
        verified_after: complete.map(Duration::from_nanos),
        bytes_from_seeder: 1 << 20,
        bytes_from_peers: 9 << 20,
        bytes_wasted: 1000,
        bytes_control: Some(50_000),
        chunks_held: 160,
        chunks_total: 160,
        chunks_without_source: 0,
        neighbours: 12,
    };
    let started = Some(0);
    HostTold {
        outcome,
        times: HostTimes { started, complete },
    }
}

/// A connection, and both of its ends.
async fn pipes() -> (Pipe, Pipe) {
    let key = RunKey::of_secret(b"sixteen bytes and more").unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let far = listener.accept().await.unwrap().0;
    let (of_worker, of_run) = tokio::join!(
        sealed::introduce::<_, u32>(near, &key, &1),
        sealed::receive(far, &key, |said: u32| said)
    );
    (of_worker.unwrap().1, of_run.unwrap())
}

/// A worker that tells of each of its hosts when it is done, and of all of them at the end.
async fn tell(pipe: Pipe, slice: Slice, hosts: u32) {
    let (out, speaking) = pipe::speak(pipe.writer);
    let mut listener: Listener<ToWorker> = Listener::new(pipe.reader);
    let own = || (slice.index..hosts).step_by(slice.count as usize);
    let batches = || {
        let own: Vec<u32> = own().collect();
        let of = |batch: Vec<u32>| batch.into_iter().map(|index| host(index, true)).collect();
        batches(own).map(of).map(FromWorker::Hosts)
    };
    for batch in batches() {
        out.send(batch).await.unwrap();
    }
    // Over before the end is asked for.
    loop {
        match listener.next().await.unwrap() {
            Some(ToWorker::Probe(asked)) => {
                let probed = Probed {
                    asked,
                    came: asked,
                    left: asked,
                };
                out.send(FromWorker::Probed(probed)).await.unwrap();
            }
            Some(ToWorker::Finish) => break,
            _ => {}
        }
    }
    for batch in batches() {
        out.send(batch).await.unwrap();
    }
    out.send(FromWorker::Result(Box::default())).await.unwrap();
    speaking.end(|| FromWorker::Spent(SPENT)).await;
    // The other side closes.
    while let Ok(Some(_)) = listener.next().await {}
}

/// Seconds, and bytes at most, that it took to hear of so many hosts and to put them together.
async fn merge(hosts: u32) -> (f64, u64) {
    let clock = Clock::start();
    let mut workers = Vec::new();
    let mut telling = Vec::new();
    let before = machine::peak_rss_bytes();
    let began = Instant::now();
    for index in 0..WORKERS {
        let slice = Slice { index, count: WORKERS };
        let (of_worker, of_run) = pipes().await;
        telling.push(tokio::spawn(tell(of_worker, slice, hosts)));
        workers.push(Worker::at(of_run, (format!("worker {index}"), slice), clock, None));
    }
    let mut live = LiveFacts::default();
    let (result, failure) = merged(&mut workers, &[], &mut live, None).await;
    let latency = LatencySummary::new(result.outcomes.iter().map(|outcome| outcome.verified_after));
    let seconds = began.elapsed().as_secs_f64();
    drop(workers);
    futures::future::join_all(telling).await;
    assert!(failure.is_none(), "{:?}", live.lost);
    // Each host once, and exact.
    assert_eq!(result.outcomes.len(), hosts as usize);
    let mut indices: Vec<u32> = result.outcomes.iter().map(|outcome| outcome.host).collect();
    indices.sort_unstable();
    assert!(indices.iter().copied().eq(0..hosts));
    let nanos = |nanos: u32| Some(Duration::from_nanos(nanos.into()));
    assert_eq!((latency.p50, latency.max), (nanos(hosts.div_ceil(2)), nanos(hosts)));
    assert_eq!(live.workers.iter().map(|of| of.hosts).sum::<usize>(), hosts as usize);
    let spent = (live.cpu_seconds, live.coordination_cpu_seconds);
    let each = f64::from(WORKERS);
    assert_eq!(spent, (each * SPENT.cpu_seconds, each * SPENT.coordination_cpu_seconds));
    (seconds, machine::peak_rss_bytes().saturating_sub(before))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_are_told_of_twice_count_once_and_exactly() {
    merge(10_000).await;
}

/// `cargo test --release -p harness merging -- --ignored --nocapture` prints what a million costs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, which is for a machine that does nothing else"]
async fn merging_a_million_outcomes_takes_less_than_a_gibibyte() {
    let (seconds, bytes) = merge(1_000_000).await;
    println!(
        "1,000,000 outcomes of {WORKERS} workers, each told twice, are put together after {seconds:.1} s with {} MiB",
        bytes >> 20
    );
    assert!(bytes < 1 << 30, "{bytes} bytes");
}

/// What a lost worker has told stays: when its hosts were done, and what they had received by then.
#[test]
fn who_was_done_and_is_not_any_more_is_not_done() {
    let mut told = Told::default();
    told.note(vec![host(1, true), host(2, true), host(3, true)]);
    told.note(vec![host(2, false)]);
    let done: Vec<(HostPlace, u64)> = told
        .done()
        .map(|(place, host)| (place, host.outcome.bytes_from_peers))
        .collect();
    assert_eq!(done, [((0, 1), 9 << 20), ((0, 3), 9 << 20)]);
}

#[test]
fn a_result_is_told_in_messages_that_do_not_grow_with_the_fleet() {
    let all: Vec<HostTold> = (0..2500).map(|index| host(index, true)).collect();
    let result = FleetResult {
        outcomes: all.iter().map(|host| host.outcome.clone()).collect(),
        times: all.iter().map(|host| host.times).collect(),
        rows_written: 7,
        ..FleetResult::default()
    };
    let (mut told, mut longest, mut whole) = (Told::default(), 0, None);
    for message in of_result(result) {
        longest = longest.max(serde_json::to_vec(&message).unwrap().len());
        match message {
            FromWorker::Hosts(hosts) => told.note(hosts),
            FromWorker::Records(records) => told.note_records(records),
            FromWorker::Result(result) => whole = Some(result),
            _ => panic!("a result is nothing else"),
        }
    }
    assert!(longest < 512 << 10, "{longest} bytes in one message");
    let mut whole = *whole.unwrap();
    assert!(whole.outcomes.is_empty() && whole.times.is_empty());
    told.complete(&mut whole);
    assert!(whole.outcomes.iter().eq(all.iter().map(|host| &host.outcome)));
    assert!(whole.times.iter().eq(all.iter().map(|host| &host.times)));
    assert_eq!(whole.rows_written, 7);
}
