//! The harness on the whole pipeline, at a local stack with the functions as they are deployed: what a user types and sees.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

#[path = "../../lambdas/tests/rig/mod.rs"]
mod rig;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use bytes::Bytes;
use cloud::GLOBAL_BUCKET;
use pipeline::{PipelineClients, Queue, QueueMessage};
use rig::{Stack, eventually};
use serde_json::Value;

async fn stack() -> &'static Stack {
    rig::stack(Path::new(env!("CARGO_BIN_EXE_harness")).parent().unwrap()).await
}

fn command(stack: &Stack, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    command
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .env("AWS_ENDPOINT_URL", &stack.endpoint)
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_REGION", "us-east-1");
    command
}

async fn harness(stack: &Stack, arguments: &[&str]) -> Output {
    let mut command = command(stack, arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Hosts that a debug build on a busy machine can do, in the regions that the stack has.
const SMALL: [&str; 6] = [
    "--set",
    "regions.region-a.hosts=30",
    "--set",
    "regions.region-b.hosts=20",
    "--set",
    "regions.region-b.seeders=2",
];

/// `harness up`, ended with the test.
struct Up(Child);

impl Up {
    fn start(stack: &Stack, more: &[&str]) -> Self {
        let arguments = [&["up", "scenarios/aws-1k.toml"], &SMALL[..], more].concat();
        let child = command(stack, &arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One after the other: they share the queues of the regions.
#[tokio::test(flavor = "multi_thread")]
async fn builds_travel_from_an_upload_to_every_host_and_everything_that_is_printed_agrees() {
    let stack = stack().await;
    everything_is_there(stack).await;
    a_run_tells_of_its_stages(stack).await;
    hosts_that_are_up_get_whatever_is_uploaded(stack).await;
    what_cannot_be_seeded_ends_in_the_dead_letter_queue(stack).await;
    dead_letters_are_told_sent_back_and_dropped(stack).await;
    // Last: what it refuses stays in the queues.
    hosts_that_trust_a_key_get_what_it_has_signed_and_nothing_else(stack).await;
}

async fn everything_is_there(stack: &Stack) {
    let parts = json(&harness(stack, &["doctor", "--format", "json"]).await);
    let parts = parts.as_array().unwrap();
    assert!(
        parts.len() > 15 && parts.iter().all(|part| part["problem"].is_null()),
        "{parts:?}"
    );
    let other = harness(stack, &["doctor", "--regions", "region-a,region-c"]).await;
    assert_eq!(other.status.code(), Some(1));
    assert!(
        stdout(&other).contains("MISSING  bucket region-c-builds"),
        "{}",
        stdout(&other)
    );
    assert!(stderr(&other).contains("get-started"), "{}", stderr(&other));
}

async fn a_run_tells_of_its_stages(stack: &Stack) {
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("run").display().to_string();
    let arguments = [
        "run",
        "scenarios/aws-1k.toml",
        "--cloud",
        "aws",
        "--out",
        &folder,
        "--format",
        "json",
    ];
    let more = [
        "--set",
        "thresholds.everyone=hosts.verified == 50",
        "--set",
        "thresholds.logged=logs.rows == 50",
    ];
    let report = json(&harness(stack, &[&arguments[..], &SMALL[..], &more[..]].concat()).await);
    assert_eq!(
        (&report["hosts"]["verified"], &report["logs"]["rows"]),
        (&50.into(), &50.into())
    );
    let stages = &report["stages"];
    let region = &stages["regions"][1];
    let order = [
        &stages["uploaded_ms"],
        &region["replicated_ms"],
        &region["seeding_ms"],
        &region["first_host_ms"],
        &region["half_ms"],
        &region["last_host_ms"],
    ];
    let times: Vec<f64> = order.iter().map(|time| time.as_f64().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(stages["last_row_ms"].as_f64() >= region["first_host_ms"].as_f64());
    assert!(
        stages["workflow_started_ms"].is_number() && stages["execution"].is_string(),
        "{stages}"
    );
    let imported = report["protocol"]["chunks_imported"].as_u64().unwrap();
    assert!(imported > 0, "the scenario has zones");
}

async fn hosts_that_are_up_get_whatever_is_uploaded(stack: &Stack) {
    let up = Up::start(stack, &[]);
    let builds: Vec<String> = (1..=20).map(|n| format!("up/build-{n}.zip")).collect();
    let uploads = builds.iter().map(|build| async move {
        let uploaded = harness(stack, &["upload", "--size", "300kB", "--build-id", build]).await;
        assert_eq!(uploaded.status.code(), Some(0), "{}", stderr(&uploaded));
    });
    futures::future::join_all(uploads).await;
    for build in &builds {
        let arguments = [
            &["watch", "--build-id", build, "--timeout", "120", "--format", "json"],
            &SMALL[..],
        ]
        .concat();
        let view = json(&harness(stack, &arguments).await);
        assert_eq!(view["replication"], "COMPLETED", "{view}");
        assert_eq!(view["regions"][0]["succeeded"], 30, "{view}");
        assert!(view["regions"][1]["fanout_latency_ms"]["max"].is_number(), "{view}");
        let counted = harness(stack, &["count", "--build-id", build, "--expect", "50"]).await;
        assert_eq!(counted.status.code(), Some(0), "{}", stdout(&counted));
    }
    let executions = json(&harness(stack, &["status", "--count", "50", "--format", "json"]).await);
    for build in &builds {
        let own = executions
            .as_array()
            .unwrap()
            .iter()
            .filter(|execution| execution["build_id"] == **build);
        let own: Vec<&Value> = own.collect();
        assert_eq!(own.len(), 1, "{build}");
        assert_eq!(own[0]["status"], "SUCCEEDED");
    }
    one_id_is_one_build_and_watch_speaks_of_the_one_that_is_there(stack).await;
    // A build that nobody replicates is not waited for without end.
    let lost = [&["watch", "--build-id", "never.zip", "--timeout", "1"], &SMALL[..]].concat();
    assert_eq!(harness(stack, &lost).await.status.code(), Some(3));
    drop(up);
}

async fn hosts_that_trust_a_key_get_what_it_has_signed_and_nothing_else(stack: &Stack) {
    let folder = tempfile::tempdir().unwrap();
    let (key, trust) = (folder.path().join("release.key"), folder.path().join("release.key.pub"));
    let (key, trust) = (key.to_str().unwrap(), trust.to_str().unwrap());
    let made = harness(stack, &["keygen", key]).await;
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    let up = Up::start(stack, &["--trust", trust]);
    for upload in [
        &["upload", "--size", "300kB", "--build-id", "up/unsigned.zip"][..],
        &[
            "upload",
            "--size",
            "300kB",
            "--build-id",
            "up/signed.zip",
            "--sign",
            key,
        ],
    ] {
        let uploaded = harness(stack, upload).await;
        assert_eq!(uploaded.status.code(), Some(0), "{}", stderr(&uploaded));
    }
    let watch = [
        "watch",
        "--build-id",
        "up/signed.zip",
        "--timeout",
        "120",
        "--format",
        "json",
    ];
    let view = json(&harness(stack, &[&watch[..], &SMALL[..]].concat()).await);
    assert_eq!(view["regions"][0]["succeeded"], 30, "{view}");
    assert_eq!(view["regions"][1]["succeeded"], 20, "{view}");
    let counted = harness(stack, &["count", "--build-id", "up/unsigned.zip", "--expect", "0"]).await;
    assert_eq!(counted.status.code(), Some(0), "{}", stdout(&counted));
    drop(up);
}

async fn one_id_is_one_build_and_watch_speaks_of_the_one_that_is_there(stack: &Stack) {
    let upload = [
        "upload",
        "--size",
        "300kB",
        "--build-id",
        "up/build-1.zip",
        "--seed",
        "2",
    ];
    let refused = harness(stack, &upload).await;
    assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("--replace"), "{}", stderr(&refused));
    let first = status_of_one(stack, &[]).await;
    let replaced = harness(stack, &[&upload[..], &["--replace"]].concat()).await;
    assert_eq!(replaced.status.code(), Some(0), "{}", stderr(&replaced));
    // At once, while the rows of the first version are there: a look that counted them would end before the workflow has.
    let watch = [
        &[
            "watch",
            "--build-id",
            "up/build-1.zip",
            "--timeout",
            "120",
            "--format",
            "json",
        ],
        &SMALL[..],
    ]
    .concat();
    let began = std::time::SystemTime::now();
    let view = json(&harness(stack, &watch).await);
    assert_eq!(view["replication"], "COMPLETED", "{view}");
    let logs = stack.cloud().await.deployment_logs();
    let rows = logs.rows("up/build-1.zip").await.unwrap();
    let since = began - Duration::from_secs(5);
    assert!(
        rows.iter().all(|row| row.completed_at >= since),
        "rows of the version before"
    );
    status_speaks_of_one_version(stack, &first).await;
}

/// The one execution of what is meant of a build: as rows name its version, and as the bucket does.
async fn status_of_one(stack: &Stack, version: &[&str]) -> [String; 2] {
    let arguments = ["status", "--build-id", "up/build-1.zip", "--format", "json"];
    let executions = json(&harness(stack, &[&arguments, version].concat()).await);
    assert_eq!(executions.as_array().unwrap().len(), 1, "{executions:#}");
    ["version", "version_id"].map(|name| executions[0][name].as_str().unwrap().to_owned())
}

async fn status_speaks_of_one_version(stack: &Stack, first: &[String; 2]) {
    let newest = status_of_one(stack, &[]).await;
    assert!(newest[0] != first[0] && newest[1] != first[1], "{first:?} {newest:?}");
    for one in [first, &newest] {
        for name in one {
            assert_eq!(status_of_one(stack, &["--version", name]).await, *one);
        }
    }
    let nobodys = ["status", "--build-id", "up/build-1.zip", "--version", "never"];
    let told = stdout(&harness(stack, &nobodys).await);
    assert!(told.contains("version never of up/build-1.zip"), "{told}");
    let alone = harness(stack, &["status", "--version", "never"]).await;
    assert_eq!(alone.status.code(), Some(2));
    assert!(stderr(&alone).contains("--build-id"), "{}", stderr(&alone));
}

/// A message about nothing that is there, and nonsense: each is tried five times. An object that can be no build never comes so
/// far: it has a row that says so.
async fn what_cannot_be_seeded_ends_in_the_dead_letter_queue(stack: &Stack) {
    let cloud = stack.cloud().await;
    let queue = cloud.queues().named("region-a-builds-events").await.unwrap();
    let dead = cloud
        .queues()
        .named("region-a-builds-events-dead-letter")
        .await
        .unwrap();
    cloud
        .buckets()
        .put_bytes(GLOBAL_BUCKET, "empty.zip", Bytes::new())
        .await
        .unwrap();
    queue.send("nonsense").await.unwrap();
    queue
        .send(r#"{"bucket": "region-a-builds", "key": "never-there.zip"}"#)
        .await
        .unwrap();
    let up = Up::start(stack, &[]);
    let mut held = Vec::new();
    for _ in 0..2 {
        let message = eventually("a message in the dead-letter queue", || take(&dead)).await;
        let known = ["nonsense", "never-there.zip"]
            .iter()
            .any(|part| message.body.contains(part));
        assert!(known, "{}", message.body);
        // For who comes next.
        held.push(message);
    }
    drop(up);
    for message in &held {
        dead.extend(message, Duration::ZERO).await.unwrap();
    }
    let refused = eventually("the row of an empty build", || async {
        cloud.tracking().get("empty.zip", GLOBAL_BUCKET).await.unwrap()
    })
    .await;
    assert_eq!(refused.status, "REFUSED");
    let watched = [&["watch", "--build-id", "empty.zip", "--timeout", "60"], &SMALL[..]].concat();
    let watched = harness(stack, &watched).await;
    assert_eq!(watched.status.code(), Some(3), "{}", stdout(&watched));
    assert!(stdout(&watched).contains("REFUSED"), "{}", stdout(&watched));
}

async fn take(queue: &Queue) -> Option<QueueMessage> {
    let taken = queue.take(Duration::from_secs(1), Duration::from_secs(600)).await;
    taken.unwrap()
}

/// The two messages of before, and two events that functions refuse: one that is nonsense, and one of a bucket of no region.
async fn dead_letters_are_told_sent_back_and_dropped(stack: &Stack) {
    let letters = async |arguments: &[&str]| {
        let arguments = [&["dead-letters"], arguments].concat();
        harness(stack, &arguments).await
    };
    let list = async || {
        let listed = json(&letters(&["list", "--format", "json"]).await);
        let of = |queue: &Value| (queue["queue"].as_str().unwrap().to_owned(), queue["messages"].clone());
        let counts: BTreeMap<String, Value> = listed.as_array().unwrap().iter().map(of).collect();
        counts
    };
    let counts = list().await;
    let expected = [
        ("lambda-dead-letter", 0),
        ("region-a-builds-events-dead-letter", 2),
        ("region-b-builds-events-dead-letter", 0),
    ];
    assert_eq!(
        counts,
        expected.map(|(queue, count)| (queue.to_owned(), count.into())).into()
    );

    two_are_shown_with_their_reasons(stack).await;

    // Whoever looks takes nothing away, and takes it from nobody.
    assert_eq!(list().await["region-a-builds-events-dead-letter"], 2);
    let shown = json(&letters(&["show", "--format", "json"]).await);
    let shown = shown.as_array().unwrap();
    assert_eq!(shown.len(), 2);
    let nonsense = shown.iter().find(|letter| letter["body"] == "nonsense").unwrap();
    let nonsense = nonsense["id"].as_str().unwrap();

    // Away goes only what is named, or all with --yes.
    let without = letters(&["drop"]).await;
    assert_eq!(without.status.code(), Some(2), "{}", stderr(&without));
    assert!(stderr(&without).contains("--yes"), "{}", stderr(&without));
    let unknown = letters(&["drop", "00000000-no-such-id"]).await;
    assert_eq!(unknown.status.code(), Some(1), "{}", stderr(&unknown));
    assert!(stderr(&unknown).contains("00000000-no-such-id"), "{}", stderr(&unknown));
    let short = letters(&["drop", "0"]).await;
    assert_eq!(short.status.code(), Some(2), "{}", stderr(&short));
    let other = letters(&["show", "--queue", "region-c"]).await;
    assert_eq!(other.status.code(), Some(2), "{}", stderr(&other));
    assert!(
        stderr(&other).contains("region-a-builds-events-dead-letter"),
        "{}",
        stderr(&other)
    );
    let dropped = letters(&["drop", &nonsense[..8]]).await;
    assert_eq!(dropped.status.code(), Some(0), "{}", stderr(&dropped));
    assert_eq!(stdout(&dropped), format!("{nonsense}  dropped\n"));

    // What is sent back is in the queue that it came from, and no more here.
    let back = letters(&["retry"]).await;
    assert_eq!(back.status.code(), Some(0), "{}", stderr(&back));
    assert!(
        stdout(&back).contains("sent back to queue region-a-builds-events\n"),
        "{}",
        stdout(&back)
    );
    assert_eq!(list().await["region-a-builds-events-dead-letter"], 0);
    let source = stack
        .cloud()
        .await
        .queues()
        .named("region-a-builds-events")
        .await
        .unwrap();
    let again = eventually("the message that was sent back", || take(&source)).await;
    assert!(again.body.contains("never-there.zip"), "{}", again.body);
    // Whoever else asked the queue in between may have had it first.
    assert!(
        again.taken_up < 5,
        "it begins anew with its five attempts: {}",
        again.taken_up
    );
    source.delete(&again).await.unwrap();

    events_that_functions_refused_go_back_to_them(stack).await;
}

async fn two_are_shown_with_their_reasons(stack: &Stack) {
    let shown = harness(stack, &["dead-letters", "show"]).await;
    assert_eq!(shown.status.code(), Some(0), "{}", stderr(&shown));
    for part in [
        "  in region-a-builds-events-dead-letter\n",
        "    nonsense\n",
        "it is no notice of a build: not an event of S3: not JSON",
        "    never-there.zip, in bucket region-a-builds\n",
        "there is no never-there.zip in bucket region-a-builds, or it has been deleted",
        "    taken up ",
    ] {
        assert!(stdout(&shown).contains(part), "{part:?} in {}", stdout(&shown));
    }
}

async fn events_that_functions_refused_go_back_to_them(stack: &Stack) {
    let cloud = stack.cloud().await;
    let dead = cloud.queues().named("lambda-dead-letter").await.unwrap();
    // As AWS leaves them: the event itself.
    let event = |bucket: &str, key: &str| {
        let object =
            serde_json::json!({"bucket": {"name": bucket}, "object": {"key": key, "size": 3, "versionId": "v1"}});
        serde_json::json!({"Records": [{"eventName": "ObjectCreated:Put", "s3": object}]}).to_string()
    };
    dead.send(&event("region-a-builds", "sent+back.zip")).await.unwrap();
    dead.send(&event("of-nobody", "lost.zip")).await.unwrap();
    let tried = harness(stack, &["dead-letters", "retry", "--format", "json"]).await;
    assert_eq!(tried.status.code(), Some(4), "{}", stderr(&tried));
    let tried: Value = serde_json::from_slice(&tried.stdout).unwrap();
    let of = |key: &str| {
        let mut letters = tried.as_array().unwrap().iter();
        letters.find(|letter| letter["builds"][0]["key"] == key).unwrap()
    };
    let back = of("sent back.zip");
    assert_eq!(
        (&back["outcome"], &back["sent_back_to"], &back["builds"][0]["version"]),
        (&"retried".into(), &"function regional-sync".into(), &"v1".into())
    );
    let stays = of("lost.zip");
    assert_eq!(stays["outcome"], "stays", "{stays}");
    assert!(
        stays["error"].as_str().unwrap().contains("can only be dropped"),
        "{stays}"
    );
    // The function was called: it tells the seeders.
    let source = cloud.queues().named("region-a-builds-events").await.unwrap();
    let told = eventually("what regional-sync tells the seeders", || take(&source)).await;
    assert!(told.body.contains("sent back.zip"), "{}", told.body);
    source.delete(&told).await.unwrap();
    let dropped = harness(
        stack,
        &["dead-letters", "drop", "--yes", "--queue", "lambda-dead-letter"],
    )
    .await;
    assert_eq!(dropped.status.code(), Some(0), "{}", stderr(&dropped));
    let left = harness(stack, &["dead-letters", "show"]).await;
    assert_eq!(stdout(&left), "no dead letters\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_down_and_an_empty_one_are_told_with_what_to_do() {
    let (endpoint, mut process, _folder) = rig::start_bare().await;
    let run = |arguments: &[&str], endpoint: String| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
        command
            .args(arguments)
            .args(["--endpoint-url", &endpoint])
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test");
        async move {
            tokio::task::spawn_blocking(move || command.output().unwrap())
                .await
                .unwrap()
        }
    };
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("run").display().to_string();
    let arguments = ["run", "scenarios/aws-1k.toml", "--cloud", "aws", "--out", &folder];
    let empty = run(&arguments, endpoint.clone()).await;
    assert_eq!(empty.status.code(), Some(4), "{}", stderr(&empty));
    assert!(stderr(&empty).contains("file-copy-workflow"), "{}", stderr(&empty));
    let status = run(&["status"], endpoint.clone()).await;
    assert!(stderr(&status).contains("harness doctor"), "{}", stderr(&status));
    let upload = run(&["upload", "--size", "1kB", "--build-id", "a.zip"], endpoint.clone()).await;
    assert_eq!(upload.status.code(), Some(4));
    assert!(stderr(&upload).contains("global-builds"), "{}", stderr(&upload));
    process.kill().unwrap();
    process.wait().unwrap();
    let down = run(&["doctor"], endpoint).await;
    assert_eq!(down.status.code(), Some(1));
    assert!(
        stdout(&down).contains("UNSEEN   bucket global-builds"),
        "{}",
        stdout(&down)
    );
    for (arguments, message) in [
        (&["upload"][..], "--size"),
        (&["upload", "--size", "64"][..], "unit"),
        (&["upload", "--size", "1kB", "--build-id", "a b"][..], "A-Z"),
        (&["upload", "/no/such/file"][..], "/no/such/file"),
        (&["watch", "no-such-scenario.toml"][..], "no-such-scenario.toml"),
    ] {
        let bad = Command::new(env!("CARGO_BIN_EXE_harness"))
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(bad.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&bad).contains(message), "{}", stderr(&bad));
    }
}
