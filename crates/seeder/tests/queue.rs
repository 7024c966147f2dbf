//! A seeder hears of builds by a queue: whatever happens to it, a build is seen to by somebody, and nonsense is not tried
//! without end.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod rig;
#[path = "../../lambdas/tests/rig/mod.rs"]
mod stack;

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cloud::{Cloud, CloudConfig, Credentials};
use peer::{Addresses, Directory, Multiaddr};
use pipeline::PipelineClients;
use rig::Seeder;
use rig::limit::{Limit, within};
use seeder::{BuildFeed, BuildNotice, QueueFeed};
use stack::eventually;

const SHORT: Duration = Duration::from_secs(2);
/// What takes longer than this on a busy machine does not happen.
const LONG: Duration = Duration::from_secs(60);

async fn cloud_at(endpoint: &str) -> Cloud {
    let config = CloudConfig {
        credentials: Some(Credentials {
            access_key_id: "test".to_owned(),
            secret_access_key: "test".to_owned(),
            session_token: None,
        }),
        ..CloudConfig::at(endpoint)
    };
    Cloud::connect(&config).await
}

async fn make_queue(endpoint: &str, name: &str) {
    let shared = aws_config::defaults(aws_config::BehaviorVersion::latest())
        .region("us-east-1")
        .endpoint_url(endpoint)
        .credentials_provider(aws_sdk_sqs::config::Credentials::new(
            "test", "test", None, None, "test",
        ))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .load()
        .await;
    aws_sdk_sqs::Client::new(&shared)
        .create_queue()
        .queue_name(name)
        .send()
        .await
        .unwrap();
}

fn start_seeder(endpoint: &str, folder: &Path, more: &[&str]) -> Seeder {
    start_seeder_at("/ip4/127.0.0.1/tcp/0", endpoint, folder, more)
}

/// A seeder with its spool in `folder`, and its log beside that.
fn start_seeder_at(listen: &str, endpoint: &str, folder: &Path, more: &[&str]) -> Seeder {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seeder"));
    command.args(["--queue", "builds"]).args(more);
    Seeder::start_at(&mut command, listen, endpoint, folder, folder.parent().unwrap())
}

/// The next lines that it prints.
fn lines(seeder: &Seeder, count: usize) -> Vec<String> {
    let line = || {
        seeder
            .line(LONG)
            .unwrap_or_else(|| panic!("no more lines: {}", seeder.log()))
    };
    (0..count).map(|_| line()).collect()
}

fn stop(mut process: Child) {
    process.kill().unwrap();
    process.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_message_of_a_seeder_that_died_comes_back_and_one_that_is_held_does_not() {
    let (endpoint, process, folder) = stack::start_bare().await;
    let _limit = Limit::start(Some(folder.path()));
    make_queue(&endpoint, "builds").await;
    let cloud = cloud_at(&endpoint).await;
    let queue = cloud.queues().named("builds").await.unwrap();
    queue.send(r#"{"bucket": "b", "key": "build-1.zip"}"#).await.unwrap();
    let mut first = QueueFeed::new(queue.clone(), SHORT);
    let mut second = QueueFeed::new(queue.clone(), SHORT);
    let delivery = within(LONG, "the message", first.next()).await.unwrap();
    // Held for longer than it would be visible after.
    let waited = tokio::time::timeout(SHORT * 2, second.next()).await;
    assert!(
        waited.is_err(),
        "it was held: {:?}",
        waited.map(|delivery| delivery.map(|d| d.notice))
    );
    let died = Instant::now();
    drop(delivery);
    let again = within(LONG, "the message again", second.next()).await.unwrap();
    assert_eq!(again.notice.key, "build-1.zip");
    assert!(died.elapsed() < Duration::from_secs(20), "{:?}", died.elapsed());
    again.done().await.unwrap();
    tokio::time::sleep(SHORT).await;
    assert_eq!(queue.depth().await.unwrap(), (0, 0), "done with");
    stop(process);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_goes_away_is_listened_to_again_when_it_is_back() {
    let _limit = Limit::start(None);
    let port = stack::free_port();
    let (endpoint, process, _folder) = stack::start_on(port).await;
    make_queue(&endpoint, "builds").await;
    let queue = cloud_at(&endpoint).await.queues().named("builds").await.unwrap();
    let mut feed = QueueFeed::new(queue.clone(), SHORT);
    let listening = tokio::spawn(async move { feed.next().await.map(|delivery| delivery.notice) });
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop(process);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!listening.is_finished());
    let (endpoint, process, _folder) = stack::start_on(port).await;
    make_queue(&endpoint, "builds").await;
    queue.send(r#"{"bucket": "b", "key": "after.zip"}"#).await.unwrap();
    let heard = tokio::time::timeout(Duration::from_secs(40), listening)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        heard,
        Some(BuildNotice {
            bucket: "b".to_owned(),
            key: "after.zip".to_owned()
        })
    );
    stop(process);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_seeds_every_build_of_its_queue_and_goes_on_after_one_that_is_not_there() {
    let (endpoint, process, folder) = stack::start_bare().await;
    let _limit = Limit::start(Some(folder.path()));
    make_queue(&endpoint, "builds").await;
    let cloud = cloud_at(&endpoint).await;
    cloud.buckets().create_if_missing("region-a-builds").await.unwrap();
    let queue = cloud.queues().named("builds").await.unwrap();
    for key in ["one.zip", "two.zip"] {
        cloud
            .buckets()
            .put_bytes("region-a-builds", key, Bytes::from_static(b"a build"))
            .await
            .unwrap();
    }
    for key in ["never-there.zip", "one.zip", "one.zip", "two.zip"] {
        let message = format!(r#"{{"bucket": "region-a-builds", "key": "{key}"}}"#);
        queue.send(&message).await.unwrap();
    }
    let seeder = start_seeder(&endpoint, &folder.path().join("spool"), &[]);
    let mut printed = lines(&seeder, 3);
    let directory: Multiaddr = printed.remove(0).parse().unwrap();
    printed.sort();
    assert!(printed[0].starts_with("one.zip /ip4/127.0.0.1/tcp/"), "{printed:?}");
    assert!(printed[1].starts_with("two.zip /ip4/127.0.0.1/tcp/"), "{printed:?}");
    // A host that follows the directory hears of both.
    let address = directory.clone();
    let mut directory = Directory::follow(Addresses::of([&directory]).unwrap()).unwrap();
    let mut listed = Vec::new();
    while listed.len() < 2 {
        listed = within(LONG, "the directory says something", directory.changed())
            .await
            .unwrap();
    }
    listed.sort_by(|a, b| a.key.cmp(&b.key));
    for (build, line) in listed.iter().zip(&printed) {
        assert_eq!(format!("{} {}", build.key, build.seeders[0]), *line);
    }
    eventually("only the one that is not there is left", || async {
        let (waiting, taken) = queue.depth().await.unwrap();
        (waiting + taken == 1).then_some(())
    })
    .await;
    // Started again it seeds what it has seeded, though no message tells of it, and is the same directory.
    seeder.kill();
    let listen = address.to_string().rsplit_once("/p2p/").unwrap().0.to_owned();
    let seeder = start_seeder_at(&listen, &endpoint, &folder.path().join("spool"), &[]);
    let again = lines(&seeder, 3);
    assert_eq!(again[0], address.to_string());
    assert!(again[1..].iter().any(|line| line.starts_with("one.zip ")), "{again:?}");
    assert!(again[1..].iter().any(|line| line.starts_with("two.zip ")), "{again:?}");
    stop(process);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_build_of_a_seeder_that_is_killed_while_it_pulls_is_taken_up_by_another() {
    let (endpoint, process, folder) = stack::start_bare().await;
    let _limit = Limit::start(Some(folder.path()));
    make_queue(&endpoint, "builds").await;
    let cloud = cloud_at(&endpoint).await;
    cloud.buckets().create_if_missing("region-a-builds").await.unwrap();
    let queue = cloud.queues().named("builds").await.unwrap();
    let build = Bytes::from(vec![7; 128 << 20]);
    let buckets = cloud.buckets();
    buckets.put_bytes("region-a-builds", "large.zip", build).await.unwrap();
    let message = r#"{"bucket": "region-a-builds", "key": "large.zip"}"#;
    queue.send(message).await.unwrap();
    let soon = ["--visible-after", "2"];
    let first = start_seeder(&endpoint, &folder.path().join("first"), &soon);
    eventually("the first is pulling", || async {
        let (_, taken) = queue.depth().await.unwrap();
        (taken == 1).then_some(())
    })
    .await;
    let printed = first.killed();
    assert_eq!(
        printed.len(),
        1,
        "its directory, and no build: it was killed before that"
    );
    let second = start_seeder(&endpoint, &folder.path().join("second"), &soon);
    let line = lines(&second, 2).remove(1);
    assert!(line.starts_with("large.zip /ip4/127.0.0.1/tcp/"), "{line}");
    eventually("nothing is left in the queue", || async {
        (queue.depth().await.unwrap() == (0, 0)).then_some(())
    })
    .await;
    stop(process);
}
