//! `harness up`: the seeders and hosts of a scenario stay up and wait for builds.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cloud::{Cloud, CloudConfig, CloudError};
use parking_lot::Mutex;
use pipeline::{PipelineClients, Queue};
use scenario::{Scenario, Stop};
use seeder::{BuildFeed, Delivery, QueueFeed};
use signing::TrustedKeys;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::run::watch_signals;
use super::{print, reach};
use crate::cli::UpArguments;
use crate::exit::{Exit, chain, print_error};
use crate::live::{self, BelievedBuilds, FleetStatus};
use crate::progress::Builds;

pub(crate) async fn up(arguments: UpArguments) -> Exit {
    let scenario = match scenario(&arguments) {
        Ok(scenario) => Arc::new(scenario),
        Err(exit) => return exit,
    };
    let mut stop = match watch_signals() {
        Ok(stop) => stop,
        Err(error) => {
            print_error("failed to listen for signals", &error);
            return Exit::Failed;
        }
    };
    let trust = match arguments.trust.as_deref().map(TrustedKeys::read).transpose() {
        Ok(keys) => keys.map(BelievedBuilds::of),
        Err(error) => {
            print_error("--trust", &error);
            return Exit::Usage;
        }
    };
    if let Err(exit) = reach::look(&arguments.place) {
        return exit;
    }
    let config = arguments.place.config();
    let cloud = Cloud::connect(&config).await;
    let builds = Arc::new(Builds::new());
    let mut listening = JoinSet::new();
    for region in 0..scenario.regions.len() {
        let (scenario, cloud) = (Arc::clone(&scenario), cloud.clone());
        let config = (config.clone(), trust.clone(), Arc::clone(&builds));
        let at_a_time = usize::from(arguments.builds_at_a_time);
        listening.spawn(async move { listen(scenario, region, cloud, config, at_a_time).await });
    }
    let believes = match trust {
        Some(_) => "believe what is signed with a key of --trust",
        None => {
            "believe what is in the bucket, and hosts verify that it comes from there: --trust FILE for what publishers sign"
        }
    };
    announce(&arguments.scenario, &scenario, believes);
    tokio::select! {
        _ = stop.wait_for(Option::is_some) => {}
        ended = listening.join_next() => {
            if let Some(Ok(Err(error))) = ended {
                print_error("a region has stopped listening", &error);
                return Exit::Failed;
            }
        }
    }
    // Builds that are being seen to come back to the queue when their messages are visible again.
    listening.shutdown().await;
    match *stop.borrow() {
        Some(Stop::Terminated) => Exit::Terminated,
        _ => Exit::Interrupted,
    }
}

/// The scenario, if hosts that stay up can have it.
fn scenario(arguments: &UpArguments) -> Result<Scenario, Exit> {
    let options = arguments.set.options();
    let scenario = match Scenario::load(&arguments.scenario, &options) {
        Ok(scenario) => scenario,
        Err(error) => {
            say!("{error}");
            return Err(Exit::Usage);
        }
    };
    let not_here = [scenario.only_in_forecasts(), scenario.only_with_own_cloud()].concat();
    if !not_here.is_empty() {
        say!(
            "harness: {}: only forecasts, or runs with a cloud of their own, have {}; expected a scenario without",
            arguments.scenario.display(),
            not_here.join(", ")
        );
        return Err(Exit::Usage);
    }
    if !scenario.network_faults.is_empty() || !scenario.seeder_faults.is_empty() {
        say!(
            "harness: {}: faults between members and of seeders are for `harness run` and `harness plan`, since hosts stay up \
             here from one build to the next; expected a scenario without",
            arguments.scenario.display()
        );
        return Err(Exit::Usage);
    }
    Ok(scenario)
}

fn announce(path: &Path, scenario: &Scenario, believes: &str) {
    let regions: Vec<String> = scenario
        .regions
        .iter()
        .map(|region| format!("{} ({} hosts)", region.name, region.hosts))
        .collect();
    say!(
        "harness: {}: {} wait for builds; seeders {believes}; Ctrl-C ends it",
        path.display(),
        regions.join(", ")
    );
}

/// Takes up the builds of a region, some at a time.
async fn listen(
    scenario: Arc<Scenario>,
    region: usize,
    cloud: Cloud,
    config: (CloudConfig, Option<BelievedBuilds>, Arc<Builds>),
    at_a_time: usize,
) -> Result<(), CloudError> {
    let name = scenario.regions[region].name.clone();
    let queue = find_queue(&cloud, &name).await?;
    let mut feed = QueueFeed::new(queue, VISIBLE_AFTER);
    let room = Arc::new(Semaphore::new(at_a_time));
    // Builds that are being seen to, or are done: an event that comes twice is not deployed twice.
    let seen: Arc<Mutex<BTreeSet<(String, String)>>> = Arc::default();
    let mut deploying = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return Ok(());
        };
        let Some(delivery) = feed.next().await else {
            return Ok(());
        };
        // An ended task has told what came of it itself.
        while deploying.try_join_next().is_some() {}
        let (scenario, config, seen, buckets) = (
            Arc::clone(&scenario),
            config.clone(),
            Arc::clone(&seen),
            cloud.buckets(),
        );
        deploying.spawn(async move {
            let notice = delivery.notice.clone();
            // Which version it is decides whether it is new.
            let version = match buckets.head(&notice.bucket, &notice.key).await {
                Ok(object) => (notice.key.clone(), object.etag),
                Err(error) => {
                    let name = &scenario.regions[region].name;
                    return give_back(&config.2, name, delivery, &error.to_string(), permit).await;
                }
            };
            if !seen.lock().insert(version.clone()) {
                tracing::info!(build = notice.key, "announced before");
                if let Err(error) = delivery.done().await {
                    tracing::warn!(%error, "message not deleted; it comes again");
                }
                return;
            }
            see_to(&scenario, region, &config, delivery, &seen, version, permit).await;
        });
    }
}

async fn see_to(
    scenario: &Scenario,
    region: usize,
    (config, trust, builds): &(CloudConfig, Option<BelievedBuilds>, Arc<Builds>),
    delivery: Delivery,
    seen: &Mutex<BTreeSet<(String, String)>>,
    version: (String, String),
    permit: OwnedSemaphorePermit,
) {
    let name = &scenario.regions[region].name;
    let build = format!("{name}: {}", version.0);
    builds.suspend(|| say!("harness: {build} has come"));
    let mut held = Some(delivery);
    let told = |bytes, status: &FleetStatus| builds.note(&build, bytes, status);
    let deployed = live::deploy(scenario, region, (config, trust.as_ref()), &mut held, told).await;
    builds.over(&build);
    match deployed {
        Ok(deployed) => {
            let last = deployed.latency.max.map_or_else(
                || "not all".to_owned(),
                |last| format!("last host after {:.2} s", last.as_secs_f64()),
            );
            let told = format!(
                "{build} on {} of {} hosts, {last}; {} rows written, {} not\n",
                deployed.verified, deployed.hosts, deployed.rows_written, deployed.rows_failed
            );
            builds.suspend(|| print(&told));
        }
        Err(error) => {
            // It may be taken up again.
            seen.lock().remove(&version);
            if let Some(delivery) = held {
                give_back(builds, name, delivery, &chain(&error), permit).await;
            }
        }
    }
}

async fn give_back(builds: &Builds, region: &str, delivery: Delivery, problem: &str, _permit: OwnedSemaphorePermit) {
    builds.suspend(|| say!("harness: {region}: {} is not seeded: {problem}", delivery.notice.key));
    if let Err(error) = delivery.give_back(AGAIN_AFTER).await {
        tracing::warn!(%error, "it comes back by itself");
    }
}

/// The region's queue, as soon as the endpoint answers.
async fn find_queue(cloud: &Cloud, region: &str) -> Result<Queue, CloudError> {
    let name = cloud.region_queue(region);
    loop {
        match cloud.queues().named(&name).await {
            Err(error) if error.is_retryable() => {
                say!("harness: {error}; trying again");
                tokio::time::sleep(AGAIN_AFTER).await;
            }
            found => return found,
        }
    }
}

/// The build of a seeder that died is somebody else's after this.
const VISIBLE_AFTER: Duration = Duration::from_secs(30);
/// What failed is tried again after this, and ends in the dead-letter queue when that has happened five times.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
