//! `harness watch`: a build on its way, from the workflow to the last host's row.

use std::fmt::Write;
use std::time::{Duration, Instant};

use cloud::{BUILD_SUFFIXES, Cloud, CloudError, Standing, Tracking};
use scenario::{LatencySummary, Scenario};
use serde_json::{Value, json};

use super::rows_seen::{Because, Looks, Meant, RegionRows, RowsSeen, interval_of_exact_looks, interval_of_looks};
use super::run::watch_signals;
use super::{print, reach};
use crate::cli::{Format, WatchArguments};
use crate::exit::{Exit, chain, of_stop, print_error};
use crate::progress::Screen;

/// How a build stands.
struct View {
    build_id: String,
    replication: String,
    failed_buckets: Vec<String>,
    regions: Vec<RegionView>,
    /// Items that were read for it.
    items_read: u64,
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
    let options = arguments.set.options();
    let scenario = match Scenario::load(&arguments.scenario, &options) {
        Ok(scenario) => scenario,
        Err(error) => {
            say!("{error}");
            return Exit::Usage;
        }
    };
    match Box::pin(follow(&arguments, &scenario)).await {
        Ok(exit) | Err(exit) => exit,
    }
}

async fn follow(arguments: &WatchArguments, scenario: &Scenario) -> Result<Exit, Exit> {
    let cloud = reach::connect(&arguments.place).await?;
    let build_id = match &arguments.build_id {
        Some(build_id) => build_id.clone(),
        None => newest(&cloud).await?,
    };
    let stop = watch_signals().map_err(|error| {
        print_error("failed to listen for signals", &error);
        Exit::Failed
    })?;
    let mut watching = Watching {
        screen: Screen::new(),
        unreachable_since: None,
        told: None,
        told_because: None,
        last: None,
    };
    let mut looks = Looks::new(arguments.exact);
    let version = arguments.version.as_deref();
    let (began, timeout) = (Instant::now(), Duration::from_secs(arguments.timeout));
    let exit = loop {
        let looked = look(&cloud, scenario, (&build_id, version), &mut looks).await;
        watching.note_because(looks.because());
        if let Some(exit) = watching.note(looked, &build_id, began.elapsed() > timeout) {
            break exit;
        }
        if let Some(stopped) = *stop.borrow() {
            break of_stop(stopped);
        }
        if began.elapsed() > timeout {
            break Exit::NotConverged;
        }
        let items = watching.last.as_ref().map_or(0, |view| view.items_read);
        tokio::time::sleep(match looks.because() {
            Some(_) => interval_of_exact_looks(scenario.host_count().into()),
            None => interval_of_looks(items),
        })
        .await;
    };
    watching.screen.finish();
    if let Some(view) = watching.last {
        match arguments.format {
            Format::Text => print(&view.text()),
            Format::Json => print(&format!("{:#}\n", view.json())),
        }
    }
    Ok(exit)
}

async fn newest(cloud: &Cloud) -> Result<String, Exit> {
    let bucket = cloud.global_bucket();
    match cloud.buckets().newest(&bucket, BUILD_SUFFIXES).await {
        Ok(Some(newest)) => Ok(newest),
        Ok(None) => {
            say!("harness: there is no build in bucket {bucket}; `harness upload` brings one");
            Err(Exit::Usage)
        }
        Err(error) => {
            print_error("the newest build cannot be found", &error);
            Err(Exit::Failed)
        }
    }
}

/// What was seen so far.
struct Watching {
    screen: Screen,
    unreachable_since: Option<Instant>,
    /// What is wrong, once and not at each look.
    told: Option<String>,
    told_because: Option<Because>,
    last: Option<View>,
}

impl Watching {
    /// That each look reads all rows, which takes longer and costs more, is said once.
    fn note_because(&mut self, because: Option<Because>) {
        if let Some(because) = because.filter(|_| self.told_because != because)
            && because != Because::Asked
        {
            self.screen
                .say(&format!("each look reads all rows: {}", because.as_str()));
            self.told_because = Some(because);
        }
    }

    /// How it ends, where it does.
    fn note(&mut self, looked: Result<View, CloudError>, build_id: &str, is_late: bool) -> Option<Exit> {
        match looked {
            Ok(view) => {
                (self.unreachable_since, self.told) = (None, None);
                self.screen.show(&lines(&view));
                let exit = if view.is_well() {
                    Exit::Success
                } else {
                    Exit::NotConverged
                };
                let is_done = view.is_done();
                self.last = Some(view);
                is_done.then_some(exit)
            }
            Err(error) => {
                // It may come back; whoever wants to end it can.
                let since = *self.unreachable_since.get_or_insert_with(Instant::now);
                let text = chain(&error);
                if self.told.as_ref() != Some(&text) {
                    self.screen.say(&format!("{text}; trying again"));
                    self.told = Some(text);
                }
                if since.elapsed() > UNREACHABLE_MAX || (self.last.is_none() && is_late) {
                    self.screen.finish();
                    print_error(&format!("{build_id} cannot be followed"), &error);
                    return Some(Exit::Failed);
                }
                None
            }
        }
    }
}

async fn look(
    cloud: &Cloud,
    scenario: &Scenario,
    (build_id, version): (&str, Option<&str>),
    looks: &mut Looks,
) -> Result<View, CloudError> {
    let bucket = cloud.global_bucket();
    let standing = cloud.buckets().standing(&bucket, build_id).await?;
    let tracking = cloud.tracking().get(build_id, &bucket).await?;
    // A row of an earlier version says nothing of this one.
    let tracking = tracking.filter(|row| version.is_some() || is_of(row, standing.as_ref()));
    let meant = Meant {
        build_id: build_id.to_owned(),
        version: version.map(str::to_owned),
        since: standing.map(|standing| standing.since),
    };
    let mut seen = looks.look(&cloud.deployment_logs(), &meant, Instant::now()).await?;
    let items_read = seen.items_read + 1;
    let regions = scenario
        .regions
        .iter()
        .map(|region| of_region(cloud, region, &mut seen));
    Ok(View {
        build_id: build_id.to_owned(),
        replication: tracking
            .as_ref()
            .map_or_else(|| "not started".to_owned(), |row| row.status.clone()),
        failed_buckets: tracking.map(|row| row.failed_buckets).unwrap_or_default(),
        regions: regions.collect(),
        items_read,
    })
}

fn of_region(cloud: &Cloud, region: &scenario::Region, seen: &mut RowsSeen) -> RegionView {
    let RegionRows {
        succeeded,
        failed,
        durations,
    } = seen.regions.remove(&region.name).unwrap_or_default();
    let mut latencies: Vec<Option<Duration>> = durations
        .into_iter()
        .flat_map(|(duration, hosts)| (0..hosts).map(move |_| Some(duration)))
        .collect();
    // Who is not done yet is late.
    latencies.resize(latencies.len().max(region.hosts as usize), None);
    RegionView {
        bucket: cloud.regional_bucket(&region.name),
        name: region.name.clone(),
        hosts: region.hosts,
        succeeded: u32::try_from(succeeded).unwrap_or(u32::MAX),
        failed: u32::try_from(failed).unwrap_or(u32::MAX),
        latency: LatencySummary::new(latencies),
    }
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

/// How it stands, as lines of progress.
fn lines(view: &View) -> Vec<Vec<String>> {
    let (succeeded, hosts): (u32, u32) = (
        view.regions.iter().map(|region| region.succeeded).sum(),
        view.regions.iter().map(|region| region.hosts).sum(),
    );
    let head = vec![
        format!("{succeeded} of {hosts} hosts"),
        format!("replication {}", view.replication),
        view.build_id.clone(),
    ];
    let of_region = |region: &RegionView| {
        let mut parts = vec![format!(
            "{} {} of {} hosts",
            region.name, region.succeeded, region.hosts
        )];
        if region.failed > 0 {
            parts.push(format!("{} failed", region.failed));
        }
        parts.push(format!("p50 {}", show(region.latency.p50)));
        parts.push(format!("p99 {}", show(region.latency.p99)));
        parts
    };
    std::iter::once(head)
        .chain(view.regions.iter().map(of_region))
        .collect()
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

/// An endpoint that is away for longer is not waited for.
const UNREACHABLE_MAX: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

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
            items_read: 0,
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
            root: None,
            successful_buckets: Vec::new(),
            failed_buckets: Vec::new(),
        };
        let standing = Standing {
            version_id: Some("v2".to_owned()),
            since: std::time::SystemTime::UNIX_EPOCH,
        };
        assert!(is_of(&row(Some("v2")), Some(&standing)) && !is_of(&row(Some("v1")), Some(&standing)));
        assert!(is_of(&row(None), Some(&standing)) && is_of(&row(Some("v1")), None));
    }
}
