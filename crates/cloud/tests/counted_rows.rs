//! Rows that are counted as they are written, over the wire: what the counts say is what is in the table, or they say that they are not
//! certain.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use cloud::{Cloud, CountedRows, DeploymentLog, DeploymentStatus, FirstRow, RowCounts};
use rig::{Answer, Rule, TestCloud};

const BUILD: &str = "b.zip";

fn row(host: u32, region: &str, version: &str, status: DeploymentStatus) -> DeploymentLog {
    DeploymentLog {
        build_id: BUILD.to_owned(),
        version: Some(version.to_owned()),
        root: None,
        host_id: format!("{region}-{host:06}"),
        region: region.to_owned(),
        zone: "z".to_owned(),
        status,
        error: None,
        started_at: SystemTime::now(),
        completed_at: SystemTime::now(),
        duration: Duration::from_millis(1000 + u64::from(host)),
        bytes_from_seeder: 1,
        bytes_from_peers: 2,
        bytes_wasted: 3,
        chunks_held: 4,
        chunks_total: 4,
    }
}

const GOOD: DeploymentStatus = DeploymentStatus::Succeeded;
const BAD: DeploymentStatus = DeploymentStatus::Failed;

/// By version and region: rows that are SUCCEEDED and FAILED.
fn sums(counts: &RowCounts) -> Vec<(&str, &str, u64, u64)> {
    let regions = counts.regions.iter();
    regions
        .map(|of| {
            (
                of.version.as_deref().unwrap_or(""),
                of.region.as_str(),
                of.succeeded,
                of.failed,
            )
        })
        .collect()
}

async fn counts(cloud: &Cloud) -> RowCounts {
    cloud.deployment_logs().counts(BUILD).await.unwrap()
}

/// Once for what has changed, once for that nothing is on its way, once for that nothing came since.
async fn settle(rows: &CountedRows) {
    for _ in 0..3 {
        rows.publish().await.unwrap();
    }
}

#[tokio::test]
async fn rows_are_counted_once_whoever_writes_them_and_however_often() {
    let test = TestCloud::start().await;
    let logs = test.cloud.deployment_logs();
    let (first, second) = (CountedRows::new(logs.clone()), CountedRows::new(logs.clone()));
    for host in 0..50 {
        let status = if host < 5 { BAD } else { GOOD };
        assert_eq!(
            first.write(&row(host, "region-a", "v1", status)).await.unwrap(),
            FirstRow::Written
        );
        second.write(&row(host, "region-b", "v1", GOOD)).await.unwrap();
        // A host that was not told hands its row over again, to whoever is there.
        second.write(&row(host, "region-a", "v1", status)).await.unwrap();
    }
    assert!(!counts(&test.cloud).await.is_certain(), "nothing was settled yet");
    settle(&first).await;
    settle(&second).await;
    let there = counts(&test.cloud).await;
    assert_eq!(sums(&there), [("v1", "region-a", 45, 5), ("v1", "region-b", 50, 0)]);
    assert!(there.is_certain());
    assert_eq!(
        there.items_read, 3,
        "one for each writer and region that it wrote rows of"
    );
    assert_eq!(logs.count(BUILD).await.unwrap(), 100, "what is counted is no row");
    assert_eq!(logs.count_by_scan(BUILD).await.unwrap(), 100);

    // Failures come right, and another version takes the place of the first, by the other writer.
    for host in 0..5 {
        second.write(&row(host, "region-a", "v1", GOOD)).await.unwrap();
    }
    for host in 0..20 {
        second.write(&row(host, "region-b", "v2", GOOD)).await.unwrap();
    }
    settle(&second).await;
    let there = counts(&test.cloud).await;
    let expected = [
        ("v1", "region-a", 50, 0),
        ("v1", "region-b", 30, 0),
        ("v2", "region-b", 20, 0),
    ];
    assert_eq!(sums(&there), expected);
    let durations: u64 = there.regions[0].durations.iter().map(|(_, hosts)| hosts).sum();
    assert_eq!(durations, 50);
    let longest = there.regions[0].durations.last().unwrap().0;
    assert!((1049..1150).contains(&longest.as_millis()), "{longest:?}");
    let age = SystemTime::now()
        .duration_since(there.regions[2].written_at.unwrap())
        .unwrap();
    assert!(age < Duration::from_secs(60), "{age:?}");
}

#[tokio::test]
async fn a_writer_that_dies_leaves_word_that_its_rows_may_be_missing() {
    let test = TestCloud::start().await;
    let rows = CountedRows::new(test.cloud.deployment_logs());
    rows.write(&row(1, "region-a", "v1", GOOD)).await.unwrap();
    settle(&rows).await;
    assert!(counts(&test.cloud).await.is_certain());
    rows.write(&row(2, "region-a", "v1", GOOD)).await.unwrap();
    drop(rows);
    let there = counts(&test.cloud).await;
    assert_eq!((sums(&there), there.unsettled), (vec![("v1", "region-a", 1, 0)], 1));
}

/// The put lands, and its answer does not.
#[tokio::test]
async fn a_row_whose_answer_is_lost_is_uncertain_until_it_is_written_again() {
    let test = TestCloud::start().await;
    let (losing, puts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let (is_losing, seen_puts) = (Arc::clone(&losing), Arc::clone(&puts));
    let rule: Rule = Arc::new(move |seen| {
        let is_row = seen.operation == "PutItem" && !String::from_utf8_lossy(&seen.body).contains("counts_of");
        seen_puts.fetch_add(u32::from(is_row), Ordering::Relaxed);
        (is_row && is_losing.load(Ordering::Relaxed)).then(|| Answer {
            status: 500,
            body: r#"{"__type":"InternalServerError","message":"who knows"}"#.to_owned(),
        })
    });
    let logs = test.through(rule).await.deployment_logs();
    let rows = CountedRows::new(logs.clone());
    rows.write(&row(1, "region-a", "v1", GOOD)).await.unwrap();
    losing.store(true, Ordering::Relaxed);
    assert!(rows.write(&row(2, "region-a", "v1", GOOD)).await.is_err());
    losing.store(false, Ordering::Relaxed);
    settle(&rows).await;
    let there = counts(&test.cloud).await;
    assert_eq!(
        (there.uncertain, there.unsettled, sums(&there)),
        (1, 0, vec![("v1", "region-a", 1, 0)])
    );
    // It was not there, so it is written and counted now.
    assert_eq!(
        rows.write(&row(2, "region-a", "v1", GOOD)).await.unwrap(),
        FirstRow::Written
    );
    settle(&rows).await;
    let there = counts(&test.cloud).await;
    assert!(
        there.is_certain() && sums(&there) == [("v1", "region-a", 2, 0)],
        "{there:?}"
    );

    // Nobody waits for the answer, and the row lands all the same.
    let third = row(3, "region-a", "v1", GOOD);
    let before = puts.load(Ordering::Relaxed);
    {
        let mut writing = std::pin::pin!(rows.write(&third));
        while puts.load(Ordering::Relaxed) == before {
            let now = futures::poll!(&mut writing);
            assert!(now.is_pending(), "the answer came before the request was seen");
            tokio::task::yield_now().await;
        }
    }
    while logs.count(BUILD).await.unwrap() < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    settle(&rows).await;
    assert_eq!(counts(&test.cloud).await.uncertain, 1);
    assert_eq!(rows.write(&third).await.unwrap(), FirstRow::Kept);
    settle(&rows).await;
    let there = counts(&test.cloud).await;
    assert!(
        there.is_certain() && sums(&there) == [("v1", "region-a", 3, 0)],
        "{there:?}"
    );
}

#[tokio::test]
async fn rows_that_the_table_turns_away_are_no_doubt() {
    let test = TestCloud::start().await;
    let rows = CountedRows::new(test.cloud.deployment_logs());
    rows.write(&row(1, "region-a", "v1", GOOD)).await.unwrap();
    test.faults.throttle(1);
    assert!(rows.write(&row(2, "region-a", "v1", GOOD)).await.is_err());
    // Nor is a count that could not be written lost.
    test.faults.throttle(1);
    assert!(rows.publish().await.is_err());
    settle(&rows).await;
    let there = counts(&test.cloud).await;
    assert!(
        there.is_certain() && sums(&there) == [("v1", "region-a", 1, 0)],
        "{there:?}"
    );
}

#[tokio::test]
async fn rows_of_writers_that_do_not_count_are_seen_among_those_that_are_counted() {
    let test = TestCloud::start().await;
    let logs = test.cloud.deployment_logs();
    let rows = CountedRows::new(logs.clone());
    for host in 0..200 {
        rows.write(&row(host, "region-a", "v1", GOOD)).await.unwrap();
    }
    settle(&rows).await;
    let look = || async {
        let mut sampled = Vec::new();
        for shard in 0..cloud::DEPLOYMENT_LOG_SHARDS {
            sampled.extend(logs.sample(BUILD, shard).await.unwrap());
        }
        sampled
    };
    let sampled = look().await;
    assert!(
        sampled.len() <= 128 && sampled.iter().all(|row| row.is_counted),
        "{sampled:?}"
    );
    // A region whose seeders are of the release before.
    for host in 0..200 {
        logs.write_first(&row(host, "region-b", "v1", GOOD)).await.unwrap();
    }
    let sampled = look().await;
    let uncounted = sampled.iter().filter(|row| !row.is_counted).count();
    assert_eq!((sampled.len(), uncounted), (128, 64));
}
