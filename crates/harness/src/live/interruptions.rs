//! Carries out what a scenario says goes wrong between members: on the paths that the members of this process are given.
//!
//! Every process of a run does so for its own ends of connections, by the same plan and the same clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use peer::{Clock, NodeIdentity, PathFaults, PathState, PeerId};
use scenario::{FaultCounts, Interruption, Member, NetworkTrouble, Passage, RegionPlan};
use swarm::Time;
use tokio::task::JoinHandle;

/// What goes wrong between the members of a run.
pub(super) struct Interruptions {
    paths: PathFaults,
    plans: Arc<[RegionPlan]>,
    /// Who has which key: region and member.
    members: Arc<BTreeMap<PeerId, (usize, Member)>>,
    /// Cuts that last, as region and place in its plan.
    cuts: Mutex<BTreeSet<(usize, usize)>>,
    counts: Mutex<FaultCounts>,
}

/// Paths for the members of these regions, where something goes wrong on them.
pub(super) fn paths(plans: &[RegionPlan]) -> Option<PathFaults> {
    let any = plans.iter().any(|plan| !plan.interruptions.is_empty());
    any.then(PathFaults::default)
}

impl Interruptions {
    /// What is to go wrong on `paths`.
    pub(super) fn new(plans: &Arc<[RegionPlan]>, paths: &PathFaults) -> Arc<Self> {
        let mut members = BTreeMap::new();
        for (region, plan) in plans.iter().enumerate() {
            let hosts = plan.hosts.iter().map(|host| (host.id, Member::Host(host.index)));
            let seeders = plan.seeders.iter();
            let seeders = seeders.map(|seeder| (seeder.id, Member::Seeder(seeder.index)));
            for (id, member) in hosts.chain(seeders) {
                let key = NodeIdentity::from_seed(plan.seed, id).peer_id();
                members.insert(key, (region, member));
            }
        }
        Arc::new(Self {
            paths: paths.clone(),
            plans: Arc::clone(plans),
            members: Arc::new(members),
            cuts: Mutex::default(),
            counts: Mutex::default(),
        })
    }

    /// Carries all of it out, each at its time after the build was complete in its region's bucket.
    pub(super) fn begin(self: &Arc<Self>, clock: Clock, complete_at: &[Time]) -> Vec<JoinHandle<()>> {
        let mut tasks = Vec::new();
        for (region, plan) in self.plans.iter().enumerate() {
            for (place, interruption) in plan.interruptions.iter().enumerate() {
                let from = complete_at[region] + interruption.at;
                let lasts = interruption.lasts;
                let own = Arc::clone(self);
                tasks.push(tokio::spawn(async move {
                    tokio::time::sleep(from.since(clock.now())).await;
                    own.begins(region, place);
                    if !lasts.is_zero() {
                        tokio::time::sleep((from + lasts).since(clock.now())).await;
                        own.ends(region, place);
                    }
                }));
            }
        }
        tasks
    }

    /// What has gone wrong so far.
    pub(super) fn counts(&self) -> FaultCounts {
        *self.counts.lock()
    }

    fn begins(&self, region: usize, place: usize) {
        let interruption = &self.plans[region].interruptions[place];
        let ended = self.ended_by(region, interruption);
        let pairs: BTreeSet<_> = ended.iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
        let mut counts = self.counts.lock();
        counts.begun += 1;
        counts.connections_cut += pairs.len() as u64;
        drop(counts);
        tracing::info!(
            region,
            place,
            connections = pairs.len(),
            "a fault between members begins"
        );
        if let NetworkTrouble::Cut(_) = interruption.what {
            self.cuts.lock().insert((region, place));
            self.follow_cuts();
        }
        let both = ended.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]);
        self.paths.end(&both.collect::<Vec<_>>());
    }

    fn ends(&self, region: usize, place: usize) {
        self.counts.lock().ended += 1;
        self.cuts.lock().remove(&(region, place));
        self.follow_cuts();
        tracing::info!(region, place, "a fault between members is over");
    }

    /// Has the paths do what the cuts that last say.
    fn follow_cuts(&self) {
        let (members, plans) = (Arc::clone(&self.members), Arc::clone(&self.plans));
        let cuts = self.cuts.lock().clone();
        self.paths.change(move |from, to| {
            let (Some((region, from)), Some((other, to))) = (members.get(&from), members.get(&to)) else {
                return PathState::Open;
            };
            let own = cuts.iter().filter(|(of, _)| of == region && region == other);
            let passages = own.map(|(region, place)| plans[*region].interruptions[*place].passage(*from, *to));
            match passages.max().unwrap_or_default() {
                Passage::Open => PathState::Open,
                Passage::Held => PathState::Held,
                Passage::Refused => PathState::Refused,
            }
        });
    }

    /// The connections that it ends now, of those of which an end is in this process.
    fn ended_by(&self, region: usize, interruption: &Interruption) -> Vec<(PeerId, PeerId)> {
        let mut by_host: BTreeMap<PeerId, Vec<PeerId>> = BTreeMap::new();
        for (local, remote) in self.paths.connections() {
            let is_own = |peer: &PeerId| self.members.get(peer).is_some_and(|(of, _)| *of == region);
            if is_own(&local) && is_own(&remote) {
                by_host.entry(local).or_default().push(remote);
            }
        }
        let mut ended = Vec::new();
        for (local, remotes) in by_host {
            let connected: Vec<Member> = remotes.iter().map(|remote| self.members[remote].1).collect();
            let ends = interruption.ends(self.members[&local].1, &connected);
            let ended_ones = remotes
                .iter()
                .zip(connected)
                .filter(|(_, member)| ends.contains(member));
            ended.extend(ended_ones.map(|(remote, _)| (local, *remote)));
        }
        ended
    }
}
