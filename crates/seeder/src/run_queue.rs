//! The seeder of a queue: its directory, its agent, and a queue that may not be there yet.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use cloud::{Cloud, CloudConfig, CloudError, region_of_queue};
use peer::{DirectoryServer, HandedRow, Multiaddr, NodeIdentity, Notifier, SeededBuild, SharedLink};
use pipeline::{PipelineClients, Queues};
use program::Exit;
use seeder::{
    Agent, AgentHost, AgentOptions, BuildFeed, Delivery, HostRows, Patience, QueueFeed, RegionalSeeder, SpoolFolder,
};
use swarm::SwarmId;
use tokio::sync::{mpsc, oneshot};

use crate::signals::Signals;
use crate::{Arguments, Trust, endpoint_config, fail, print_addresses, print_line, pull_options, start, uplink, who};

/// Seeds what the queue tells of, until a signal comes.
pub(crate) async fn seed_all(
    arguments: &Arguments,
    cloud: &Cloud,
    queue: &str,
    (folder, trust): (&Arc<SpoolFolder>, &Trust),
    mut signals: Signals,
) -> ExitCode {
    // Hosts are started with the directory's address, so it has a key that stays, of its own where nobody has said which.
    let kept = match &arguments.belonging.identity {
        Some(_) => None,
        None => {
            let key = folder.path().join(DIRECTORY_KEY);
            match NodeIdentity::kept_in(&key) {
                Ok(identity) => Some(identity),
                Err(error) => {
                    eprintln!("seeder: {}: {error}", key.display());
                    return ExitCode::from(Exit::Failed);
                }
            }
        }
    };
    let (identity, members) = match who(arguments, || kept.unwrap_or_else(NodeIdentity::random)) {
        Ok(who) => who,
        Err(exit) => return exit,
    };
    let directory = match DirectoryServer::start(endpoint_config(arguments, identity, members)).await {
        Ok(directory) => directory,
        Err(error) => return fail(&error),
    };
    print_addresses(directory.endpoint());
    if arguments.log {
        // It ends with the directory.
        drop(tokio::spawn(write_rows(
            arguments.rows_table(queue),
            directory.take_rows(),
        )));
    }
    let (no_such_queue, refused) = oneshot::channel();
    let feed = NamedQueue {
        queues: cloud.queues(),
        name: queue.to_owned(),
        visible_after: Duration::from_secs(arguments.visible_after.into()),
        feed: None,
        refused: Some(no_such_queue),
    };
    let stuck = Duration::from_secs(arguments.give_up_after.into());
    let options = AgentOptions {
        builds_max: arguments.builds_max.into(),
        patience: Patience {
            least: Duration::from_secs(arguments.seed_at_least.into()),
            fewer: Patience::default().fewer.min(stuck),
            stuck,
        },
        pull: pull_options(arguments, folder, trust),
        folder: Arc::clone(folder),
    };
    let endpoint = directory.endpoint().clone();
    let host = Host {
        arguments,
        folder,
        trust,
        directory,
        up: uplink(arguments),
    };
    let notifier = Notifier::from_environment();
    notifier.ready();
    let agent = Agent::new(host, cloud.buckets(), options);
    let mut also = signals.clone();
    // While messages go back to the queue hosts are told that it goes.
    let run = futures::future::join(
        Box::pin(agent.run(feed, async {
            signals.first().await;
        })),
        async {
            also.first().await;
            notifier.stopping();
            endpoint.close().await;
        },
    );
    tokio::select! {
        _ = run => ExitCode::SUCCESS,
        Ok(error) = refused => fail(&error),
    }
}

/// Writes what hosts hand over to the table of this configuration, as rows of this region.
async fn write_rows((table, region): (CloudConfig, Option<String>), handed: mpsc::Receiver<HandedRow>) {
    let table = Cloud::connect(&table).await.deployment_logs();
    HostRows::new(table, region).write(handed).await;
}

impl Arguments {
    /// Where the rows of the hosts of this queue's region go, and what the region is called.
    fn rows_table(&self, queue: &str) -> (CloudConfig, Option<String>) {
        let config = CloudConfig::at_or_environment(self.endpoint_url.as_deref());
        let config = CloudConfig {
            region: self.log_region.clone(),
            ..config.in_stage(&self.stage)
        };
        let region = region_of_queue(queue, &self.stage).map(str::to_owned);
        (config, region)
    }
}

struct Host<'a> {
    arguments: &'a Arguments,
    folder: &'a Arc<SpoolFolder>,
    trust: &'a Trust,
    directory: DirectoryServer,
    up: SharedLink,
}

impl AgentHost for Host<'_> {
    fn start_swarm(&mut self, swarm: SwarmId) -> RegionalSeeder {
        start(
            self.arguments,
            (self.directory.endpoint(), &self.up),
            self.folder,
            self.trust,
            swarm,
        )
    }

    fn addresses(&self) -> Vec<Multiaddr> {
        self.directory.endpoint().addresses()
    }

    fn followers(&self) -> usize {
        self.directory.followers()
    }

    fn seeding(&mut self, key: &str) {
        if let Some(address) = self.addresses().first() {
            print_line(&format!("{key} {address}"));
        }
    }

    fn publish(&mut self, builds: Vec<SeededBuild>) {
        self.directory.publish(builds);
    }
}

/// A queue by its name, which is asked for until somebody answers: a seeder seeds what it has whether its queue is there or not.
struct NamedQueue {
    queues: Queues,
    name: String,
    visible_after: Duration,
    feed: Option<QueueFeed>,
    /// Is told if there is no such queue: nobody can do anything about that here.
    refused: Option<oneshot::Sender<CloudError>>,
}

impl BuildFeed for NamedQueue {
    async fn next(&mut self) -> Option<Delivery> {
        let feed = loop {
            if let Some(feed) = &mut self.feed {
                break feed;
            }
            match self.queues.named(&self.name).await {
                Ok(queue) => self.feed = Some(QueueFeed::new(queue, self.visible_after)),
                Err(error) if error.is_retryable() => {
                    tracing::warn!(queue = self.name, %error, "the queue does not answer; trying again");
                }
                Err(error) => {
                    let _ = self.refused.take()?.send(error);
                    return None;
                }
            }
        };
        feed.next().await
    }
}

/// Name of the file with the directory's key.
const DIRECTORY_KEY: &str = "directory.key";
