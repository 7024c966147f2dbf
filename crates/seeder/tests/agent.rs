//! An agent before its feed: nothing that was told of is lost, pulled twice or given up while a host lacks it.

#[path = "rig/region.rs"]
mod region;
mod rig;

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use region::{Host, Start, until};
use rig::limit::within;
use rig::{S3, data};
use seeder::{BuildNotice, SpoolLimits};

const LONG: Duration = Duration::from_secs(20);

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("build-{n}.zip")).collect()
}

async fn put_all(s3: &S3, keys: &[String], length: impl Fn(usize) -> usize) {
    for (n, key) in keys.iter().enumerate() {
        s3.put(key, &data(length(n), n as u64 * 1_000_003)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_builds_told_of_at_once_reach_all_hosts_four_at_a_time() {
    let s3 = S3::start().await;
    let keys = keys(20);
    put_all(&s3, &keys, |n| 300_000 + n).await;
    let start = Start::new(4);
    let hosts = [0, 1, 2].map(|_| Host::start(&start.listed));
    let agent = start.agent(&s3).await;
    let mut listed = start.listed.subscribe();
    let most = tokio::spawn(async move {
        let mut most = 0;
        while listed.changed().await.is_ok() {
            most = most.max(listed.borrow_and_update().len());
        }
        most
    });
    for key in &keys {
        agent.tell(key).await;
    }
    for key in &keys {
        until(key, LONG, || hosts.iter().all(|host| host.has_key(key))).await;
        assert_eq!(s3.front.gets(key), 1, "{key}");
    }
    agent.stop().await;
    drop((start, hosts));
    assert!(within(LONG, "nobody lists any more", most).await.unwrap() <= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_wait_until_a_host_comes_and_none_is_lost() {
    let s3 = S3::start().await;
    let keys = keys(7);
    put_all(&s3, &keys, |_| 100_000).await;
    let start = Start::new(2);
    let agent = start.agent(&s3).await;
    for key in &keys {
        agent.tell(key).await;
    }
    until("two are listed", LONG, || start.listed.borrow().len() == 2).await;
    tokio::time::sleep(region::PATIENCE.least * 5).await;
    let first: Vec<String> = start.listed.borrow().iter().map(|build| build.key.clone()).collect();
    assert_eq!(first.len(), 2);
    let host = Host::start(&start.listed);
    for key in &keys {
        until(key, LONG, || host.has_key(key)).await;
    }
    agent.stop().await;
}

async fn both_have_all(first: &Host, second: &Host, keys: &[String]) {
    until("both have all", LONG, || {
        keys.iter().all(|key| first.has_key(key) && second.has_key(key))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_has_heard_of_a_build_a_moment_ago_is_waited_for() {
    let s3 = S3::start().await;
    let keys = keys(2);
    put_all(&s3, &keys, |_| 1000).await;
    let start = Start::new(1);
    start.followers.store(1, Ordering::Relaxed);
    let agent = start.agent(&s3).await;
    let first = Host::start(&start.listed);
    agent.tell(&keys[0]).await;
    until("the first has it", LONG, || first.has_key(&keys[0])).await;
    tokio::time::sleep(region::PATIENCE.least * 2).await;
    start.followers.store(2, Ordering::Relaxed);
    agent.tell(&keys[1]).await;
    // It is pulled, and would be listed by then.
    tokio::time::sleep(region::PATIENCE.least * 5).await;
    assert_eq!(start.listed.borrow()[0].key, keys[0]);
    let second = Host::start(&start.listed);
    both_have_all(&first, &second, &keys).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seeder_that_was_killed_before_it_seeded_anything_knows_its_hosts_when_it_is_started_again() {
    let s3 = S3::start().await;
    let keys = keys(2);
    put_all(&s3, &keys, |_| 1000).await;
    let start = Start::new(1);
    start.followers.store(2, Ordering::Relaxed);
    let agent = start.agent(&s3).await;
    let list = s3.spool().join("seeding.json");
    let is_written = || std::fs::read_to_string(&list).is_ok_and(|list| list.contains("\"fleet\": 2"));
    until("the list", LONG, is_written).await;
    agent.kill().await;
    // One of the two is back at once, the other later.
    start.followers.store(1, Ordering::Relaxed);
    let agent = start.agent(&s3).await;
    let first = Host::start(&start.listed);
    for key in &keys {
        agent.tell(key).await;
    }
    tokio::time::sleep(region::PATIENCE.least * 8).await;
    let second = Host::start(&start.listed);
    both_have_all(&first, &second, &keys).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_no_host_comes_for_makes_room_at_last() {
    let s3 = S3::start().await;
    let keys = keys(2);
    put_all(&s3, &keys, |_| 100_000).await;
    let mut start = Start::new(1);
    start.patience.stuck = Duration::from_secs(1);
    let agent = start.agent(&s3).await;
    for key in &keys {
        agent.tell(key).await;
    }
    let listed = start.listed.clone();
    let is_listed = |key: &str| listed.borrow().iter().any(|build| build.key == key);
    until("the first", LONG, || is_listed(&keys[0]) || is_listed(&keys[1])).await;
    let began = Instant::now();
    let first = usize::from(is_listed(&keys[1]));
    until("the other", LONG, || is_listed(&keys[1 - first])).await;
    assert!(began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_key_with_a_new_version_each_moment_the_newest_is_seeded_and_nothing_piles_up() {
    const VERSIONS: usize = 30;
    let s3 = S3::start().await;
    let start = Start::new(4);
    let host = Host::start(&start.listed);
    let agent = start.agent(&s3).await;
    for n in 0..VERSIONS {
        s3.put("app.zip", &data(200_000, n as u64 * 1_000_003)).await;
        agent.tell("app.zip").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let last = s3.direct.head(&rig::bucket(), "app.zip").await.unwrap().etag;
    let newest = BTreeSet::from([("app.zip".to_owned(), last)]);
    until("the newest", LONG, || host.has().is_superset(&newest)).await;
    assert_eq!(start.listed.borrow().len(), 1);
    assert!(s3.front.gets("app.zip") <= VERSIONS);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_told_of_again_and_again_is_pulled_once() {
    let s3 = S3::start().await;
    s3.put("app.zip", &data(3_000_000, 1)).await;
    s3.front.limit(6_000_000);
    let start = Start::new(4);
    let host = Host::start(&start.listed);
    let agent = start.agent(&s3).await;
    for _ in 0..50 {
        agent.tell("app.zip").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    until("the build", LONG, || host.has_key("app.zip")).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(s3.front.gets("app.zip"), 1);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_lists_everything_at_once_without_s3_and_nothing_less_before() {
    let s3 = S3::start().await;
    let keys = keys(10);
    put_all(&s3, &keys, |_| 4_000_000).await;
    let start = Start::new(16);
    let agent = start.agent(&s3).await;
    for key in &keys {
        agent.tell(key).await;
    }
    until("all are listed", LONG, || start.listed.borrow().len() == keys.len()).await;
    let gets = s3.front.gets_of_all();
    agent.kill().await;
    s3.front.go_away(true);
    let again = Start {
        listed: tokio::sync::watch::channel(Vec::new()).0,
        ..start.clone()
    };
    let mut listed = again.listed.subscribe();
    let began = Instant::now();
    let agent = again.agent(&s3).await;
    within(LONG, "something is listed", listed.changed()).await.unwrap();
    assert_eq!(
        listed.borrow_and_update().len(),
        keys.len(),
        "the first that is said is all of it"
    );
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let host = Host::start(&again.listed);
    for key in &keys {
        until(key, LONG, || host.has_key(key)).await;
    }
    assert_eq!(s3.front.gets_of_all(), gets);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_what_hosts_have_gives_way_though_they_do_not_come_for_it_again() {
    let s3 = S3::start().await;
    let keys = keys(4);
    put_all(&s3, &keys, |_| 100_000).await;
    let start = Start::new(2);
    let agent = start.agent(&s3).await;
    let host = Host::start(&start.listed);
    for key in &keys[..2] {
        agent.tell(key).await;
        until(key, LONG, || host.has_key(key)).await;
    }
    // It is written down by now how many have them.
    let list = s3.spool().join("seeding.json");
    let written = || std::fs::read_to_string(&list).unwrap().matches("\"hosts\": 1").count() == 2;
    until("the list", LONG, written).await;
    drop(host);
    agent.kill().await;
    let agent = start.agent(&s3).await;
    for key in &keys[2..] {
        agent.tell(key).await;
    }
    let listed = start.listed.clone();
    let is_listed = |key: &String| listed.borrow().iter().any(|build| build.key == *key);
    until("the others are listed", Duration::from_secs(10), || {
        keys[2..].iter().all(is_listed)
    })
    .await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_does_not_fit_waits_for_room_and_holds_up_nobody() {
    let s3 = S3::start().await;
    s3.put("large.zip", &data(3_000_000, 1)).await;
    s3.put("never.zip", &data(9_000_000, 2)).await;
    let keys = keys(3);
    put_all(&s3, &keys, |_| 1_000_000).await;
    let mut start = Start::new(2);
    start.limits = SpoolLimits {
        bytes_max: Some(4_000_000),
    };
    let agent = start.agent(&s3).await;
    for key in &keys[..2] {
        agent.tell(key).await;
    }
    until("two are listed", LONG, || start.listed.borrow().len() == 2).await;
    for key in ["never.zip", "large.zip", &keys[2]] {
        agent.tell(key).await;
    }
    let host = Host::start(&start.listed);
    for key in [&keys[0], &keys[1], &keys[2], "large.zip"] {
        until(key, LONG, || host.has_key(key)).await;
    }
    assert_eq!(s3.front.gets("never.zip"), 0);
    assert_eq!(s3.front.gets("large.zip"), 1);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_get_right_bytes_of_a_build_whose_file_was_changed_and_cut_while_it_was_seeded() {
    let s3 = S3::start().await;
    let length = 20 << 20;
    s3.put("app.zip", &data(length, 1)).await;
    let start = Start::new(4);
    let agent = start.agent(&s3).await;
    agent.tell("app.zip").await;
    until("it is listed", LONG, || start.listed.borrow().len() == 1).await;
    let gets = s3.front.gets("app.zip");
    let files = std::fs::read_dir(s3.spool()).unwrap().map(|file| file.unwrap().path());
    let path = files
        .into_iter()
        .find(|path| path.extension().is_some_and(|ending| ending == "data"))
        .unwrap();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&[0; 100_000], 1 << 20).unwrap();
    file.set_len(19 << 20).unwrap();
    let hosts = [0, 1, 2].map(|_| Host::start(&start.listed));
    until("all hosts have it", LONG, || {
        hosts.iter().all(|host| host.has_key("app.zip"))
    })
    .await;
    // Chunks of 64 KiB: two or three that were written over, and those of the last MiB.
    let again = s3.front.gets("app.zip") - gets;
    assert!((18..=19).contains(&again), "{again} GETs");
    agent.stop().await;
}

/// The object has left the bucket and a chunk has changed: a host that has it gives it to one that comes later.
#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_nobody_but_a_host_has_comes_from_that_host() {
    let s3 = S3::start().await;
    s3.put("app.zip", &data(3 << 20, 1)).await;
    let start = Start::new(4);
    let agent = start.agent(&s3).await;
    agent.tell("app.zip").await;
    let first = Host::start(&start.listed);
    until("the first has it", LONG, || first.has_key("app.zip")).await;
    s3.put("app.zip", &data(3 << 20, 2)).await;
    let files = std::fs::read_dir(s3.spool()).unwrap().map(|file| file.unwrap().path());
    let path = files
        .into_iter()
        .find(|path| path.extension().is_some_and(|ending| ending == "data"))
        .unwrap();
    std::fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(1 << 20)
        .unwrap();
    let second = Host::start(&start.listed);
    until("the second has it", LONG, || second.has_key("app.zip")).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_small_builds_come_through() {
    const BUILDS: usize = 1000;
    let s3 = S3::start().await;
    let keys = keys(BUILDS);
    put_all(&s3, &keys, |_| 1024).await;
    let mut start = Start::new(64);
    start.patience.least = Duration::from_millis(100);
    let host = Host::start(&start.listed);
    let agent = start.agent(&s3).await;
    for key in &keys {
        agent.tell(key).await;
    }
    until("all", Duration::from_secs(240), || host.has().len() == BUILDS).await;
    assert_eq!(s3.front.gets_of_all(), BUILDS);
    agent.stop().await;
}

/// Builds of mixed sizes, an agent that is killed at random moments, and a queue that tells again of what was not done.
#[tokio::test(flavor = "multi_thread")]
async fn a_seeder_that_is_killed_at_random_moments_loses_no_build_and_pulls_none_twice() {
    let seeds = std::env::var("SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(3);
    for seed in 0..seeds {
        killed_at_random(seed).await;
    }
}

async fn killed_at_random(seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let s3 = S3::start().await;
    let keys = keys(12);
    let sizes: Vec<usize> = keys.iter().map(|_| 1 + (1 << random(23)) as usize).collect();
    put_all(&s3, &keys, |n| sizes[n]).await;
    s3.front.limit(40 << 20);
    let start = Start::new(4);
    let hosts = [0, 1, 2].map(|_| Host::start(&start.listed));
    let lacks = |key: &String| !hosts.iter().all(|host| host.has_key(key));
    let mut kills = 0;
    let began = Instant::now();
    loop {
        let agent = start.agent(&s3).await;
        let (notices, told) = (
            agent.notices(),
            keys.iter().filter(|key| lacks(key)).cloned().collect::<Vec<_>>(),
        );
        // As a queue that tells again of whatever was not done with; more than once of some.
        let teller = tokio::spawn(async move {
            for key in told.iter().chain(&told[..told.len() / 2]) {
                let (bucket, key) = (rig::bucket(), key.clone());
                if notices.send(BuildNotice { bucket, key }).await.is_err() {
                    return;
                }
            }
        });
        let lives = Duration::from_millis(if kills < 6 { 20 + random(600) } else { 30_000 });
        let dies = Instant::now() + lives;
        while Instant::now() < dies && keys.iter().any(lacks) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        teller.abort();
        let is_done = !keys.iter().any(lacks);
        agent.kill().await;
        if is_done {
            break;
        }
        kills += 1;
        assert!(began.elapsed() < LONG * 2, "seed {seed}: {kills} kills");
    }
    for (key, size) in keys.iter().zip(&sizes) {
        // A GET that is through is not made again; one a turn may have been on its way at each kill.
        let (gets, needed) = (s3.front.gets(key), size.div_ceil(8 << 20).max(1));
        assert!(
            gets <= needed + kills,
            "seed {seed}: {gets} GETs of {key}, {size} bytes, {kills} kills"
        );
    }
}
