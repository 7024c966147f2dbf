//! What `harness bootstrap` mends and what `harness doctor` sees: a pipeline of a stage of its own, of which part after part is
//! spoilt as others have spoilt theirs.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod rig;

use std::collections::HashMap;
use std::path::Path;

use aws_sdk_s3::types::{
    BucketVersioningStatus, Event, FilterRule, FilterRuleName, LambdaFunctionConfiguration, NotificationConfiguration,
    NotificationConfigurationFilter, QueueConfiguration, S3KeyFilter, VersioningConfiguration,
};
use aws_sdk_sqs::types::QueueAttributeName;
use cloud::{Cloud, CloudConfig};
use pipeline::{PartState, Pipeline, ProvisionError};
use rig::Stack;

async fn stack() -> &'static Stack {
    rig::stack(Path::new(env!("CARGO_BIN_EXE_build-worker")).parent().unwrap()).await
}

/// The pipeline of a stage.
async fn staged(stack: &Stack, stage: &str, regions: &[&str]) -> (Cloud, Pipeline) {
    let config = CloudConfig {
        stage: stage.to_owned(),
        ..stack.config()
    };
    let cloud = Cloud::connect(&config).await;
    let regions: Vec<String> = regions.iter().map(|region| (*region).to_owned()).collect();
    let pipeline = Pipeline::new(&cloud, &regions);
    (cloud, pipeline)
}

/// What is not well, by kind and name, with a word and what is said of it.
async fn found(pipeline: &Pipeline) -> HashMap<String, (String, String)> {
    let all = pipeline.inspect().await;
    let wrong = all.into_iter().filter(|part| part.state != PartState::Healthy);
    wrong
        .map(|part| {
            let said = part.state.problem().unwrap_or_default().to_owned();
            (
                format!("{} {}", part.kind, part.name),
                (part.state.word().to_owned(), said),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_sees_what_is_there_and_does_not_work_and_bootstrap_mends_it() {
    let stack = stack().await;
    let (cloud, pipeline) = staged(stack, "sick", &["region-a"]).await;
    let provision = async || {
        pipeline
            .provision(&stack.packages(), Some(&stack.endpoint), &|_| {})
            .await
    };
    provision().await.unwrap();
    assert_eq!(found(&pipeline).await, HashMap::new());

    let shared = cloud.shared();
    let (s3, sqs, sns) = (
        cloud.s3(),
        aws_sdk_sqs::Client::new(shared),
        aws_sdk_sns::Client::new(shared),
    );
    let lambda = aws_sdk_lambda::Client::new(shared);
    // Somebody else's notification in the place of ours, and one of ours that a filter stops.
    let queue_arn = "arn:aws:sqs:us-east-1:000000000000:somebodys";
    sqs.create_queue().queue_name("somebodys").send().await.unwrap();
    let theirs = QueueConfiguration::builder()
        .id("theirs")
        .queue_arn(queue_arn)
        .events(Event::from("s3:ObjectRemoved:*"))
        .build();
    let theirs = NotificationConfiguration::builder()
        .queue_configurations(theirs.unwrap())
        .build();
    let put = s3.put_bucket_notification_configuration().bucket("global-builds-sick");
    put.notification_configuration(theirs).send().await.unwrap();
    let rule = FilterRule::builder().name(FilterRuleName::Suffix).value(".tar").build();
    let filter = NotificationConfigurationFilter::builder()
        .key(S3KeyFilter::builder().filter_rules(rule).build())
        .build();
    let ours = LambdaFunctionConfiguration::builder()
        .id("regional-sync")
        .lambda_function_arn("arn:aws:lambda:us-east-1:000000000000:function:regional-sync-sick")
        .events(Event::from("s3:ObjectCreated:*"))
        .filter(filter)
        .build();
    let ours = NotificationConfiguration::builder()
        .lambda_function_configurations(ours.unwrap())
        .build();
    let put = s3
        .put_bucket_notification_configuration()
        .bucket("region-a-builds-sick");
    put.notification_configuration(ours).send().await.unwrap();
    // No versions, no topic, no way to the dead letters, a function that is told nothing.
    let suspended = VersioningConfiguration::builder()
        .status(BucketVersioningStatus::Suspended)
        .build();
    let put = s3.put_bucket_versioning().bucket("region-a-builds-sick");
    put.versioning_configuration(suspended).send().await.unwrap();
    let topic = "arn:aws:sns:us-east-1:000000000000:file-copy-failures-sick";
    sns.delete_topic().topic_arn(topic).send().await.unwrap();
    for queue in ["lambda-dead-letter-sick", "region-a-builds-events-dead-letter-sick"] {
        let url = sqs
            .get_queue_url()
            .queue_name(queue)
            .send()
            .await
            .unwrap()
            .queue_url
            .unwrap();
        sqs.delete_queue().queue_url(url).send().await.unwrap();
    }
    let url = sqs
        .get_queue_url()
        .queue_name("region-a-builds-events-sick")
        .send()
        .await
        .unwrap();
    let set = sqs.set_queue_attributes().queue_url(url.queue_url.unwrap());
    set.attributes(QueueAttributeName::RedrivePolicy, "")
        .send()
        .await
        .unwrap();
    let empty = aws_sdk_lambda::types::Environment::builder()
        .set_variables(Some(HashMap::new()))
        .build();
    let update = lambda
        .update_function_configuration()
        .function_name("replication-worker-sick");
    update.environment(empty).send().await.unwrap();

    let wrong = found(&pipeline).await;
    for (part, word, said) in [
        (
            "notification global-builds-sick -> replication-worker-sick",
            "wrong",
            "calls no function",
        ),
        (
            "notification region-a-builds-sick -> regional-sync-sick",
            "wrong",
            ".tar",
        ),
        ("bucket region-a-builds-sick", "wrong", "versions"),
        ("topic file-copy-failures-sick", "missing", "not there"),
        ("queue lambda-dead-letter-sick", "missing", "not there"),
        ("queue region-a-builds-events-dead-letter-sick", "missing", "not there"),
        ("queue region-a-builds-events-sick", "wrong", "dead-letter"),
        ("function replication-worker-sick", "wrong", "STATE_MACHINE_ARN"),
        ("state machine file-copy-workflow-sick", "wrong", "topic"),
    ] {
        let found = wrong.get(part).unwrap_or_else(|| panic!("{part}: {wrong:#?}"));
        assert!(found.0 == word && found.1.contains(said), "{part}: {found:?}");
    }

    provision().await.unwrap();
    assert_eq!(found(&pipeline).await, HashMap::new());
    let kept = s3.get_bucket_notification_configuration().bucket("global-builds-sick");
    let kept = kept.send().await.unwrap();
    assert_eq!(
        kept.queue_configurations()[0].queue_arn(),
        queue_arn,
        "what others are told stays"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn regions_whose_names_meet_are_refused_before_anything_is_made() {
    let stack = stack().await;
    for regions in [&["global"][..], &["region-a", "region-a"], &["Region"]] {
        let (cloud, pipeline) = staged(stack, "never", regions).await;
        let made = pipeline
            .provision(&stack.packages(), Some(&stack.endpoint), &|_| {})
            .await;
        assert!(matches!(made, Err(ProvisionError::Regions(_))), "{regions:?}");
        assert!(
            cloud.buckets().region_of("global-builds-never").await.is_err(),
            "{regions:?}"
        );
    }
}
