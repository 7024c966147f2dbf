//! From a host's last chunk back to the bucket.
//!
//! A host asks for a chunk when two things have happened: somebody whom it is connected with has it, and one of its own requests has come
//! to an end. The later of the two is what it waited for. So the path goes from a chunk at a host to the same chunk at its sender, or to
//! the chunk before at the same host, until it comes to a seeder or to when the host was started.

use serde::Serialize;

use crate::cause::Cause;
use crate::links::{View, as_ticks, began};
use crate::records::{Asked, ChunkRecord, Member, Source};

/// A time of the path, in which somebody waited for one thing. Ticks of the run's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When it begins.
    pub from: i64,
    /// When it ends.
    pub to: i64,
    /// Who waited: a host's index in the region.
    pub host: u32,
    /// For whom, where that was somebody.
    pub with: Option<Member>,
    /// For which chunk, where it was one.
    pub chunk: Option<u32>,
    /// What for.
    pub cause: Cause,
}

/// How a host came to have the build, or did not, from when the build was in the bucket. Each step begins when the one before ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path {
    /// In the order of time.
    pub steps: Vec<Step>,
}

impl Path {
    /// From its beginning to its end, in ticks.
    pub fn ticks(&self) -> i64 {
        self.steps.iter().map(|step| step.to - step.from).sum()
    }
}

/// Where a host is, as it is told to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum At {
    /// The chunk at this place of the sample is stored at the host.
    Stored(u32, usize),
    /// The host has nothing yet.
    Begins(u32),
    End,
}

/// Goes back from a host.
pub(crate) struct Walk<'v, 'a> {
    pub(crate) view: &'v View<'a>,
    /// The latest first.
    pub(crate) steps: Vec<Step>,
    /// Where the path has come to.
    pub(crate) at: i64,
}

/// The path to a host.
pub(crate) fn path(view: &View<'_>, host: u32) -> Path {
    let mut walk = Walk {
        view,
        steps: Vec::new(),
        at: 0,
    };
    let mut at = walk.begin(host);
    for _ in 0..STEPS_MAX {
        at = match at {
            At::Stored(host, place) => walk.back(host, place),
            At::Begins(host) => {
                walk.start(host);
                At::End
            }
            At::End => break,
        };
    }
    walk.steps.reverse();
    Path { steps: walk.steps }
}

impl Walk<'_, '_> {
    /// From the end of a host: it is done, or it is not.
    fn begin(&mut self, host: u32) -> At {
        let Some(record) = self.view.of_region().hosts.get(host as usize) else {
            return At::End;
        };
        let is_done = record.done != 0;
        self.at = if is_done {
            record.done.into()
        } else {
            self.view.of_region().ended_at
        };
        if !is_done && let Some(at) = self.begin_undone(host) {
            return at;
        }
        let Some((stored, place)) = self.view.last_before(host, self.at, None) else {
            return At::Begins(host);
        };
        let cause = match (is_done, self.view.records.sample.stride() > 1.0) {
            (true, false) => Cause::Disk,
            (true, true) => Cause::Unrecorded,
            (false, _) => Cause::NoNeighbour,
        };
        match cause {
            Cause::Unrecorded => self.received_others(host, stored.into()),
            cause => self.step(stored.into(), cause, host, None, None),
        }
        At::Stored(host, place)
    }

    /// What a host that is not done had asked for and not got. None where it waited for nobody.
    fn begin_undone(&mut self, host: u32) -> Option<At> {
        let record = &self.view.of_region().hosts[host as usize];
        let open = record.chunks.iter().enumerate().filter(|(_, chunk)| chunk.stored == 0);
        let asked = open.filter_map(|(place, chunk)| Some((chunk.last_ask()?, place)));
        let (asked, place) = asked.min_by_key(|(asked, _)| asked.at)?;
        let chunk = &record.chunks[place];
        let with = Member(asked.of);
        let cause = match asked.began {
            0 => self.waiting_for(host, with, chunk, (asked.at.into(), self.at)),
            _ => Cause::Silence,
        };
        self.step(asked.at.into(), cause, host, Some(with), Some(place));
        Some(match self.view.last_before(host, self.at, None) {
            Some((_, place)) => At::Stored(host, place),
            None => At::Begins(host),
        })
    }

    /// Over the sending of a chunk and the waiting for it.
    fn back(&mut self, host: u32, place: usize) -> At {
        let chunk = self.view.chunk(host, place);
        let stored = i64::from(chunk.stored);
        if stored < self.at {
            self.idle(host, stored);
        }
        let asked = match chunk.source() {
            Some(Source::Sent(asked)) if asked.at != 0 => asked,
            _ => return At::Begins(host),
        };
        let from = Member(asked.of);
        let began = began(asked.began, asked.at, chunk.stored);
        let cause = self.sending(host, from, (began.into(), self.at));
        self.step(began.into(), cause, host, Some(from), Some(place));
        let cause = self.waiting_for(host, from, &chunk, (asked.at.into(), self.at));
        self.step(asked.at.into(), cause, host, Some(from), Some(place));
        self.before_asking(host, place, &chunk, asked)
    }

    /// Before the request that brought the chunk: another that did not, or what kept the host from asking.
    fn before_asking(&mut self, host: u32, place: usize, chunk: &ChunkRecord, asked: Asked) -> At {
        let mut holder = Member(asked.of);
        let first = chunk.asked[0];
        if first.at != 0 && first.at < asked.at && first.of != asked.of {
            holder = Member(first.of);
            let time = (first.at.into(), self.at);
            let cause = match first.began {
                0 => self.waiting_for(host, holder, chunk, time),
                _ => self.stopped(host, holder, time),
            };
            // Who was turned down waits for somebody else to have it; a seeder turns down whoever can have it from neighbours.
            let came = Member(asked.of)
                .host_index(self.view.hosts())
                .map(|index| self.view.chunk(index, place).stored);
            let is_by_seeder = self.view.is_seeder(holder) && chunk.refused > 0;
            let waits_for_other = cause == Cause::Refused && came.is_some_and(|came| came > first.at);
            if came.is_some() && (is_by_seeder || waits_for_other) {
                holder = Member(asked.of);
            } else {
                self.step(first.at.into(), cause, host, Some(holder), Some(place));
            }
        }
        let own = self.view.last_before(host, self.at, Some(place));
        let start = i64::from(self.view.of_region().hosts[host as usize].opened);
        if self.view.is_seeder(holder) {
            let passed_on = self.view.first_copy(place).map(i64::from);
            let was_out = passed_on.filter(|at| *at < self.at - self.news());
            return match was_out {
                // Others had it: it came from the seeder since it was to be had from no neighbour.
                Some(out) => {
                    let since = own.map_or(start, |(stored, _)| i64::from(stored)).max(out).max(start);
                    self.step(since, Cause::NoNeighbour, host, Some(holder), Some(place));
                    self.own(host, own)
                }
                None => {
                    self.order(host, holder, place);
                    At::End
                }
            };
        }
        let held = holder
            .host_index(self.view.hosts())
            .map(|index| (index, self.view.chunk(index, place).stored));
        match held {
            Some((index, stored)) if stored != 0 && i64::from(stored) <= self.at + self.news() => {
                let own_at = own.map_or(start, |(at, _)| i64::from(at));
                if i64::from(stored) >= own_at {
                    self.idle(host, stored.into());
                    self.at = self.at.min(stored.into());
                    return At::Stored(index, place);
                }
                self.own(host, own)
            }
            _ => self.own(host, own),
        }
    }

    /// The host's own chunk before, or its beginning.
    fn own(&mut self, host: u32, own: Option<(u32, usize)>) -> At {
        match own {
            Some((stored, place)) => {
                self.idle(host, stored.into());
                At::Stored(host, place)
            }
            None => At::Begins(host),
        }
    }
}

/// What times were spent on.
impl Walk<'_, '_> {
    /// A step back to `from`, where that is earlier.
    pub(crate) fn step(&mut self, from: i64, cause: Cause, host: u32, with: Option<Member>, place: Option<usize>) {
        if from >= self.at {
            return;
        }
        let chunk = place
            .and_then(|place| self.view.records.sample.chunks().get(place))
            .copied();
        self.steps.push(Step {
            from,
            to: self.at,
            host,
            with,
            chunk,
            cause,
        });
        self.at = from;
    }

    /// What a chunk took on its way from `from`.
    fn sending(&self, host: u32, from: Member, time: (i64, i64)) -> Cause {
        let view = self.view;
        let full = if view.is_seeder(from) {
            Cause::SeederLink
        } else {
            Cause::SenderLink
        };
        let (Some(own), Some(theirs)) = (view.downlink_use(host, time), view.uplink_use(from, time)) else {
            return Cause::Machine;
        };
        if own.max(theirs) >= FULL {
            return if own >= theirs { Cause::OwnLink } else { full };
        }
        if view.crosses(from, Member::host(host)) {
            return Cause::SharedLink;
        }
        if time.1 - time.0 > self.usual(host, from, time) * SLOW_TIMES + self.news() {
            return Cause::Silence;
        }
        if own >= theirs { Cause::OwnLink } else { full }
    }

    /// It began to send and did not end.
    fn stopped(&self, host: u32, with: Member, time: (i64, i64)) -> Cause {
        match self.sending(host, with, time) {
            Cause::SharedLink => Cause::SharedLink,
            _ if self.view.uplink_use(with, time).is_some_and(|part| part >= FULL) => Cause::SenderLink,
            _ => Cause::Silence,
        }
    }

    /// What a chunk takes where nothing is in its way, in ticks.
    fn usual(&self, host: u32, from: Member, time: (i64, i64)) -> i64 {
        let (own, theirs) = (self.view.links(Member::host(host), time), self.view.links(from, time));
        let rate = own
            .zip(theirs)
            .map_or(u64::MAX, |(own, theirs)| own.downlink.min(theirs.uplink))
            .max(1);
        let nanos = u64::from(self.view.scenario().chunk_size()).saturating_mul(1_000_000_000) / rate;
        i64::try_from(nanos / crate::TICK_NANOS).unwrap_or(i64::MAX / 64) + self.view.latency()
    }

    /// What a request waited for at `with`.
    fn waiting_for(&self, host: u32, with: Member, chunk: &ChunkRecord, time: (i64, i64)) -> Cause {
        let view = self.view;
        let long = time.1 - time.0 > 3 * self.news();
        if !long {
            return self.passing(host, time);
        }
        let is_seeder = view.is_seeder(with);
        let is_full = view.uplink_use(with, time).is_some_and(|part| part >= FULL);
        match (view.was_sending(with, time), is_seeder) {
            (true, true) if is_full => Cause::SeederLink,
            (true, true) => Cause::SeederSlots,
            // Whoever else turned it down: a seeder does so to all that can have it from neighbours.
            (true, false) if is_full => Cause::SenderLink,
            (true, false) if chunk.refused > 0 => Cause::Refused,
            (true, false) => Cause::Queue,
            // Who turns requests down and sends nothing is silent too: its queue is full of them.
            (false, _) if view.crosses(with, Member::host(host)) => Cause::SharedLink,
            (false, _) => Cause::Silence,
        }
    }

    /// What messages take, unless more requests would have hidden it.
    fn passing(&self, host: u32, time: (i64, i64)) -> Cause {
        if self.has_full_window(host, time) {
            Cause::Window
        } else {
            Cause::Messages
        }
    }

    pub(crate) fn has_full_window(&self, host: u32, time: (i64, i64)) -> bool {
        let window = self.view.scenario().swarm.chunks_in_flight;
        window.is_some_and(|window| self.view.in_flight(host, time.0) >= window as f64 * 0.7)
            && self
                .view
                .downlink_use(host, (time.0 - self.news(), time.1 + self.news()))
                .is_some_and(|part| part < FULL)
    }

    /// The host had asked for other chunks, or did not know yet, since `from`.
    fn idle(&mut self, host: u32, from: i64) {
        if from >= self.at {
            return;
        }
        if self.view.records.sample.stride() > 1.0 {
            self.received_others(host, from);
            return;
        }
        let time = (from, self.at);
        let cause = if time.1 - time.0 <= self.news() {
            self.passing(host, time)
        } else if self.view.downlink_use(host, time).is_some_and(|part| part >= FULL) {
            Cause::OwnLink
        } else if self.has_full_window(host, time) {
            Cause::Window
        } else {
            Cause::Messages
        };
        self.step(from, cause, host, None, None);
    }

    /// Meanwhile it received chunks that are not recorded, as far as its link was used.
    fn received_others(&mut self, host: u32, from: i64) {
        let time = (from, self.at);
        let part = self.view.downlink_use(host, time).unwrap_or_default();
        let used = ((time.1 - time.0) as f64 * part) as i64;
        self.step(time.1 - used, Cause::OwnLink, host, None, None);
        self.step(from, Cause::Unrecorded, host, None, None);
    }

    /// How long news and an answer to it may take.
    pub(crate) fn news(&self) -> i64 {
        2 * self.view.latency() + as_ticks(self.view.scenario().swarm.have_interval) + GRACE
    }
}

/// From this part on a link counts as full: what is lost and sent again, and what frames take, is not recorded.
pub(crate) const FULL: f64 = 0.6;
/// A chunk that takes so many times as long as its links let it was kept back by something else.
const SLOW_TIMES: i64 = 3;
/// Two milliseconds, in ticks: what a machine takes to turn to somebody.
const GRACE: i64 = 40;
/// More than a host of the largest run has chunks, some times over.
const STEPS_MAX: usize = 1 << 17;
