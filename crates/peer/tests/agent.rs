//! A host's agent day by day: it stops when it is told to, fetches the small before the large, goes on with what is delisted or
//! has moved, keeps its folder small, and says what keeps it waiting.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod region;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloud::DeploymentStatus;
use peer::{NodeIdentity, SeededBuild, StoreOpener, TransportKind};
use region::{CHUNK, Host, Region, Seeder, Seeding, data, directory};
use rustix::process::Signal;
use swarm::{Manifest, SwarmId};

fn nobody(key: &str) -> SeededBuild {
    let address = format!("/ip4/127.0.0.1/tcp/9/p2p/{}", NodeIdentity::random().peer_id());
    SeededBuild {
        key: key.to_owned(),
        version: "v1".to_owned(),
        seeders: vec![address.parse().unwrap()],
        size: 1000,
    }
}

fn chunks_sent(seeder: &Seeder) -> u64 {
    seeder.node.report().traffic.sent / CHUNK as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mode_stops_within_two_seconds_of_the_first_signal() {
    let region = Region::start().await;
    let slow = Seeder::slow("slow.zip", "v1", &data(1, 10_000_000), 200_000).await;
    let fast = Seeder::start("fast.zip", "v1", &data(2, 1000)).await;
    let only = Seeder::only("slow.zip", &data(1, 10_000_000), 200_000).await;
    let only_fast = Seeder::only("fast.zip", &data(2, 1000), 1 << 30).await;
    let out = region.home.path().join("out.zip");
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        // While fetching: unfinished, and said so.
        let sent = chunks_sent(&only);
        let mut host = Host::single(&[&only], &out, &[]);
        host.until("begun", |_| chunks_sent(&only) > sent).await;
        host.signal(signal);
        let (ended, after) = host.ends().await;
        assert_eq!(ended, Some(code));
        assert!(
            after < Duration::from_secs(2) && host.said().contains("run it again to go on"),
            "{after:?}"
        );
        // While lingering, and with a row that cannot be written: as planned.
        for more in [&[][..], &["--log", "--endpoint-url", "http://127.0.0.1:9"]] {
            let mut arguments = vec!["--linger", "3600"];
            arguments.extend(more);
            let mut host = Host::single(&[&only_fast], &out.with_extension("fast"), &arguments);
            host.until("in place", |host| host.said().contains("in place")).await;
            host.signal(signal);
            let (ended, after) = host.ends().await;
            assert_eq!(ended, Some(0), "{}", host.said());
            assert!(after < Duration::from_secs(2), "{after:?}");
        }
        // A directory's host, which fetches and has rows to write.
        region.publish(&[&slow, &fast]);
        let mut host = region.host_logging_to("http://127.0.0.1:9", &[]);
        let sent = chunks_sent(&slow);
        host.until("begun", |_| chunks_sent(&slow) > sent).await;
        host.signal(signal);
        let (ended, after) = host.ends().await;
        assert_eq!(
            (ended, host.said().contains("terminated")),
            (Some(0), false),
            "{}",
            host.said()
        );
        assert!(after < Duration::from_secs(2), "{after:?}");
    }
    // The second signal ends it on the spot. Which of them came first nobody knows.
    let mut host = region.host_logging_to("http://127.0.0.1:9", &[]);
    let sent = chunks_sent(&slow);
    host.until("begun", |_| chunks_sent(&slow) > sent).await;
    host.signal(Signal::TERM);
    host.signal(Signal::INT);
    let (ended, after) = host.ends().await;
    assert!(
        matches!(ended, Some(0 | 130 | 143)) && after < Duration::from_millis(500),
        "{ended:?} {after:?}"
    );
}

/// Over TCP the system closes what a process leaves open. Over QUIC nobody does, and others would wait for a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_stopped_says_goodbye_over_either_transport() {
    let home = tempfile::tempdir().unwrap();
    for (name, transport) in [("TCP", TransportKind::Tcp), ("QUIC", TransportKind::Quic)] {
        let seeding = Seeding {
            transport: Some(transport),
            swarm: Some(SwarmId::ONLY),
            ..Seeding::default()
        };
        let seeder = Seeder::with("app.zip", "only", &data(1, 1000), seeding).await;
        let out = home.path().join(name);
        let mut host = Host::single(&[&seeder], &out, &["--linger", "600"]);
        host.until("in place", |host| host.said().contains("in place")).await;
        assert_eq!(seeder.node.member_count(), 1);
        host.stops().await;
        let begun = Instant::now();
        while seeder.node.member_count() > 0 {
            assert!(
                begun.elapsed() < Duration::from_secs(5),
                "it is still there over {name}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hotfix_does_not_wait_behind_large_builds_nor_behind_those_that_nobody_seeds() {
    let region = Region::start().await;
    let large = Seeder::slow("large.zip", "v1", &data(1, 20_000_000), 400_000).await;
    let other = Seeder::start("other.zip", "v1", &data(2, 19_000_000)).await;
    let hotfix = Seeder::start("hotfix.zip", "v1", &data(3, 1024)).await;
    let mut host = region.host(&["--fetches-max", "1"]);
    region.publish(&[&large]);
    host.until("begun", |_| chunks_sent(&large) > 1).await;
    let begun = Instant::now();
    region.publish(&[&large, &other, &hotfix]);
    host.prints(&["hotfix.zip"]).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(host.keys(), ["hotfix.zip"]);
    assert_eq!(chunks_sent(&other), 0, "one large build at a time");
    host.stops().await;
    // Three that do not move hold up nobody, and each is told of once.
    let region = Region::start().await;
    let mut listed: Vec<_> = ["a", "b", "c"].map(nobody).into();
    listed.push(other.listed());
    region.directory.publish(listed);
    let mut host = region.host(&["--fetches-max", "3"]);
    host.prints(&["other.zip"]).await;
    assert_eq!(
        host.said()
            .matches("no seeder is reached: /ip4/127.0.0.1/tcp/9")
            .count(),
        3,
        "{}",
        host.said()
    );
    host.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_delisted_is_fetched_on_and_gives_way_to_its_next_version_only() {
    let region = Region::start().await;
    let first = Seeder::slow("first.zip", "v1", &data(1, 1_500_000), 500_000).await;
    let stuck = Seeder::slow("stuck.zip", "v1", &data(2, 3_000_000), 300_000).await;
    let old = Seeder::slow("app.zip", "v1", &data(3, 20_000_000), 300_000).await;
    let other = Seeder::start("other.zip", "v1", &data(4, 1000)).await;
    let new = Seeder::start("app.zip", "v2", &data(5, 1_000_000)).await;
    region.publish(&[&first, &stuck, &old]);
    let mut host = region.host(&["--timeout", "8"]);
    host.until("begun", |_| {
        [&first, &stuck, &old].iter().all(|seeder| chunks_sent(seeder) > 1)
    })
    .await;
    // A directory that was restarted and says nothing yet.
    region.directory.publish(Vec::new());
    region.publish(&[&other, &new]);
    stuck.node.stop();
    host.prints(&["other.zip", "app.zip", "first.zip"]).await;
    assert!(std::fs::read(region.file("first.zip")).unwrap() == data(1, 1_500_000));
    assert!(std::fs::read(region.file("app.zip")).unwrap() == data(5, 1_000_000));
    assert_eq!(region.row("app.zip").await.version.as_deref(), Some("v2"));
    let row = region.row("stuck.zip").await;
    assert_eq!(row.status, DeploymentStatus::Failed);
    let error = row.error.unwrap();
    assert!(error.starts_with("delisted: not complete after 8 s"), "{error}");
    host.until("told", |host| host.said().contains("given up: delisted: not complete"))
        .await;
    host.stops().await;
    let mut left: Vec<_> = std::fs::read_dir(region.builds())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with(".fleetcast-"))
        .collect();
    left.sort();
    assert_eq!(left, ["app.zip", "first.zip", "other.zip"], "no part file is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_has_a_delisted_build_serves_it_to_one_that_has_not() {
    let region = Region::start().await;
    let build = data(1, 40_000_000);
    let seeder = Seeder::start("app.zip", "v1", &build).await;
    let other = Seeder::start("other.zip", "v1", &data(2, 1000)).await;
    region.publish(&[&seeder]);
    let mut first = region.host(&[]);
    first.prints(&["app.zip"]).await;
    let (directory, second) = (region.address().to_string(), region.home.path().join("second"));
    let mut second_host = Host::start(&["--directory", &directory, "--folder", second.to_str().unwrap()]);
    second_host.until("joined", |_| seeder.node.member_count() == 2).await;
    // Joiners are told of each other a tenth of a second later.
    tokio::time::sleep(Duration::from_millis(300)).await;
    seeder.node.stop();
    region.publish(&[&other]);
    second_host.prints(&["app.zip", "other.zip"]).await;
    assert!(std::fs::read(second.join("app.zip")).unwrap() == build);
    first.stops().await;
    second_host.stops().await;
    assert!(!second_host.said().contains("ERROR"), "{}", second_host.said());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_whose_seeder_has_moved_goes_on_with_the_chunks_that_it_has() {
    let region = Region::start().await;
    let build = data(1, 4_000_000);
    let first = Seeder::slow("app.zip", "v1", &build, 1_000_000).await;
    region.publish(&[&first]);
    let mut host = region.host(&[]);
    host.until("half of it", |_| chunks_sent(&first) > 30).await;
    let second = Seeder::start("app.zip", "v1", &build).await;
    region.publish(&[&second]);
    host.prints(&["app.zip"]).await;
    assert!(chunks_sent(&second) <= 62 - 25, "{} of 62 chunks", chunks_sent(&second));
    // In place, it is served to those who come to the seeder that is listed now, and nothing is told again.
    let third = Seeder::start("app.zip", "v1", &build).await;
    region.publish(&[&third]);
    host.until("joined", |_| third.node.member_count() == 1).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((host.lines().len(), chunks_sent(&third)), (1, 0));
    host.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_is_away_or_restarted_changes_nothing() {
    let region = Region::start().await;
    let identity = NodeIdentity::random();
    let of_host = directory(&identity, "/ip4/127.0.0.1/tcp/0").await;
    let address = of_host.endpoint().addresses().remove(0);
    let seeder = Seeder::slow("app.zip", "v1", &data(1, 3_000_000), 1_000_000).await;
    of_host.publish(vec![seeder.listed()]);
    let builds = region.builds();
    let mut host = Host::start(&[
        "--directory",
        &address.to_string(),
        "--folder",
        builds.to_str().unwrap(),
    ]);
    host.until("begun", |_| chunks_sent(&seeder) > 5).await;
    drop(of_host);
    host.until("told", |host| host.said().contains("the directory does not answer"))
        .await;
    let listen = address.to_string().rsplit_once("/p2p/").unwrap().0.to_owned();
    let again = directory(&identity, &listen).await;
    host.prints(&["app.zip"]).await;
    again.publish(vec![seeder.listed()]);
    host.until("told", |host| host.said().contains("the directory answers again"))
        .await;
    assert_eq!(host.said().matches("does not answer").count(), 1, "{}", host.said());
    assert!(
        chunks_sent(&seeder) <= 47,
        "{}: nothing was fetched twice",
        chunks_sent(&seeder)
    );
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(host.lines().len(), 1);
    host.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_leaves_the_folder_and_what_is_not_ours_stays() {
    let region = Region::start().await;
    let mut seeders = Vec::new();
    for number in 1..=6 {
        let key = format!("v{number}/app.zip");
        seeders.push(Seeder::start(&key, "1", &data(number, 100_000)).await);
    }
    let mut host = region.host(&["--keep", "2"]);
    let there =
        |numbers: &[u32]| (1..=6).all(|n| region.file(&format!("v{n}/app.zip")).exists() == numbers.contains(&n));
    std::fs::create_dir_all(region.builds()).unwrap();
    std::fs::write(region.file("mine.zip"), b"mine").unwrap();
    for (number, seeder) in seeders.iter().enumerate() {
        region.publish(&[seeder]);
        host.until("in place", |host| host.lines().len() == number + 1).await;
        if number == 2 {
            // Somebody has put something else there.
            std::fs::write(region.file("v2/app.zip"), b"mine").unwrap();
        }
    }
    host.until("the old have gone", |_| there(&[2, 4, 5, 6])).await;
    assert!(!region.file("v1").exists(), "its folder goes with it");
    assert!(host.said().contains("v1/app.zip: removed, 97.6 KiB"), "{}", host.said());
    assert!(
        host.said()
            .contains("was changed since it came, and is left where it is"),
        "{}",
        host.said()
    );
    host.stops().await;
    // Listed ones stay however many, the newest of all stays, and the rest goes by its size.
    let mut host = region.host(&["--keep-size", "150000"]);
    region.publish(&[&seeders[3]]);
    host.until("by size", |_| there(&[2, 4, 6])).await;
    let listed: Vec<&Seeder> = seeders.iter().collect();
    region.publish(&listed);
    host.until("all again", |_| there(&[1, 2, 3, 4, 5, 6])).await;
    assert_eq!(std::fs::read(region.file("mine.zip")).unwrap(), b"mine");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(host.keys(), [""; 0], "all of them had come before");
    host.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_somebody_else_writes_is_refused_in_a_whole_sentence() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("app.zip");
    let other = Manifest::of("app.zip", &data(2, 1000), 64).unwrap();
    let _writes = StoreOpener::on_disk(out.clone()).open(Arc::new(other)).unwrap();
    let seeding = Seeding {
        swarm: Some(SwarmId::ONLY),
        ..Seeding::default()
    };
    let seeder = Seeder::with("app.zip", "only", &data(1, 1000), seeding).await;
    let mut host = Host::single(&[&seeder], &out, &[]);
    assert_eq!(host.ends().await.0, Some(4));
    let said = host.said();
    let sentence = format!("peer: {} is in use by process {}", out.display(), std::process::id());
    assert!(said.contains(&sentence), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_has_one_agent_and_a_key_may_not_be_one_of_its_files() {
    let region = Region::start().await;
    let seeder = Seeder::start("app.zip", "1", &data(1, 1000)).await;
    let ours = Seeder::start(".fleetcast-builds.json", "1", &data(2, 1000)).await;
    region.publish(&[&ours, &seeder]);
    let mut host = region.host(&[]);
    host.prints(&["app.zip"]).await;
    let mut second = region.host(&[]);
    assert_eq!(second.ends().await.0, Some(4));
    assert!(
        second.said().contains(&format!("is in use by process {}", host.id())),
        "{}",
        second.said()
    );
    assert_eq!(
        host.said().matches("leads out of the folder").count(),
        1,
        "{}",
        host.said()
    );
    host.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_alone_or_cannot_reach_its_seeder_says_so_once() {
    let region = Region::start().await;
    let slow = Seeder::only("slow.zip", &data(1, 10_000_000), 300_000).await;
    let out = region.home.path().join("slow.zip");
    let mut host = Host::single(&[&slow], &out, &["--timeout", "14", "--quiet"]);
    assert_eq!(host.ends().await.0, Some(3));
    assert_eq!(
        host.said().matches("no other host is connected after 10 s").count(),
        1,
        "{}",
        host.said()
    );
    assert!(!host.said().contains("no seeder is reached"), "{}", host.said());
    let out = region.home.path().join("none.zip");
    let address = nobody("x").seeders[0].to_string();
    let mut host = Host::start(&["--seeder", &address, "--out", out.to_str().unwrap(), "--timeout", "7"]);
    assert_eq!(host.ends().await.0, Some(3));
    assert_eq!(
        host.said()
            .matches("no seeder is reached: /ip4/127.0.0.1/tcp/9")
            .count(),
        1,
        "{}",
        host.said()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_builds_in_place_cost_an_idle_host_little() {
    let region = Region::start().await;
    let mut seeders = Vec::new();
    for number in 0..100 {
        let length = 1000 + 5000 * number as usize;
        seeders.push(Seeder::with(&format!("{number}.zip"), "1", &data(number, length), Seeding::default()).await);
    }
    let mut host = region.host(&["--quiet"]);
    region.publish(&seeders.iter().collect::<Vec<_>>());
    host.until("all in place", |host| host.lines().len() == 100).await;
    for number in 0..100 {
        assert_eq!(
            region.row(&format!("{number}.zip")).await.status,
            DeploymentStatus::Succeeded
        );
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.id())).unwrap();
    let number = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    println!(
        "VmRSS {} kB, RssAnon {} kB, threads {}",
        number("VmRSS"),
        number("RssAnon"),
        number("Threads")
    );
    assert!(number("RssAnon:") < 30 << 10, "{status}");
    host.stops().await;
    assert_eq!(host.said(), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_older_build_of_the_folder_has_is_not_fetched_and_the_mode_is_as_told() {
    let region = Region::start().await;
    let (first, mut next) = (data(1, 4_000_000), data(1, 4_000_000));
    next[2_000_000] ^= 1;
    let old = Seeder::start("app-1.bin", "v1", &first).await;
    let new = Seeder::start("app-2.bin", "v1", &next).await;
    let mut host = region.host(&["--mode", "0755"]);
    region.publish(&[&old]);
    host.prints(&["app-1.bin"]).await;
    region.publish(&[&old, &new]);
    host.prints(&["app-2.bin"]).await;
    assert!(std::fs::read(region.file("app-2.bin")).unwrap() == next);
    assert!(chunks_sent(&new) <= 2, "{} of 62 chunks", chunks_sent(&new));
    let mode = std::fs::metadata(region.file("app-2.bin"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o755);
    host.stops().await;
}
