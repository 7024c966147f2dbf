//! Deployment logs, over the wire: every row that was handed over is counted once, whatever the service does meanwhile.

mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use cloud::{
    Cloud, CloudError, DeploymentLog, DeploymentLogWriter, DeploymentStatus, EmbeddedCloud, FirstRow,
    HOST_DEPLOYMENT_LOGS,
};
use rig::{Answer, Rule, TestCloud};

fn row(host: u32) -> DeploymentLog {
    DeploymentLog {
        build_id: "b.zip".to_owned(),
        version: None,
        root: None,
        host_id: format!("region-a-{host:06}"),
        region: "region-a".to_owned(),
        zone: "region-a-zone-0".to_owned(),
        status: if host.is_multiple_of(10) {
            DeploymentStatus::Failed
        } else {
            DeploymentStatus::Succeeded
        },
        error: host.is_multiple_of(10).then(|| "no".to_owned()),
        started_at: SystemTime::now(),
        completed_at: SystemTime::now(),
        duration: Duration::from_millis(5),
        bytes_from_seeder: 1,
        bytes_from_peers: 2,
        bytes_wasted: 3,
        chunks_held: 4,
        chunks_total: 4,
    }
}

async fn write(cloud: &Cloud, hosts: std::ops::Range<u32>) -> cloud::WriterReport {
    let writer = DeploymentLogWriter::start(cloud.deployment_logs());
    for host in hosts {
        writer.write(row(host)).await;
    }
    writer.finish().await
}

#[tokio::test]
async fn a_thousand_rows_are_counted_exactly_and_writing_them_twice_changes_nothing() {
    let test = TestCloud::start().await;
    let logs = test.cloud.deployment_logs();
    assert_eq!(logs.count("b.zip").await.unwrap(), 0);
    for _ in 0..2 {
        let report = write(&test.cloud, 0..1000).await;
        assert_eq!((report.rows_written, report.failed.len()), (1000, 0));
        assert_eq!(logs.count("b.zip").await.unwrap(), 1000);
    }
    let by_region = logs.count_by_region("b.zip").await.unwrap();
    assert_eq!(by_region[&("region-a".to_owned(), "FAILED".to_owned())], 100);
    assert_eq!(logs.count("b").await.unwrap(), 0, "a prefix is another build");
}

#[tokio::test]
async fn unprocessed_items_are_sent_again() {
    let test = TestCloud::start().await;
    let calls = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&calls);
    // The first three batches come back as a whole.
    let rule: Rule = Arc::new(move |seen| {
        if seen.operation != "BatchWriteItem" || counter.fetch_add(1, Ordering::Relaxed) >= 3 {
            return None;
        }
        let request: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
        let body = serde_json::json!({"UnprocessedItems": request["RequestItems"]}).to_string();
        Some(Answer { status: 200, body })
    });
    let report = write(&test.through(rule).await, 0..200).await;
    assert_eq!(
        (report.rows_written, report.rows_unprocessed, report.failed.len()),
        (200, 75, 0)
    );
    assert_eq!(test.cloud.deployment_logs().count("b.zip").await.unwrap(), 200);
}

#[tokio::test]
async fn throttled_calls_are_made_again_and_refused_rows_are_reported() {
    let test = TestCloud::start().await;
    let calls = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&calls);
    let throttle: Rule = Arc::new(move |seen| {
        let throttled = seen.operation == "BatchWriteItem" && counter.fetch_add(1, Ordering::Relaxed) < 2;
        throttled.then(|| Answer {
            status: 400,
            body: r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"slow"}"#.to_owned(),
        })
    });
    let report = write(&test.through(throttle).await, 0..60).await;
    assert_eq!(
        (report.rows_written, report.calls_retried, report.failed.len()),
        (60, 2, 0)
    );
    let refuse: Rule = Arc::new(|seen| {
        (seen.operation == "BatchWriteItem").then(|| Answer {
            status: 400,
            body: r#"{"__type":"com.amazon.coral.service#AccessDeniedException","message":"not you"}"#.to_owned(),
        })
    });
    let report = write(&test.through(refuse).await, 100..130).await;
    assert_eq!((report.rows_written, report.failed.len()), (0, 30));
    assert!(
        report.failed[0].error.contains("AccessDenied"),
        "{}",
        report.failed[0].error
    );
    assert_eq!(test.cloud.deployment_logs().count("b.zip").await.unwrap(), 60);
}

#[tokio::test]
async fn the_rows_of_a_folder_can_be_counted_later() {
    let test = TestCloud::start().await;
    write(&test.cloud, 0..100).await;
    test.embedded.stop().await;
    let again = EmbeddedCloud::start(test.folder.path()).await.unwrap();
    let cloud = Cloud::connect(again.config()).await;
    assert_eq!(cloud.deployment_logs().count("b.zip").await.unwrap(), 100);
    cloud.bootstrap(&["region-a".to_owned()]).await.unwrap();
    assert_eq!(cloud.deployment_logs().count("b.zip").await.unwrap(), 100);
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = EmbeddedCloud::start(&file).await.unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
}

/// All rows at once into a table that takes so many a second: how long that takes over the least, which is what the table needs for those
/// that it does not take at once.
async fn into_a_slow_table(rows: u32, rows_per_second: u32) -> f64 {
    let test = TestCloud::start().await;
    test.faults.slow_rows(HOST_DEPLOYMENT_LOGS, rows_per_second);
    let begun = Instant::now();
    let report = write(&test.cloud, 0..rows).await;
    let took = begun.elapsed().as_secs_f64();
    assert_eq!((report.rows_written, report.failed.len()), (u64::from(rows), 0));
    let counted = test.cloud.deployment_logs().count("b.zip").await;
    assert_eq!(counted.expect("the table answers"), u64::from(rows));
    assert!(test.faults.happened().rows_left > 0, "the table was never too slow");
    let least = f64::from(rows - rows_per_second) / f64::from(rows_per_second);
    eprintln!(
        "{rows} rows at {rows_per_second}/s: {took:.2} s, least {least:.2} s, {:.2}",
        took / least
    );
    took / least
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_takes_no_more_is_written_to_as_fast_as_it_takes() {
    let over_least = into_a_slow_table(1500, 300).await;
    assert!(over_least < 1.3, "{over_least:.2} times the least");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "half a minute, and a machine that has nothing else to do; cargo test -p cloud --test deployment_logs -- --ignored --nocapture"]
async fn a_hundred_thousand_rows_are_in_a_new_table_within_1_3_of_the_least_time() {
    let over_least = into_a_slow_table(100_000, 4_000).await;
    assert!(over_least < 1.3, "{over_least:.2} times the least");
}

#[tokio::test]
async fn rows_that_hosts_write_one_by_one_are_turned_away_where_the_table_takes_no_more() {
    let test = TestCloud::start().await;
    test.faults.slow_rows(HOST_DEPLOYMENT_LOGS, 2);
    let logs = test.cloud.deployment_logs();
    let mut fates = Vec::new();
    for host in 0..6 {
        fates.push(logs.write_first(&row(host)).await);
    }
    let turned_away = fates
        .iter()
        .filter(|fate| fate.as_ref().is_err_and(CloudError::is_retryable));
    assert!(turned_away.count() >= 1, "{fates:?}");
    let written = fates.iter().filter(|fate| fate.is_ok()).count() as u64;
    assert_eq!(logs.count("b.zip").await.unwrap(), written);
}

#[tokio::test]
async fn of_a_version_the_first_success_stays_and_a_failure_gives_way() {
    let test = TestCloud::start().await;
    let logs = test.cloud.deployment_logs();
    let row = |version: Option<&str>, status, bytes_from_peers| DeploymentLog {
        version: version.map(str::to_owned),
        status,
        bytes_from_peers,
        ..row(1)
    };
    let (failed, succeeded) = (DeploymentStatus::Failed, DeploymentStatus::Succeeded);
    for (version, status, bytes, expected, why) in [
        (Some("v1"), failed, 1, FirstRow::Written, "nothing is there"),
        (Some("v1"), failed, 2, FirstRow::Written, "the later failure says more"),
        (Some("v1"), succeeded, 3, FirstRow::Written, "a failure gives way"),
        (Some("v1"), succeeded, 4, FirstRow::Kept, "the first success stays"),
        (
            Some("v1"),
            failed,
            5,
            FirstRow::Kept,
            "a later failure undoes no success",
        ),
        (None, succeeded, 6, FirstRow::Kept, "which version it is nobody knows"),
        (Some("v2"), succeeded, 7, FirstRow::Written, "another version"),
        (
            Some("v3"),
            failed,
            8,
            FirstRow::Written,
            "another version that did not come",
        ),
    ] {
        let row = row(version, status, bytes);
        assert_eq!(logs.write_first(&row).await.unwrap(), expected, "{why}");
        let there = logs.rows("b.zip").await.unwrap();
        assert_eq!(there.len(), 1, "{why}");
        assert_eq!(
            there[0].bytes_from_peers == bytes,
            expected == FirstRow::Written,
            "{why}"
        );
    }
    // Rows of a release that knew no versions.
    let old = row(None, succeeded, 9);
    let old = DeploymentLog {
        host_id: "old".to_owned(),
        ..old
    };
    assert_eq!(logs.write_first(&old).await.unwrap(), FirstRow::Written);
    let next = DeploymentLog {
        version: Some("v2".to_owned()),
        ..old.clone()
    };
    assert_eq!(logs.write_first(&next).await.unwrap(), FirstRow::Written);
    let nameless = DeploymentLog {
        host_id: String::new(),
        ..old
    };
    assert!(logs.write_first(&nameless).await.is_err(), "a key may not be empty");
}
