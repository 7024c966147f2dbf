//! The builds that are seeded, the oldest first, and which of them gives way to one that waits.

use std::sync::Weak;
use std::time::{Duration, Instant};

use cloud::ObjectInfo;
use peer::{Multiaddr, SeededBuild, Traffic};
use signing::TrustedKeys;

use super::giving_way::{Counts, Fleet, Hosts, Patience, Verdict, Watch};
use super::status::{SeededStatus, SeedingState};
use crate::build_feed::BuildNotice;
use crate::s3_pull::Pulled;
use crate::seed::RegionalSeeder;
use crate::spool::{BuildName, ListedBuild, SpoolFolder, SpoolStore};

/// What is seeded.
pub(super) struct Seeding {
    builds_max: usize,
    patience: Patience,
    builds: Vec<SeededNow>,
    fleet: Fleet,
    /// Hosts that follow the directory now.
    followers: u64,
    /// When a build moved last.
    moved_at: Instant,
    listed_at: Instant,
    /// Hosts that are written down to be there.
    listed_fleet: u64,
    /// How many builds were given up since this process began.
    given_up: u64,
    /// How many were begun, and what those that are over have moved.
    begun: u64,
    ended: Traffic,
}

struct SeededNow {
    object: ObjectInfo,
    name: Option<BuildName>,
    pulled: Pulled,
    seeder: RegionalSeeder,
    watch: Watch,
    /// Hosts that are written down to have it.
    listed: u64,
}

/// Whether one more can be seeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It can.
    Free,
    /// It can, and what was in its place is not seeded any more.
    Made,
    /// It has to wait.
    None,
}

impl Seeding {
    pub(super) fn new(builds_max: usize, patience: Patience) -> Self {
        Self {
            builds_max,
            patience,
            builds: Vec::new(),
            fleet: Fleet::default(),
            followers: 0,
            moved_at: Instant::now(),
            listed_at: Instant::now(),
            listed_fleet: 0,
            given_up: 0,
            begun: 0,
            ended: Traffic::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.builds.len()
    }

    /// So many hosts were there when this was written down.
    pub(super) fn expect(&mut self, hosts: u64, now: Instant) {
        self.fleet.follow(now, hosts, &self.patience);
    }

    /// So many hosts follow the directory now. To be said before each decision: who came a moment ago has been told of what is seeded.
    pub(super) fn followed_by(&mut self, hosts: usize, now: Instant) {
        self.followers = hosts as u64;
        self.fleet.follow(now, self.followers, &self.patience);
    }

    /// How many hosts are expected to have a build in the end.
    pub(super) fn fleet(&self) -> u64 {
        self.fleet.size(self.builds.iter().map(|build| build.watch.most()))
    }

    /// Whether this very version is seeded.
    pub(super) fn has(&self, object: &ObjectInfo) -> bool {
        self.builds.iter().any(|build| build.object == *object)
    }

    /// Whether a version of it is seeded.
    pub(super) fn has_key(&self, notice: &BuildNotice) -> bool {
        self.builds.iter().any(|build| is_of(&build.object, notice))
    }

    /// Begins to seed a pulled build, which so many hosts have already.
    pub(super) fn add(&mut self, seeder: RegionalSeeder, pulled: Pulled, hosts: u64, now: Instant) {
        let object = pulled.object.clone();
        let name = pulled.spooled.as_ref().map(|store| store.build().name.clone());
        seeder.seed(pulled.clone());
        self.begun += 1;
        self.builds.push(SeededNow {
            object,
            name,
            pulled,
            seeder,
            watch: Watch::new(now, hosts),
            listed: hosts,
        });
    }

    /// Somebody vouches for a version that is seeded, as its object says now: hosts that come, or come again, hear of that where it
    /// is to be believed.
    pub(super) async fn sign(&mut self, object: &ObjectInfo, signature: Option<String>, trust: Option<&TrustedKeys>) {
        let Some(build) = self.builds.iter_mut().find(|build| build.object == *object) else {
            return;
        };
        let anew = Pulled {
            signature: signature.clone(),
            ..build.pulled.clone()
        };
        if anew.signature == build.pulled.signature {
            return;
        }
        let (key, bucket) = (&object.key, &object.bucket);
        if let Err(error) = anew.check(trust) {
            let error = program::chain(&error);
            tracing::error!(key, bucket, error, "seeded with the signature that it had");
            return;
        }
        tracing::info!(key, bucket, "signed anew");
        build.pulled.vouched_by(signature.clone()).await;
        build.seeder.sign(signature.unwrap_or_default());
    }

    /// Makes a place for a build: of an older version of its key, of one that its hosts have, or of one that has been waited for in
    /// vain, which is told.
    pub(super) fn room_for(&mut self, notice: &BuildNotice, now: Instant) -> Room {
        let before = self.builds.len();
        let older = |build: &mut SeededNow| is_of(&build.object, notice);
        for build in self.builds.extract_if(.., older) {
            let key = &build.object.key;
            tracing::info!(key, hosts = build.watch.have(), "a newer version of it is seeded");
            add(&mut self.ended, &build.seeder.report().traffic);
        }
        let mut room = if self.builds.len() < before {
            Room::Made
        } else {
            Room::Free
        };
        self.look_at_swarms(now);
        // After a restart there may be more than are allowed by now.
        while self.builds.len() >= self.builds_max {
            if !self.one_gives_way(now) {
                return Room::None;
            }
            room = Room::Made;
        }
        room
    }

    /// Ends the oldest build that its hosts have, or else the oldest that was waited for in vain. Whether there was one.
    pub(super) fn one_gives_way(&mut self, now: Instant) -> bool {
        let hosts = Hosts {
            expected: self.fleet(),
            there: self.followers,
            moved_at: self.moved_at,
        };
        let verdicts = self
            .builds
            .iter()
            .map(|build| build.watch.verdict(now, hosts, &self.patience));
        let verdicts: Vec<Verdict> = verdicts.collect();
        let goes = verdicts
            .iter()
            .position(|verdict| *verdict == Verdict::GivesWay)
            .or_else(|| verdicts.iter().position(|verdict| *verdict != Verdict::Stays));
        let Some(goes) = goes else {
            return false;
        };
        let build = self.builds.remove(goes);
        add(&mut self.ended, &build.seeder.report().traffic);
        self.fleet.reached(build.watch.most());
        let ObjectInfo { key, bucket, .. } = &build.object;
        match verdicts[goes] {
            Verdict::GivenUp { have, of, lack } => {
                self.given_up += 1;
                tracing::warn!(
                    metric = "builds_given_up",
                    count = self.given_up,
                    key,
                    bucket,
                    have,
                    of,
                    lack,
                    "given up: others wait, and not all hosts have it"
                );
            }
            Verdict::GivesWay | Verdict::Stays => {
                let hosts = build.watch.have();
                tracing::info!(
                    key,
                    bucket,
                    hosts,
                    "not seeded any more: its hosts have it, and others wait"
                );
            }
        }
        true
    }

    /// Looks at the swarms. Whether what is written down of them has become old.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        self.look_at_swarms(now);
        // A seeder that is started after this one must not take the few hosts that come first for all.
        if self.fleet() > self.listed_fleet {
            return true;
        }
        let is_old = now.saturating_duration_since(self.listed_at) > LISTED_EVERY;
        is_old && self.builds.iter().any(|build| build.watch.most() != build.listed)
    }

    fn look_at_swarms(&mut self, now: Instant) {
        for build in &mut self.builds {
            let stats = build.seeder.stats();
            let members = build.seeder.member_count();
            // Asked for one after the other: somebody may have come between.
            let incomplete = build.seeder.incomplete_count().min(members);
            let counts = Counts {
                members,
                incomplete,
                completed: stats.members_complete,
                served: stats.chunks_served,
            };
            build.watch.look(now, counts);
            self.moved_at = self.moved_at.max(build.watch.moved_at());
        }
    }

    /// From now on it goes by these.
    pub(super) fn set(&mut self, builds_max: usize, patience: Patience) {
        (self.builds_max, self.patience) = (builds_max, patience);
    }

    /// How many were begun, and how many given up.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.begun, self.given_up)
    }

    /// What all swarms have moved, also those that are over.
    pub(super) fn traffic(&self) -> Traffic {
        let mut all = self.ended;
        for build in &self.builds {
            add(&mut all, &build.seeder.report().traffic);
        }
        all
    }

    /// How each is.
    pub(super) fn status(&self) -> impl Iterator<Item = SeededStatus> {
        self.builds.iter().map(|build| SeededStatus {
            build: build.object.key.clone(),
            version: build.object.etag.clone(),
            state: SeedingState::Seeding,
            size_bytes: Some(build.object.size),
            members: build.seeder.member_count() as u64,
            lack: build.seeder.incomplete_count() as u64,
            have: build.watch.have(),
        })
    }

    /// What hosts are told.
    pub(super) fn published(&self, addresses: &[Multiaddr]) -> Vec<SeededBuild> {
        let published = self.builds.iter().map(|build| SeededBuild {
            key: build.object.key.clone(),
            version: build.object.etag.clone(),
            size: build.object.size,
            seeders: addresses.to_vec(),
        });
        published.collect()
    }

    /// What is written down.
    pub(super) fn list(&mut self) -> Vec<ListedBuild> {
        self.listed_at = Instant::now();
        self.listed_fleet = self.fleet();
        let listed = self.builds.iter_mut().filter_map(|build| {
            build.listed = build.watch.most();
            Some(ListedBuild {
                name: build.name.clone()?,
                notice: BuildNotice {
                    bucket: build.object.bucket.clone(),
                    key: build.object.key.clone(),
                },
                hosts: build.listed,
            })
        });
        listed.collect()
    }
}

fn add(sum: &mut Traffic, other: &Traffic) {
    sum.sent += other.sent;
    sum.control_sent += other.control_sent;
}

fn is_of(object: &ObjectInfo, notice: &BuildNotice) -> bool {
    object.bucket == notice.bucket && object.key == notice.key
}

/// Reads all of what was taken up without reading it, one chunk after the other: what has changed is mended before a host asks for
/// it. It takes half of the disk's time at most.
pub(super) fn look_through(folder: &SpoolFolder, stores: &[Weak<SpoolStore>]) {
    for store in stores {
        // Gone as soon as it is not seeded any more.
        let chunks = store.upgrade().map(|store| store.build().manifest.chunks());
        let wrong = chunks.into_iter().flatten().filter(|chunk| {
            let began = Instant::now();
            let is_right = store.upgrade().is_some_and(|store| store.is_right(*chunk));
            std::thread::sleep(began.elapsed());
            !is_right
        });
        if wrong.count() == 0
            && let Some(store) = store.upgrade()
        {
            folder.is_right(&store.build().name);
        }
    }
    if !stores.is_empty() {
        tracing::info!(
            builds = stores.len(),
            "all builds of the spool have been read and checked"
        );
    }
}

/// How many hosts have a build is written down no more often than this.
const LISTED_EVERY: Duration = Duration::from_secs(5);
