//! The seeder with hosts that do whatever hosts may do: however they come, ask, keep silent and go, the first pass ends as soon as
//! one is there that takes what it is offered.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::units::Bytes;
use crate::wire::LinkReport;

/// A seeder with hosts that are told what to do.
struct Stage {
    seeder: Seeder,
    now: Time,
    chunks: u32,
    /// Chunks that were offered, as each host last heard.
    offered: BTreeSet<(HostId, u32)>,
    serving: BTreeSet<(HostId, ChunkIndex)>,
    gone: BTreeSet<ChunkIndex>,
    here: BTreeSet<HostId>,
}

impl Stage {
    fn new(chunks: u32, clients: usize, upload_slots: usize) -> Self {
        let mut config = SeederConfig::new(HostId::new(0));
        (config.clients, config.upload_slots) = (clients, Some(upload_slots));
        let data = vec![0; chunks as usize * 64];
        let manifest = Manifest::of("build.zip", &data, 64).unwrap();
        assert_eq!(manifest.size(), Bytes::new(u64::from(chunks) * 64));
        let mut stage = Self {
            seeder: Seeder::new(config, 1, Time::ZERO),
            now: Time::ZERO,
            chunks,
            offered: BTreeSet::new(),
            serving: BTreeSet::new(),
            gone: BTreeSet::new(),
            here: BTreeSet::new(),
        };
        stage.seeder.seed(stage.now, Arc::new(manifest));
        stage.take_actions();
        stage
    }

    fn tell(&mut self, event: Event) {
        self.seeder.handle_event(self.now, event);
        self.take_actions();
    }

    fn say(&mut self, host: HostId, message: Message) {
        if self.here.contains(&host) {
            self.tell(Event::Message(host, message));
        }
    }

    fn take_actions(&mut self) {
        while let Some(action) = self.seeder.poll_action() {
            match action {
                Action::Send(to, Message::Offer(chunks)) => {
                    self.offered.extend(chunks.iter().map(|chunk| (to, *chunk)))
                }
                Action::Send(to, Message::Reject { chunk, .. } | Message::Lost { chunk }) => {
                    self.offered.remove(&(to, chunk));
                }
                Action::ServeChunk { to, chunk } => {
                    assert!(self.here.contains(&to), "{to} has gone and is sent {chunk}");
                    self.serving.insert((to, chunk));
                }
                Action::StopServing { to, chunk } => {
                    self.serving.remove(&(to, chunk));
                    self.seeder.handle_event(self.now, Event::ChunkServed { to, chunk });
                }
                Action::Disconnect { host, .. } => self.cut(host),
                _ => {}
            }
        }
        assert_eq!(self.seeder.check(), Ok(()));
    }

    fn cut(&mut self, host: HostId) {
        self.here.remove(&host);
        self.offered.retain(|(to, _)| *to != host);
        self.serving.retain(|(to, _)| *to != host);
    }

    fn come(&mut self, host: HostId) {
        if self.here.insert(host) {
            self.tell(Event::Connected(host));
        }
        let announce = Message::Announce {
            address: "here".into(),
            wanted: 0,
            complete: false,
            zone: None,
            links: Box::new(LinkReport::default()),
        };
        self.say(host, announce);
    }

    fn go(&mut self, host: HostId) {
        if self.here.contains(&host) {
            self.cut(host);
            self.tell(Event::Disconnected(host));
        }
    }

    /// Time passes, and the seeder is woken whenever it wants to be.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.seeder.next_wakeup().filter(|at| *at <= until) {
            self.now = at.max(self.now);
            self.tell(Event::Wakeup);
        }
        self.now = until;
    }

    /// Something that was offered to `host`, or is being sent to it.
    fn any_of(set: &BTreeSet<(HostId, u32)>, host: HostId, index: usize) -> Option<u32> {
        let of_host: Vec<u32> = set.iter().filter(|(to, _)| *to == host).map(|(_, c)| *c).collect();
        (!of_host.is_empty()).then(|| of_host[index % of_host.len()])
    }

    fn do_one(&mut self, step: &Step) {
        let (host, index) = (HostId::new(step.host), step.index);
        let any = u32::try_from(index).unwrap() % self.chunks;
        let offered = Self::any_of(&self.offered, host, index).unwrap_or(any);
        match step.what {
            What::Come => self.come(host),
            What::Go => self.go(host),
            What::Ask => self.say(
                host,
                Message::Request {
                    chunk: offered,
                    held: 0,
                },
            ),
            What::Decline => self.say(host, Message::Decline([offered].into_iter().collect())),
            What::Cancel => self.say(host, Message::Cancel { chunk: offered }),
            What::Starve => self.say(host, Message::HaveRequest),
            What::Complete => self.say(host, Message::Complete),
            What::Accuse => {
                let about = HostId::new(step.index as u64 % HOSTS);
                self.say(
                    host,
                    Message::NotServing {
                        host: about,
                        chunk: any,
                    },
                );
            }
            What::Served => {
                if let Some((to, chunk)) = self.serving.iter().nth(index % self.serving.len().max(1)).copied() {
                    self.serving.remove(&(to, chunk));
                    self.tell(Event::ChunkServed { to, chunk });
                }
            }
            What::Lose => {
                let chunk = ChunkIndex::new(any);
                self.gone.insert(chunk);
                self.tell(Event::ChunkLost { chunk });
            }
            What::Find => self.find(ChunkIndex::new(any)),
            What::Wait => self.wait(Duration::from_millis(step.index as u64 * 40)),
        }
    }

    fn find(&mut self, chunk: ChunkIndex) {
        if self.gone.remove(&chunk) {
            self.tell(Event::ChunkFound { chunk });
        }
    }

    /// `host` takes what it is offered, and gets it, until the first pass has ended; panics after `limit`.
    fn finish_with(&mut self, host: HostId, limit: Duration) {
        let end = self.now + limit;
        while self.seeder.injection.is_first_pass() {
            assert!(
                self.now < end,
                "the first pass does not end: {:?}",
                self.seeder.injection
            );
            self.come(host);
            for chunk in self
                .offered
                .clone()
                .into_iter()
                .filter(|(to, _)| *to == host)
                .map(|(_, c)| c)
            {
                self.offered.remove(&(host, chunk));
                self.say(host, Message::Request { chunk, held: 0 });
            }
            for (to, chunk) in self.serving.clone().into_iter().filter(|(to, _)| *to == host) {
                self.serving.remove(&(to, chunk));
                self.tell(Event::ChunkServed { to, chunk });
            }
            self.wait(Duration::from_millis(500));
        }
    }
}

const HOSTS: u64 = 4;

#[derive(Clone, Debug)]
struct Step {
    what: What,
    host: u64,
    index: usize,
}

/// What a host does, or what befalls the seeder.
#[derive(Clone, Copy, Debug)]
enum What {
    Come,
    Go,
    Ask,
    Decline,
    Cancel,
    Starve,
    Complete,
    Accuse,
    Served,
    Lose,
    Find,
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    let what = prop_oneof![
        4 => Just(What::Come),
        2 => Just(What::Go),
        4 => Just(What::Ask),
        2 => Just(What::Decline),
        1 => Just(What::Cancel),
        1 => Just(What::Starve),
        1 => Just(What::Complete),
        1 => Just(What::Accuse),
        3 => Just(What::Served),
        1 => Just(What::Lose),
        1 => Just(What::Find),
        3 => Just(What::Wait),
    ];
    (what, 1..HOSTS, 0..80_usize).prop_map(|(what, host, index)| Step { what, host, index })
}

proptest! {
    #[test]
    fn the_first_pass_ends_whatever_other_hosts_do(
        chunks in 1..20_u32,
        (clients, slots) in (1..4_usize, 1..4_usize),
        steps in prop::collection::vec(step(), 0..60),
        they_go in any::<bool>(),
    ) {
        let mut stage = Stage::new(chunks, clients, slots);
        for step in &steps {
            stage.do_one(step);
        }
        for chunk in stage.gone.clone() {
            stage.find(chunk);
        }
        for host in (1..HOSTS).map(HostId::new).filter(|_| they_go) {
            stage.go(host);
        }
        stage.finish_with(HostId::new(HOSTS), Duration::from_secs(900));
    }
}

/// The only chunk is sent to a slow host; the other does not wait for that while the seeder idles.
#[test]
fn a_slow_first_receiver_does_not_keep_the_last_chunk_from_who_is_idle() {
    let [slow, other] = [1, 2].map(HostId::new);
    let mut stage = Stage::new(1, 32, 2);
    stage.come(slow);
    stage.come(other);
    let &(first, chunk) = stage.offered.first().unwrap();
    assert_eq!(stage.offered.len(), 1, "to one of them");
    stage.say(first, Message::Request { chunk, held: 0 });
    stage.wait(Duration::from_millis(499));
    assert_eq!(stage.offered.len(), 1);
    stage.wait(Duration::from_millis(1));
    let second = if first == slow { other } else { slow };
    assert!(stage.offered.contains(&(second, chunk)), "{:?}", stage.offered);
    stage.say(second, Message::Request { chunk, held: 0 });
    let sent = ChunkIndex::new(chunk);
    assert!(stage.serving.remove(&(second, sent)));
    stage.tell(Event::ChunkServed {
        to: second,
        chunk: sent,
    });
    assert!(!stage.seeder.injection.is_first_pass(), "one has it");
}

/// What was on its way when a connection ended must not make a client of who has gone: nobody would ever say that it goes.
#[test]
fn who_is_not_connected_has_nothing_to_say() {
    let [gone, other] = [1, 2].map(HostId::new);
    let mut stage = Stage::new(4, 1, 2);
    stage.come(gone);
    stage.go(gone);
    let late = [
        Message::HaveRequest,
        Message::Request { chunk: 0, held: 0 },
        Message::ManifestRequest,
    ];
    for message in late {
        stage.tell(Event::Message(gone, message));
    }
    assert_eq!(stage.seeder.stats().messages_ignored, 3);
    stage.come(other);
    assert!(!stage.offered.is_empty() && stage.offered.iter().all(|(to, _)| *to == other));
    stage.finish_with(other, Duration::from_secs(10));
}

#[test]
fn a_connection_that_is_made_anew_ends_the_one_before() {
    let mut stage = Stage::new(4, 1, 2);
    let host = HostId::new(1);
    stage.come(host);
    assert_eq!(stage.seeder.member_count(), 1);
    stage.offered.clear();
    stage.tell(Event::Connected(host));
    assert_eq!(stage.seeder.member_count(), 0, "it has yet to announce itself");
    stage.come(host);
    assert!(
        !stage.offered.is_empty(),
        "what was offered over the connection before is lost"
    );
}

#[test]
fn time_that_seems_to_go_back_stands_still() {
    let mut stage = Stage::new(4, 1, 2);
    let host = HostId::new(1);
    stage.come(host);
    stage.wait(Duration::from_secs(1));
    let late = stage.now;
    stage.now = Time::ZERO;
    stage.say(host, Message::HaveRequest);
    stage.now = late;
    stage.wait(Duration::from_millis(999));
    assert_eq!(stage.seeder.stats().offers_lost, 0);
    stage.wait(Duration::from_millis(1));
    assert_eq!(stage.seeder.stats().offers_lost, 4);
}

/// One host asks for something and falls silent. It is counted on for what it asked for longer than for the rest, which it is dismissed
/// for; when it goes at last, all must go out to the other.
#[test]
fn one_that_asked_and_fell_silent_does_not_keep_a_chunk_from_the_other() {
    let [silent, other] = [1, 2].map(HostId::new);
    let mut stage = Stage::new(16, 1, 2);
    stage.come(silent);
    let first = stage.offered.first().copied().unwrap().1;
    stage.say(silent, Message::Request { chunk: first, held: 0 });
    stage.come(other);
    stage.wait(Duration::from_secs(5));
    stage.go(silent);
    stage.finish_with(other, Duration::from_secs(60));
    assert_eq!(stage.seeder.stats().chunks_injected, 16);
}

/// Found by fuzzing: a host may take chunks before it announces itself, or without ever doing so, and is no member then. It was named as
/// holder of what it had got for ever after it was gone, and nobody was offered that any more.
#[test]
fn who_goes_without_having_announced_itself_holds_nothing() {
    let mut stage = Stage::new(4, 2, 2);
    let host = HostId::new(7);
    stage.here.insert(host);
    stage.tell(Event::Connected(host));
    // It says that nobody else serves it, and is offered something; that it says it needs no more.
    stage.say(host, Message::HaveRequest);
    let offered = stage.offered.iter().find(|(to, _)| *to == host);
    let (_, chunk) = *offered.expect("it is offered a chunk");
    stage.say(host, Message::Cancel { chunk });
    assert!(stage.seeder.copies.has_some(host), "it is taken for a holder");
    stage.here.remove(&host);
    stage.tell(Event::Disconnected(host));
    assert_eq!(stage.seeder.check(), Ok(()));
    let lost = stage.seeder.copies.lost(stage.now + Duration::from_secs(3600));
    assert!(lost.contains(&ChunkIndex::new(chunk)), "nobody holds it");
}
