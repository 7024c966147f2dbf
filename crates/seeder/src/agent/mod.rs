//! What a seeder does with a queue of builds: pulls them side by side, seeds so many at a time, and takes no more from the queue
//! than it can see to.
//!
//! Invariant: a build that was told of is either seeded, or waits here with its message held, or its message is in the queue
//! again; a message is done with only when its build is seeded and written down. Of one key there is one job at a time, whatever
//! the queue repeats.
//!
//! Map: `job` is a build on its way, `seeding` those that are seeded and who gives way, `giving_way` by which rule, `intake` what
//! is taken from the queue. Bytes are `s3_pull`'s matter and disk space the spool's.

mod giving_way;
mod intake;
mod job;
mod seeding;
mod status;
mod telling;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloud::{Buckets, CloudError, ObjectInfo};
use peer::{Multiaddr, SeededBuild};
use swarm::SwarmId;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::build_feed::{BuildFeed, BuildNotice};
use crate::s3_pull::{PullError, PullOptions, Pulled, adopt, pull_object, waiting};
use crate::seed::RegionalSeeder;
use crate::spool::{BuildName, SpoolError, SpoolFolder};
use intake::{Intake, Taken};
use job::{Jobs, Stage};
use seeding::{Room, Seeding};
use telling::Telling;

pub use giving_way::Patience;
pub use status::{QueueStatus, SeededStatus, SeederStatus, SeedingState};

/// What an agent is to do.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// Builds that are seeded at a time.
    pub builds_max: usize,
    /// How long a build is seeded while others wait.
    pub patience: Patience,
    /// How to pull; the spool is `folder`.
    pub pull: PullOptions,
    /// Where builds are kept.
    pub folder: Arc<SpoolFolder>,
}

/// What an agent needs of whoever runs it.
pub trait AgentHost: Send {
    /// Starts a swarm for one more build.
    fn start_swarm(&mut self, swarm: SwarmId) -> RegionalSeeder;

    /// Where hosts reach its swarms.
    fn addresses(&self) -> Vec<Multiaddr>;

    /// How many hosts hear of what is published now; 0 where that is not known.
    fn followers(&self) -> usize;

    /// What those want who look after it. Cancel-safe.
    fn asked(&mut self) -> impl Future<Output = Wish> + Send {
        std::future::pending()
    }

    /// A build is seeded.
    fn seeding(&mut self, key: &str);

    /// These are the builds that hosts can fetch from now on.
    fn publish(&mut self, builds: Vec<SeededBuild>);
}

/// What somebody wants of an agent that runs.
pub enum Wish {
    /// To know how it is. What the agent does not know itself is not filled in.
    Status(Box<dyn FnOnce(SeederStatus) + Send>),
    /// That it goes by these from now on.
    Change {
        /// Builds that are seeded at a time.
        builds_max: usize,
        /// How long a build is seeded while others wait.
        patience: Patience,
    },
    /// Nothing that the loop need do.
    Nothing,
}

/// A seeder of a queue.
pub struct Agent<H> {
    host: H,
    buckets: Buckets,
    options: AgentOptions,
    jobs: Jobs,
    seeding: Seeding,
    tasks: JoinSet<Event>,
    telling: Telling,
    looks: Arc<Semaphore>,
    /// Versions of which it was said that they do not fit.
    told: BTreeSet<BuildName>,
    waits_told_at: Option<Instant>,
    /// Where hosts were told that its swarms are.
    published_at: Vec<Multiaddr>,
}

/// What came of a task.
enum Event {
    Looked(BuildNotice, Result<(ObjectInfo, Option<String>), CloudError>),
    Pulled(BuildNotice, Box<Result<Pulled, PullError>>),
}

impl<H: AgentHost> Agent<H> {
    /// An agent that seeds nothing yet.
    pub fn new(host: H, buckets: Buckets, options: AgentOptions) -> Self {
        Self {
            host,
            buckets,
            seeding: Seeding::new(options.builds_max.max(1), options.patience),
            options,
            jobs: Jobs::default(),
            tasks: JoinSet::new(),
            telling: Telling::default(),
            looks: Arc::new(Semaphore::new(LOOKS_MAX)),
            told: BTreeSet::new(),
            waits_told_at: None,
            published_at: Vec::new(),
        }
    }

    /// Seeds what it seeded before, then what `feed` tells of, until `stop` comes or the feed ends and all of it is seeded. What
    /// it has not seen to then is the feed's again.
    pub async fn run(mut self, feed: impl BuildFeed + 'static, stop: impl Future<Output = ()>) {
        self.restore().await;
        let mut intake = Intake::start(feed);
        let mut stop = std::pin::pin!(stop);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.go_on().await;
            tokio::select! {
                () = &mut stop => break,
                taken = intake.next(), if !intake.has_ended() => {
                    if let Some(taken) = taken {
                        self.take(taken);
                    }
                }
                Some(event) = self.tasks.join_next() => self.handle(event.unwrap_or_else(|failed| {
                    std::panic::resume_unwind(failed.into_panic())
                })).await,
                Some(()) = self.telling.next() => {}
                _ = tick.tick() => self.look_around().await,
                wish = self.host.asked() => self.grant(wish),
            }
            if intake.has_ended() && self.jobs.is_empty() {
                stop.await;
                break;
            }
        }
        drop(intake);
        self.tasks.abort_all();
        let given_back = self.jobs.drain().map(crate::build_feed::Delivery::let_go);
        let given_back = futures::future::join(futures::future::join_all(given_back), self.telling.end());
        // Whoever does not answer in that time tells others a little later.
        let _ = tokio::time::timeout(GIVE_BACK_PATIENCE, given_back).await;
    }

    fn grant(&mut self, wish: Wish) {
        match wish {
            Wish::Status(told) => told(self.status()),
            // Those beyond give way as others do.
            Wish::Change { builds_max, patience } => self.seeding.set(builds_max.max(1), patience),
            Wish::Nothing => {}
        }
    }

    /// How it is, as far as it knows itself.
    fn status(&self) -> SeederStatus {
        let (moved, (builds_seeded, builds_given_up)) = (self.seeding.traffic(), self.seeding.counts());
        let folder = &self.options.folder;
        SeederStatus {
            folder: folder.path().display().to_string(),
            builds: self.seeding.status().chain(self.jobs.status()).collect(),
            pulled_bytes: self.options.pull.turns.came(),
            sent_bytes: moved.sent,
            control_sent_bytes: moved.control_sent,
            builds_seeded,
            builds_given_up,
            store_bytes: folder.stored(),
            disk_free_bytes: folder.free(),
            ..SeederStatus::default()
        }
    }

    /// Seeds what it seeded before it was started again: what the spool has at once, and without S3.
    async fn restore(&mut self) {
        let folder = Arc::clone(&self.options.folder);
        let list = waiting(move || {
            let mut list = folder.list();
            let mut whole = Vec::new();
            for build in std::mem::take(&mut list.builds) {
                match folder.whole_of(&build.name) {
                    Some(found) => whole.push((found, build.hosts)),
                    None => list.notices.push(build.notice),
                }
            }
            (whole, list.notices, list.fleet)
        });
        let (whole, mut notices, fleet) = list.await;
        self.seeding.expect(fleet, Instant::now());
        let mut stores = Vec::new();
        for (build, hosts) in whole {
            let pulled = adopt(&self.buckets, build);
            if let Err(error) = pulled.check(self.options.pull.trust.as_deref()) {
                // S3 may have it with a newer signature.
                let (key, bucket) = (pulled.object.key, pulled.object.bucket);
                let error = program::chain(&error);
                tracing::warn!(key, bucket, error, "not seeded again as it is in the spool");
                notices.push(BuildNotice { bucket, key });
                continue;
            }
            if let Some(store) = &pulled.spooled {
                stores.push((store.build().is_unchanged, Arc::downgrade(store)));
            }
            self.seed(pulled, hosts);
        }
        self.publish().await;
        for notice in notices {
            self.take(Taken::again(notice));
        }
        // Those that somebody has written to come first.
        stores.sort_by_key(|(is_unchanged, _)| *is_unchanged);
        let stores: Vec<_> = stores.into_iter().map(|(_, store)| store).collect();
        let folder = Arc::clone(&self.options.folder);
        // It ends with the process: a thread of the runtime is not waited for.
        drop(tokio::task::spawn_blocking(move || {
            seeding::look_through(&folder, &stores)
        }));
    }

    /// A build was told of.
    fn take(&mut self, taken: Taken) {
        if let Some(older) = self.jobs.take(taken) {
            // The newer message stands for the older one.
            self.telling.begin(older.done());
        }
    }

    async fn handle(&mut self, event: Event) {
        match event {
            Event::Looked(notice, Ok((object, signature))) => {
                if self.seeding.has(&object) {
                    let trust = self.options.pull.trust.as_deref();
                    self.seeding.sign(&object, signature, trust).await;
                    self.finish(&notice);
                } else {
                    self.jobs.set(&notice, Stage::Waiting(object));
                }
            }
            Event::Looked(notice, Err(error)) => {
                let again = error.is_retryable();
                self.fail(&notice, &PullError::Cloud(error), again);
            }
            Event::Pulled(notice, pulled) => match *pulled {
                Ok(pulled) => self.jobs.pulled(&notice, pulled),
                Err(error) => self.pull_failed(&notice, error),
            },
        }
    }

    fn pull_failed(&mut self, notice: &BuildNotice, error: PullError) {
        match &error {
            PullError::Cloud(CloudError::ObjectChanged { .. }) => {
                let (key, bucket) = (&notice.key, &notice.bucket);
                tracing::info!(
                    key,
                    bucket,
                    "a newer version came while it was pulled; that one is pulled"
                );
                self.jobs
                    .set(notice, Stage::Resting(Instant::now() + CHANGED_AGAIN_AFTER));
            }
            PullError::Spool(SpoolError::BeingPulled { .. }) => {
                self.jobs
                    .set(notice, Stage::Resting(Instant::now() + CHANGED_AGAIN_AFTER));
            }
            PullError::Spool(no_room @ SpoolError::DoesNotFit { later, .. }) => {
                let later = *later;
                let name = self.jobs.object(notice).map(BuildName::of);
                if name.is_none_or(|name| self.told.insert(name)) {
                    let (key, bucket) = (&notice.key, &notice.bucket);
                    let what = if later {
                        "it waits until there is room"
                    } else {
                        "it goes back to the queue"
                    };
                    tracing::warn!(key, bucket, "{no_room}; {what}");
                }
                if self.told.len() > TOLD_MAX {
                    self.told.pop_first();
                }
                if later {
                    self.jobs.set(notice, Stage::NoRoom(Instant::now() + ROOM_AGAIN_AFTER));
                } else if let Some(delivery) = self.jobs.remove(notice) {
                    self.telling.begin(delivery.give_back(NO_ROOM_AGAIN_AFTER));
                }
            }
            PullError::Cloud(cloud) => {
                let again = cloud.is_retryable();
                self.fail(notice, &error, again);
            }
            _ => self.fail(notice, &error, false),
        }
    }

    /// A build cannot be seeded now. Its message goes back to the queue, and after some times into its dead-letter queue; one that
    /// no queue has is tried again here.
    fn fail(&mut self, notice: &BuildNotice, error: &PullError, again: bool) {
        let (build, bucket) = (&notice.key, &notice.bucket);
        tracing::error!(build, bucket, "not seeded: {}", program::chain(error));
        if again && self.jobs.is_ours_alone(notice) {
            self.jobs.set(notice, Stage::Resting(Instant::now() + AGAIN_AFTER));
        } else if let Some(delivery) = self.jobs.remove(notice) {
            self.telling.begin(delivery.give_back(AGAIN_AFTER));
        }
    }

    /// A build is seeded: its message is done with. If another one came meanwhile, what it tells of is looked at.
    fn finish(&mut self, notice: &BuildNotice) {
        if let Some(delivery) = self.jobs.finish(notice) {
            self.telling.begin(delivery.done());
        }
    }

    /// Begins what can be begun.
    async fn go_on(&mut self) {
        for notice in self.jobs.take_due(Instant::now()) {
            let (buckets, looks) = (self.buckets.clone(), Arc::clone(&self.looks));
            self.tasks.spawn(async move {
                let _turn = looks.acquire().await;
                let looked = buckets.head_signed(&notice.bucket, &notice.key).await;
                Event::Looked(notice, looked)
            });
        }
        while let Some((notice, object)) = self.jobs.next_to_pull() {
            let (buckets, options) = (self.buckets.clone(), self.options.pull.clone());
            self.tasks.spawn(async move {
                let pulled = pull_object(&buckets, object, &options).await;
                Event::Pulled(notice, Box::new(pulled))
            });
        }
        while let Some(notice) = self.jobs.next_to_seed(|notice| self.seeding.has_key(notice)) {
            let now = Instant::now();
            self.seeding.followed_by(self.host.followers(), now);
            let room = self.seeding.room_for(&notice, now);
            if room == Room::None {
                self.tell_waiting();
                break;
            }
            let Some(pulled) = self.jobs.take_pulled(&notice) else {
                break;
            };
            self.seed(pulled, 0);
            self.publish().await;
            self.finish(&notice);
            if room == Room::Made {
                self.make_room().await;
            }
        }
    }

    fn seed(&mut self, pulled: Pulled, hosts: u64) {
        let swarm = SwarmId::of_build(&pulled.object.key, &pulled.object.etag);
        let seeder = self.host.start_swarm(swarm);
        self.host.seeding(&pulled.object.key);
        self.seeding.add(seeder, pulled, hosts, Instant::now());
    }

    /// Says what is seeded, to the hosts and to a seeder that is started after this one.
    async fn publish(&mut self) {
        self.published_at = self.host.addresses();
        self.host.publish(self.seeding.published(&self.published_at));
        self.keep_list().await;
    }

    async fn keep_list(&mut self) {
        let (folder, list) = (Arc::clone(&self.options.folder), self.seeding.list());
        let fleet = self.seeding.fleet();
        if let Err(error) = waiting(move || folder.keep_list(&list, fleet)).await {
            let error = program::chain(&error);
            tracing::warn!(
                error,
                "after a restart the builds that are seeded now are not all taken up again"
            );
        }
    }

    /// What is not seeded any more makes room where there is too little, and what waited for that is tried again.
    async fn make_room(&mut self) {
        let folder = Arc::clone(&self.options.folder);
        waiting(move || folder.trim()).await;
        self.jobs.there_is_room();
    }

    async fn look_around(&mut self) {
        let now = Instant::now();
        self.seeding.followed_by(self.host.followers(), now);
        if self.seeding.look(now) {
            self.keep_list().await;
        }
        // Hosts find it where it is now: an interface may have come up, or have another address.
        let addresses = self.host.addresses();
        if self.published_at != addresses {
            self.publish().await;
        }
        // A build that finds no room on the disk waits for those that are seeded as one that finds no place among them does.
        if self.jobs.one_has_no_room() && self.seeding.one_gives_way(now) {
            self.publish().await;
            self.make_room().await;
        }
    }

    /// Says now and then that builds wait.
    fn tell_waiting(&mut self) {
        let is_due = self.waits_told_at.is_none_or(|at| at.elapsed() > WAITS_TOLD_EVERY);
        if is_due && self.jobs.oldest_wait(Instant::now()) > WAITS_TOLD_AFTER {
            self.waits_told_at = Some(Instant::now());
            let (builds, seeded) = (self.jobs.len(), self.seeding.len());
            tracing::warn!(
                builds,
                seeded,
                "builds wait until hosts have what is seeded now; --builds-max allows no more at a time"
            );
        }
    }
}

/// How often swarms are looked at.
const TICK: Duration = Duration::from_millis(500);
/// Objects that are looked at at a time.
const LOOKS_MAX: usize = 16;
/// A build that could not be pulled is tried again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// An object that changes while it is pulled is pulled again after this.
const CHANGED_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// A build that waits for room is tried again after this at the latest.
const ROOM_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// A build that does not fit even into an empty spool is told of again after this.
const NO_ROOM_AGAIN_AFTER: Duration = Duration::from_secs(15 * 60);
/// Versions remembered of which it was said that they do not fit.
const TOLD_MAX: usize = 1000;
/// Builds that wait are spoken of after this …
const WAITS_TOLD_AFTER: Duration = Duration::from_secs(30);
/// … and then this often.
const WAITS_TOLD_EVERY: Duration = Duration::from_secs(60);
/// Messages are given back for no longer than this when it stops.
const GIVE_BACK_PATIENCE: Duration = Duration::from_secs(1);
