//! Who reads the artifact of a job of CodePipeline: the job, by the credentials in its event, and not the function's own role.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::sync::Mutex;

use cloud::{Cloud, CloudConfig, Credentials};
use lambdas::pipeline_action::{Reports, handle_job};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A service that refuses all, and the heads of the requests that it was sent.
async fn refusing() -> (String, tokio::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (told, heads) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            told.send(String::from_utf8(head).unwrap().to_lowercase())
                .await
                .unwrap();
            let answer = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        }
    });
    (endpoint, heads)
}

#[derive(Default)]
struct Failures(Mutex<Vec<String>>);

impl Reports for Failures {
    async fn succeed(&self, job: &str, _token: Option<&str>) -> Result<(), lambdas::Failure> {
        panic!("job {job} goes well without an input");
    }

    async fn fail(&self, _job: &str, kind: &str, message: &str, _on: Option<&str>) -> Result<(), lambdas::Failure> {
        self.0.lock().unwrap().push(format!("{kind}: {message}"));
        Ok(())
    }
}

/// The head of the request for the input, and how the job has failed.
async fn asked(parameters: &str) -> (String, String) {
    let (endpoint, mut heads) = refusing().await;
    let config = CloudConfig {
        credentials: Some(Credentials {
            access_key_id: "ROLEOFTHEFUNCTION".to_owned(),
            secret_access_key: "secret-of-the-role".to_owned(),
            session_token: None,
        }),
        region: Some("us-east-1".to_owned()),
        ..CloudConfig::at(&endpoint)
    };
    let cloud = Cloud::connect(&config).await;
    let event: Value = json!({"CodePipeline.job": {"id": "job-1", "data": {
        "actionConfiguration": {"configuration": {"UserParameters": parameters}},
        "inputArtifacts": [{"name": "deploy", "location": {"type": "S3", "s3Location": {"bucketName": "artifacts", "objectKey": "a/b"}}}],
        "artifactCredentials": {"accessKeyId": "KEYOFTHEJOB", "secretAccessKey": "secret-of-the-job", "sessionToken": "token-of-the-job"},
    }}});
    let reports = Failures::default();
    handle_job(&cloud, &event, "arn:aws:states:us-east-1:1:stateMachine:s", &reports)
        .await
        .unwrap();
    let failed = reports.0.lock().unwrap().concat();
    (heads.recv().await.unwrap(), failed)
}

#[tokio::test]
async fn an_artifact_is_read_by_the_job_and_what_parameters_name_by_the_function() {
    let (head, failed) = asked(r#"{"file": "deploy.json"}"#).await;
    assert!(head.contains("/artifacts/a/b"), "{head}");
    assert!(head.contains("credential=keyofthejob/"), "{head}");
    assert!(head.contains("x-amz-security-token: token-of-the-job"), "{head}");
    assert!(
        failed.contains("Refused") && failed.contains("the job's own credentials"),
        "{failed}"
    );
    // Somebody else's bucket is told nothing of the job's.
    let (head, failed) = asked(r#"{"bucket": "of-somebody", "key": "input.json"}"#).await;
    assert!(head.contains("/of-somebody/input.json"), "{head}");
    assert!(
        head.contains("credential=roleofthefunction/") && !head.contains("token"),
        "{head}"
    );
    assert!(failed.contains("pipeline_artifact_bucket"), "{failed}");
    for secret in ["secret-of-the-job", "token-of-the-job"] {
        assert!(!failed.contains(secret), "{failed}");
    }
}
