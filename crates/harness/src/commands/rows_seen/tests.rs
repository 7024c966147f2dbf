use cloud::RegionCounts;

use super::*;

fn row(host: u64, version: Option<&str>, completed: u64) -> DeploymentLog {
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    DeploymentLog {
        build_id: "b.zip".to_owned(),
        version: version.map(str::to_owned),
        root: None,
        host_id: format!("h{host}"),
        region: "region-a".to_owned(),
        zone: "z".to_owned(),
        status: DeploymentStatus::Succeeded,
        error: None,
        started_at: at(completed),
        completed_at: at(completed),
        duration: Duration::ZERO,
        bytes_from_seeder: 0,
        bytes_from_peers: 0,
        bytes_wasted: 0,
        chunks_held: 1,
        chunks_total: 1,
    }
}

#[test]
fn rows_of_an_earlier_version_do_not_count_and_one_clock_that_is_wrong_changes_nothing() {
    let since = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(100));
    let count = |rows| of_this_version(rows, since).len();
    assert_eq!(count(vec![row(1, None, 90), row(2, None, 110)]), 1);
    let old = || {
        vec![
            row(1, Some("old"), 90),
            row(2, Some("old"), 91),
            row(3, Some("old"), 300),
        ]
    };
    assert_eq!(count(old()), 0);
    let new = vec![
        row(4, Some("new"), 110),
        row(5, Some("new"), 111),
        row(6, Some("new"), 20),
    ];
    assert_eq!(count([old(), new].concat()), 3);
    assert_eq!(of_this_version(old(), None).len(), 3);
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn counts(of: &[(&str, &str, u64, u64)]) -> RowCounts {
    let regions = of.iter().map(|(version, region, succeeded, written)| RegionCounts {
        version: Some((*version).to_owned()),
        region: (*region).to_owned(),
        succeeded: *succeeded,
        failed: 1,
        written_at: Some(at(*written)),
        durations: vec![(Duration::from_secs(1), *succeeded)],
    });
    RowCounts {
        regions: regions.collect(),
        items_read: of.len() as u64,
        ..RowCounts::default()
    }
}

fn meant(version: Option<&str>, since: Option<u64>) -> Meant {
    Meant {
        build_id: "b.zip".to_owned(),
        version: version.map(str::to_owned),
        since: since.map(at),
    }
}

#[test]
fn counts_are_of_the_newest_version_or_of_the_one_that_is_meant() {
    let counts = counts(&[
        ("old", "region-a", 70, 50),
        ("new", "region-a", 20, 150),
        ("new", "region-b", 9, 160),
    ]);
    let of = |meant: &Meant| of_counts(&counts, &[], meant).unwrap();
    let newest = of(&meant(None, Some(100)));
    assert_eq!((newest.succeeded(), newest.failed(), newest.others), (29, 2, 71));
    assert_eq!(newest.regions["region-a"].succeeded, 20);
    assert_eq!(newest.versions, [("new".to_owned(), 31), ("old".to_owned(), 71)].into());
    let old = of(&meant(Some("old"), Some(100)));
    assert_eq!((old.succeeded(), old.others), (70, 31));
    // Nothing is known of what the bucket has.
    assert_eq!(of(&meant(None, None)).succeeded(), 99);
}

#[test]
fn counts_are_not_believed_where_rows_of_this_version_are_not_counted() {
    let sampled = |version: &str, completed: u64, is_counted| SampledRow {
        version: Some(version.to_owned()),
        completed_at: at(completed),
        is_counted,
    };
    let counts = counts(&[("new", "region-a", 20, 150)]);
    let of = |counts: &RowCounts, rows: &[SampledRow]| of_counts(counts, rows, &meant(None, Some(100))).map(|_| ());
    assert_eq!(
        of(&counts, &[sampled("new", 150, true), sampled("old", 50, false)]),
        Ok(())
    );
    assert_eq!(of(&counts, &[sampled("new", 150, false)]), Err(Because::SomeDoNotCount));
    let none = RowCounts::default();
    assert_eq!(of(&none, &[sampled("new", 150, false)]), Err(Because::NobodyCounts));
    assert_eq!(of(&none, &[]), Ok(()));
    let unsettled = RowCounts { unsettled: 1, ..counts };
    assert!(!of_counts(&unsettled, &[], &meant(None, None)).unwrap().is_certain);
}

#[test]
fn counts_that_stand_still_are_checked_once_until_they_change() {
    let mut looks = Looks::new(false);
    let begun = Instant::now();
    let seen = |succeeded| of_counts(&counts(&[("v", "region-a", succeeded, 1)]), &[], &meant(None, None)).unwrap();
    let mut still = |rows, seconds| looks.stands_still(&seen(rows), begun + Duration::from_secs(seconds));
    assert!(!still(5, 0) && !still(5, 59) && still(5, 60));
    assert!(!still(6, 61) && !still(6, 120) && still(6, 121));
}

#[test]
fn watching_a_hundred_thousand_hosts_reads_less_than_a_thousand_items_a_minute() {
    for (regions, seeders) in [(1, 1), (2, 1), (5, 3), (100, 1), (100, 8)] {
        let items = items_of_a_look(regions * seeders);
        let a_minute = items as f64 * 60.0 / interval_of_looks(items).as_secs_f64();
        assert!(
            a_minute < 1000.0,
            "{regions} regions with {seeders} seeders each: {a_minute:.0}"
        );
    }
    assert_eq!(interval_of_looks(items_of_a_look(2)), Duration::from_millis(733));
    assert_eq!(interval_of_exact_looks(100_000), Duration::from_secs(10));
}
