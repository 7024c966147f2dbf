//! What a host's agent takes of memory: while nothing happens, with a hundred builds in its folder, and over QUIC beside TCP.
//!
//! `FLEETCAST_AGENTS=$PWD/target/release cargo test -p peer --test memory -- --nocapture` measures agents of a release build.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod region;

use std::time::{Duration, Instant};

use peer::TransportKind;
use region::limit::Limit;
use region::{CHUNK, Host, PATIENCE, Region, Seeder, Seeding, data};
use swarm::SwarmId;

const BUILDS: u64 = 100;
const SIZE: usize = 1 << 20;

/// Memory of a process in KiB: all that is resident, and what of it is its own and no part of a file.
fn memory(host: &Host) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.id())).unwrap();
    let number = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (number("VmRSS:"), number("RssAnon:"))
}

/// Its memory when that has not become less for some seconds.
async fn at_rest(host: &Host) -> (u64, u64) {
    let (mut least, mut since) = (memory(host), Instant::now());
    while since.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = memory(host);
        if now.0 + 64 < least.0 {
            (least, since) = (now, Instant::now());
        }
    }
    memory(host)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_builds_that_are_kept_take_no_memory_and_those_that_are_served_little() {
    let region = Region::start().await;
    let mut seeders = Vec::new();
    for number in 0..BUILDS {
        seeders.push(Seeder::start(&format!("{number}.zip"), "v1", &data(number, SIZE)).await);
    }
    let empty = Seeder::start("last.zip", "v1", &data(BUILDS, 1000)).await;
    region.publish(&[&empty]);
    let more = ["--keep", "1000", "--serve-idle", "1", "--quiet"];
    let mut host = region.host(&more);
    host.prints(&["last.zip"]).await;
    let (before, before_own) = at_rest(&host).await;

    region.publish(&seeders.iter().chain([&empty]).collect::<Vec<_>>());
    host.until("all", |host| host.lines().len() as u64 == BUILDS + 1).await;
    let (served, served_own) = at_rest(&host).await;
    region.publish(&[&empty]);
    let (kept, kept_own) = at_rest(&host).await;
    println!("VmRSS in KiB: one build {before}, {BUILDS} served {served}, {BUILDS} kept {kept}");
    println!("RssAnon in KiB: one build {before_own}, {BUILDS} served {served_own}, {BUILDS} kept {kept_own}");
    host.stops().await;
    // A host that was restarted has fetched nothing.
    let mut host = region.host(&more);
    host.until("its list is read", |_| region.directory.followers() > 0)
        .await;
    let (restarted, restarted_own) = at_rest(&host).await;
    println!("restarted: VmRSS {restarted} KiB, RssAnon {restarted_own} KiB");
    host.stops().await;
    // Of what is resident besides that this build has more than a release, so it is not counted here.
    let mib = |kib: u64| kib >> 10;
    assert!(
        mib(served_own) < 24 && mib(kept_own) < 20 && mib(restarted_own) < 6,
        "{served_own} {kept_own} {restarted_own} KiB"
    );
}

const HOSTS: usize = 12;

/// What hosts of a busy swarm had of their own at most, in KiB, the mean of them.
async fn of_hosts_over(transport: TransportKind) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let seeding = Seeding {
        transport: Some(transport),
        swarm: Some(SwarmId::ONLY),
        ..Seeding::default()
    };
    let seeder = Seeder::with("app.zip", "only", &data(1, 32 << 20), seeding).await;
    let start = |number: usize| {
        let out = folder.path().join(number.to_string());
        Host::single(&[&seeder], &out, &["--linger", "600"])
    };
    let mut hosts: Vec<Host> = (0..HOSTS).map(start).collect();
    let mut most = [0; HOSTS];
    let began = Instant::now();
    while hosts.iter().any(|host| !host.said().contains("in place")) {
        assert!(began.elapsed() < PATIENCE, "{}", hosts[0].said());
        for (most, host) in most.iter_mut().zip(&hosts) {
            *most = memory(host).1.max(*most);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for host in &mut hosts {
        host.stops().await;
    }
    most.iter().sum::<u64>() / HOSTS as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_takes_a_mebibyte_over_quic_beside_what_it_takes_over_tcp_and_less_than_a_window_a_connection() {
    let _limit = Limit::start(None);
    let over_tcp = of_hosts_over(TransportKind::Tcp).await;
    let over_quic = of_hosts_over(TransportKind::Quic).await;
    println!("RssAnon in KiB, the mean of hosts at their highest: TCP {over_tcp}, QUIC {over_quic}");
    // 256 KiB may be on their way on a connection, and all twelve of a host are busy here. Sixteen chunks may be asked of a neighbour, so that
    // on a busy machine most of it is: up to 3.7 MiB were seen.
    let more = 1024 + 256 * HOSTS as u64;
    assert!(over_quic < over_tcp + more, "TCP {over_tcp} KiB, QUIC {over_quic} KiB");
}

/// CPU time of a process, of its threads that have ended too, to a hundredth of a second.
fn cpu(host: &Host) -> Duration {
    let spent = std::fs::read_to_string(format!("/proc/{}/stat", host.id())).unwrap();
    // Behind the name of the program, which may have spaces: from the third field on.
    let fields = spent.rsplit_once(") ").unwrap().1.split(' ');
    let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// `FLEETCAST_AGENTS=$PWD/target/release cargo test -p peer --test memory -- --ignored --nocapture idle` measures an agent of a release build, for minutes
/// and with 9 GiB of memory for its seeder.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, which is for a machine that does nothing else"]
async fn an_idle_agent_with_four_gibibytes_takes_little_memory_and_next_to_no_cpu() {
    const WATCHED: Duration = Duration::from_secs(60);
    let region = Region::start().await;
    // No two chunks are alike.
    let mut build = vec![0; 4 << 30];
    for (number, chunk) in build.chunks_mut(CHUNK).enumerate() {
        chunk[..8].copy_from_slice(&(number as u64).to_le_bytes());
    }
    let seeder = Seeder::start("large.zip", "v1", &build).await;
    drop(build);
    region.publish(&[&seeder]);
    let more = [
        "--serve-idle",
        "1",
        "--quiet",
        "--upload-rate",
        "none",
        "--download-rate",
        "none",
    ];
    let mut host = region.host(&more);
    let begun = Instant::now();
    while host.lines().is_empty() {
        assert!(begun.elapsed() < 10 * PATIENCE, "{}", host.said());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Listed as builds are of which somebody may still want chunks, and kept when they are not listed any more.
    for (what, listed) in [("served", vec![&seeder]), ("kept", Vec::new())] {
        region.publish(&listed);
        let (resident, own) = at_rest(&host).await;
        let before = cpu(&host);
        tokio::time::sleep(WATCHED).await;
        let share = (cpu(&host) - before).as_secs_f64() / WATCHED.as_secs_f64();
        println!(
            "4 GiB {what}: {:.1} MiB resident, {:.1} MiB its own, {:.3} % of a core over {} s",
            resident as f64 / 1024.0,
            own as f64 / 1024.0,
            share * 100.0,
            WATCHED.as_secs()
        );
        // What else is resident are pages of the program's file, of which this build has more than a release.
        assert!(own <= 12 << 10, "{own} KiB");
        let is_release = std::env::var_os("FLEETCAST_AGENTS").is_some();
        assert!(!is_release || resident <= 20 << 10, "{resident} KiB");
        assert!(share <= 0.001, "{share}");
    }
    host.stops().await;
}
