//! The peer's download: manifest, chunks asked for, chunks acquired, and telling neighbours of them.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::order::{LOADS, Order, bits};
use super::{Build, Peer, Timer, chunks_of, zones};
use crate::bitfield::Bitfield;
use crate::chunk_scheduler::ChunkScheduler;
use crate::event::{Action, DisconnectReason};
use crate::manifest::Manifest;
use crate::neighbours::{HoldingsSource, Neighbour, Views};
use crate::request_pipeline::RequestPipeline;
use crate::units::{ChunkIndex, HostId, Time};
use crate::wire::{ChunkList, Message, RejectReason};

/// A build being fetched, or held.
pub(super) struct Download {
    pub(super) manifest: Arc<Manifest>,
    pub(super) scheduler: ChunkScheduler,
    pub(super) requests: RequestPipeline,
    /// Chunks in the order in which they came.
    pub(super) acquired: Vec<ChunkIndex>,
    /// The last of them: looked at for every chunk, when the list has long left the processor's cache.
    pub(super) latest: Option<ChunkIndex>,
    /// Times in a row that there was nothing to ask for.
    starved: u32,
    /// Whether it was once told that every chunk is held.
    completion_told: bool,
}

impl Download {
    pub(super) fn neighbour_gone(&mut self, gone: &Neighbour) {
        self.scheduler.neighbour_gone(&gone.has);
        for chunk in self.requests.drop_host(gone.host) {
            self.scheduler.release(chunk);
        }
    }

    /// `neighbour` has these chunks too.
    fn add_holdings(&mut self, neighbour: &mut Neighbour, chunks: impl IntoIterator<Item = ChunkIndex>) {
        for chunk in chunks {
            if neighbour.has.insert(chunk) {
                self.scheduler.neighbour_gained(chunk);
            }
        }
    }

    /// What one message can say of everything that is held.
    fn holdings(&self) -> Message {
        let held = self.scheduler.held();
        if held.is_full() {
            Message::HaveAll
        } else if held.count() < HAVE_LIST_BELOW {
            Message::Have(held.iter().map(ChunkIndex::get).collect())
        } else {
            Message::HaveSet(Box::new(held.clone()))
        }
    }
}

impl Peer {
    /// Asks a neighbour that has the manifest for it, another one each time, and a seeder when there is none.
    pub(super) fn request_manifest(&mut self, now: Time) {
        let knowing: Vec<HostId> = self
            .neighbours
            .iter()
            .filter(|n| n.knows_manifest)
            .map(|n| n.host)
            .collect();
        let Build::Announced { asked, asked_at, .. } = &mut self.build else {
            return;
        };
        let attempt = *asked;
        let from = if knowing.is_empty() {
            // Give the neighbours a moment to hear of it: a seeder that answers everybody has no uplink left for chunks.
            self.timers.set_at_latest(Timer::ManifestRetry, now + MANIFEST_PATIENCE);
            if attempt == 0 {
                *asked += 1;
                return;
            }
            let seeders = &self.config.seeders;
            seeders[attempt as usize % seeders.len()].host
        } else {
            knowing[attempt as usize % knowing.len()]
        };
        *asked += 1;
        *asked_at = now;
        let patience = MANIFEST_PATIENCE * (1 << attempt.min(5));
        self.timers.set(Timer::ManifestRetry, now + patience);
        self.send(from, Message::ManifestRequest);
    }

    pub(super) fn send_manifest(&mut self, to: HostId) {
        match self.manifest().cloned() {
            Some(manifest) => self.send(to, Message::Manifest(manifest)),
            None => self.stats.messages_ignored += 1,
        }
    }

    pub(super) fn handle_manifest(&mut self, now: Time, from: HostId, manifest: Arc<Manifest>) {
        let Build::Announced { info, asked_at, .. } = &self.build else {
            self.stats.messages_ignored += 1;
            return;
        };
        let round_trip = now.since(*asked_at);
        if manifest.root() != info.root {
            self.ban(now, from, DisconnectReason::WrongManifest);
            self.request_manifest(now);
            return;
        }
        self.timers.clear(Timer::ManifestRetry);
        self.actions.push_back(Action::OpenStore(Arc::clone(&manifest)));
        self.build = Build::Opening {
            info: info.clone(),
            manifest,
            round_trip,
        };
    }

    pub(super) fn handle_store_opened(&mut self, now: Time, held: Bitfield) {
        let Build::Opening {
            manifest, round_trip, ..
        } = &self.build
        else {
            return;
        };
        assert_eq!(
            held.len(),
            manifest.chunk_count(),
            "the driver's store is that of another build"
        );
        let seed = rand::Rng::next_u64(&mut self.rng);
        let mut download = Download {
            latest: held.iter().last(),
            acquired: held.iter().collect(),
            starved: 0,
            completion_told: false,
            scheduler: ChunkScheduler::new(self.config.policy, held, seed),
            requests: RequestPipeline::new(self.config.patience_min, *round_trip),
            manifest: Arc::clone(manifest),
        };
        let chunk_count = manifest.chunk_count();
        let mut liars = Vec::new();
        for neighbour in self.neighbours.iter_mut() {
            neighbour.has = Bitfield::new(chunk_count);
            let early = neighbour.said_early.take().map(|early| *early).unwrap_or_default();
            let chunks = if early.all {
                Some(download.manifest.chunks().collect())
            } else {
                chunks_of(&download.manifest, &early.chunks)
            };
            match chunks {
                Some(chunks) => download.add_holdings(neighbour, chunks),
                None => liars.push(neighbour.host),
            }
        }
        let complete = download.scheduler.is_complete();
        self.build = Build::Fetching(download);
        for host in liars {
            self.ban(now, host, DisconnectReason::ProtocolViolation);
        }
        let hosts = self.neighbours.iter().map(|n| n.host);
        let others = hosts.filter(|host| !self.config.is_seeder(*host));
        for host in others.collect::<Vec<HostId>>() {
            self.introduce_holdings(host);
        }
        if complete {
            self.completed(now);
        }
        self.refill = true;
        self.take_up_early_invitations(now);
    }

    /// Tells one neighbour all that is held here, and by that that the manifest can be had here.
    pub(super) fn introduce_holdings(&mut self, host: HostId) {
        let Build::Fetching(download) = &self.build else {
            return;
        };
        let message = match self.config.holdings {
            HoldingsSource::Messages => download.holdings(),
            HoldingsSource::Supplied => Message::Have(ChunkList::new()),
        };
        let told = download.acquired.len();
        if let Some(neighbour) = self.neighbours.get_mut(host) {
            neighbour.told = told;
            self.stats.haves_sent += 1;
            self.send(host, message);
        }
    }

    pub(super) fn handle_have(&mut self, now: Time, host: HostId, chunks: &[u32]) {
        let Some(neighbour) = self.neighbours.get_mut(host) else {
            return;
        };
        neighbour.knows_manifest = true;
        let from_seeder = self.config.is_seeder(host);
        match &mut self.build {
            Build::Unknown | Build::Announced { .. } | Build::Opening { .. } => {
                neighbour.said_early.get_or_insert_default().add(chunks);
                self.request_manifest_if_waiting(now);
            }
            Build::Fetching(download) => {
                let chunk_count = download.scheduler.held().len();
                if chunks.iter().any(|chunk| *chunk >= chunk_count) {
                    self.ban(now, host, DisconnectReason::ProtocolViolation);
                    return;
                }
                download.add_holdings(neighbour, chunks.iter().map(|chunk| ChunkIndex::new(*chunk)));
                if from_seeder {
                    self.answer_offers(host, chunks);
                }
                self.refill = true;
            }
        }
    }

    pub(super) fn handle_have_all(&mut self, now: Time, host: HostId) {
        let Some(neighbour) = self.neighbours.get_mut(host) else {
            return;
        };
        neighbour.knows_manifest = true;
        match &mut self.build {
            Build::Unknown | Build::Announced { .. } | Build::Opening { .. } => {
                neighbour.said_early.get_or_insert_default().all = true;
                self.request_manifest_if_waiting(now);
            }
            Build::Fetching(download) => {
                let all = download.manifest.chunks();
                download.add_holdings(neighbour, all);
                self.refill = true;
            }
        }
    }

    fn request_manifest_if_waiting(&mut self, now: Time) {
        if let Build::Announced { asked, .. } = &self.build
            && *asked <= 1
        {
            self.request_manifest(now);
        }
    }

    /// The seeder counts on an answer to each chunk that it offers: a request, or one of these.
    fn answer_offers(&mut self, seeder: HostId, chunks: &[u32]) {
        let Build::Fetching(download) = &self.build else {
            return;
        };
        let is_held = |chunk: u32| download.scheduler.held().contains(ChunkIndex::new(chunk));
        let is_on_its_way = |chunk: u32| download.requests.is_on_its_way(ChunkIndex::new(chunk));
        let held: ChunkList = chunks.iter().copied().filter(|c| is_held(*c)).collect();
        let others = chunks.iter().copied().filter(|c| !is_held(*c));
        let on_their_way: Vec<u32> = others.filter(|c| is_on_its_way(*c)).collect();
        if !held.is_empty() {
            self.send(seeder, Message::Have(held));
        }
        for chunk in on_their_way {
            let reason = RejectReason::NotNeeded;
            self.send(seeder, Message::Reject { chunk, reason });
        }
    }

    /// Asks for as much as the limits allow: first for chunks that nobody was asked for, least loaded neighbours first,
    /// then, of neighbours that would be idle, for chunks that nobody has begun to send.
    pub(super) fn fill_requests(&mut self, now: Time, views: &impl Views) {
        let count = self.neighbours.len();
        let start = self.random_below(count);
        let Build::Fetching(download) = &mut self.build else {
            return;
        };
        if download.scheduler.is_complete() {
            return;
        }
        let Download {
            scheduler, requests, ..
        } = download;
        let held = scheduler.held().count();
        let zoned = self.config.zone.is_some();
        let per_neighbour = self.config.requests_per_neighbour_max;
        let mut asks: SmallVec<[(HostId, ChunkIndex); 8]> = SmallVec::new();
        if zoned {
            asks.extend(self.imports.accept(now, scheduler, requests, per_neighbour));
        }
        let mut in_flight = requests.chunks_in_flight();
        let neighbours = &self.neighbours;
        let hosts = neighbours.hosts();
        let borders_open = !zoned || neighbours.local_count() < zones::LOCAL_NEIGHBOURS_MIN;
        let is_closed = |index: usize| !borders_open && neighbours.is_remote(index);
        // Most of what is heard comes while as much as may be is on its way already: then neighbours are not even looked at.
        let seeder_has_more = |host: HostId| {
            let holdings = neighbours.get(host).map(|seeder| seeder.holdings(views));
            holdings.is_some_and(|theirs| !theirs.is_empty() && !theirs.is_full())
        };
        let can_ask = in_flight < self.config.chunks_in_flight_max
            || (in_flight < self.config.chunks_in_flight_max + SEEDER_EXTRA
                && self.config.seeders.iter().any(|seeder| seeder_has_more(seeder.host)));
        let is_ordered = can_ask || !scheduler.has_wanted();
        let mut order = Order::new(start, count);
        let looked_at = if is_ordered { order.len() } else { 0 };
        for offset in 0..looked_at {
            let index = order.index(offset);
            order.add(
                offset,
                neighbours.is_busy(index, views),
                zoned && neighbours.is_remote(index),
                self.config.is_seeder(hosts[index]),
            );
        }
        requests.live().for_each(|request| {
            if let Some(index) = hosts.iter().position(|host| *host == request.from) {
                order.asked(index);
            }
        });
        let hedges_max = u64::from(scheduler.held().len() / HEDGES_PART);
        // Who let a request become overdue and has not delivered since comes after everybody, the seeder included.
        let any_struck = self.stats.requests_overdue > 0;
        let any_overdue = requests.has_overdue();
        for struck in [false, true] {
            if struck && (!any_struck || requests.in_flight() > 0) {
                break;
            }
            for own in 0..per_neighbour.min(LOADS - 1) {
                let with_room = |in_flight: usize, order: &Order| {
                    // What the seeder offers is nowhere else: it is asked for beyond the limit, or its uplink idles.
                    if in_flight < self.config.chunks_in_flight_max {
                        !0
                    } else if in_flight < self.config.chunks_in_flight_max + SEEDER_EXTRA {
                        order.seeders
                    } else {
                        0
                    }
                };
                // By load when the search began, and each once.
                for class in order.by_load(own) {
                    let mut rest = class & with_room(in_flight, &order);
                    // The first few are most often enough.
                    for offset in bits(rest).take(FETCHED) {
                        views.fetch(hosts[order.index(offset as usize)]);
                    }
                    while rest != 0 {
                        let offset = rest.trailing_zeros();
                        rest &= rest - 1;
                        let index = order.index(offset as usize);
                        let host = hosts[index];
                        if (any_overdue && requests.is_stalled(host))
                            || (any_struck && neighbours.at(index).strikes > 0) != struck
                        {
                            continue;
                        }
                        let imports = is_closed(index);
                        if imports && !self.imports.is_open() {
                            continue;
                        }
                        let theirs = neighbours.holdings(index, views);
                        let is_seeder = order.seeders >> offset & 1 == 1;
                        if theirs.is_empty() || (is_seeder && theirs.is_full()) {
                            continue;
                        }
                        let chunk = if imports {
                            scheduler.choose_by_chance(theirs)
                        } else {
                            scheduler.choose(theirs)
                        };
                        if let Some(chunk) = chunk {
                            if imports {
                                self.imports.spend();
                            }
                            scheduler.mark_requested(chunk);
                            requests.ask(now, host, chunk);
                            order.asked(index);
                            in_flight += 1;
                            asks.push((host, chunk));
                            rest &= with_room(in_flight, &order);
                        }
                    }
                }
            }
            if struck {
                break;
            }
            if requests.may_tie() && requests.in_flight() < 2 * self.config.chunks_in_flight_max {
                // Two sources are enough, so each is taken once.
                let mut candidates = requests.tie_candidates();
                for offset in 0..count {
                    if candidates.is_empty() {
                        break;
                    }
                    let index = order.index(offset);
                    let host = hosts[index];
                    if !order.is_idle(offset, || requests.outstanding(host))
                        || self.config.is_seeder(host)
                        || is_closed(index)
                        || (any_overdue && requests.is_stalled(host))
                    {
                        continue;
                    }
                    let theirs = neighbours.holdings(index, views);
                    let may_ask = |chunk: &ChunkIndex| {
                        theirs.contains(*chunk) && !(any_overdue && requests.is_asked(host, *chunk))
                    };
                    if let Some(place) = candidates.iter().position(may_ask) {
                        let chunk = candidates.remove(place);
                        requests.tie(now, host, chunk);
                        order.asked(index);
                        self.stats.requests_tied += 1;
                        asks.push((host, chunk));
                    }
                }
            }
            // The last chunks: who is idle anyway is asked for what another is slow to send, and the first copy wins.
            if !scheduler.has_wanted() && requests.may_hedge() {
                // Whoever is idle now had no load when the search began: these are in the order of their distance, those
                // of other zones last.
                for offset in order.idle() {
                    let index = order.index(offset as usize);
                    let host = hosts[index];
                    if order.seeders >> offset & 1 == 1 || is_closed(index) || requests.is_stalled(host) {
                        continue;
                    }
                    if self.stats.requests_hedged >= hedges_max {
                        break;
                    }
                    let theirs = neighbours.holdings(index, views);
                    let may_ask = |chunk| theirs.contains(chunk) && !requests.is_asked(host, chunk);
                    if let Some(chunk) = requests.late_candidate(now, may_ask) {
                        requests.ask(now, host, chunk);
                        order.asked(index);
                        self.stats.requests_hedged += 1;
                        asks.push((host, chunk));
                    }
                }
            }
            // A seeder that has shown all it has is asked only when nothing else is to be had or somebody has stalled, and for
            // what nobody else sends: it spares its last copies for that.
            let seeders = &self.config.seeders;
            let complete = || {
                (0..seeders.len()).find_map(|turn| {
                    let seeder = seeders[(start + turn) % seeders.len()].host;
                    let known = neighbours.get(seeder)?;
                    let can_serve = known.has.is_full() && !known.has.is_empty() && !requests.is_stalled(seeder);
                    can_serve.then_some(known)
                })
            };
            if (requests.in_flight() == 0 || requests.has_overdue())
                && let Some(seeder) = complete()
            {
                let mut rare = seeder.has.clone();
                let others = neighbours.iter().filter(|n| n.strikes == 0);
                let others = others.filter(|n| !self.config.is_seeder(n.host));
                others.for_each(|other| rare.subtract(other.holdings(views)));
                while in_flight < self.config.chunks_in_flight_max
                    && let Some(chunk) = scheduler.choose(&rare)
                {
                    scheduler.mark_requested(chunk);
                    requests.ask(now, seeder.host, chunk);
                    in_flight += 1;
                    asks.push((seeder.host, chunk));
                }
            }
        }
        let idle = requests.in_flight() == 0;
        let may_hedge = !scheduler.has_wanted() && self.stats.requests_hedged < hedges_max && requests.may_hedge();
        let late = if may_hedge { requests.next_late() } else { None };
        match late {
            // What is late already is so because nobody was there to be asked; somebody may be idle soon.
            Some(at) => {
                let again = requests.transfer().unwrap_or_default() / 2;
                self.timers.set(Timer::Late, at.max(now + again.max(LATE_AGAIN)));
            }
            None => self.timers.clear(Timer::Late),
        }
        if self.timers.get(Timer::RequestExpiry).is_none()
            && let Some(expiry) = requests.next_expiry()
        {
            self.timers.set(Timer::RequestExpiry, expiry);
        }
        if !idle {
            self.timers.clear(Timer::Starved);
        } else if self.timers.get(Timer::Starved).is_none() {
            let patience = STARVED_AFTER * (1 << download.starved.min(STARVED_DOUBLINGS_MAX));
            self.timers.set(Timer::Starved, now + patience);
        }
        for (host, chunk) in asks {
            self.stats.requests_sent += 1;
            let chunk = chunk.get();
            self.send(host, Message::Request { chunk, held });
        }
    }

    pub(super) fn handle_payload(&mut self, now: Time, from: HostId, chunk: ChunkIndex) {
        if let Build::Fetching(download) = &mut self.build
            && !download.requests.is_asked(from, chunk)
        {
            download.requests.doubled();
        }
        self.handle_chunk_progress(now, from, chunk);
    }

    pub(super) fn handle_chunk_progress(&mut self, now: Time, from: HostId, chunk: ChunkIndex) {
        if let Build::Fetching(download) = &mut self.build {
            let losers = download.requests.progress(now, from, chunk);
            if download.requests.is_on_its_way(chunk) {
                download.scheduler.reclaim(chunk);
            }
            self.cancel_at(losers, chunk);
        }
    }

    pub(super) fn handle_chunk_stored(&mut self, now: Time, from: HostId, chunk: ChunkIndex) {
        let Build::Fetching(download) = &mut self.build else {
            return;
        };
        let losers = download.requests.complete(now, from, chunk);
        if let Some(neighbour) = self.neighbours.get_mut(from) {
            neighbour.strikes = 0;
            neighbour.aborts = 0;
        }
        let is_new = download.scheduler.mark_held(chunk);
        let complete = download.scheduler.is_complete();
        if is_new {
            download.acquired.push(chunk);
            download.latest = Some(chunk);
            if self.config.zone.is_some() {
                self.imports.acquired(chunk, self.config.is_seeder(from));
                self.stats.chunks_imported += u64::from(self.neighbours.is_remote_host(from));
            }
            // What the seeder had to rescue it with does not mean that its neighbours are of use again.
            if !self.config.is_seeder(from) {
                download.starved = 0;
            }
        }
        self.stop_receiving(losers, chunk);
        if !is_new {
            return;
        }
        self.invite_other_zones();
        self.schedule_flush(now);
        if complete {
            self.completed(now);
        }
        self.refill = true;
    }

    /// Whoever else was asked for `chunk` need not send it.
    pub(super) fn stop_receiving(&mut self, losers: Vec<HostId>, chunk: ChunkIndex) {
        for host in &losers {
            let from = *host;
            self.actions.push_back(Action::StopReceiving { from, chunk });
        }
        self.cancel_at(losers, chunk);
    }

    pub(super) fn handle_chunk_corrupt(&mut self, now: Time, from: HostId, chunk: ChunkIndex) {
        self.stats.chunks_corrupt += 1;
        if self.config.is_seeder(from) {
            self.tracker.complain_when_back(from, chunk);
        } else {
            let chunk = chunk.get();
            self.tell_seeders(&Message::Complaint { host: from, chunk });
        }
        self.ban(now, from, DisconnectReason::CorruptChunk);
    }

    pub(super) fn handle_reject(&mut self, now: Time, from: HostId, chunk: u32, reason: RejectReason) {
        let Build::Fetching(download) = &mut self.build else {
            return;
        };
        let Some(chunk) = download.manifest.chunk(chunk) else {
            self.ban(now, from, DisconnectReason::ProtocolViolation);
            return;
        };
        if reason == RejectReason::NotHeld
            && let Some(neighbour) = self.neighbours.get_mut(from)
            && neighbour.has.remove(chunk)
        {
            download.scheduler.neighbour_lost(chunk);
        }
        if download.requests.drop_request(from, chunk) {
            download.scheduler.release(chunk);
        }
        // A busy neighbour would turn the same request down again at once: whatever happens next asks again.
        if reason == RejectReason::NotHeld {
            self.refill = true;
        } else if self.timers.get(Timer::Starved).is_none() {
            self.timers.set(Timer::Starved, now + STARVED_AFTER);
        }
    }

    pub(super) fn expire_requests(&mut self, now: Time, due: Time) {
        let Build::Fetching(download) = &mut self.build else {
            return;
        };
        // Woken so late, it is this host that stood still: what its neighbours sent meanwhile has yet to be read.
        let late = now.since(due);
        if late >= OWN_PAUSE {
            download.requests.excuse(late);
        }
        let expired = download.requests.expire(now);
        for chunk in expired.free {
            download.scheduler.release(chunk);
            self.stats.requests_overdue += 1;
        }
        let mut useless = Vec::new();
        let hosts = expired.hosts.into_iter();
        for host in hosts.filter(|host| !self.config.is_seeder(*host)) {
            if let Some(neighbour) = self.neighbours.get_mut(host) {
                neighbour.strikes += 1;
                if neighbour.strikes >= STRIKES_MAX {
                    useless.push(host);
                }
            }
        }
        if let Some(expiry) = download.requests.next_expiry() {
            self.timers.set(Timer::RequestExpiry, expiry);
        }
        // What it has counts for nothing if it does not send it: make room for somebody who does.
        for host in useless {
            self.ban(now, host, DisconnectReason::NotServing);
        }
        self.refill = true;
    }

    /// Nothing is on its way and nothing can be asked for: perhaps a message was lost, or everybody stalls.
    pub(super) fn ask_what_neighbours_have(&mut self, now: Time) {
        let Build::Fetching(download) = &mut self.build else {
            return;
        };
        if download.scheduler.is_complete() {
            return;
        }
        if download.requests.in_flight() == 0 {
            download.requests.forgive();
            download.starved += 1;
            let starved = download.starved;
            // A seeder serves whoever asks it this, so it is the last to be asked.
            let asks_seeder = download.starved >= STARVED_BEFORE_RESCUE;
            let asked = self
                .neighbours
                .iter()
                .map(|n| n.host)
                .filter(|host| asks_seeder || !self.config.is_seeder(*host));
            for host in asked.collect::<Vec<HostId>>() {
                self.send(host, Message::HaveRequest);
            }
            self.announce_soon(now);
            self.open_borders(starved);
        }
        self.refill = true;
    }

    /// Tells every neighbour of the chunks acquired since it was last told, of which it lacks some, and all that still
    /// want something whether requests wait here.
    pub(super) fn flush(&mut self) {
        let waiting = self.is_busy();
        let changed = std::mem::replace(&mut self.told_busy, waiting) != waiting;
        let Build::Fetching(download) = &self.build else {
            return;
        };
        let hosts = self.neighbours.iter_mut();
        for neighbour in hosts.filter(|n| !self.config.is_seeder(n.host)) {
            let news: ChunkList = download.acquired[neighbour.told..]
                .iter()
                .filter(|chunk| !neighbour.has.contains(**chunk))
                .map(|chunk| chunk.get())
                .collect();
            neighbour.told = download.acquired.len();
            if !news.is_empty() {
                self.stats.haves_sent += 1;
                self.actions
                    .push_back(Action::Send(neighbour.host, Message::Have(news)));
            }
            if changed && !neighbour.has.is_full() {
                self.actions
                    .push_back(Action::Send(neighbour.host, Message::Busy { waiting }));
            }
        }
    }

    #[inline]
    pub(super) fn schedule_flush(&mut self, now: Time) {
        match self.config.holdings {
            HoldingsSource::Messages => {
                let delay = self.news_delay();
                self.timers.set_at_latest(Timer::Flush, now + delay);
            }
            HoldingsSource::Supplied => {
                self.told_busy = self.is_busy();
                self.actions.push_back(Action::PublishHoldings);
            }
        }
    }

    /// How long news of acquired chunks waits here for company.
    #[inline]
    pub fn news_delay(&self) -> Duration {
        let transfer = self.download().and_then(|download| download.requests.transfer());
        let share = transfer.map_or(Duration::MAX, |transfer| transfer / NEWS_SHARE_OF_TRANSFER);
        self.config.have_interval.min(share)
    }

    fn cancel_at(&mut self, hosts: Vec<HostId>, chunk: ChunkIndex) {
        for host in hosts {
            let chunk = chunk.get();
            self.send(host, Message::Cancel { chunk });
        }
    }

    pub(super) fn completed(&mut self, now: Time) {
        self.timers.clear(Timer::Starved);
        self.timers.clear(Timer::RequestExpiry);
        self.timers.clear(Timer::Late);
        self.schedule_flush(now);
        if let Build::Fetching(download) = &mut self.build
            && !std::mem::replace(&mut download.completion_told, true)
        {
            self.tell_seeders(&Message::Complete);
            self.actions.push_back(Action::Complete);
        }
    }
}

/// An unanswered request for the manifest goes to somebody else after this; doubles.
const MANIFEST_PATIENCE: Duration = Duration::from_secs(1);
/// Overdue requests in a row after which a neighbour that has delivered nothing meanwhile is replaced.
const STRIKES_MAX: u32 = 3;
/// A wakeup that is this late tells of a machine that was suspended or starved of its processor.
const OWN_PAUSE: Duration = Duration::from_secs(1);
/// Late chunks are asked for twice for this part of the build at most: each may cost a chunk.
const HEDGES_PART: u32 = 64;
/// A late chunk that nobody else could be asked for is looked at again after half of what a chunk takes, but not before this.
const LATE_AGAIN: Duration = Duration::from_millis(10);
/// With nothing on its way for this long a host asks its neighbours what they have.
const STARVED_AFTER: Duration = Duration::from_millis(500);
/// News waits for no more than this part of the time a chunk takes.
const NEWS_SHARE_OF_TRANSFER: u32 = 32;
/// That wait doubles each time, so often.
const STARVED_DOUBLINGS_MAX: u32 = 4;
/// Times in a row that a host is starved before it turns to the seeder: after 3.5 s without a chunk from anybody.
const STARVED_BEFORE_RESCUE: u32 = 3;
/// Up to this many chunks a list is shorter than the set for the builds we ship.
const HAVE_LIST_BELOW: u32 = 16;
/// Neighbours whose holdings are brought into the processor's cache before they are looked at.
const FETCHED: usize = 6;
/// Chunks asked of the seeder beyond the limit.
const SEEDER_EXTRA: usize = 2;
