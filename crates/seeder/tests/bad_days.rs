//! Bad days of a region of processes: many small builds, a key that changes each second, disks that take nothing, ports that are
//! taken.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "days/region.rs"]
mod region;
mod rig;
#[path = "../../lambdas/tests/rig/mod.rs"]
mod stack;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cloud::DeploymentStatus;
use futures::stream::{self, StreamExt as _};
use region::{Agent, Region, Services, until};
use rig::data;

const OF_SEEDER: [&str; 4] = ["--visible-after", "5", "--seed-at-least", "1"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_builds_of_a_kibibyte_reach_three_hosts_with_one_get_each() {
    const BUILDS: u64 = 1000;
    let services = Services::start().await;
    let region = Region::start(&services, "thousand").await;
    let keys: Vec<String> = (0..BUILDS).map(|n| format!("thousand/{n}.zip")).collect();
    let put = stream::iter(keys.iter().zip(0..)).for_each_concurrent(8, async |(key, n)| {
        region.put(key, data(1024, n * 1_000_003)).await;
        region.tell(key).await;
    });
    put.await;
    let mut seeder = region.seeder(&[&OF_SEEDER[..], &["--builds-max", "64"]].concat()).await;
    let mut hosts: Vec<Agent> = (0..3)
        .map(|host| region.host(host, &["--keep", "2000", "--serve-idle", "1", "--fetches-max", "16"]))
        .collect();
    let began = Instant::now();
    for host in &hosts {
        while host.lines().len() < keys.len() {
            assert!(
                began.elapsed() < Duration::from_secs(240),
                "{} of {BUILDS}\n{}",
                host.lines().len(),
                seeder.said()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let printed: BTreeSet<String> = host.lines().into_iter().collect();
        assert_eq!(printed.len(), keys.len(), "nothing is printed twice");
    }
    let gets: usize = keys.iter().map(|key| services.front.gets(key)).sum();
    assert_eq!(gets, keys.len());
    eprintln!("seeder {:?}\nhost {:?}", seeder.usage(), hosts[0].usage());
    for agent in hosts.iter_mut().chain([&mut seeder]) {
        agent.stops().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_key_that_changes_each_second_all_hosts_have_the_newest_soon_after_the_last() {
    const VERSIONS: u64 = 20;
    let services = Services::start().await;
    let region = Region::start(&services, "changes").await;
    let mut seeder = region.seeder(&OF_SEEDER).await;
    let mut hosts: Vec<Agent> = (0..3).map(|host| region.host(host, &[])).collect();
    let version = |n: u64| data(300_000 + usize::try_from(n).unwrap(), n * 1_000_003);
    for n in 1..=VERSIONS {
        region.put("changes/app.zip", version(n)).await;
        region.tell("changes/app.zip").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let last = Instant::now();
    let file = |host| region.builds(host).join("changes/app.zip");
    let has_newest = |host| std::fs::read(file(host)).is_ok_and(|bytes| bytes == version(VERSIONS));
    until("the newest", || (0..3).all(has_newest)).await;
    assert!(last.elapsed() < Duration::from_secs(10), "{:?}", last.elapsed());
    // Its row is of the newest, too.
    let began = Instant::now();
    loop {
        let rows = region.rows("changes/app.zip").await;
        let head = services.buckets.head(region::BUCKET, "changes/app.zip").await.unwrap();
        let is_newest = |row: &cloud::DeploymentLog| row.version.as_ref() == Some(&head.etag);
        if rows.len() == 3 && rows.iter().all(is_newest) {
            break;
        }
        assert!(began.elapsed() < region::PATIENCE, "{rows:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for agent in hosts.iter_mut().chain([&mut seeder]) {
        agent.stops().await;
    }
}

/// A file system of its own at a folder, until it is dropped.
struct Disk(PathBuf);

impl Disk {
    /// `None`, and said so, where this process may not mount.
    fn mount(at: &Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(at)
            .output();
        let is_mounted = mount.is_ok_and(|mount| mount.status.success());
        if !is_mounted {
            eprintln!("left out: a tmpfs cannot be mounted; run it as root");
        }
        is_mounted.then(|| Self(at.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_whose_disk_is_full_holds_up_nobody_for_long_and_says_so_in_its_rows() {
    let services = Services::start().await;
    let region = Region::start(&services, "full").await;
    let Some(_disk) = Disk::mount(&region.builds(0), "size=256k") else {
        return;
    };
    let of_seeder = ["--builds-max", "2", "--give-up-after", "4"];
    let mut seeder = region.seeder(&[&OF_SEEDER[..], &of_seeder].concat()).await;
    let mut hosts: Vec<Agent> = (0..3).map(|host| region.host(host, &["--keep", "10"])).collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let keys: Vec<String> = (0..5).map(|n| format!("full/{n}.zip")).collect();
    for (key, n) in keys.iter().zip(0..) {
        region.put(key, data(1_000_000, n * 1_000_003)).await;
        region.tell(key).await;
    }
    for host in &hosts[1..] {
        until("all on the hosts that are well", || host.lines().len() == keys.len()).await;
    }
    let given_up = seeder.said().matches("builds_given_up").count();
    assert!(given_up >= 3, "{}", seeder.said());
    let said = hosts[0].said();
    assert!(
        said.contains("KiB are free in"),
        "it does not begin what does not fit: {said}"
    );
    let told = said
        .lines()
        .filter(|line| line.contains("full/0.zip") && line.contains("ERROR"))
        .count();
    assert!(
        told <= 2,
        "once while it is listed, and once when it is given up: {said}"
    );
    let began = Instant::now();
    loop {
        let rows = region.rows(&keys[0]).await;
        let failed: Vec<_> = rows
            .iter()
            .filter(|row| row.status == DeploymentStatus::Failed)
            .collect();
        if rows.len() == 3 && failed.len() == 1 {
            assert_eq!(failed[0].host_id, "host-0");
            break;
        }
        assert!(began.elapsed() < region::PATIENCE, "{rows:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for agent in hosts.iter_mut().chain([&mut seeder]) {
        agent.stops().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_and_a_folder_that_takes_nothing_are_each_a_sentence_and_exit_code_4() {
    let services = Services::start().await;
    let region = Region::start(&services, "taken").await;
    let seeder = region.seeder(&OF_SEEDER).await;
    let directory = region.directory();
    let taken = directory.split("/p2p/").next().unwrap();
    let mut host = region.host(0, &["--listen", taken]);
    assert_eq!(host.ends(Duration::from_secs(10)).await, Some(4), "{}", host.said());
    let port = taken.rsplit('/').next().unwrap();
    assert!(
        host.said().contains(port) && host.said().contains("port taken"),
        "{}",
        host.said()
    );
    let Some(_disk) = Disk::mount(&region.builds(1), "ro") else {
        return;
    };
    let mut host = region.host(1, &[]);
    assert_eq!(host.ends(Duration::from_secs(10)).await, Some(4), "{}", host.said());
    let said = host.said();
    assert!(
        said.contains("host-1") && said.contains("Read-only file system"),
        "{said}"
    );
    drop(seeder);
}
