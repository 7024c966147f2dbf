//! What goes wrong by itself or is made to by `Faults`, over the wire: nothing is mixed, lost or left behind, and what
//! cannot be done is told with its reason.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cloud::{
    Cloud, CloudError, DeploymentLog, DeploymentLogWriter, DeploymentStatus, EmbeddedCloud, EmbeddedError, Faults,
    GLOBAL_BUCKET, PartSource, regional_bucket, replicate,
};

struct Test {
    folder: tempfile::TempDir,
    faults: Faults,
    cloud: Cloud,
    _embedded: EmbeddedCloud,
}

impl Test {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::default();
        let embedded = EmbeddedCloud::start_with_faults(folder.path(), &faults).await.unwrap();
        let cloud = Cloud::connect(embedded.config()).await;
        cloud.bootstrap(&["region-a".to_owned()]).await.unwrap();
        Self {
            folder,
            faults,
            cloud,
            _embedded: embedded,
        }
    }

    /// Names of what is beside the buckets and not the note on an object: parts and uploads that nobody has ended.
    fn remains(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path().join("s3")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names
            .filter(|name| name.starts_with(".upload") || name.starts_with(".tmp"))
            .collect()
    }
}

fn data(length: usize) -> Bytes {
    (0..length).map(|n| (n * 31 % 251) as u8).collect()
}

fn row(build: &str, host: &str) -> DeploymentLog {
    // The table keeps milliseconds.
    let started_at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_007);
    DeploymentLog {
        build_id: build.to_owned(),
        version: None,
        root: None,
        host_id: host.to_owned(),
        region: "region-a".to_owned(),
        zone: "zone-0".to_owned(),
        status: DeploymentStatus::Succeeded,
        error: None,
        started_at,
        completed_at: started_at + Duration::from_millis(5),
        duration: Duration::from_millis(5),
        bytes_from_seeder: 1,
        bytes_from_peers: 2,
        bytes_wasted: 3,
        chunks_held: 4,
        chunks_total: 4,
    }
}

#[tokio::test]
async fn gets_that_fail_are_made_again_as_often_as_they_fail() {
    let test = Test::start().await;
    let buckets = test.cloud.buckets();
    buckets.put_bytes(GLOBAL_BUCKET, "b.zip", data(1000)).await.unwrap();
    let object = buckets.head(GLOBAL_BUCKET, "b.zip").await.unwrap();
    test.faults.fail_gets("b.zip", 2);
    assert!(buckets.get_range(&object, 10..20).await.unwrap() == data(1000).slice(10..20));
    assert_eq!(test.faults.happened().gets_failed, 2);
}

#[tokio::test]
async fn an_object_that_is_overwritten_between_two_ranges_is_never_mixed() {
    let test = Test::start().await;
    let buckets = test.cloud.buckets();
    // Longer, as long and shorter: none may be told by its length alone.
    for length in [2000, 1000, 10] {
        buckets.put_bytes(GLOBAL_BUCKET, "b.zip", data(1000)).await.unwrap();
        let object = buckets.head(GLOBAL_BUCKET, "b.zip").await.unwrap();
        test.faults
            .overwrite_after_gets("b.zip", 1, Bytes::from(vec![7; length]));
        assert!(buckets.get_range(&object, 0..500).await.unwrap() == data(500));
        let error = buckets.get_range(&object, 500..1000).await.unwrap_err();
        assert!(matches!(error, CloudError::ObjectChanged { .. }), "{length}: {error}");
        assert!(!error.is_retryable());
    }
    assert_eq!(test.faults.happened().objects_overwritten, 3);
}

// Readers and writers of one key at once. Whatever comes back is the version that was looked at: an ETag is that of the
// bytes, so each version is known by its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_one_version_while_writers_replace_it() {
    let test = Test::start().await;
    let buckets = test.cloud.buckets();
    let regional = regional_bucket("region-a");
    let version = |fill: u8| Bytes::from(vec![fill; 300_000]);
    let mut etags = Vec::new();
    for fill in 0..2 {
        buckets.put_bytes(GLOBAL_BUCKET, "b.zip", version(fill)).await.unwrap();
        buckets.copy(GLOBAL_BUCKET, &regional, "b.zip").await.unwrap();
        etags.push(buckets.head(GLOBAL_BUCKET, "b.zip").await.unwrap().etag);
    }
    assert_ne!(etags[0], etags[1]);
    let writer = {
        let (buckets, regional) = (buckets.clone(), regional.clone());
        tokio::spawn(async move {
            for round in 0..40 {
                buckets
                    .put_bytes(GLOBAL_BUCKET, "b.zip", version(round % 2))
                    .await
                    .unwrap();
                buckets.copy(GLOBAL_BUCKET, &regional, "b.zip").await.unwrap();
            }
        })
    };
    let readers = [
        GLOBAL_BUCKET.to_owned(),
        regional.clone(),
        GLOBAL_BUCKET.to_owned(),
        regional,
    ]
    .map(|bucket| {
        let (buckets, etags) = (buckets.clone(), etags.clone());
        tokio::spawn(async move {
            for _ in 0..60 {
                let object = buckets.head(&bucket, "b.zip").await.unwrap();
                match buckets.get_range(&object, 0..object.size).await {
                    Ok(bytes) => {
                        assert_eq!(
                            object.etag,
                            etags[usize::from(bytes[0])],
                            "the bytes are of another version"
                        );
                        assert!(bytes.iter().all(|byte| *byte == bytes[0]), "two versions in one answer");
                    }
                    Err(error) => assert!(matches!(error, CloudError::ObjectChanged { .. }), "{error}"),
                }
            }
        })
    });
    for task in readers.into_iter().chain([writer]) {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_range_outside_the_object_is_refused_and_an_empty_one_is_empty() {
    let test = Test::start().await;
    let buckets = test.cloud.buckets();
    buckets.put_bytes(GLOBAL_BUCKET, "b.zip", data(1000)).await.unwrap();
    let object = buckets.head(GLOBAL_BUCKET, "b.zip").await.unwrap();
    assert!(buckets.get_range(&object, 0..0).await.unwrap().is_empty());
    assert!(buckets.get_range(&object, 1000..1000).await.unwrap().is_empty());
    let error = buckets.get_range(&object, 990..1001).await.unwrap_err();
    assert!(error.to_string().contains("990..1001"), "{error}");
    assert!(error.to_string().contains("1000 bytes"), "{error}");
}

#[tokio::test]
async fn a_file_is_uploaded_in_parts_and_a_missing_one_is_named() {
    let test = Test::start().await;
    let buckets = test.cloud.buckets();
    let path = test.folder.path().join("build.zip");
    let bytes = data(33 << 20);
    std::fs::write(&path, &bytes).unwrap();
    buckets.put_file(GLOBAL_BUCKET, "b.zip", &path, &|_| {}).await.unwrap();
    let object = buckets.head(GLOBAL_BUCKET, "b.zip").await.unwrap();
    assert!(buckets.get_range(&object, 0..object.size).await.unwrap() == bytes);
    assert_eq!(test.remains(), [""; 0]);
    for wrong in [test.folder.path().join("none.zip"), test.folder.path().to_owned()] {
        let error = buckets
            .put_file(GLOBAL_BUCKET, "b.zip", &wrong, &|_| {})
            .await
            .unwrap_err();
        assert!(error.to_string().contains(wrong.to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn an_upload_whose_source_fails_leaves_nothing_behind() {
    let test = Test::start().await;
    let buckets = test.cloud.buckets();
    let failing: PartSource = Arc::new(|range| {
        Box::pin(async move {
            if range.start == 0 {
                Ok(Bytes::from(vec![0; 16 << 20]))
            } else {
                Err(io::Error::other("the disk is gone"))
            }
        })
    });
    let short: PartSource = Arc::new(|_| Box::pin(async { Ok(Bytes::from_static(b"short")) }));
    for source in [failing, short] {
        let error = buckets
            .put(GLOBAL_BUCKET, "b.zip", 40 << 20, &source, &|_| {})
            .await
            .unwrap_err();
        assert!(matches!(error, CloudError::File { .. }), "{error}");
        assert_eq!(test.remains(), [""; 0]);
        let error = buckets.head(GLOBAL_BUCKET, "b.zip").await.unwrap_err();
        assert!(matches!(error, CloudError::ObjectMissing { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_named() {
    let test = Test::start().await;
    let buckets = test.cloud.buckets();
    let error = buckets
        .put_bytes("region-z-builds", "b.zip", data(10))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "bucket region-z-builds does not exist");
    buckets.put_bytes(GLOBAL_BUCKET, "b.zip", data(10)).await.unwrap();
    let copies = replicate(&test.cloud, "b.zip", &["region-z".to_owned()], ("run-1", None))
        .await
        .unwrap();
    assert!(
        matches!(copies[0].result, Err(CloudError::BucketMissing { .. })),
        "{copies:?}"
    );
}

#[tokio::test]
async fn a_batch_that_is_half_processed_and_throttled_is_written_as_a_whole() {
    let test = Test::start().await;
    let logs = test.cloud.deployment_logs();
    test.faults.throttle(2);
    test.faults.leave_unprocessed(6);
    let rows: Vec<_> = (0..120).map(|host| row("b.zip", &format!("host-{host:03}"))).collect();
    let writer = DeploymentLogWriter::start(logs.clone());
    for row in rows.clone() {
        writer.write(row).await;
    }
    let report = writer.finish().await;
    assert_eq!(
        (report.rows_written, report.calls_retried, report.failed.len()),
        (120, 2, 0)
    );
    assert!(report.rows_unprocessed >= 6, "{report:?}");
    let happened = test.faults.happened();
    assert_eq!((happened.batches_left_unprocessed, happened.requests_throttled), (6, 2));
    assert_eq!(logs.rows("b.zip").await.unwrap(), rows);
    assert_eq!(logs.count("b.zip").await.unwrap(), 120);
    assert_eq!(logs.count_by_scan("b.zip").await.unwrap(), 120);
}

#[tokio::test]
async fn a_count_that_is_throttled_is_still_exact() {
    let test = Test::start().await;
    let logs = test.cloud.deployment_logs();
    let writer = DeploymentLogWriter::start(logs.clone());
    for host in 0..30 {
        let mut row = row("b.zip", &format!("host-{host:03}"));
        if host < 10 {
            row.status = DeploymentStatus::Failed;
        }
        writer.write(row).await;
    }
    writer.finish().await;
    test.faults.throttle(3);
    assert_eq!(logs.count("b.zip").await.unwrap(), 30);
    let by_status = logs.count_by_status("b.zip").await.unwrap();
    assert_eq!(
        by_status.into_iter().collect::<Vec<_>>(),
        [("FAILED".to_owned(), 10), ("SUCCEEDED".to_owned(), 20)]
    );
    assert_eq!(test.faults.happened().requests_throttled, 3);
}

#[tokio::test]
async fn a_host_that_reports_two_builds_at_once_has_a_row_of_each() {
    let test = Test::start().await;
    let logs = test.cloud.deployment_logs();
    let writer = DeploymentLogWriter::start(logs.clone());
    for build in ["a.zip", "b.zip"] {
        writer.write(row(build, "host-1")).await;
    }
    assert_eq!(writer.finish().await.rows_written, 2);
    assert_eq!(logs.count("a.zip").await.unwrap(), 1);
    assert_eq!(logs.count("b.zip").await.unwrap(), 1);
    assert_eq!(logs.count_by_scan("b.zip").await.unwrap(), 1);
}

// Each report of the host is in another batch, as 25 hosts report between them, and the first one is delayed by faults.
#[tokio::test]
async fn of_a_host_that_reports_twice_the_last_report_stays() {
    let test = Test::start().await;
    let logs = test.cloud.deployment_logs();
    test.faults.throttle(3);
    let writer = DeploymentLogWriter::start(logs.clone());
    let mut failed = row("b.zip", "host-0");
    failed.status = DeploymentStatus::Failed;
    writer.write(failed).await;
    for host in 1..50 {
        writer.write(row("b.zip", &format!("host-{host}"))).await;
    }
    writer.write(row("b.zip", "host-0")).await;
    let report = writer.finish().await;
    assert_eq!(report.failed, []);
    assert_eq!(logs.count("b.zip").await.unwrap(), 50);
    assert!(
        logs.rows("b.zip")
            .await
            .unwrap()
            .iter()
            .all(|row| row.status == DeploymentStatus::Succeeded)
    );
}

#[tokio::test]
async fn a_row_that_the_table_refuses_does_not_take_its_batch_with_it() {
    let test = Test::start().await;
    let logs = test.cloud.deployment_logs();
    let writer = DeploymentLogWriter::start(logs.clone());
    for host in 0..24 {
        writer.write(row("b.zip", &format!("host-{host}"))).await;
    }
    // A key may not be empty.
    writer.write(row("b.zip", "")).await;
    let report = writer.finish().await;
    assert_eq!((report.rows_written, report.failed.len()), (24, 1));
    assert_eq!(report.failed[0].host_id, "");
    assert!(
        report.failed[0].error.contains("ValidationException"),
        "{:?}",
        report.failed[0]
    );
    assert_eq!(logs.count("b.zip").await.unwrap(), 24);
}

#[tokio::test]
async fn rows_for_a_table_that_is_not_there_are_all_reported() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = EmbeddedCloud::start(folder.path()).await.unwrap();
    let logs = Cloud::connect(embedded.config()).await.deployment_logs();
    let writer = DeploymentLogWriter::start(logs.clone());
    for host in 0..30 {
        writer.write(row("b.zip", &format!("host-{host}"))).await;
    }
    let report = writer.finish().await;
    assert_eq!((report.rows_written, report.failed.len()), (0, 30));
    let error = logs.count("b.zip").await.unwrap_err();
    assert!(error.to_string().contains("ResourceNotFoundException"), "{error}");
}

#[tokio::test]
async fn a_folder_serves_one_embedded_cloud_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let first = EmbeddedCloud::start(folder.path()).await.unwrap();
    let error = EmbeddedCloud::start(folder.path()).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::InUse { .. }), "{error}");
    assert!(error.to_string().contains(folder.path().to_str().unwrap()), "{error}");
    first.stop().await;
    EmbeddedCloud::start(folder.path()).await.unwrap().stop().await;
}

/// Two buckets with the same bytes: the one that is slow takes as long as its rate has it, at least, and nothing of it is lost.
#[tokio::test]
async fn a_bucket_that_is_slow_gives_all_bytes_and_no_sooner_than_its_rate() {
    let test = Test::start().await;
    let buckets = test.cloud.buckets();
    let regional = regional_bucket("region-a");
    buckets.put_bytes(GLOBAL_BUCKET, "b.zip", data(400_000)).await.unwrap();
    buckets.copy(GLOBAL_BUCKET, &regional, "b.zip").await.unwrap();
    test.faults.slow_gets(&regional, 1_000_000);
    let object = buckets.head(&regional, "b.zip").await.unwrap();
    let begun = std::time::Instant::now();
    let halves = [0..200_000, 200_000..400_000];
    let got = futures::future::try_join_all(halves.map(|half| buckets.get_range(&object, half))).await;
    assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
    assert!(got.unwrap().concat() == data(400_000));
}

#[tokio::test]
async fn a_table_that_is_slow_leaves_rows_and_has_all_of_them_in_the_end() {
    let test = Test::start().await;
    test.faults.slow_rows("host-deployment-logs", 20);
    let writer = DeploymentLogWriter::start(test.cloud.deployment_logs());
    for host in 0..50 {
        writer.write(row("b.zip", &format!("host-{host}"))).await;
    }
    let report = writer.finish().await;
    assert_eq!((report.rows_written, report.failed), (50, Vec::new()));
    // A second's rows are taken at once; the others are left, and tried again.
    assert!(test.faults.happened().rows_left >= 30, "{:?}", test.faults.happened());
    assert_eq!(test.cloud.deployment_logs().count("b.zip").await.unwrap(), 50);
}
