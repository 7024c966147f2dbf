//! The state machine as it is deployed, executed by a local stack: what it copies, what it says, where it ends.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod rig;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use cloud::{Cloud, Tracking};
use pipeline::{Execution, PipelineClients, Queue, Started};
use rig::{Stack, eventually};
use serde_json::{Value, json};

async fn stack() -> &'static Stack {
    rig::stack(Path::new(env!("CARGO_BIN_EXE_build-worker")).parent().unwrap()).await
}

/// Starts an execution and waits for its end.
async fn execute(stack: &Stack, cloud: &Cloud, name: &str, input: &Value) -> Execution {
    let arn = &stack.provisioned.state_machine_arn;
    let Started::New { arn } = cloud.workflow().start(arn, name, input).await.unwrap() else {
        panic!("{name} was there already");
    };
    eventually(name, || async {
        let execution = cloud.workflow().describe(&arn).await.unwrap();
        (execution.status != "RUNNING").then_some(execution)
    })
    .await
}

fn input(key: &str, buckets: &[&str]) -> Value {
    json!({"sourceBucket": "builds-of-tests", "sourceKey": key, "destinationBuckets": buckets})
}

/// Not the global bucket, whose uploads start executions of their own.
async fn upload(cloud: &Cloud, key: &str, bytes: &[u8]) {
    cloud.buckets().create_if_missing("builds-of-tests").await.unwrap();
    let bytes = Bytes::copy_from_slice(bytes);
    cloud.buckets().put_bytes("builds-of-tests", key, bytes).await.unwrap();
}

async fn buckets(cloud: &Cloud, names: &[&str]) {
    for name in names {
        cloud.buckets().create_if_missing(name).await.unwrap();
    }
}

async fn content(cloud: &Cloud, bucket: &str, key: &str) -> Bytes {
    let object = cloud.buckets().head(bucket, key).await.unwrap();
    cloud.buckets().get_range(&object, 0..object.size).await.unwrap()
}

async fn tracked(cloud: &Cloud, key: &str) -> Tracking {
    let row = cloud.tracking().get(key, "builds-of-tests").await.unwrap();
    row.unwrap_or_else(|| panic!("{key} has no row"))
}

/// A queue that hears what the topic of failures is told.
async fn failures(stack: &Stack, cloud: &Cloud, name: &str) -> Queue {
    let shared = shared(stack).await;
    let (sqs, sns) = (aws_sdk_sqs::Client::new(&shared), aws_sdk_sns::Client::new(&shared));
    sqs.create_queue().queue_name(name).send().await.unwrap();
    let arn = format!("arn:aws:sqs:us-east-1:000000000000:{name}");
    let topic = &stack.provisioned.topic_arn;
    sns.subscribe()
        .topic_arn(topic)
        .protocol("sqs")
        .endpoint(arn)
        .send()
        .await
        .unwrap();
    cloud.queues().named(name).await.unwrap()
}

/// The message about a build.
async fn told(queue: &Queue, key: &str) -> String {
    eventually("a message of the topic", || async {
        let taken = queue
            .take(Duration::from_secs(1), Duration::from_secs(60))
            .await
            .unwrap()?;
        let envelope: Value = serde_json::from_str(&taken.body).unwrap();
        let message = envelope["Message"].as_str().unwrap().to_owned();
        message.contains(key).then_some(message)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_copies_go_well() {
    let (stack, key) = (stack().await, "dir/all+good 1.zip");
    let cloud = stack.cloud().await;
    buckets(&cloud, &["good-one", "good-two", "good-three"]).await;
    upload(&cloud, key, b"a build").await;
    let execution = execute(
        stack,
        &cloud,
        "all-good",
        &input(key, &["good-one", "good-two", "good-three"]),
    )
    .await;
    assert_eq!(execution.status, "SUCCEEDED", "{:?}", execution.error);
    for bucket in ["good-one", "good-two", "good-three"] {
        assert_eq!(content(&cloud, bucket, key).await, "a build");
    }
    let row = tracked(&cloud, key).await;
    assert_eq!((row.status.as_str(), row.execution_id), ("COMPLETED", execution.arn));
    assert_eq!(row.successful_buckets, ["good-one", "good-two", "good-three"]);
    assert_eq!(row.root, None, "nobody has signed it");
    assert!(row.failed_buckets.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_does_not_exist_does_not_stop_the_others_and_is_told_by_name() {
    let (stack, key) = (stack().await, "partial.zip");
    let cloud = stack.cloud().await;
    let queue = failures(stack, &cloud, "failures-partial").await;
    buckets(&cloud, &["partial-one", "partial-two"]).await;
    upload(&cloud, key, b"a build").await;
    let destinations = ["partial-one", "no-such-bucket", "partial-two"];
    let execution = execute(stack, &cloud, "partial", &input(key, &destinations)).await;
    assert_eq!(execution.status, "FAILED");
    let (error, cause) = execution.error.unwrap();
    assert_eq!(error, "SomeCopiesFailed");
    assert!(cause.contains("1 of 3") && cause.contains("no-such-bucket"), "{cause}");
    assert_eq!(content(&cloud, "partial-two", key).await, "a build");
    let row = tracked(&cloud, key).await;
    assert_eq!(row.status, "PARTIAL_FAILURE");
    assert_eq!(row.successful_buckets, ["partial-one", "partial-two"]);
    assert_eq!(row.failed_buckets, ["no-such-bucket"]);
    let message = told(&queue, key).await;
    for part in [key, "1 of 3", "no-such-bucket", &execution.arn, "FileCopyTracking"] {
        assert!(message.contains(part), "{part} in {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_no_copy_goes_well_all_are_told() {
    let (stack, key) = (stack().await, "all-bad.zip");
    let cloud = stack.cloud().await;
    upload(&cloud, key, b"a build").await;
    let execution = execute(stack, &cloud, "all-bad", &input(key, &["no-such-1", "no-such-2"])).await;
    assert_eq!(execution.error.unwrap().0, "SomeCopiesFailed");
    let row = tracked(&cloud, key).await;
    assert_eq!(row.status, "FAILED");
    assert_eq!(row.failed_buckets, ["no-such-1", "no-such-2"]);
    assert!(row.successful_buckets.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_was_deleted_before_the_copy_is_told() {
    let (stack, key) = (stack().await, "never-there.zip");
    let cloud = stack.cloud().await;
    upload(&cloud, "something-else.zip", b"x").await;
    buckets(&cloud, &["deleted-one"]).await;
    let execution = execute(stack, &cloud, "deleted", &input(key, &["deleted-one"])).await;
    let (error, cause) = execution.error.unwrap();
    assert_eq!(error, "SomeCopiesFailed");
    assert!(cause.contains("deleted-one: ObjectMissing"), "{cause}");
    assert_eq!(tracked(&cloud, key).await.status, "FAILED");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_is_not_valid_copies_nothing_and_is_told() {
    let stack = stack().await;
    let cloud = stack.cloud().await;
    let queue = failures(stack, &cloud, "failures-input").await;
    for (name, input) in [
        (
            "no-destinations",
            json!({"sourceBucket": "b", "sourceKey": "invalid-1.zip", "destinationBuckets": []}),
        ),
        (
            "no-key",
            json!({"sourceBucket": "invalid-2", "destinationBuckets": ["x"]}),
        ),
        (
            "not-a-list",
            json!({"sourceBucket": "b", "sourceKey": "invalid-3.zip", "destinationBuckets": "x"}),
        ),
        ("nothing", json!({})),
        (
            "onto-itself",
            json!({"sourceBucket": "b", "sourceKey": "invalid-4.zip", "destinationBuckets": ["c", "b"]}),
        ),
        (
            "twice",
            json!({"sourceBucket": "b", "sourceKey": "invalid-5.zip", "destinationBuckets": ["c", "c"]}),
        ),
    ] {
        let execution = execute(stack, &cloud, name, &input).await;
        assert_eq!(execution.status, "FAILED", "{name}");
        let (error, cause) = execution.error.unwrap();
        assert_eq!(error, "SomeCopiesFailed", "{cause}");
        assert!(cause.contains("not valid"), "{name}: {cause}");
    }
    for key in ["invalid-1.zip", "invalid-4.zip"] {
        let row = cloud
            .tracking()
            .get(key, "b")
            .await
            .unwrap()
            .expect("a refusal has a row");
        assert_eq!(row.status, "REFUSED", "{key}");
    }
    assert!(told(&queue, "invalid-1.zip").await.contains("destinationBuckets"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_above_the_limit_of_a_single_copy_is_copied_in_parts() {
    let (stack, key) = (stack().await, "large/build.zip");
    let cloud = stack.cloud().await;
    buckets(&cloud, &["parts-one", "parts-two"]).await;
    let build: Vec<u8> = (0..12 << 20).map(|n: u32| (n % 251) as u8).collect();
    upload(&cloud, key, &build).await;
    let mut input = input(key, &["parts-one", "parts-two", "no-such-bucket"]);
    // S3's own limits are 5 GiB and parts of at least 5 MiB.
    input["singleCopyBytesMax"] = (8 << 20).into();
    input["partBytes"] = (5 << 20).into();
    let execution = execute(stack, &cloud, "in-parts", &input).await;
    let (_, cause) = execution.error.unwrap();
    assert!(cause.contains("1 of 3"), "{cause}");
    for bucket in ["parts-one", "parts-two"] {
        assert!(content(&cloud, bucket, key).await == build, "{bucket}");
        // An upload in parts has an ETag that tells how many.
        let etag = cloud.buckets().head(bucket, key).await.unwrap().etag;
        assert!(etag.trim_matches('"').ends_with("-3"), "{etag}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_of_no_bytes_is_copied_like_any_other() {
    let (stack, key) = (stack().await, "empty.zip");
    let cloud = stack.cloud().await;
    buckets(&cloud, &["empty-one"]).await;
    upload(&cloud, key, b"").await;
    let execution = execute(stack, &cloud, "empty", &input(key, &["empty-one"])).await;
    assert_eq!(execution.status, "SUCCEEDED", "{:?}", execution.error);
    assert_eq!(cloud.buckets().head("empty-one", key).await.unwrap().size, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_topic_cannot_be_told_the_execution_ends_as_notification_failed() {
    let (stack, key) = (stack().await, "untold.zip");
    let cloud = stack.cloud().await;
    upload(&cloud, key, b"a build").await;
    let definition = include_str!("../../../terraform/step_function_definition.json")
        .replace("${partition}", "aws")
        .replace("${tracking_table}", cloud::TRACKING_TABLE)
        .replace(
            "${region_copier_arn}",
            "arn:aws:lambda:us-east-1:000000000000:function:region-copier",
        )
        .replace(
            "${failure_topic_arn}",
            "arn:aws:sns:us-east-1:000000000000:no-such-topic",
        );
    let sfn = aws_sdk_sfn::Client::new(&shared(stack).await);
    let made = sfn
        .create_state_machine()
        .name("without-a-topic")
        .definition(definition)
        .role_arn("arn:aws:iam::000000000000:role/tests")
        .send()
        .await
        .unwrap();
    let arn = made.state_machine_arn;
    let Started::New { arn } = cloud
        .workflow()
        .start(&arn, "untold", &input(key, &["no-such-bucket"]))
        .await
        .unwrap()
    else {
        panic!("it was there already");
    };
    let execution = eventually("the end", || async {
        let execution = cloud.workflow().describe(&arn).await.unwrap();
        (execution.status != "RUNNING").then_some(execution)
    })
    .await;
    let (error, cause) = execution.error.unwrap();
    assert_eq!(error, "NotificationFailed");
    assert!(cause.contains("no-such-bucket"), "{cause}");
    assert_eq!(
        tracked(&cloud, key).await.status,
        "FAILED",
        "the row tells all the same"
    );
}

async fn shared(stack: &Stack) -> aws_config::SdkConfig {
    aws_config::defaults(aws_config::BehaviorVersion::latest())
        .region("us-east-1")
        .endpoint_url(&stack.endpoint)
        .credentials_provider(aws_sdk_sns::config::Credentials::new(
            "test", "test", None, None, "test",
        ))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .load()
        .await
}
