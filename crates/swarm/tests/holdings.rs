//! The two ways in which hosts learn what their neighbours hold: by HAVE messages, as in a live run, and by a table of the
//! driver, as in a forecast. With equal delays the same mesh makes the same requests, one by one and at the same times.
//!
//! The driver here is the least that can be: a message takes a millisecond, a chunk about ten or more, and nothing shares a link. What
//! happens at the same time happens in an order that does not depend on the way of knowing. News that waits for company is in the table when
//! the first of it is due, as it is said by message.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use swarm::{
    Action, Bitfield, Bytes, ChunkIndex, ChunkPolicy, Contact, Event, Hash, Holdings, HostId, Manifest, Message, News,
    Peer, PeerConfig, Seeder, SeederConfig, Time, ZoneId,
};

const SEEDER: HostId = HostId::new(0);
const HOSTS: u64 = 24;
const CHUNKS: u32 = 60;
const LATENCY: Duration = Duration::from_millis(1);

/// When, by whom, of whom, what.
type Request = (Time, HostId, HostId, u32);

enum Input {
    Event(Event),
    Dial,
    Connected,
    /// The last byte has left.
    Sent {
        to: HostId,
        chunk: ChunkIndex,
    },
    /// News has waited long enough for company.
    Due,
    /// News has reached all neighbours.
    Heard(News),
}

/// What a swarm is like.
#[derive(Clone, Copy)]
struct Shape {
    seed: u64,
    policy: ChunkPolicy,
    /// Hosts are in them by turns; in none where there are none.
    zones: u32,
    /// How long news waits for company at most, …
    have_interval: Duration,
    /// … and what a chunk takes at least: news waits for no more than a part of it.
    transfer: Duration,
    /// How much later than by message news is in the table.
    table_late: Duration,
}

impl Shape {
    /// News does not wait for company.
    fn of(seed: u64) -> Self {
        Self {
            seed,
            policy: ChunkPolicy::default(),
            zones: 0,
            have_interval: Duration::ZERO,
            transfer: Duration::from_millis(10),
            table_late: Duration::ZERO,
        }
    }
}

struct Swarm {
    shape: Shape,
    now: Time,
    seeder: Seeder,
    peers: BTreeMap<HostId, Peer>,
    manifest: Arc<Manifest>,
    way: Way,
    published: Published,
    /// News that waits for company, and until when.
    waiting: BTreeMap<HostId, (Time, News)>,
    /// HAVE messages of several chunks.
    in_company: usize,
    /// By time, then by whom it happens to and who has brought it about, and at last by the order of being queued.
    queue: BTreeMap<(Time, HostId, HostId, u64), Input>,
    queued: u64,
    links: BTreeSet<(HostId, HostId)>,
    requests: Vec<Request>,
    completed: BTreeMap<HostId, Time>,
}

/// How a swarm's peers know of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Messages,
    Table,
}

#[derive(Default)]
struct Published {
    fields: BTreeMap<HostId, (Bitfield, bool)>,
}

impl Holdings for Published {
    fn held_by(&self, host: HostId) -> Option<&Bitfield> {
        self.fields.get(&host).map(|(field, _)| field)
    }

    fn is_busy(&self, host: HostId) -> Option<bool> {
        self.fields.get(&host).map(|(_, busy)| *busy)
    }
}

impl Swarm {
    fn new(way: Way, shape: Shape) -> Self {
        let seed = shape.seed;
        let hashes = (0..CHUNKS).map(|chunk| Hash::of(&chunk.to_le_bytes())).collect();
        let chunk_size = 256 << 10;
        let size = Bytes::new(u64::from(CHUNKS) * u64::from(chunk_size));
        let manifest = Arc::new(Manifest::new("build", size, chunk_size, hashes).unwrap());
        let hosts = (1..=HOSTS).map(HostId::new);
        let peers = hosts.clone().map(|host| {
            let mut config = PeerConfig::new(host, Vec::new().into(), contact(SEEDER));
            config.have_interval = shape.have_interval;
            config.policy = shape.policy;
            let zone = host.get().checked_rem(shape.zones.into());
            config.zone = zone.map(|zone| ZoneId::named(&format!("zone {zone}")));
            config.degree = 8;
            let new = match way {
                Way::Messages => Peer::new,
                Way::Table => Peer::with_table,
            };
            (host, new(config, seed ^ host.get(), Time::ZERO))
        });
        let peers: BTreeMap<HostId, Peer> = peers.collect();
        let fields = hosts.map(|host| (host, (Bitfield::new(CHUNKS), false)));
        let published = Published {
            fields: match way {
                Way::Messages => BTreeMap::new(),
                Way::Table => fields.collect(),
            },
        };
        Self {
            now: Time::ZERO,
            seeder: Seeder::new(SeederConfig::new(SEEDER), seed, Time::ZERO),
            peers,
            manifest,
            way,
            published,
            waiting: BTreeMap::new(),
            in_company: 0,
            shape,
            queue: BTreeMap::new(),
            queued: 0,
            links: BTreeSet::new(),
            requests: Vec::new(),
            completed: BTreeMap::new(),
        }
    }

    fn run(mut self) -> Self {
        let hosts: Vec<HostId> = self.peers.keys().copied().collect();
        for host in [SEEDER].iter().chain(&hosts) {
            self.carry_out_all(*host);
        }
        let mut is_seeded = false;
        while self.completed.len() < hosts.len() {
            let ((at, host, from, _), input) = self.queue.pop_first().unwrap();
            assert!(
                at < Time::ZERO + Duration::from_secs(60),
                "{} done",
                self.completed.len()
            );
            self.now = at;
            if !is_seeded && at >= Time::ZERO + Duration::from_secs(5) {
                is_seeded = true;
                self.seeder.seed(at, Arc::clone(&self.manifest));
                self.carry_out_all(SEEDER);
            }
            self.handle(host, from, input);
        }
        self
    }

    fn handle(&mut self, host: HostId, from: HostId, input: Input) {
        match input {
            Input::Event(event) => self.tell(host, event),
            Input::Dial => {
                if self.links.insert(pair(host, from)) {
                    self.push(LATENCY, from, host, Input::Connected);
                    self.tell(host, Event::Connected(from));
                }
            }
            Input::Connected => self.tell(host, Event::Connected(from)),
            Input::Sent { to, chunk } => {
                let stored = Event::ChunkStored { from: host, chunk };
                self.push(LATENCY, to, host, Input::Event(stored));
                self.tell(host, Event::ChunkServed { to, chunk });
            }
            Input::Due => {
                // It was due earlier, since some came that does not wait as long.
                if let Some((at, news)) = self.waiting.get(&host).copied()
                    && at == self.now
                {
                    self.waiting.remove(&host);
                    // After all else that happens then.
                    let last = HostId::new(u64::MAX);
                    self.push(LATENCY + self.shape.table_late, last, host, Input::Heard(news));
                }
            }
            Input::Heard(news) => {
                let (field, busy) = self.published.fields.get_mut(&from).unwrap();
                *busy = news.busy;
                let known = field.count() as usize;
                let acquired = self.peers[&from].acquired();
                let acquired: Vec<_> = acquired.iter().take(news.held as usize).skip(known).copied().collect();
                for chunk in &acquired {
                    field.insert(*chunk);
                }
                if news.held as usize > known {
                    let linked = self.links.iter().filter(|(a, b)| *a == from || *b == from);
                    let others: Vec<HostId> = linked.map(|(a, b)| if *a == from { *b } else { *a }).collect();
                    for other in others.into_iter().filter(|other| *other != SEEDER) {
                        // As with messages, which are not sent to who has the chunk.
                        let theirs = &self.published.fields[&other].0;
                        if acquired.iter().all(|chunk| theirs.contains(*chunk)) {
                            continue;
                        }
                        let peer = self.peers.get_mut(&other).unwrap();
                        peer.handle_growth_with(self.now, &self.published);
                        self.carry_out_all(other);
                        self.wake(other);
                    }
                }
            }
        }
    }

    /// With whatever is due at once: so that news is told where it came up.
    fn tell(&mut self, host: HostId, event: Event) {
        if let Event::ChunkStored { from, chunk } = event
            && !self.peers[&host].expects(from, chunk)
        {
            self.tell(host, Event::ChunkProgress { from, chunk });
            return;
        }
        self.tell_one(host, event);
        self.wake(host);
    }

    fn wake(&mut self, host: HostId) {
        while self.next_wakeup(host).is_some_and(|at| at <= self.now) {
            self.tell_one(host, Event::Wakeup);
        }
    }

    fn next_wakeup(&self, host: HostId) -> Option<Time> {
        match self.peers.get(&host) {
            Some(peer) => peer.next_wakeup(),
            None => self.seeder.next_wakeup(),
        }
    }

    fn tell_one(&mut self, host: HostId, event: Event) {
        match self.peers.get_mut(&host) {
            Some(peer) => peer.handle_event_with(self.now, event, &self.published),
            None => self.seeder.handle_event(self.now, event),
        }
        self.carry_out_all(host);
    }

    fn carry_out_all(&mut self, host: HostId) {
        loop {
            let action = match self.peers.get_mut(&host) {
                Some(peer) => peer.poll_action(),
                None => self.seeder.poll_action(),
            };
            match action {
                Some(action) => self.carry_out(host, action),
                None => break,
            }
        }
        if let Some(at) = self.next_wakeup(host).filter(|at| *at > self.now) {
            self.queued += 1;
            self.queue
                .insert((at, host, host, self.queued), Input::Event(Event::Wakeup));
        }
    }

    fn carry_out(&mut self, host: HostId, action: Action) {
        match action {
            Action::Send(to, message) => {
                if let Message::Request { chunk, .. } = &message {
                    self.requests.push((self.now, host, to, *chunk));
                }
                self.in_company += usize::from(matches!(&message, Message::Have(chunks) if chunks.len() > 1));
                // It is acted upon without a look at who holds what: not before who is told of the same at that time has looked.
                let is_invitation = matches!(message, Message::Invite { .. });
                let delay = LATENCY + Duration::from_nanos(is_invitation.into());
                self.push(delay, to, host, Input::Event(Event::Message(host, message)));
            }
            Action::Connect(contact) => self.push(LATENCY, contact.host, host, Input::Dial),
            Action::OpenStore(manifest) => {
                let held = Box::new(Bitfield::new(manifest.chunk_count()));
                self.tell_one(host, Event::StoreOpened { held });
            }
            Action::ServeChunk { to, chunk } => {
                // No two take equally long, so that nothing happens at the same time by chance.
                let odd = (host.get() * 7_919 + to.get() * 104_729 + u64::from(chunk.get()) * 1_299_709) % 2_000_003;
                let takes = self.shape.transfer + Duration::from_nanos(odd);
                self.push(takes, host, host, Input::Sent { to, chunk });
            }
            // What has begun is sent to its end here.
            Action::StopServing { .. } => {}
            Action::Gossip(news) => {
                assert_eq!(self.way, Way::Table);
                let at = self.now + news.after;
                let before = self.waiting.get(&host).map_or(Time::MAX, |(at, _)| *at);
                self.waiting.insert(host, (at.min(before), news));
                if at < before {
                    self.push(news.after, host, host, Input::Due);
                }
            }
            Action::Complete => {
                self.completed.insert(host, self.now);
            }
            Action::Disconnect { host: other, reason } => panic!("{host} leaves {other}: {reason:?}"),
            Action::Suspect { .. } | Action::Refuse { .. } => panic!("nothing is corrupt"),
        }
    }

    fn push(&mut self, delay: Duration, host: HostId, from: HostId, input: Input) {
        self.queued += 1;
        self.queue.insert((self.now + delay, host, from, self.queued), input);
    }
}

fn contact(host: HostId) -> Contact {
    Contact {
        host,
        address: Vec::new().into(),
    }
}

fn pair(a: HostId, b: HostId) -> (HostId, HostId) {
    (a.min(b), a.max(b))
}

/// Plays a swarm both ways. How often several chunks were told in one message.
fn both_ways(shape: Shape) -> usize {
    let heard = Swarm::new(Way::Messages, shape).run();
    let looked_up = Swarm::new(Way::Table, shape).run();
    let what = format!("seed {}, {:?}, {} zones", shape.seed, shape.policy, shape.zones);
    assert!(heard.requests.len() >= (HOSTS * u64::from(CHUNKS)) as usize);
    let mut both = heard.requests.iter().zip(&looked_up.requests);
    let differing = both.position(|(one, other)| one != other);
    let shown = differing.map(|at| (at, heard.requests[at], looked_up.requests[at]));
    let counts = (heard.requests.len(), looked_up.requests.len());
    assert_eq!(shown, None, "{what}, of {counts:?}");
    assert_eq!((counts.0, &heard.completed), (counts.1, &looked_up.completed), "{what}");
    heard.in_company
}

#[test]
fn what_is_heard_and_what_is_looked_up_lead_to_the_same_requests() {
    for seed in 1..=8 {
        both_ways(Shape::of(seed));
    }
}

#[test]
fn they_do_with_every_policy_and_where_news_waits_for_company() {
    let mut in_company = 0;
    for (seed, &policy) in (1..).zip(ChunkPolicy::ALL) {
        for transfer in [10, 100].map(Duration::from_millis) {
            in_company += both_ways(Shape {
                policy,
                transfer,
                have_interval: Duration::from_millis(5),
                ..Shape::of(seed)
            });
        }
    }
    assert!(in_company > 100, "{in_company} messages of several chunks");
}

/// An invitation to another zone says of one chunk that it is held before the news of it is due, so none waits here.
#[test]
fn they_do_in_zones() {
    for seed in 1..=8 {
        for zones in 2..=3 {
            both_ways(Shape {
                zones,
                ..Shape::of(seed)
            });
        }
    }
}

#[test]
fn news_that_comes_later_leads_to_other_requests() {
    let heard = Swarm::new(Way::Messages, Shape::of(1)).run();
    let table_late = Duration::from_millis(3);
    let late = Swarm::new(
        Way::Table,
        Shape {
            table_late,
            ..Shape::of(1)
        },
    );
    assert_ne!(heard.requests, late.run().requests);
}
