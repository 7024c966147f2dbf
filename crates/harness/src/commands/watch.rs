//! `harness watch`: a build on its way, from the workflow to the last host's row.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::IsTerminal;
use std::time::{Duration, Instant, SystemTime};

use cloud::{BUILD_SUFFIXES, Cloud, CloudError, DeploymentLog, DeploymentStatus, Standing, Tracking};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use scenario::{LatencySummary, LoadOptions, Scenario, Stop};
use serde_json::{Value, json};

use super::print;
use super::run::watch_signals;
use crate::cli::{Format, WatchArguments};
use crate::exit::{Exit, complain};

/// How a build stands.
struct View {
    build_id: String,
    replication: String,
    failed_buckets: Vec<String>,
    regions: Vec<RegionView>,
}

struct RegionView {
    name: String,
    bucket: String,
    hosts: u32,
    succeeded: u32,
    failed: u32,
    latency: LatencySummary,
}

pub(crate) async fn watch(arguments: WatchArguments) -> Exit {
    let options = LoadOptions {
        overrides: arguments.overrides.clone(),
        ..LoadOptions::default()
    };
    let scenario = match Scenario::load(&arguments.scenario, &options) {
        Ok(scenario) => scenario,
        Err(error) => {
            eprintln!("{error}");
            return Exit::Usage;
        }
    };
    let cloud = Cloud::connect(&arguments.place.config()).await;
    let build_id = match &arguments.build_id {
        Some(build_id) => build_id.clone(),
        None => match cloud.buckets().newest(&cloud.global_bucket(), BUILD_SUFFIXES).await {
            Ok(Some(newest)) => newest,
            Ok(None) => {
                eprintln!(
                    "harness: there is no build in bucket {}; `harness upload` brings one",
                    cloud.global_bucket()
                );
                return Exit::Usage;
            }
            Err(error) => {
                complain("the newest build cannot be told", &error);
                return Exit::Failed;
            }
        },
    };
    let stop = match watch_signals() {
        Ok(stop) => stop,
        Err(error) => {
            complain("failed to listen for signals", &error);
            return Exit::Failed;
        }
    };
    let bars = Bars::new(&scenario);
    let began = Instant::now();
    let mut unreachable_since: Option<Instant> = None;
    let mut last = None;
    let exit = loop {
        match look(&cloud, &scenario, &build_id).await {
            Ok(view) => {
                unreachable_since = None;
                bars.show(&view);
                let is_done = view.is_done();
                let is_well = view.is_well();
                last = Some(view);
                if is_done {
                    break if is_well { Exit::Well } else { Exit::NotConverged };
                }
            }
            Err(error) => {
                // It may come back; whoever wants to end it can.
                let since = *unreachable_since.get_or_insert_with(Instant::now);
                bars.say(&format!("{error}; trying again"));
                if since.elapsed() > UNREACHABLE_MAX {
                    bars.finish();
                    complain(&format!("{build_id} cannot be followed"), &error);
                    return Exit::Failed;
                }
            }
        }
        match *stop.borrow() {
            Some(Stop::Interrupted) => break Exit::Interrupted,
            Some(Stop::Terminated) => break Exit::Terminated,
            None => {}
        }
        if began.elapsed() > Duration::from_secs(arguments.timeout) {
            break Exit::NotConverged;
        }
        tokio::time::sleep(poll_interval(&scenario)).await;
    };
    bars.finish();
    if let Some(view) = last {
        match arguments.format {
            Format::Text => print(&view.text()),
            Format::Json => print(&format!("{:#}\n", view.json())),
        }
    }
    exit
}

async fn look(cloud: &Cloud, scenario: &Scenario, build_id: &str) -> Result<View, CloudError> {
    let bucket = cloud.global_bucket();
    let standing = cloud.buckets().standing(&bucket, build_id).await?;
    let tracking = cloud.tracking().get(build_id, &bucket).await?;
    // A row of an earlier version says nothing of this one.
    let tracking = tracking.filter(|row| is_of(row, standing.as_ref()));
    let rows = cloud.deployment_logs().rows(build_id).await?;
    let rows = of_this_version(rows, standing.map(|standing| standing.since));
    let regions = scenario.regions.iter().map(|region| {
        let own: Vec<_> = rows.iter().filter(|row| row.region == region.name).collect();
        let count = |status: DeploymentStatus| own.iter().filter(|row| row.status == status).count();
        let succeeded = own.iter().filter(|row| row.status == DeploymentStatus::Succeeded);
        let mut latencies: Vec<Option<Duration>> = succeeded.map(|row| Some(row.duration)).collect();
        // Who is not done yet is late.
        latencies.resize(latencies.len().max(region.hosts as usize), None);
        RegionView {
            bucket: cloud.regional_bucket(&region.name),
            name: region.name.clone(),
            hosts: region.hosts,
            succeeded: u32::try_from(count(DeploymentStatus::Succeeded)).unwrap_or(u32::MAX),
            failed: u32::try_from(count(DeploymentStatus::Failed)).unwrap_or(u32::MAX),
            latency: LatencySummary::new(latencies),
        }
    });
    Ok(View {
        build_id: build_id.to_owned(),
        replication: tracking
            .as_ref()
            .map_or_else(|| "not started".to_owned(), |row| row.status.clone()),
        failed_buckets: tracking.map(|row| row.failed_buckets).unwrap_or_default(),
        regions: regions.collect(),
    })
}

impl View {
    /// Nothing more is to be expected: every host has a row, or the copies to the regions of those that have none failed. While
    /// the workflow goes on nobody knows whether it ends well.
    fn is_done(&self) -> bool {
        let lost = |region: &RegionView| self.failed_buckets.contains(&region.bucket);
        let is_over = |region: &RegionView| region.succeeded + region.failed >= region.hosts || lost(region);
        self.replication == "REFUSED" || (self.replication != "IN_PROGRESS" && self.regions.iter().all(is_over))
    }

    fn is_well(&self) -> bool {
        let has_failed = ["FAILED", "PARTIAL_FAILURE", "REFUSED"].contains(&self.replication.as_str());
        !has_failed && self.regions.iter().all(|region| region.succeeded >= region.hosts)
    }

    fn text(&self) -> String {
        let mut text = format!("{}: replication {}\n", self.build_id, self.replication);
        for bucket in &self.failed_buckets {
            let _ = writeln!(text, "  not copied to {bucket}");
        }
        for region in &self.regions {
            let RegionView {
                name, hosts, succeeded, ..
            } = region;
            let _ = write!(text, "  {name:<16} {succeeded} of {hosts} hosts");
            if region.failed > 0 {
                let _ = write!(text, ", {} failed", region.failed);
            }
            let _ = writeln!(
                text,
                "; p50 {}, p99 {}, last {}",
                show(region.latency.p50),
                show(region.latency.p99),
                show(region.latency.max)
            );
        }
        text
    }

    fn json(&self) -> Value {
        let ms = |latency: Option<Duration>| latency.map(|latency| latency.as_secs_f64() * 1000.0);
        let regions: Vec<Value> = self
            .regions
            .iter()
            .map(|region| {
                json!({
                    "name": region.name,
                    "hosts": region.hosts,
                    "succeeded": region.succeeded,
                    "failed": region.failed,
                    "fanout_latency_ms": {
                        "p50": ms(region.latency.p50), "p90": ms(region.latency.p90), "p99": ms(region.latency.p99),
                        "max": ms(region.latency.max),
                    },
                })
            })
            .collect();
        json!({
            "build_id": self.build_id,
            "replication": self.replication,
            "failed_buckets": self.failed_buckets,
            "regions": regions,
        })
    }
}

fn show(latency: Option<Duration>) -> String {
    latency.map_or_else(
        || "not yet".to_owned(),
        |latency| format!("{:.2} s", latency.as_secs_f64()),
    )
}

/// A bar for each region, on a terminal.
struct Bars {
    all: MultiProgress,
    head: ProgressBar,
    regions: Vec<ProgressBar>,
}

impl Bars {
    fn new(scenario: &Scenario) -> Self {
        let all = MultiProgress::new();
        if !std::io::stderr().is_terminal() {
            all.set_draw_target(ProgressDrawTarget::hidden());
        }
        let head = all.add(ProgressBar::new_spinner());
        let regions = scenario.regions.iter().map(|region| {
            let bar = all.add(ProgressBar::new(region.hosts.into()));
            if let Ok(style) = ProgressStyle::with_template("{prefix:16} {bar:30} {pos}/{len} {per_sec} {msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(region.name.clone());
            bar
        });
        let regions = regions.collect();
        Self { all, head, regions }
    }

    fn show(&self, view: &View) {
        self.head
            .set_message(format!("{}: replication {}", view.build_id, view.replication));
        self.head.tick();
        for (bar, region) in self.regions.iter().zip(&view.regions) {
            bar.set_position(region.succeeded.into());
            let failed = if region.failed > 0 {
                format!(", {} failed", region.failed)
            } else {
                String::new()
            };
            bar.set_message(format!(
                "p50 {} p99 {}{failed}",
                show(region.latency.p50),
                show(region.latency.p99)
            ));
        }
    }

    fn say(&self, message: &str) {
        self.head.set_message(message.to_owned());
        self.head.tick();
    }

    fn finish(&self) {
        let _ = self.all.clear();
    }
}

/// Whether the row of a replication is of what the bucket has now.
fn is_of(row: &Tracking, standing: Option<&Standing>) -> bool {
    match (
        &row.version_id,
        standing.and_then(|standing| standing.version_id.as_ref()),
    ) {
        (Some(of), Some(newest)) => of == newest,
        // Somebody has posted it without saying a version, or the bucket keeps none.
        _ => true,
    }
}

/// The rows of hosts that have what the bucket has had `since` then. Rows of one version stand and fall together: by the clock of
/// one host a row may be older than it is.
fn of_this_version(rows: Vec<DeploymentLog>, since: Option<SystemTime>) -> Vec<DeploymentLog> {
    let Some(since) = since else {
        return rows;
    };
    let is_newer = |row: &DeploymentLog| row.completed_at >= since;
    let mut votes: BTreeMap<String, i64> = BTreeMap::new();
    for row in &rows {
        if let Some(version) = &row.version {
            *votes.entry(version.clone()).or_default() += if is_newer(row) { 1 } else { -1 };
        }
    }
    let mut rows = rows;
    rows.retain(|row| match &row.version {
        Some(version) => votes.get(version).is_some_and(|votes| *votes > 0),
        None => is_newer(row),
    });
    rows
}

/// Between two looks. Each reads every row, and is paid by the row: a large fleet is looked at less often.
fn poll_interval(scenario: &Scenario) -> Duration {
    let hosts: u64 = scenario.regions.iter().map(|region| u64::from(region.hosts)).sum();
    POLL_INTERVAL.max(Duration::from_millis(hosts / HOSTS_PER_MILLISECOND))
}

const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// 100,000 hosts are looked at every ten seconds.
const HOSTS_PER_MILLISECOND: u64 = 10;
/// An endpoint that is away for longer is not waited for.
const UNREACHABLE_MAX: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    fn row(host: u64, version: Option<&str>, completed: u64) -> DeploymentLog {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        DeploymentLog {
            build_id: "b.zip".to_owned(),
            version: version.map(str::to_owned),
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

    fn view(replication: &str, failed: &[&str], succeeded: [u32; 2]) -> View {
        let region = |name: &str, succeeded| RegionView {
            name: name.to_owned(),
            bucket: format!("{name}-builds"),
            hosts: 10,
            succeeded,
            failed: 0,
            latency: LatencySummary::new(Vec::new()),
        };
        View {
            build_id: "b.zip".to_owned(),
            replication: replication.to_owned(),
            failed_buckets: failed.iter().map(|bucket| (*bucket).to_owned()).collect(),
            regions: vec![region("region-a", succeeded[0]), region("region-ab", succeeded[1])],
        }
    }

    #[test]
    fn a_region_is_not_lost_with_one_whose_name_is_longer() {
        assert!(!view("PARTIAL_FAILURE", &["region-ab-builds"], [3, 0]).is_done());
        assert!(view("PARTIAL_FAILURE", &["region-ab-builds"], [10, 0]).is_done());
    }

    #[test]
    fn nothing_is_well_where_replication_has_failed_and_nothing_is_over_while_it_goes_on() {
        assert!(!view("PARTIAL_FAILURE", &["region-ab-builds"], [10, 10]).is_well());
        assert!(!view("IN_PROGRESS", &[], [10, 10]).is_done());
        assert!(view("COMPLETED", &[], [10, 10]).is_well() && view("COMPLETED", &[], [10, 10]).is_done());
        assert!(view("REFUSED", &[], [0, 0]).is_done() && !view("REFUSED", &[], [10, 10]).is_well());
    }

    #[test]
    fn the_row_of_another_version_is_not_this_ones() {
        let row = |version: Option<&str>| Tracking {
            file_key: "b.zip".to_owned(),
            source_bucket: "global-builds".to_owned(),
            execution_id: "e".to_owned(),
            status: "COMPLETED".to_owned(),
            version_id: version.map(str::to_owned),
            successful_buckets: Vec::new(),
            failed_buckets: Vec::new(),
        };
        let standing = Standing {
            version_id: Some("v2".to_owned()),
            since: SystemTime::UNIX_EPOCH,
        };
        assert!(is_of(&row(Some("v2")), Some(&standing)) && !is_of(&row(Some("v1")), Some(&standing)));
        assert!(is_of(&row(None), Some(&standing)) && is_of(&row(Some("v1")), None));
    }
}
