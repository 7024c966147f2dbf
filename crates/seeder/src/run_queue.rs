//! The seeder of a queue: its directory, its agent, and a queue that may not be there yet.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloud::{Cloud, CloudConfig, CloudError, bucket_of_queue, region_of_queue};
use peer::{
    Asked, Caretakers, DirectoryServer, HandedRow, Multiaddr, NodeIdentity, Notifier, Reach, SeededBuild, SharedLink,
};
use pipeline::{PipelineClients, Queues};
use program::Exit;
use seeder::{
    Agent, AgentHost, AgentOptions, BuildFeed, Delivery, Hearing, HostRows, Looks, Patience, QueueFeed, QueueStatus,
    RegionalSeeder, SeederStatus, SpoolFolder, Wish,
};
use swarm::{ByteRate, SwarmId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::configuration::Configuration;
use crate::signals::Signals;
use crate::{
    Arguments, Trust, endpoint_config, fail, print_addresses, print_line, pull_options, rate_now, start, uplink, who,
};

/// Seeds what the queue tells of, until a signal comes.
pub(crate) async fn seed_all(
    configuration: Configuration,
    cloud: &Cloud,
    queue: &str,
    (folder, trust): (&Arc<SpoolFolder>, &Trust),
    mut signals: Signals,
) -> ExitCode {
    let arguments = &configuration.arguments.clone();
    // Hosts are started with the directory's address, so it has a key that stays, of its own where nobody has said which.
    let kept = match &arguments.belonging.identity {
        Some(_) => None,
        None => {
            let key = folder.path().join(DIRECTORY_KEY);
            match NodeIdentity::kept_in(&key) {
                Ok(identity) => Some(identity),
                Err(error) => {
                    program::say!("seeder: {}: {error}", key.display());
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
    let caretakers = match Caretakers::start(&arguments.http).await {
        Ok(caretakers) => caretakers,
        Err(error) => return fail(&error),
    };
    print_addresses(directory.endpoint());
    caretakers
        .addresses()
        .for_each(|address| program::say!("seeder: {address}"));
    let (reached, reach) = watch::channel(Reach::Unknown);
    let writing = arguments.log.then(|| {
        let (table, handed) = (arguments.rows_table(queue), directory.take_rows());
        tokio::spawn(write_rows(table, handed, signals.clone()))
    });
    let (no_such_queue, refused) = oneshot::channel();
    let hearing = watched(cloud, queue, &reach);
    let feed = NamedQueue {
        queues: cloud.queues(),
        name: queue.to_owned(),
        visible_after: Duration::from_secs(arguments.visible_after.into()),
        reached,
        feed: None,
        refused: Some(no_such_queue),
        hearing: hearing.clone(),
    };
    let options = AgentOptions {
        builds_max: arguments.builds_max.into(),
        patience: patience(arguments),
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
        caretakers,
        configuration,
        queue: (queue.to_owned(), reach),
        hearing,
        begun: Instant::now(),
        is_telling: false,
    };
    let agent = Agent::new(host, cloud.buckets(), options);
    let mut also = signals.clone();
    let counted = until_counted(writing, signals.clone());
    // While messages go back to the queue hosts are told that it goes.
    let run = futures::future::join3(
        Box::pin(agent.run(feed, async {
            signals.first().await;
        })),
        async {
            also.first().await;
            // The other one is the agent's.
            Notifier::from_environment().stopping();
            endpoint.close().await;
        },
        counted,
    );
    tokio::select! {
        _ = run => ExitCode::SUCCESS,
        Ok(error) = refused => fail(&error),
    }
}

/// What is heard of a queue, held against the bucket of its region for as long as this process runs.
fn watched(cloud: &Cloud, queue: &str, reach: &watch::Receiver<Reach>) -> Hearing {
    let hearing = Hearing::default();
    if let Some(bucket) = bucket_of_queue(queue) {
        let reach = reach.clone();
        let answers = move || *reach.borrow() == Reach::Answers;
        let watch = hearing
            .clone()
            .watch(cloud.buckets(), (bucket, queue.to_owned()), Looks::default(), answers);
        drop(tokio::spawn(watch));
    }
    hearing
}

/// How long builds are seeded while others wait.
fn patience(arguments: &Arguments) -> Patience {
    let stuck = Duration::from_secs(arguments.give_up_after.into());
    Patience {
        least: Duration::from_secs(arguments.seed_at_least.into()),
        fewer: Patience::default().fewer.min(stuck),
        stuck,
    }
}

/// Writes what hosts hand over to the table of this configuration, as rows of this region, until a signal comes.
async fn write_rows(
    (table, region): (CloudConfig, Option<String>),
    handed: mpsc::Receiver<HandedRow>,
    mut signals: Signals,
) {
    let table = Cloud::connect(&table).await.deployment_logs();
    let stop = async {
        signals.first().await;
    };
    HostRows::new(table, region).write(handed, stop).await;
}

/// Waits for the signal, and then until what was written is counted, as far as there is time: else whoever asks how many rows there are has to
/// read all of them from then on.
async fn until_counted(writing: Option<JoinHandle<()>>, mut signals: Signals) {
    signals.first().await;
    if let Some(writing) = writing
        && tokio::time::timeout(COUNT_PATIENCE, writing).await.is_err()
    {
        tracing::warn!("rows were written that are not counted yet; whoever asks how many there are reads all of them");
    }
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
    caretakers: Caretakers<SeederStatus>,
    /// What holds now: `arguments` is what held at the start.
    configuration: Configuration,
    queue: (String, watch::Receiver<Reach>),
    hearing: Hearing,
    begun: Instant,
    is_telling: bool,
}

impl Host<'_> {
    /// The same with what the agent does not know.
    fn filled(&self) -> impl FnOnce(SeederStatus) -> SeederStatus + Send + use<> {
        let (name, reach) = &self.queue;
        let reach = reach.borrow().clone();
        let limit = rate_now(&self.configuration.arguments);
        let known = SeederStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            addresses: self.addresses().iter().map(ToString::to_string).collect(),
            up_s: self.begun.elapsed().as_secs_f64(),
            is_telling: self.is_telling,
            queue: QueueStatus {
                name: name.clone(),
                answers: reach == Reach::Answers,
                error: match reach {
                    Reach::Silent(error) => Some(error),
                    Reach::Answers | Reach::Unknown => None,
                },
                unheard: self.hearing.unheard(),
            },
            followers: self.followers() as u64,
            connections: self.directory.endpoint().connections().into(),
            upload_limit_bytes_per_s: limit.map(ByteRate::bytes_per_second),
            ..SeederStatus::default()
        };
        move |own| SeederStatus {
            folder: own.folder,
            builds: own.builds,
            pulled_bytes: own.pulled_bytes,
            sent_bytes: own.sent_bytes,
            control_sent_bytes: own.control_sent_bytes,
            builds_seeded: own.builds_seeded,
            builds_given_up: own.builds_given_up,
            store_bytes: own.store_bytes,
            disk_free_bytes: own.disk_free_bytes,
            ..known
        }
    }

    /// Reads the configuration again. Where something is wrong with it, that is said and all stays as it was.
    fn reload(&mut self) -> Wish {
        self.caretakers.notifier.reloading();
        let wish = match self.configuration.read_again() {
            Ok((now, changed)) => {
                for key in &changed.later {
                    tracing::warn!("{key} has changed, which a seeder that runs does not take up; restart it");
                }
                self.up.set_rate(rate_now(&now.arguments));
                program::say!("seeder: {}", changed.sentence());
                let wish = Wish::Change {
                    builds_max: now.arguments.builds_max.into(),
                    patience: patience(&now.arguments),
                };
                self.configuration = now;
                wish
            }
            Err(_said) => {
                tracing::error!("the configuration was read again and is wrong; the one before holds");
                Wish::Nothing
            }
        };
        if self.is_telling {
            self.caretakers.notifier.ready();
        }
        wish
    }
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
        // From the first time on hosts are answered.
        if !std::mem::replace(&mut self.is_telling, true) {
            self.caretakers.notifier.ready();
        }
    }

    async fn asked(&mut self) -> Wish {
        // It comes to this twice a second or more: a limit may go by the time of day.
        self.up.set_rate(rate_now(&self.configuration.arguments));
        match self.caretakers.next().await {
            Asked::Status(question) => {
                let filled = self.filled();
                Wish::Status(Box::new(move |own| {
                    // Who has gone needs no answer.
                    let _ = question.send(filled(own));
                }))
            }
            Asked::Reload => self.reload(),
        }
    }
}

/// A queue by its name, which is asked for until somebody answers: a seeder seeds what it has whether its queue is there or not.
struct NamedQueue {
    queues: Queues,
    name: String,
    visible_after: Duration,
    /// Is told whether it answers.
    reached: watch::Sender<Reach>,
    feed: Option<QueueFeed>,
    /// Is told if there is no such queue: nobody can do anything about that here.
    refused: Option<oneshot::Sender<CloudError>>,
    /// Is told what it tells of.
    hearing: Hearing,
}

impl BuildFeed for NamedQueue {
    async fn next(&mut self) -> Option<Delivery> {
        let feed = loop {
            if let Some(feed) = &mut self.feed {
                break feed;
            }
            match self.queues.named(&self.name).await {
                Ok(queue) => {
                    self.reached.send_replace(Reach::Answers);
                    let feed = QueueFeed::new(queue, self.visible_after);
                    self.feed = Some(feed.telling(self.reached.clone()));
                }
                Err(error) if error.is_retryable() => {
                    self.reached.send_replace(Reach::Silent(error.to_string()));
                    tracing::warn!(queue = self.name, %error, "the queue does not answer; trying again");
                }
                Err(error) => {
                    let _ = self.refused.take()?.send(error);
                    return None;
                }
            }
        };
        let delivery = feed.next().await?;
        self.hearing.heard(&delivery.notice.key);
        Some(delivery)
    }
}

/// Rows are counted for no longer than this when it stops: below the two seconds after which an operator's script loses patience.
const COUNT_PATIENCE: Duration = Duration::from_millis(1800);
/// Name of the file with the directory's key.
const DIRECTORY_KEY: &str = "directory.key";
