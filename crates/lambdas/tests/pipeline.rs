//! The whole pipeline on a local stack, with the functions as they are deployed: from an upload or a request to the queues
//! of the regions' seeders, by events alone.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod rig;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use cloud::{Cloud, GLOBAL_BUCKET};
use lambdas::pipeline_action::{Reports, handle_job};
use pipeline::{PipelineClients, Queue};
use rig::{Stack, eventually};
use serde_json::{Value, json};

async fn stack() -> &'static Stack {
    rig::stack(Path::new(env!("CARGO_BIN_EXE_build-worker")).parent().unwrap()).await
}

async fn upload(cloud: &Cloud, key: &str, bytes: &'static [u8]) {
    let bytes = Bytes::from_static(bytes);
    cloud.buckets().put_bytes(GLOBAL_BUCKET, key, bytes).await.unwrap();
}

/// Waits until a build is in the buckets of all regions.
async fn replicated(cloud: &Cloud, key: &str) {
    for bucket in ["region-a-builds", "region-b-builds"] {
        eventually(&format!("{key} in {bucket}"), || async {
            let objects = cloud.buckets();
            objects.head(bucket, key).await.ok()
        })
        .await;
    }
    eventually("the end of the execution", || async {
        let row = cloud.tracking().get(key, GLOBAL_BUCKET).await.unwrap()?;
        (row.status == "COMPLETED").then_some(())
    })
    .await;
}

/// Executions whose input names the key.
async fn executions(stack: &Stack, cloud: &Cloud, key: &str) -> Vec<pipeline::Execution> {
    let workflow = cloud.workflow();
    let mut found = Vec::new();
    for execution in workflow.list(&stack.provisioned.state_machine_arn, 1000).await.unwrap() {
        let described = workflow.describe(&execution.arn).await.unwrap();
        let input: Value = serde_json::from_str(described.input.as_deref().unwrap()).unwrap();
        if input["sourceKey"] == key {
            found.push(described);
        }
    }
    found
}

/// Waits until the queue has told of all these keys.
async fn keys_told(queue: &Queue, wanted: &[&str]) {
    let told: Mutex<Vec<String>> = Mutex::default();
    eventually(&format!("{wanted:?} in queue {}", queue.name()), || async {
        if let Some(message) = queue
            .take(Duration::from_secs(1), Duration::from_secs(1))
            .await
            .unwrap()
        {
            let body: Value = serde_json::from_str(&message.body).unwrap();
            told.lock().unwrap().push(body["key"].as_str().unwrap().to_owned());
        }
        let told = told.lock().unwrap();
        wanted
            .iter()
            .all(|key| told.iter().any(|other| other == key))
            .then_some(())
    })
    .await;
}

async fn post(stack: &Stack, path: &str, body: &str) -> (u16, Value) {
    let (status, answer) = rig::post(&stack.url(path), body).await;
    (status, serde_json::from_str(&answer).unwrap_or(Value::Null))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_reaches_the_regions_and_their_seeders_by_events_alone() {
    let stack = stack().await;
    let cloud = stack.cloud().await;
    for key in ["plain.zip", "dir/my build+1.zip"] {
        upload(&cloud, key, b"a build").await;
        replicated(&cloud, key).await;
        let executions = executions(stack, &cloud, key).await;
        assert_eq!(executions.len(), 1, "{key}");
        assert_eq!(executions[0].status, "SUCCEEDED");
    }
    for region in ["region-a", "region-b"] {
        let queue = cloud.queues().named(&cloud.region_queue(region)).await.unwrap();
        keys_told(&queue, &["plain.zip", "dir/my build+1.zip"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_twice_or_late_starts_nothing_and_a_new_version_does() {
    let stack = stack().await;
    let cloud = stack.cloud().await;
    let lambda = lambda(stack).await;
    let key = "twice.zip";
    upload(&cloud, key, b"version 1").await;
    replicated(&cloud, key).await;
    let first = executions(stack, &cloud, key).await;
    let input: Value = serde_json::from_str(first[0].input.as_deref().unwrap()).unwrap();
    upload(&cloud, key, b"version 2").await;
    eventually("an execution for the second version", || async {
        (executions(stack, &cloud, key).await.len() == 2).then_some(())
    })
    .await;
    // The first event again, after the second.
    let object = cloud.buckets().head(GLOBAL_BUCKET, key).await.unwrap();
    let event = json!({"Records": [{"eventName": "ObjectCreated:Put", "s3": {
        "bucket": {"name": GLOBAL_BUCKET},
        "object": {"key": key, "size": 9, "eTag": object.etag, "versionId": input["sourceVersionId"]}}}]});
    for _ in 0..2 {
        let payload = aws_sdk_lambda::primitives::Blob::new(event.to_string());
        let request = lambda.invoke().function_name("replication-worker").payload(payload);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.function_error, None, "{:?}", answer.payload);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(executions(stack, &cloud, key).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_builds_at_once_are_twenty_executions_none_lost_and_none_twice() {
    let stack = stack().await;
    let cloud = stack.cloud().await;
    let keys: Vec<String> = (0..20).map(|n| format!("many/build-{n}.zip")).collect();
    let uploads = keys.iter().map(|key| upload(&cloud, key, b"one of twenty"));
    futures::future::join_all(uploads).await;
    for key in &keys {
        replicated(&cloud, key).await;
    }
    let mut inputs: BTreeMap<String, u32> = BTreeMap::new();
    for execution in cloud
        .workflow()
        .list(&stack.provisioned.state_machine_arn, 1000)
        .await
        .unwrap()
    {
        let described = cloud.workflow().describe(&execution.arn).await.unwrap();
        let input: Value = serde_json::from_str(described.input.as_deref().unwrap()).unwrap();
        *inputs
            .entry(input["sourceKey"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    for key in &keys {
        assert_eq!(inputs.get(key), Some(&1), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_posted_commit_becomes_a_build_in_every_region() {
    let stack = stack().await;
    let cloud = stack.cloud().await;
    let (status, answer) = post(stack, "builds", r#"{"commit": "abc123", "sizeBytes": 70000}"#).await;
    assert_eq!(
        (status, answer["buildId"].as_str()),
        (202, Some("build-abc123.zip")),
        "{answer}"
    );
    replicated(&cloud, "build-abc123.zip").await;
    let copy = cloud
        .buckets()
        .head("region-b-builds", "build-abc123.zip")
        .await
        .unwrap();
    assert_eq!(copy.size, 70_000);
    let (status, answer) = post(stack, "builds", r#"{"commit": "again", "object": "build-abc123.zip"}"#).await;
    assert_eq!(status, 202, "{answer}");
    replicated(&cloud, "build-again.zip").await;

    for (path, body, expected) in [
        ("builds", "{", "not JSON"),
        ("builds", "{}", "commit"),
        (
            "builds",
            r#"{"commit": "x", "object": "never-there.zip"}"#,
            "there is no",
        ),
        ("deploy", r#"{"buildId": "never-there.zip"}"#, "there is no"),
        ("deploy", r#"{"build": "x"}"#, "not known"),
        ("step-function", r#"{"sourceBucket": "b"}"#, "sourceKey"),
        ("step-function", "[]", "object"),
    ] {
        let (status, answer) = post(stack, path, body).await;
        assert_eq!(status, 400, "{path} {body}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(expected), "{answer}");
    }
    for (path, body) in [
        ("deploy", json!({"buildId": "build-abc123.zip"})),
        ("deploy", json!({})),
        (
            "step-function",
            json!({"sourceBucket": GLOBAL_BUCKET, "sourceKey": "build-abc123.zip", "destinationBuckets": ["region-a-builds"]}),
        ),
    ] {
        let (status, answer) = post(stack, path, &body.to_string()).await;
        assert_eq!(status, 202, "{path}: {answer}");
        let arn = answer["executionArn"].as_str().unwrap();
        let ended = eventually(path, || async {
            let execution = cloud.workflow().describe(arn).await.unwrap();
            (execution.status != "RUNNING").then_some(execution)
        })
        .await;
        assert_eq!(ended.status, "SUCCEEDED", "{:?}", ended.error);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_makes_no_sense_ends_in_the_dead_letter_queue() {
    let stack = stack().await;
    let cloud = stack.cloud().await;
    let lambda = lambda(stack).await;
    for function in ["replication-worker", "regional-sync"] {
        let payload = || aws_sdk_lambda::primitives::Blob::new(r#"{"Records": [{"nonsense": true}]}"#);
        let answer = lambda
            .invoke()
            .function_name(function)
            .payload(payload())
            .send()
            .await
            .unwrap();
        assert!(answer.function_error.is_some(), "{function}");
        let request = lambda.invoke().function_name(function).payload(payload());
        request
            .invocation_type(aws_sdk_lambda::types::InvocationType::Event)
            .send()
            .await
            .unwrap();
    }
    let queue = cloud.queues().named("lambda-dead-letter").await.unwrap();
    for _ in 0..2 {
        let message = eventually("an event in the dead-letter queue", || async {
            queue
                .take(Duration::from_secs(1), Duration::from_secs(60))
                .await
                .unwrap()
        })
        .await;
        assert!(message.body.contains("nonsense"), "{}", message.body);
    }
}

#[derive(Default)]
struct Recorded(Mutex<Vec<(String, String)>>);

impl Reports for Recorded {
    async fn succeed(&self, job: &str, token: Option<&str>) -> Result<(), lambdas::Failure> {
        self.0
            .lock()
            .unwrap()
            .push((job.to_owned(), token.unwrap_or("done").to_owned()));
        Ok(())
    }

    async fn fail(
        &self,
        job: &str,
        kind: &str,
        message: &str,
        _execution: Option<&str>,
    ) -> Result<(), lambdas::Failure> {
        self.0
            .lock()
            .unwrap()
            .push((job.to_owned(), format!("failed: {kind}: {message}")));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_pipeline_follows_the_execution_that_it_starts() {
    let stack = stack().await;
    let cloud = stack.cloud().await;
    let arn = stack.provisioned.state_machine_arn.clone();
    upload(&cloud, "of-a-pipeline.zip", b"a build").await;
    let input = |bucket: &str| {
        json!({"sourceBucket": GLOBAL_BUCKET, "sourceKey": "of-a-pipeline.zip", "destinationBuckets": [bucket]})
            .to_string()
    };
    cloud.buckets().create_if_missing("pipeline-inputs").await.unwrap();
    // Its deploy.json is the good input.
    let zip = Bytes::from_static(include_bytes!("events/artifact.zip"));
    cloud
        .buckets()
        .put_bytes("pipeline-inputs", "artifact", zip)
        .await
        .unwrap();
    for (key, text) in [
        ("good.json", input("region-a-builds")),
        ("bad-bucket.json", input("no-such-bucket")),
        ("nonsense.json", "{\"sourceBucket\": 1}".to_owned()),
    ] {
        let bytes = Bytes::from(text);
        cloud.buckets().put_bytes("pipeline-inputs", key, bytes).await.unwrap();
    }
    let reports = Recorded::default();
    let invoke = async |id: &str, key: &str, token: Option<&str>| {
        // By its input artifact, as in a pipeline, which has no more to say than the file in it; or by parameters.
        let (artifact, file) = key.split_once('!').unwrap_or((key, ""));
        let parameters = match file {
            "" => json!({"bucket": "pipeline-inputs", "key": key}).to_string(),
            file => json!({ "file": file }).to_string(),
        };
        let location = json!({"s3Location": {"bucketName": "pipeline-inputs", "objectKey": artifact}});
        let mut event = json!({"CodePipeline.job": {"id": id, "data": {
            "actionConfiguration": {"configuration": {"UserParameters": parameters}},
            "inputArtifacts": [{"name": "build", "location": location}]}}});
        if let Some(token) = token {
            event["CodePipeline.job"]["data"]["continuationToken"] = token.into();
        }
        handle_job(&cloud, &event, &arn, &reports).await.unwrap();
        reports.0.lock().unwrap().last().unwrap().1.clone()
    };
    for (id, key, end) in [
        ("job-1", "good.json", "done"),
        ("job-2", "bad-bucket.json", "failed: "),
        ("job-0", "artifact!deploy.json", "done"),
    ] {
        let token = invoke(id, key, None).await;
        assert!(token.starts_with("arn:aws:states:"), "{token}");
        assert_eq!(invoke(id, key, None).await, token, "invoked twice, it starts once");
        let said = eventually(id, || async {
            let said = invoke(id, key, Some(&token)).await;
            (said != token).then_some(said)
        })
        .await;
        assert!(said.starts_with(end), "{said}");
    }
    let said = invoke("job-3", "nonsense.json", None).await;
    assert!(said.contains("sourceBucket"), "{said}");
    let said = invoke("job-5", "artifact!prod.json", None).await;
    assert!(
        said.contains("Configuration") && said.contains("without prod.json: it has README.md, deploy.json"),
        "{said}"
    );
    let said = invoke("job-4", "never-there.json", None).await;
    assert!(
        said.contains("never-there.json is not in bucket pipeline-inputs"),
        "{said}"
    );
}

/// A build that was uploaded before the job: its event has begun the copies, or is about to.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_names_a_version_follows_what_its_upload_has_begun_and_nothing_is_copied_twice() {
    let stack = stack().await;
    let cloud = stack.cloud().await;
    let arn = stack.provisioned.state_machine_arn.clone();
    cloud.buckets().create_if_missing("pipeline-versions").await.unwrap();
    let put = async |key: &str, version: &str, bucket: &str| {
        let input = json!({"sourceBucket": GLOBAL_BUCKET, "sourceKey": key, "sourceVersionId": version,
            "destinationBuckets": [bucket]});
        let bytes = Bytes::from(input.to_string());
        cloud
            .buckets()
            .put_bytes("pipeline-versions", "deploy.json", bytes)
            .await
            .unwrap();
    };
    let reports = Recorded::default();
    let invoke = async |id: &str, token: Option<&str>| {
        let mut event = json!({"CodePipeline.job": {"id": id, "data": {"inputArtifacts": [
            {"location": {"s3Location": {"bucketName": "pipeline-versions", "objectKey": "deploy.json"}}}]}}});
        if let Some(token) = token {
            event["CodePipeline.job"]["data"]["continuationToken"] = token.into();
        }
        handle_job(&cloud, &event, &arn, &reports).await.unwrap();
        reports.0.lock().unwrap().last().unwrap().1.clone()
    };
    let followed = async |id: &str| {
        let mut said = invoke(id, None).await;
        eventually(id, || async {
            cloud
                .workflow()
                .describe(&said)
                .await
                .map_or(Some(()), |execution| (execution.status != "RUNNING").then_some(()))
        })
        .await;
        if said.starts_with("arn:") {
            said = invoke(id, Some(&said)).await;
        }
        said
    };
    upload(&cloud, "followed.zip", b"a build").await;
    let version = cloud.buckets().head_version(GLOBAL_BUCKET, "followed.zip", None).await;
    let version = version.unwrap().version_id.unwrap();
    put("followed.zip", &version, "region-a-builds").await;
    eventually("what the upload has begun", || async {
        (!executions(stack, &cloud, "followed.zip").await.is_empty()).then_some(())
    })
    .await;
    assert_eq!(followed("job-followed").await, "done");
    replicated(&cloud, "followed.zip").await;
    // Once more when all has ended: there is nothing to do.
    assert_eq!(invoke("job-late", None).await, "done");
    assert_eq!(executions(stack, &cloud, "followed.zip").await.len(), 1);
    // A job that comes before the event, and wants one region, keeps the build from no other.
    upload(&cloud, "early.zip", b"a build").await;
    let version = cloud.buckets().head_version(GLOBAL_BUCKET, "early.zip", None).await;
    let version = version.unwrap().version_id.unwrap();
    put("early.zip", &version, "region-a-builds").await;
    assert_eq!(followed("job-early").await, "done");
    replicated(&cloud, "early.zip").await;
    // What has failed is done again by the next job, and by each job once.
    put("never-uploaded.zip", "no-such-version", "region-a-builds").await;
    for (job, count) in [("job-first", 1), ("job-again", 2)] {
        let said = followed(job).await;
        assert!(said.starts_with("failed: ExecutionFailed"), "{said}");
        assert_eq!(
            executions(stack, &cloud, "never-uploaded.zip").await.len(),
            count,
            "{job}"
        );
    }
}

async fn lambda(stack: &Stack) -> aws_sdk_lambda::Client {
    let shared = aws_config::defaults(aws_config::BehaviorVersion::latest())
        .region("us-east-1")
        .endpoint_url(&stack.endpoint)
        .credentials_provider(aws_sdk_lambda::config::Credentials::new(
            "test", "test", None, None, "test",
        ))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .load()
        .await;
    aws_sdk_lambda::Client::new(&shared)
}
