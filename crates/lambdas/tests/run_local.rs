//! `scripts/run-local.py`: each function, as it is deployed, with its sample event against a local stack.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod rig;

use std::path::{Path, PathBuf};
use std::process::Output;

use bytes::Bytes;
use cloud::{Cloud, FUNCTIONS, GLOBAL_BUCKET};
use pipeline::PipelineClients as _;
use rig::{Stack, eventually};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

async fn run(stack: &Stack, function: &str, event: Option<&Path>) -> Output {
    let mut command = tokio::process::Command::new("python3");
    let binary = Path::new(env!("CARGO_BIN_EXE_build-worker")).with_file_name(function);
    command
        .arg(root().join("scripts/run-local.py"))
        .arg(function)
        .args(event);
    command
        .args(["--endpoint-url", &stack.endpoint, "--binary"])
        .arg(binary);
    command.env("STATE_MACHINE_ARN", &stack.provisioned.state_machine_arn);
    command.output().await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn answer(stack: &Stack, function: &str) -> (Value, String) {
    let ended = run(stack, function, None).await;
    let said = text(&ended.stderr);
    assert!(ended.status.success(), "{function}: {said} {}", text(&ended.stdout));
    (serde_json::from_slice(&ended.stdout).unwrap(), said)
}

async fn in_both_regions(cloud: &Cloud) {
    for bucket in ["region-a-builds", "region-b-builds"] {
        eventually(bucket, || async {
            cloud.buckets().head(bucket, "build-run-local.zip").await.ok()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_function_does_with_its_sample_event_what_it_does_when_it_is_deployed() {
    let stack = rig::stack(Path::new(env!("CARGO_BIN_EXE_build-worker")).parent().unwrap()).await;
    let cloud = stack.cloud().await;
    let (made, _) = answer(stack, "build-worker").await;
    assert_eq!(made["statusCode"], 202, "{made}");
    in_both_regions(&cloud).await;
    let (copied, _) = answer(stack, "region-copier").await;
    assert_eq!(
        (&copied["status"], &copied["bucket"]),
        (&"SUCCEEDED".into(), &"region-a-builds".into()),
        "{copied}"
    );
    let (replicating, _) = answer(stack, "replication-worker").await;
    assert!(
        replicating["executions"][0]["name"]
            .as_str()
            .unwrap()
            .starts_with("build-run-local-zip-"),
        "{replicating}"
    );
    let (told, _) = answer(stack, "regional-sync").await;
    assert_eq!(told["sent"], 1, "{told}");
    let (deployed, _) = answer(stack, "step-function-invoker").await;
    assert_eq!(deployed["statusCode"], 202, "{deployed}");
    // What its parameters name is there in a real pipeline too.
    let input = std::fs::read(root().join("crates/lambdas/events/deploy.json")).unwrap();
    cloud
        .buckets()
        .put_bytes(GLOBAL_BUCKET, "deploy.json", Bytes::from(input))
        .await
        .unwrap();
    let (job, said) = answer(stack, "pipeline-action").await;
    let execution = job["execution"].as_str().unwrap();
    assert!(
        said.contains("CodePipeline hears PutJobSuccessResult") && said.contains("continuationToken"),
        "{said}"
    );
    let ended = eventually("the execution of the job ends", || async {
        let execution = cloud.workflow().describe(execution).await.unwrap();
        (execution.status != "RUNNING").then_some(execution)
    })
    .await;
    assert_eq!(ended.status, "SUCCEEDED", "{:?}", ended.error);
    // With the token of that report it is asked again.
    let sample = std::fs::read(root().join("crates/lambdas/events/pipeline-action.json")).unwrap();
    let mut again: Value = serde_json::from_slice(&sample).unwrap();
    again["CodePipeline.job"]["data"]["continuationToken"] = execution.into();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("again.json");
    std::fs::write(&path, again.to_string()).unwrap();
    let ended = run(stack, "pipeline-action", Some(&path)).await;
    let done: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(done["done"], true, "{done}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_function_refuses_is_exit_code_1_and_what_is_no_event_is_said() {
    let stack = rig::stack(Path::new(env!("CARGO_BIN_EXE_build-worker")).parent().unwrap()).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("event.json");
    std::fs::write(&path, "{\"nothing\": true}").unwrap();
    for function in FUNCTIONS
        .into_iter()
        .filter(|function| !["build-worker", "step-function-invoker"].contains(function))
    {
        let ended = run(stack, function, Some(&path)).await;
        assert_eq!(ended.status.code(), Some(1), "{function}: {}", text(&ended.stderr));
        let failed: Value = serde_json::from_slice(&ended.stdout).unwrap();
        // Those that S3 or a queue invokes look for records first.
        let expected = ["InvalidEvent", "NotAnEvent"];
        let kind = failed["errorType"].as_str().unwrap();
        assert!(expected.contains(&kind), "{function}: {failed}");
    }
    std::fs::write(&path, "nonsense").unwrap();
    let ended = run(stack, "region-copier", Some(&path)).await;
    assert!(text(&ended.stderr).contains("is no event") && text(&ended.stderr).contains("crates/lambdas/events"));
    assert!(!ended.status.success());
}
