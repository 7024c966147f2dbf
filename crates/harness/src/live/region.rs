//! One build in one region, for hosts that stay up: pulled, seeded, fetched by every host, logged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cloud::{Cloud, CloudConfig};
use peer::{ChunkPool, Clock, PathDelay};
use scenario::{BuildSource, HostState, LatencySummary, RegionPlan, Scenario};
use seeder::{Delivery, RegionalSeeder};

use super::fleet::{Fleet, FleetStatus, Slice, Surroundings};
use super::signed::{self, Believed};
use super::{Place, RowsTo, RunError, endpoints::seeder_endpoint, membership::Certifier, node_parts, seeder_options};

/// What came of it.
#[derive(Debug)]
pub(crate) struct Deployed {
    pub(crate) hosts: usize,
    pub(crate) verified: usize,
    pub(crate) latency: LatencySummary,
    pub(crate) rows_written: u64,
    pub(crate) rows_failed: usize,
}

/// Sees to a delivery in `region` of `scenario`. The message is deleted as soon as the build is seeded; what fails before
/// that is for the caller to give back.
pub(crate) async fn deploy(
    scenario: &Scenario,
    region: usize,
    (config, trust): (&CloudConfig, Option<&Believed>),
    delivery: &mut Option<Delivery>,
    told: impl Fn(u64, &FleetStatus),
) -> Result<Deployed, RunError> {
    let Some(notice) = delivery.as_ref().map(|delivery| delivery.notice.clone()) else {
        return Err(RunError::NoPipeline {
            missing: "the delivery".to_owned(),
        });
    };
    let name = scenario.regions[region].name.clone();
    let failed = |error: seeder::SeedError| RunError::Seeder {
        region: name.clone(),
        source: Box::new(error),
    };
    let mut surroundings = Surroundings {
        place: Place::default(),
        path: PathDelay::new(scenario.network.latency),
        paths: None,
        downlinks: node_parts::downlinks(scenario)[..1].to_vec(),
        pool: ChunkPool::default(),
        clock: Clock::start(),
        rows: RowsTo::Table(config.clone()),
        seeders: Vec::new(),
        believed: trust.cloned(),
        certifier: Some(Certifier::of_run(scenario.seed)),
        recorded: None,
    };
    let began = surroundings.clock.now();
    // Region 0 of a scenario of its own, with the build that has come.
    let mut own = scenario.clone();
    own.regions = vec![scenario.regions[region].clone()];
    own.seed = scenario.seed ^ (region as u64) << 20;
    own.build.id.clone_from(&notice.key);
    let plans: Arc<[RegionPlan]> = own.plans().into();
    let buckets = Cloud::connect(config).await.buckets();
    let mut seeders = Vec::new();
    for plan in &plans[0].seeders {
        let endpoint = seeder_endpoint(&own, &plans[0], plan, &surroundings);
        let options = seeder_options(&own, &plans[0], plan, &surroundings, scenario.build.chunk_size);
        let started = RegionalSeeder::start(endpoint, options).await;
        let seeder = started.map_err(|error| RunError::Seeder {
            region: name.clone(),
            source: Box::new(error),
        })?;
        let mut pulled = seeder.pull(&buckets, &notice).await.map_err(failed)?;
        if trust.is_none() {
            // Nobody has said who signs builds: what has come is signed here, so that hosts verify all the same.
            pulled.signature = Some(signed::sign(scenario, &pulled.manifest).to_string());
        }
        own.build.source = BuildSource::Generated {
            bytes: pulled.object.size,
        };
        own.build.chunk_size = Some(pulled.manifest.chunk_size());
        seeders.push((seeder, pulled));
    }
    let addresses = seeders.iter().map(|(seeder, _)| seeder.address());
    surroundings.seeders.push(addresses.collect());
    let own_key = || Believed::of_run(scenario.seed);
    surroundings.believed.get_or_insert_with(own_key);
    let clock = surroundings.clock;
    let mut fleet = Fleet::new(&own, plans, Slice { index: 0, count: 1 }, surroundings).await;
    fleet.start().await?;
    let patience = super::fleet::join_patience(own.host_count());
    wait(patience, || fleet.status().joined >= own.host_count() as usize).await;
    fleet.begin(vec![began]);
    let mut seeding = Vec::new();
    for (seeder, pulled) in seeders {
        seeder.seed(pulled);
        seeding.push(seeder);
    }
    if let Some(delivery) = delivery.take()
        && let Err(error) = delivery.done().await
    {
        tracing::warn!(%error, "the build will be delivered again");
    }
    wait(own.time_limit() + clock.now().since(began), || {
        let status = fleet.status();
        told(own.build_size().get(), &status);
        status.pending == 0
    })
    .await;
    let result = fleet.finish().await;
    let verified = result
        .outcomes
        .iter()
        .filter(|outcome| outcome.state == HostState::Verified);
    Ok(Deployed {
        hosts: result.outcomes.len(),
        verified: verified.count(),
        latency: LatencySummary::new(result.outcomes.iter().map(|outcome| outcome.verified_after)),
        rows_written: result.rows_written,
        rows_failed: result.rows_failed.len(),
    })
}

async fn wait(patience: Duration, mut is_done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_done() && began.elapsed() < patience {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
