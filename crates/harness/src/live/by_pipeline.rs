//! A run by the pipeline: the build is uploaded, and events bring it to the regions' queues.

use std::time::{Duration, Instant, SystemTime};

use cloud::{Cloud, WORKFLOW};
use pipeline::PipelineClients;
use scenario::{RegionStages, Stages};
use seeder::{BuildFeed, Delivery, Pulled, QueueFeed};
use swarm::Time;

use super::{Run, RunError};
use crate::progress::Progress;

/// The queues of the regions.
pub(super) struct Feeds {
    state_machine: String,
    feeds: Vec<QueueFeed>,
}

impl Feeds {
    /// Finds the workflow and the queues.
    pub(super) async fn find(cloud: &Cloud, regions: &[String]) -> Result<Self, RunError> {
        let name = cloud.name(WORKFLOW);
        let state_machine = cloud.workflow().find(&name).await?;
        let state_machine = state_machine.ok_or_else(|| RunError::NoPipeline {
            missing: format!("there is no state machine {name}"),
        })?;
        let mut feeds = Vec::new();
        for region in regions {
            let queue = cloud.queues().named(&cloud.region_queue(region)).await;
            let queue = queue.map_err(|error| RunError::NoPipeline {
                missing: error.to_string(),
            })?;
            feeds.push(QueueFeed::new(queue, VISIBLE_AFTER));
        }
        Ok(Self { state_machine, feeds })
    }
}

impl Run<'_> {
    /// From the uploaded build to the last host.
    pub(super) async fn go_by_events(
        &mut self,
        progress: &mut Progress,
        feeds: &mut Feeds,
        upload_began: Time,
        began_at: SystemTime,
    ) -> Result<(), RunError> {
        let clock = self.clock;
        let since = move |at: Time| at.since(upload_began).as_secs_f64() * 1000.0;
        let uploaded_ms = since(clock.now());
        progress.phase("waiting for the regions to hear of the build");
        let key = &self.scenario.build.id;
        let buckets = self.cloud.buckets();
        let patience = self.scenario.time_limit() + DELIVERY_PATIENCE;
        let waiting = feeds.feeds.iter_mut().enumerate().map(|(index, feed)| {
            let (seeders, buckets) = (&self.seeders[index], &buckets);
            let region = &self.scenario.regions[index].name;
            async move {
                let delivery = tokio::time::timeout(patience, delivery_of(feed, key)).await;
                let delivery = delivery.map_err(|_elapsed| RunError::NotDelivered {
                    region: region.clone(),
                    patience,
                })?;
                let heard = clock.now();
                let pulls = seeders.iter().map(|seeder| seeder.pull(buckets, &delivery.notice));
                let pulled = futures::future::try_join_all(pulls).await;
                let pulled = pulled.map_err(|error| RunError::Seeder {
                    region: region.clone(),
                    source: Box::new(error),
                })?;
                Ok::<(Time, Vec<Pulled>, Delivery), RunError>((heard, pulled, delivery))
            }
        });
        let pulled = futures::future::try_join_all(waiting).await?;
        let complete_at: Vec<Time> = pulled.iter().map(|(heard, _, _)| *heard).collect();
        self.begin_hosts(&complete_at).await?;
        let mut regions = Vec::new();
        for (index, (heard, pulled, delivery)) in pulled.into_iter().enumerate() {
            for (seeder, pulled) in self.seeders[index].iter().zip(pulled) {
                seeder.seed(pulled);
            }
            let seeding = clock.now();
            self.live.replicated_after[index] = Some(heard.since(upload_began));
            self.regions[index].seeding_after = Some(seeding.since(heard));
            regions.push(RegionStages {
                region: self.scenario.regions[index].name.clone(),
                replicated_ms: since(heard),
                seeding_ms: since(seeding),
                ..RegionStages::default()
            });
            if let Err(error) = delivery.done().await {
                tracing::warn!(%error, "the build will be delivered again");
            }
        }
        let mut stages = Stages {
            uploaded_ms,
            regions,
            ..Stages::default()
        };
        self.note_execution(&feeds.state_machine, began_at, &mut stages).await?;
        self.live.stages = Some(stages);
        progress.phase("fan-out");
        progress.bound(self.bound());
        self.wait_done(progress, &complete_at).await?;
        self.end_watch();
        self.wait_rows(upload_began).await
    }

    /// When the workflow ran for this build, by its tracking row.
    async fn note_execution(
        &self,
        state_machine: &str,
        began_at: SystemTime,
        stages: &mut Stages,
    ) -> Result<(), RunError> {
        let since = |at: SystemTime| {
            at.duration_since(began_at)
                .ok()
                .map(|after| after.as_secs_f64() * 1000.0)
        };
        let (key, bucket) = (&self.scenario.build.id, self.cloud.global_bucket());
        if let Some(row) = self.cloud.tracking().get(key, &bucket).await?
            && row
                .execution_id
                .contains(state_machine.rsplit(':').next().unwrap_or_default())
        {
            let execution = self.cloud.workflow().describe(&row.execution_id).await?;
            stages.workflow_started_ms = execution.started_at.and_then(since);
            stages.workflow_ended_ms = execution.stopped_at.and_then(since);
            stages.execution = Some(execution.arn);
        }
        Ok(())
    }

    /// Until the rows of all hosts that are done are in the table.
    async fn wait_rows(&mut self, upload_began: Time) -> Result<(), RunError> {
        let done: u64 = self.status().await?.done.iter().map(|done| u64::from(*done)).sum();
        let began = Instant::now();
        while began.elapsed() < ROWS_PATIENCE {
            if self.cloud.deployment_logs().count(&self.scenario.build.id).await? >= done {
                if let Some(stages) = &mut self.live.stages {
                    stages.last_row_ms = Some(self.clock.now().since(upload_began).as_secs_f64() * 1000.0);
                }
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

/// The delivery of build `key`. Those of other builds, which somebody else uploads meanwhile or has before, are given back.
async fn delivery_of(feed: &mut QueueFeed, key: &str) -> Delivery {
    loop {
        let Some(delivery) = feed.next().await else {
            std::future::pending::<()>().await;
            continue;
        };
        if delivery.notice.key == key {
            return delivery;
        }
        tracing::warn!(
            build = delivery.notice.key,
            "another build is in the queue; giving it back"
        );
        if let Err(error) = delivery.give_back(Duration::from_secs(5)).await {
            tracing::warn!(%error, "it comes back by itself");
        }
    }
}

/// A seeder that died is noticed after this.
const VISIBLE_AFTER: Duration = Duration::from_secs(30);
/// Upload to queue takes about a second; retries of the workflow may take half a minute.
const DELIVERY_PATIENCE: Duration = Duration::from_secs(60);
/// Rows are written in the background; what is throttled comes late.
const ROWS_PATIENCE: Duration = Duration::from_secs(30);
