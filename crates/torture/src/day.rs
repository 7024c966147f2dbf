//! What a day is made of: a fleet, the build, the network between them, and what goes wrong when. Plain data: a day says
//! nothing of how it is played, and a smaller day is the same day with less in it.

use std::collections::BTreeSet;

use swarm::{ByteRate, ChunkPolicy, Contact, HostId, PeerConfig, SeederConfig};

use crate::class::Class;

/// Nanoseconds since the day began, or of a duration.
pub type Nanos = u64;

/// One second, in nanoseconds.
pub const SECOND: Nanos = 1_000_000_000;
/// One millisecond, in nanoseconds.
pub const MILLISECOND: Nanos = 1_000_000;
/// Of a fault that never ends.
pub const FOR_EVER: Nanos = u64::MAX;

/// A fleet and what happens to it.
#[derive(Clone, Debug)]
pub struct Day {
    /// What kind of day it is.
    pub class: Class,
    /// What it was drawn from. Everything random in it, and in how it is played, comes from here.
    pub seed: u64,
    /// The build.
    pub build: Build,
    /// What the network does with what is sent.
    pub network: Network,
    /// How members behave.
    pub settings: Settings,
    /// When the seeders have the build.
    pub seeded_at: Nanos,
    /// The seeders, in the order in which hosts know them.
    pub seeders: Vec<Link>,
    /// The hosts, by ascending number.
    pub hosts: Vec<HostPlan>,
    /// What goes wrong, in the order in which it was drawn.
    pub faults: Vec<Fault>,
}

/// The sizes of a build.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// Chunks, at least one.
    pub chunks: u32,
    /// Bytes of each but the last.
    pub chunk_size: u32,
    /// Bytes of the last.
    pub last_chunk: u32,
}

impl Build {
    /// Bytes of the whole build.
    pub fn size(&self) -> u64 {
        u64::from(self.chunks - 1) * u64::from(self.chunk_size) + u64::from(self.last_chunk)
    }
}

/// What all connections have in common.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// One-way delay. Each connection has its own, from half of this to twice this.
    pub latency: Nanos,
    /// Whether chunks share a connection. Where they do not, one follows the other.
    pub interleaved: bool,
    /// Whether a member that still has a connection refuses another of the same member. Where it does not, it does so only
    /// while the first is young, as the live driver does.
    pub refuses_second: bool,
}

/// What is drawn of the settings of members. Numbers that are not given are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Neighbours wanted.
    pub degree: u16,
    /// Which chunk first.
    pub policy: ChunkPolicy,
    /// Different chunks asked for at a time.
    pub chunks_in_flight_max: Option<usize>,
    /// Requests to one neighbour at a time.
    pub requests_per_neighbour_max: Option<usize>,
    /// Chunks that a host serves at a time.
    pub upload_slots: Option<usize>,
    /// Nobody is stalled who is silent for less.
    pub patience_min: Nanos,
    /// Hosts that a seeder sends chunks to.
    pub clients: usize,
    /// Chunks that a seeder serves at a time.
    pub seeder_slots: Option<usize>,
    /// Copies of the build that a seeder sends.
    pub copies_max: u32,
}

impl Default for Settings {
    /// As shipped.
    fn default() -> Self {
        let seeder = SeederConfig::new(HostId::new(0));
        let contact = Contact {
            host: seeder.host,
            address: bytes::Bytes::new(),
        };
        let peer = PeerConfig::new(HostId::new(1), bytes::Bytes::new(), contact);
        Self {
            degree: peer.degree,
            policy: peer.policy,
            chunks_in_flight_max: peer.chunks_in_flight_max,
            requests_per_neighbour_max: peer.requests_per_neighbour_max,
            upload_slots: peer.upload_slots,
            patience_min: u64::try_from(peer.patience_min.as_nanos()).unwrap_or(u64::MAX),
            clients: seeder.clients,
            seeder_slots: seeder.upload_slots,
            copies_max: seeder.copies_max,
        }
    }
}

/// What a member sends and receives at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Up.
    pub up: ByteRate,
    /// Down.
    pub down: ByteRate,
}

/// A host of a day.
#[derive(Clone, Copy, Debug)]
pub struct HostPlan {
    /// Its number. A host keeps it when others are taken out of the day.
    pub id: HostId,
    /// Its link while nothing slows it.
    pub link: Link,
    /// Its zone, from 1; none where zones do not matter.
    pub zone: Option<u32>,
    /// When it comes.
    pub joins: Joins,
    /// Whether it stays.
    pub leaves: Leaves,
    /// What it does.
    pub role: Role,
}

/// When a host comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joins {
    /// At a time.
    At(Nanos),
    /// So long after everybody of the generation before has the build. Generations count from 0, which comes at once.
    Generation(u32, Nanos),
}

/// When a host goes of its own will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// It stays.
    Never,
    /// So long after it has the build.
    Done(Nanos),
}

/// What a host does that it should not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nothing.
    Honest,
    /// Every chunk that it sends is corrupt.
    Corrupt,
    /// It takes requests and sends nothing.
    Stall,
    /// It claims to hold everything, and is silent when it is asked for what it lacks.
    Liar,
    /// It claims to hold everything, and is always busy.
    BusyLiar,
    /// It says again and again that it serves, and sends nothing, or a byte a second.
    Trickle {
        /// Whether it sends bytes.
        bytes: bool,
    },
    /// It sends all its neighbours a message without end.
    Flood(Flood),
    /// It sends chunks that nobody asked for.
    Unsolicited,
}

impl Role {
    /// Whether something is promised to it.
    pub fn is_honest(self) -> bool {
        self == Self::Honest
    }
}

/// What a flood consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the message of its name")]
pub enum Flood {
    Have,
    HaveAll,
    HaveSet,
    HaveRequest,
    Request,
    Serving,
    Busy,
    Zone,
    Invite,
    Cancel,
    Reject,
    ManifestRequest,
    Announce,
    Complete,
    Complaint,
    NotServing,
    Neighbours,
    Build,
}

impl Flood {
    /// Every kind, to draw from.
    pub const ALL: [Self; 18] = [
        Self::Have,
        Self::HaveAll,
        Self::HaveSet,
        Self::HaveRequest,
        Self::Request,
        Self::Serving,
        Self::Busy,
        Self::Zone,
        Self::Invite,
        Self::Cancel,
        Self::Reject,
        Self::ManifestRequest,
        Self::Announce,
        Self::Complete,
        Self::Complaint,
        Self::NotServing,
        Self::Neighbours,
        Self::Build,
    ];
}

/// Something that goes wrong.
#[derive(Clone, Debug)]
pub struct Fault {
    /// When it begins.
    pub at: Nanos,
    /// How long it lasts; [`FOR_EVER`] where it does not end, 0 where it is over at once.
    pub lasts: Nanos,
    /// What it is.
    pub kind: FaultKind,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum FaultKind {
    /// Connections between hosts are reset; both ends notice, or one does.
    Reset {
        /// Which.
        which: Share,
        /// Whether only one end notices.
        half: bool,
    },
    /// A host is down, and comes back if it lasts only for a while.
    Crash {
        /// Who.
        host: HostId,
        /// What it has when it is back.
        store: Store,
        /// Whether its machine goes without a word; else its connections are closed.
        silent: bool,
    },
    /// Bytes of chunks that a member holds are gone; those of a seeder are back when it is over.
    Damage {
        /// Who.
        member: HostId,
        /// Of a hundred of its chunks.
        percent: u64,
        /// Whether it is seen at once; else when a chunk is to be sent.
        seen: bool,
    },
    /// A seeder is down, and comes back with the build and no memory.
    SeederDown {
        /// Which, by its place.
        seeder: usize,
    },
    /// All seeders go for good as soon as hosts together hold every chunk.
    SeedersGone,
    /// These hosts and the others do not reach each other.
    Cut {
        /// On one side.
        hosts: BTreeSet<HostId>,
        /// Whether the seeders are on the other side; else both sides reach them.
        seeders: bool,
        /// Which way nothing goes.
        way: Way,
        /// Whether nobody is told. Else connections are reset and none can be made.
        silent: bool,
    },
    /// A host's process stands still.
    Pause {
        /// Who.
        host: HostId,
        /// Whether it looks at its clock first when it goes on, and at what has come meanwhile later.
        clock_first: bool,
    },
    /// A host's link is so many times as slow.
    Slow {
        /// Who.
        host: HostId,
        /// How many times.
        times: u32,
    },
}

/// Which of several connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// One of them.
    One,
    /// So many in a hundred.
    Percent(u32),
}

/// What a host still has after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// All that it had.
    Kept,
    /// Every second chunk.
    Half,
    /// Nothing.
    Lost,
}

/// Which way a cut is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Both.
    Both,
    /// Nothing comes out of the hosts that are cut off.
    Out,
    /// Nothing comes in to them.
    In,
}

/// A part of a day: what shrinking leaves of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Only {
    /// The numbers of the hosts that stay; all where absent.
    pub hosts: Option<Vec<u64>>,
    /// The places of the faults that stay; all where absent.
    pub faults: Option<Vec<usize>>,
    /// Chunks of the build; as drawn where absent.
    pub chunks: Option<u32>,
}

impl Only {
    /// Whether it leaves everything.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }
}

impl std::fmt::Display for Only {
    /// As `Only::from_str` takes it: `hosts=1+4,faults=0,chunks=8`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let joined = |numbers: &[String]| {
            if numbers.is_empty() {
                "-".to_owned()
            } else {
                numbers.join("+")
            }
        };
        let mut parts = Vec::new();
        if let Some(hosts) = &self.hosts {
            parts.push(format!(
                "hosts={}",
                joined(&hosts.iter().map(u64::to_string).collect::<Vec<_>>())
            ));
        }
        if let Some(faults) = &self.faults {
            let faults: Vec<_> = faults.iter().map(usize::to_string).collect();
            parts.push(format!("faults={}", joined(&faults)));
        }
        if let Some(chunks) = self.chunks {
            parts.push(format!("chunks={chunks}"));
        }
        f.write_str(&parts.join(","))
    }
}

impl std::str::FromStr for Only {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected parts of hosts=1+4, faults=0+2 and chunks=8, with a comma between them";
        let wrong = |part: &str| format!("{part:?}: {EXPECTED}");
        let mut only = Self::default();
        for part in text.split(',') {
            let (key, value) = part.split_once('=').ok_or_else(|| wrong(part))?;
            let numbers = || -> Result<Vec<u64>, String> {
                let numbers = value.split('+').filter(|number| *number != "-");
                numbers
                    .map(|number| number.parse().map_err(|_not| wrong(part)))
                    .collect()
            };
            match key {
                "hosts" => only.hosts = Some(numbers()?),
                "faults" => {
                    let places = numbers()?.into_iter().map(usize::try_from);
                    only.faults = Some(places.collect::<Result<_, _>>().map_err(|_not| wrong(part))?);
                }
                "chunks" => only.chunks = Some(value.parse().map_err(|_not| wrong(part))?),
                _ => return Err(wrong(part)),
            }
        }
        Ok(only)
    }
}

impl Day {
    /// The day with nothing but `only` in it.
    #[must_use]
    pub fn restricted(mut self, only: &Only) -> Self {
        if let Some(hosts) = &only.hosts {
            self.hosts.retain(|host| hosts.contains(&host.id.get()));
        }
        if let Some(places) = &only.faults {
            let faults = std::mem::take(&mut self.faults).into_iter().enumerate();
            self.faults = faults
                .filter(|(place, _)| places.contains(place))
                .map(|(_, fault)| fault)
                .collect();
        }
        if let Some(chunks) = only.chunks {
            self.build.chunks = chunks.clamp(1, self.build.chunks);
        }
        self
    }

    /// Whether anybody in it means harm or is broken, so that what it costs others is not bounded by what they do.
    pub fn has_liars(&self) -> bool {
        self.hosts.iter().any(|host| !host.role.is_honest())
    }
}

impl std::fmt::Display for Day {
    /// What it is like, in a line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Build { chunks, chunk_size, .. } = self.build;
        let size = swarm::Bytes::new(chunk_size.into());
        write!(f, "{} hosts, {chunks} chunks of {size}", self.hosts.len())?;
        let link = self.seeders.first().map(|link| (link.up, link.down));
        if let Some((up, down)) = link {
            write!(f, ", {} seeders with {up} up, {down} down", self.seeders.len())?;
        }
        if self
            .hosts
            .iter()
            .any(|host| Some((host.link.up, host.link.down)) != link)
        {
            f.write_str(", mixed links")?;
        }
        let zones = self.hosts.iter().filter_map(|host| host.zone).max();
        if let Some(zones) = zones {
            write!(f, ", {zones} zones")?;
        }
        let bad = self.hosts.iter().filter(|host| !host.role.is_honest()).count();
        if bad > 0 {
            write!(f, ", {bad} not honest")?;
        }
        if !self.faults.is_empty() {
            write!(f, ", {} faults", self.faults.len())?;
        }
        let Settings {
            degree,
            policy,
            chunks_in_flight_max,
            requests_per_neighbour_max,
            upload_slots,
            patience_min,
            clients,
            seeder_slots,
            copies_max,
        } = self.settings;
        let patience = std::time::Duration::from_nanos(patience_min);
        let number = |given: Option<usize>| given.map_or_else(|| "as measured".to_owned(), |number| number.to_string());
        let (in_flight, a_neighbour) = (number(chunks_in_flight_max), number(requests_per_neighbour_max));
        let (slots, seeder_slots) = (number(upload_slots), number(seeder_slots));
        write!(
            f,
            "; degree {degree}, {policy:?}, {in_flight} in flight, {a_neighbour} a neighbour, {slots} \
             slots, patience {patience:?}; seeder: {clients} clients, {seeder_slots} slots, {copies_max} copies; latency {:?}{}{}",
            std::time::Duration::from_nanos(self.network.latency),
            if self.network.interleaved { ", interleaved" } else { "" },
            if self.network.refuses_second {
                ", refuses a second connection"
            } else {
                ""
            },
        )
    }
}
