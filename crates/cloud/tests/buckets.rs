//! Builds in S3, over the wire: what comes back is what was put, and faults are noticed or survived.

mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cloud::{CloudError, GLOBAL_BUCKET, regional_bucket, replicate};
use rig::{Answer, TestCloud, source};

fn data(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 % 251) as u8).collect()
}

#[tokio::test]
async fn small_and_multipart_objects_come_back_by_ranges() {
    let test = TestCloud::start().await;
    let buckets = test.cloud.buckets();
    for length in [1, 1000, 40 << 20] {
        let data = data(length);
        let uploaded = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&uploaded);
        let progress = move |bytes: u64| {
            counter.fetch_add(u32::try_from(bytes).unwrap(), Ordering::Relaxed);
        };
        buckets
            .put(
                GLOBAL_BUCKET,
                "dir/b.zip",
                length as u64,
                &source(data.clone()),
                &progress,
            )
            .await
            .unwrap();
        assert_eq!(uploaded.load(Ordering::Relaxed) as usize, length);
        let object = buckets.head(GLOBAL_BUCKET, "dir/b.zip").await.unwrap();
        assert_eq!(object.size as usize, length);
        let (start, end) = (length / 3, length);
        let range = buckets.get_range(&object, start as u64..end as u64).await.unwrap();
        assert!(range == data[start..end], "{length}");
    }
}

#[tokio::test]
async fn a_missing_object_is_named_with_its_bucket() {
    let test = TestCloud::start().await;
    let error = test.cloud.buckets().head(GLOBAL_BUCKET, "none.zip").await.unwrap_err();
    assert!(matches!(error, CloudError::ObjectMissing { .. }));
    assert_eq!(error.to_string(), "object none.zip is not in bucket global-builds");
}

#[tokio::test]
async fn a_bucket_that_is_missing_is_told_from_an_object_that_is() {
    let test = TestCloud::start().await;
    let buckets = test.cloud.buckets();
    let error = buckets.head(GLOBAL_BUCKET, "nothing.zip").await.unwrap_err();
    assert!(matches!(error, CloudError::ObjectMissing { .. }), "{error}");
    let error = buckets.head("no-such-bucket", "nothing.zip").await.unwrap_err();
    assert!(matches!(error, CloudError::BucketMissing { .. }), "{error}");
}

#[tokio::test]
async fn an_object_that_was_overwritten_meanwhile_is_noticed() {
    let test = TestCloud::start().await;
    let buckets = test.cloud.buckets();
    buckets
        .put(GLOBAL_BUCKET, "b.zip", 1000, &source(data(1000)), &|_| {})
        .await
        .unwrap();
    let object = buckets.head(GLOBAL_BUCKET, "b.zip").await.unwrap();
    buckets
        .put(GLOBAL_BUCKET, "b.zip", 1000, &source(vec![7; 1000]), &|_| {})
        .await
        .unwrap();
    let error = buckets.get_range(&object, 0..10).await.unwrap_err();
    assert!(matches!(error, CloudError::ObjectChanged { .. }), "{error}");
}

#[tokio::test]
async fn a_get_that_fails_twice_works_the_third_time() {
    let test = TestCloud::start().await;
    let buckets = test.cloud.buckets();
    buckets
        .put(GLOBAL_BUCKET, "b.zip", 1000, &source(data(1000)), &|_| {})
        .await
        .unwrap();
    let failures = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&failures);
    let flaky = test
        .through(Arc::new(move |seen| {
            let fails =
                seen.method == "GET" && seen.path.ends_with("b.zip") && counter.fetch_add(1, Ordering::Relaxed) < 2;
            fails.then(|| Answer {
                status: 503,
                body: "<Error><Code>SlowDown</Code><Message>later</Message></Error>".to_owned(),
            })
        }))
        .await;
    let object = flaky.buckets().head(GLOBAL_BUCKET, "b.zip").await.unwrap();
    let bytes = flaky.buckets().get_range(&object, 0..1000).await.unwrap();
    assert!(bytes == data(1000));
    assert_eq!(failures.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn one_bad_bucket_does_not_stop_the_others_and_the_tracking_row_tells() {
    let test = TestCloud::start().await;
    let buckets = test.cloud.buckets();
    buckets
        .put(GLOBAL_BUCKET, "b.zip", 1000, &source(data(1000)), &|_| {})
        .await
        .unwrap();
    let regions = ["region-a", "region-none", "region-b"].map(str::to_owned);
    let root = Some("ab".repeat(32));
    let copies = replicate(&test.cloud, "b.zip", &regions, ("run-1", root.clone()))
        .await
        .unwrap();
    for copy in &copies {
        assert_eq!(copy.result.is_err(), copy.region == "region-none", "{copy:?}");
    }
    assert_eq!(
        buckets.head(&regional_bucket("region-b"), "b.zip").await.unwrap().size,
        1000
    );
    let row = test
        .cloud
        .tracking()
        .get("b.zip", GLOBAL_BUCKET)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (row.status.as_str(), row.execution_id.as_str()),
        ("PARTIAL_FAILURE", "run-1")
    );
    assert_eq!(row.root, root);
    assert_eq!(row.failed_buckets, ["region-none-builds"]);
    assert_eq!(row.successful_buckets.len(), 2);
}

#[tokio::test]
async fn an_execution_does_not_overwrite_the_row_of_a_later_one() {
    let test = TestCloud::start().await;
    let tracking = test.cloud.tracking();
    tracking.start("b.zip", GLOBAL_BUCKET, "first").await.unwrap();
    let mut row = tracking.get("b.zip", GLOBAL_BUCKET).await.unwrap().unwrap();
    tracking.start("b.zip", GLOBAL_BUCKET, "second").await.unwrap();
    row.status = "COMPLETED".to_owned();
    let error = tracking.finish(&row).await.unwrap_err();
    assert!(matches!(error, CloudError::ConditionFailed { .. }), "{error}");
    assert_eq!(
        tracking
            .get("b.zip", GLOBAL_BUCKET)
            .await
            .unwrap()
            .unwrap()
            .execution_id,
        "second"
    );
}
