//! `harness watch`: a build on its way, from the workflow to the last host's row.

use std::fmt::Write;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use cloud::{Cloud, CloudError, DeploymentStatus};
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
        None => match cloud.buckets().newest(&cloud.global_bucket()).await {
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
        tokio::time::sleep(POLL_INTERVAL).await;
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
    let tracking = cloud.tracking().get(build_id, &cloud.global_bucket()).await?;
    let rows = cloud.deployment_logs().rows(build_id).await?;
    let regions = scenario.regions.iter().map(|region| {
        let own: Vec<_> = rows.iter().filter(|row| row.region == region.name).collect();
        let count = |status: DeploymentStatus| own.iter().filter(|row| row.status == status).count();
        let succeeded = own.iter().filter(|row| row.status == DeploymentStatus::Succeeded);
        let mut latencies: Vec<Option<Duration>> = succeeded.map(|row| Some(row.duration)).collect();
        // Who is not done yet is late.
        latencies.resize(latencies.len().max(region.hosts as usize), None);
        RegionView {
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
    /// Nothing more is to be expected: every host has a row, or the copies to the regions of those that have none failed.
    fn is_done(&self) -> bool {
        let lost = |region: &RegionView| {
            self.failed_buckets
                .iter()
                .any(|bucket| bucket.starts_with(&region.name))
        };
        self.regions
            .iter()
            .all(|region| region.succeeded + region.failed >= region.hosts || lost(region))
    }

    fn is_well(&self) -> bool {
        self.regions.iter().all(|region| region.succeeded >= region.hosts)
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

const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// An endpoint that is away for longer is not waited for.
const UNREACHABLE_MAX: Duration = Duration::from_secs(120);
