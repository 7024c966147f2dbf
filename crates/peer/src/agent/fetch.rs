//! One build on the network: fetched to its place, then served. The one place that starts a node.
//!
//! It has no task and no thread of its own beside the node's: whoever owns it is woken by the news that it was given, looks at
//! the state, and looks from time to time for what keeps the build from coming.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use peer::{
    Addresses, ChunkStore, Clock, DialError, Gate, Limits, Node, NodeConfig, NodeReport, Observer, Role, Shaping,
    StoreError, StoreOpener, Traffic, cause_of, host_of,
};
use swarm::{Contact, Event, HostId, PeerConfig, SwarmId, Time, ZoneId};

use super::Arguments;
use super::kept::Made;
use super::surroundings::Surroundings;

/// How far a build is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// On its way.
    Fetching,
    /// In place, after such traffic.
    Complete(Traffic),
    /// It cannot come in this way.
    Failed(String),
    /// It has come, and who was asked said that it may not be put in place.
    Refused(String),
}

/// Where a build is to stand.
pub(crate) struct FetchTo<'a> {
    /// The file.
    pub(crate) out: &'a Path,
    /// What the note beside it calls it until it is written down that it came; no note where absent.
    pub(crate) label: Option<String>,
    /// Files that may have chunks of it, which are copied from there.
    pub(crate) older: Vec<PathBuf>,
    /// The only build that it may be, where that is known.
    pub(crate) key: Option<String>,
    /// Who is asked before it is put there.
    pub(crate) gate: Option<Gate>,
}

/// A build that is fetched and then served, until this is dropped.
pub(crate) struct Fetch {
    progress: Arc<Progress>,
    /// There until this is dropped.
    node: Option<Node>,
    seeders: Vec<Addresses>,
    surroundings: Arc<Surroundings>,
    /// There as long as the store may be opened.
    opener: Weak<()>,
    out: PathBuf,
    before: Option<FileId>,
    begun: Instant,
    /// Chunks that were held when it last moved, and when that was.
    moved: (u32, Instant),
    alone_since: Instant,
    worries: Worries,
}

/// What its owner was told already.
#[derive(Default)]
struct Worries {
    no_seeder: bool,
    no_neighbours: bool,
}

/// Which file stands at a place: a file that was renamed to it is another one.
type FileId = (u64, u64);

struct Progress {
    state: Mutex<Seen>,
    seeders: Vec<(HostId, String)>,
    surroundings: Arc<Surroundings>,
}

struct Seen {
    state: State,
    /// Whether all chunks were there when the store was opened; `None` while it is not.
    opened_whole: Option<bool>,
    store: Option<Weak<dyn ChunkStore>>,
    /// Why a seeder, and why another host, could not be reached the first time.
    no_seeder: Option<String>,
    no_host: Option<String>,
    /// Seeders whose build is not believed.
    refused_by: BTreeSet<HostId>,
}

impl Observer for Progress {
    fn event(&self, _host: HostId, _at: Time, event: &Event) {
        let totals = &self.surroundings.totals;
        match event {
            Event::ChunkStored { .. } => totals.count_verified(),
            Event::ChunkCorrupt { .. } => totals.count_corrupt(),
            _ => {}
        }
    }

    fn complete(&self, _host: HostId, _at: Time, traffic: Traffic) {
        self.tell(State::Complete(traffic));
    }

    fn failed(&self, _host: HostId, error: &StoreError) {
        if let StoreError::Refused { why } = error {
            return self.tell(State::Refused(why.clone()));
        }
        self.tell(State::Failed(program::chain(error)));
    }

    /// Where there is another seeder, it may have a build that is believed.
    fn refused(&self, _host: HostId, by: HostId, build_id: &str, why: &str) {
        let at = self.seeders.iter().find(|(seeder, _)| *seeder == by);
        let at = at.map(|(_, at)| at.as_str()).unwrap_or_default();
        let refused = format!("build {build_id:?} of the seeder at {at} is refused: {why}");
        let mut seen = self.state.lock();
        seen.refused_by.insert(by);
        let is_last = self.seeders.iter().all(|(seeder, _)| seen.refused_by.contains(seeder));
        drop(seen);
        if is_last {
            self.tell(State::Failed(refused));
        } else {
            self.surroundings.warn_once(refused);
        }
    }

    fn unreachable(&self, _host: HostId, other: HostId, error: &DialError) {
        self.not_reached(other, || cause_of(error));
    }

    fn unresolved(&self, _host: HostId, other: HostId, names: &str, error: &io::Error) {
        self.not_reached(other, || format!("{names}: the name is not known: {error}"));
    }
}

impl Progress {
    fn of(seeders: &[Addresses], surroundings: &Arc<Surroundings>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(Seen {
                state: State::Fetching,
                opened_whole: None,
                store: None,
                no_seeder: None,
                no_host: None,
                refused_by: BTreeSet::new(),
            }),
            seeders: seeders
                .iter()
                .map(|seeder| (host_of(seeder.peer()), seeder.to_string()))
                .collect(),
            surroundings: Arc::clone(surroundings),
        })
    }

    /// A failure stays until somebody has looked: a build may be complete a moment after a chunk of it could not be written.
    fn tell(&self, state: State) {
        let mut seen = self.state.lock();
        if !matches!(seen.state, State::Failed(_) | State::Refused(_)) {
            seen.state = state;
        }
        drop(seen);
        self.surroundings.news.notify_one();
    }

    fn not_reached(&self, other: HostId, why: impl FnOnce() -> String) {
        let mut seen = self.state.lock();
        let first = if self.seeders.iter().any(|(seeder, _)| *seeder == other) {
            &mut seen.no_seeder
        } else {
            &mut seen.no_host
        };
        first.get_or_insert_with(why);
    }
}

impl Fetch {
    /// Begins to fetch the build of `swarm`, or to check and serve it where it stands there; what happens is told to the
    /// news of `surroundings`. To be called within a runtime. One fetch of a swarm at a time.
    pub(crate) fn start(
        arguments: &Arguments,
        swarm: SwarmId,
        seeders: Vec<Addresses>,
        place: FetchTo<'_>,
        surroundings: &Arc<Surroundings>,
    ) -> Self {
        let FetchTo {
            out,
            label,
            older,
            key,
            gate,
        } = place;
        let progress = Progress::of(&seeders, surroundings);
        let token = Arc::new(());
        let opener = Arc::downgrade(&token);
        let store = StoreOpener::on_disk(out.to_owned()).reusing(older);
        let store = arguments.mode.into_iter().fold(store, StoreOpener::mode);
        let store = label.into_iter().fold(store, StoreOpener::labelled);
        let store = gate.into_iter().fold(store, StoreOpener::gated);
        let store = watched(store, &progress, token);
        // Looked at before the store puts another one there.
        let before = file_id(out);
        let host = host_of(surroundings.endpoint.peer_id());
        let contact = |seeder: &Addresses| Contact {
            host: host_of(seeder.peer()),
            address: seeder.encode(),
        };
        let contacts: Vec<Contact> = seeders.iter().map(contact).collect();
        let zone = arguments.zone.as_deref().map(ZoneId::named);
        let verifier = surroundings.trust.as_ref().map(|trust| trust.verifier(out, key));
        let node = surroundings.endpoint.join(NodeConfig {
            swarm,
            shaping: Shaping {
                shared_up: Some(surroundings.limits.up.clone()),
                shared_down: Some(surroundings.limits.down.clone()),
                ..Shaping::default()
            },
            limits: Limits::default(),
            store,
            role: Role::Host(Box::new(move |host, address| PeerConfig {
                zone,
                verifier,
                ..PeerConfig::with_seeders(host, address, contacts)
            })),
            seed: host.get(),
            clock: Clock::start(),
            observer: Arc::<Progress>::clone(&progress),
        });
        let now = Instant::now();
        Self {
            progress,
            node: Some(node),
            seeders,
            surroundings: Arc::clone(surroundings),
            opener,
            out: out.to_owned(),
            before,
            begun: now,
            moved: (0, now),
            alone_since: now,
            worries: Worries::default(),
        }
    }

    /// How far it is.
    pub(crate) fn state(&self) -> State {
        self.progress.state.lock().state.clone()
    }

    /// What its node has done.
    pub(crate) fn report(&self) -> NodeReport {
        self.node.as_ref().map(Node::report).unwrap_or_default()
    }

    /// Which version of which build it is, once it knows: the key, and the root of the manifest.
    pub(crate) fn build(&self) -> Option<(String, String)> {
        let node = self.node.as_ref()?;
        Some((node.build_id()?, node.root()?.to_string()))
    }

    /// By which a copy of it is verified, once it knows.
    pub(crate) fn made(&self) -> Option<Made> {
        let node = self.node.as_ref()?;
        let (root, chunk_size) = (node.root()?.to_string(), node.chunk_size()?);
        Some(Made { root, chunk_size })
    }

    /// For how long it has been tried.
    pub(crate) fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Whether what is in place now stood there before, and nothing was put there.
    pub(crate) fn was_there(&self) -> bool {
        self.before.is_some() && self.before == file_id(&self.out)
    }

    /// Whether chunks are missing, as far as is known.
    pub(crate) fn lacks_chunks(&self) -> bool {
        self.progress.state.lock().opened_whole == Some(false)
    }

    /// Bytes that it lacks of a build of `size`.
    pub(crate) fn lacks(&self, size: Option<u64>) -> Option<u64> {
        let (size, report) = (size?, self.report());
        let missing = report.chunks_total.saturating_sub(report.chunks_held);
        let lacks = u128::from(size) * u128::from(missing) / u128::from(report.chunks_total.max(1));
        Some(if report.chunks_total == 0 {
            size
        } else {
            u64::try_from(lacks).unwrap_or(size)
        })
    }

    /// Whether nothing has come for a while. A file that is read or being put in place is not stalled.
    pub(crate) fn is_stalled(&self) -> bool {
        self.moved.1.elapsed() >= STALLED_AFTER
    }

    /// Why it is given up after `patience`.
    pub(crate) fn timed_out(&self, patience: Duration) -> String {
        let report = self.report();
        let held = format!("{} of {} chunks", report.chunks_held, report.chunks_total);
        let (seconds, neighbours) = (patience.as_secs(), report.neighbours);
        format!("not complete after {seconds} s: {held}, {neighbours} neighbours")
    }

    /// Looks how it moves, and warns once of each thing that keeps it from coming. To be called twice a second or so while it
    /// is on its way.
    pub(crate) fn look(&mut self) {
        let now = Instant::now();
        let report = self.report();
        let has_manifest = report.chunks_total > 0;
        let reads = has_manifest && self.progress.state.lock().opened_whole.is_none();
        let installs = has_manifest && report.chunks_held == report.chunks_total;
        if self.moved.0 != report.chunks_held || reads || installs {
            self.moved = (report.chunks_held, now);
        }
        if report.neighbours > 0 || !has_manifest || reads || installs {
            self.alone_since = now;
        }
        let (no_seeder, no_host) = {
            let mut seen = self.progress.state.lock();
            (seen.no_seeder.clone(), seen.no_host.take())
        };
        if !has_manifest && !self.worries.no_seeder && (no_seeder.is_some() || self.age() >= SEEDER_PATIENCE) {
            self.worries.no_seeder = true;
            let addresses = || {
                self.seeders
                    .iter()
                    .map(Addresses::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            let why = no_seeder.unwrap_or_else(|| format!("{}: no answer", addresses()));
            self.surroundings.warn_once(format!(
                "no seeder is reached: {why}; is it running there, and is its port open? it is tried until it answers"
            ));
        }
        if let Some(why) = no_host {
            self.surroundings.warn_once(format!(
                "another host is not reached: {why}; where that is so of many, are their ports open? they are told by --listen"
            ));
        }
        if now.duration_since(self.alone_since) >= ALONE_AFTER && !self.worries.no_neighbours {
            self.worries.no_neighbours = true;
            let own = Addresses::new(
                self.surroundings.endpoint.peer_id(),
                self.surroundings.endpoint.addresses(),
            );
            self.surroundings.warn_once(format!(
                "no other host is connected after {} s, and all of it comes from the seeder: is this where others reach this \
                 host: {own}? --listen says where it listens, --advertise what it tells others",
                ALONE_AFTER.as_secs()
            ));
        }
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            self.surroundings.totals.add(&node.report().traffic);
        }
        let (opener, progress) = (Weak::clone(&self.opener), Arc::clone(&self.progress));
        let holds_files = move || {
            let store = progress.state.lock().store.clone();
            opener.strong_count() > 0 || store.is_some_and(|store| store.strong_count() > 0)
        };
        self.surroundings.ends(self.out.clone(), holds_files);
    }
}

/// The same opener, that tells `progress` of the store. The token is there for as long as it may be opened.
fn watched(opener: StoreOpener, progress: &Arc<Progress>, token: Arc<()>) -> StoreOpener {
    let progress = Arc::clone(progress);
    opener.decorated(move |store| {
        let _there = &token;
        let mut seen = progress.state.lock();
        seen.opened_whole = Some(store.held().is_full());
        seen.store = Some(Arc::downgrade(&store));
        drop(seen);
        progress.surroundings.news.notify_one();
        store
    })
}

fn file_id(path: &Path) -> Option<FileId> {
    let there = std::fs::metadata(path).ok()?;
    Some((there.dev(), there.ino()))
}

/// How often a build that is on its way is looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A seeder that was to be reached has answered by then: some round trips and a handshake, on a bad day.
const SEEDER_PATIENCE: Duration = Duration::from_secs(5);
/// In a swarm the first neighbours come within a second.
const ALONE_AFTER: Duration = Duration::from_secs(10);
/// A build of which nothing comes for so long gives its turn to others.
const STALLED_AFTER: Duration = Duration::from_secs(10);
