//! Who holds what: what neighbours say of it, and what they are told.

use std::time::Duration;

use super::download::Download;
use super::zones::INVITED_AT_FIRST;
use super::{Build, Peer, Timer, chunks_of};
use crate::bitfield::Bitfield;
use crate::event::{Action, DisconnectReason, News};
use crate::holdings::Source;
use crate::neighbours::Neighbour;
use crate::units::{ChunkIndex, HostId, Time};
use crate::wire::{ChunkList, Message};

impl Download {
    /// `neighbour` has these chunks too.
    fn add_holdings(&mut self, neighbour: &mut Neighbour, chunks: impl IntoIterator<Item = ChunkIndex>) {
        for chunk in chunks {
            if neighbour.has.insert(chunk) {
                self.ledger.holder_gained(chunk);
            }
        }
    }

    /// What one message can say of everything that is held.
    fn holdings(&self) -> Message {
        let held = self.ledger.held();
        if held.is_full() {
            Message::HaveAll
        } else if held.count() < HAVE_LIST_BELOW {
            Message::Have(held.iter().map(ChunkIndex::get).collect())
        } else {
            Message::HaveSet(Box::new(held.clone()))
        }
    }

    /// What `neighbour` said before the number of chunks was known here. Tells whether it makes sense.
    pub(super) fn take_up_early_holdings(&mut self, neighbour: &mut Neighbour) -> bool {
        neighbour.has = Bitfield::new(self.manifest.chunk_count());
        let early = neighbour.said_early.take().map(|early| *early).unwrap_or_default();
        let chunks = if early.all {
            Some(self.manifest.chunks().collect())
        } else {
            chunks_of(&self.manifest, &early.chunks)
        };
        let makes_sense = chunks.is_some();
        self.add_holdings(neighbour, chunks.unwrap_or_default());
        makes_sense
    }
}

impl Peer {
    /// Tells one neighbour all that is held here, and by that that the manifest can be had here.
    pub(super) fn introduce_holdings(&mut self, host: HostId) {
        let Build::Fetching(download) = &self.build else {
            return;
        };
        let message = match self.source {
            Source::Messages => download.holdings(),
            Source::Table => Message::Have(ChunkList::new()),
        };
        let acquired = download.acquired.len();
        if let Some(neighbour) = self.neighbours.get_mut(host) {
            neighbour.acquired_told = acquired;
            self.stats.haves_sent += 1;
            self.send(host, message);
        }
    }

    /// A member says that it has these chunks too.
    pub(super) fn handle_have(&mut self, now: Time, host: HostId, chunks: &[u32]) {
        let Some(neighbour) = self.neighbours.get_mut(host) else {
            return;
        };
        let is_first = !std::mem::replace(&mut neighbour.knows_manifest, true);
        match &mut self.build {
            Build::Unknown | Build::Announced { .. } | Build::Opening { .. } => {
                neighbour.said_early.get_or_insert_default().add(chunks);
                self.request_manifest_if_waiting(now);
            }
            Build::Fetching(download) => {
                let Some(chunks) = chunks_of(&download.manifest, chunks) else {
                    self.ban(now, host, DisconnectReason::ProtocolViolation);
                    return;
                };
                download.add_holdings(neighbour, chunks);
                self.look_for_more(false);
            }
        }
        if is_first {
            self.invite = self.invite.max(INVITED_AT_FIRST);
        }
    }

    /// A seeder offers these chunks to this host, and shows it nothing else.
    pub(super) fn handle_offer(&mut self, now: Time, seeder: HostId, chunks: &[u32]) {
        let Some(neighbour) = self.neighbours.get_mut(seeder) else {
            return;
        };
        neighbour.knows_manifest = true;
        let only_offered = std::mem::replace(&mut neighbour.only_offers, true);
        self.tracker.not_refused(seeder);
        match &mut self.build {
            Build::Unknown | Build::Announced { .. } | Build::Opening { .. } => {
                let early = neighbour.said_early.get_or_insert_default();
                early.all = false;
                early.add(chunks);
                self.request_manifest_if_waiting(now);
            }
            Build::Fetching(download) => {
                let Some(offered) = chunks_of(&download.manifest, chunks) else {
                    self.ban(now, seeder, DisconnectReason::ProtocolViolation);
                    return;
                };
                // One that had shown all it has goes back to offering: hosts that held this have gone.
                if !only_offered {
                    download.ledger.holder_begins_anew(&neighbour.has);
                    neighbour.has = Bitfield::new(download.manifest.chunk_count());
                }
                download.add_holdings(neighbour, offered);
                self.decline_offers(seeder, chunks);
                self.look_for_more(true);
            }
        }
    }

    pub(super) fn handle_have_all(&mut self, now: Time, host: HostId) {
        let Some(neighbour) = self.neighbours.get_mut(host) else {
            return;
        };
        let is_first = !std::mem::replace(&mut neighbour.knows_manifest, true);
        neighbour.only_offers = false;
        self.tracker.not_refused(host);
        match &mut self.build {
            Build::Unknown | Build::Announced { .. } | Build::Opening { .. } => {
                neighbour.said_early.get_or_insert_default().all = true;
                self.request_manifest_if_waiting(now);
            }
            Build::Fetching(download) => {
                let all = download.manifest.chunks();
                download.add_holdings(neighbour, all);
                self.look_for_more(self.config.is_seeder(host));
            }
        }
        if is_first {
            self.invite = self.invite.max(INVITED_AT_FIRST);
        }
    }

    /// Somebody holds more than before. What hosts hold is of no use to a host that would not ask for it now; what a seeder offers
    /// has to be answered, and is asked for beyond the limit.
    pub(super) fn look_for_more(&mut self, from_seeder: bool) {
        self.refill |= from_seeder || self.is_hungry();
    }

    /// What seeders have offered before the number of chunks was known here.
    pub(super) fn early_offers(&self) -> Vec<(HostId, ChunkList)> {
        let seeders = self.neighbours.iter().filter(|n| self.config.is_seeder(n.host));
        let early = seeders.filter_map(|n| Some((n.host, n.said_early.as_ref()?)));
        let offers = early.filter(|(_, early)| !early.all);
        offers
            .map(|(seeder, early)| (seeder, early.chunks.iter().copied().collect()))
            .collect()
    }

    /// A seeder counts on an answer to each chunk that it offers: a request, or this. It offers once more what waits there.
    pub(super) fn decline_offers(&mut self, seeder: HostId, chunks: &[u32]) {
        let Build::Fetching(download) = &self.build else {
            return;
        };
        let Download { manifest, ledger, .. } = download;
        let comes = |chunk: ChunkIndex| ledger.is_requested(chunk) && !ledger.is_asked(seeder, chunk);
        let is_needless = |chunk: ChunkIndex| ledger.held().contains(chunk) || comes(chunk);
        let needless = chunks
            .iter()
            .copied()
            .filter(|c| manifest.chunk(*c).is_some_and(is_needless));
        let needless: ChunkList = needless.collect();
        if needless.is_empty() {
            return;
        }
        let Some(neighbour) = self.neighbours.get_mut(seeder) else {
            return;
        };
        // It was started anew, or is not through with what others sent: it need not find out chunk by chunk. Not for each that is offered.
        let held = ledger.held();
        let (acquired, told) = (download.acquired.len(), neighbour.acquired_told);
        let is_news = acquired >= told + told / TOLD_AGAIN_PART + HAVE_LIST_BELOW as usize;
        let is_held = |c: &u32| manifest.chunk(*c).is_some_and(|chunk| held.contains(chunk));
        if is_news && needless.iter().any(is_held) {
            neighbour.acquired_told = acquired;
            let all = Message::HaveSet(Box::new(held.clone()));
            self.send(seeder, all);
        }
        self.send(seeder, Message::Decline(needless));
    }

    /// Tells every neighbour of the chunks acquired since it was last told, of which it lacks some, and all that still
    /// want something whether requests wait here.
    pub(super) fn flush(&mut self) {
        let waiting = self.is_busy();
        let changed = std::mem::replace(&mut self.told_busy, waiting) != waiting;
        let Build::Fetching(download) = &self.build else {
            return;
        };
        let is_complete = download.ledger.is_complete();
        let hosts = self.neighbours.iter_mut();
        for neighbour in hosts.filter(|n| !self.config.is_seeder(n.host)) {
            let news = download.acquired[neighbour.acquired_told..].iter();
            let news = news.filter(|chunk| !neighbour.has.contains(**chunk));
            let news: ChunkList = news.map(|chunk| chunk.get()).collect();
            let is_news = neighbour.acquired_told < download.acquired.len();
            neighbour.acquired_told = download.acquired.len();
            // Who has everything is asked for other chunks than who has the latest: that is told, not left to be counted.
            let message = if is_news && is_complete && !neighbour.has.is_full() {
                Some(Message::HaveAll)
            } else {
                (!news.is_empty()).then_some(Message::Have(news))
            };
            if let Some(message) = message {
                self.stats.haves_sent += 1;
                self.actions.push_back(Action::Send(neighbour.host, message));
            }
            if changed && !neighbour.has.is_full() {
                self.actions
                    .push_back(Action::Send(neighbour.host, Message::Busy { waiting }));
            }
        }
    }

    #[inline]
    pub(super) fn schedule_flush(&mut self, now: Time) {
        match self.source {
            Source::Messages => {
                let delay = self.news_delay();
                self.timers.set_at_latest(Timer::Flush, now + delay);
            }
            Source::Table => {
                self.told_busy = self.is_busy();
                let news = self.news();
                self.actions.push_back(Action::Gossip(news));
            }
        }
    }

    #[inline]
    fn news(&self) -> News {
        let download = self.download();
        let held = download.map_or(0, |download| download.acquired.len());
        News {
            held: u32::try_from(held).expect("a build's chunks are a u32"),
            latest: download.and_then(|download| download.latest),
            busy: self.told_busy,
            after: self.news_delay(),
        }
    }

    /// How long news of acquired chunks waits here for company.
    #[inline]
    fn news_delay(&self) -> Duration {
        let transfer = self.download().and_then(|download| download.ledger.transfer());
        let share = transfer.map_or(Duration::MAX, |transfer| transfer / NEWS_SHARE_OF_TRANSFER);
        self.config.have_interval.min(share)
    }
}

/// A seeder is told again what is held when this part of it is new.
const TOLD_AGAIN_PART: usize = 4;
/// News waits for no more than this part of the time a chunk takes.
const NEWS_SHARE_OF_TRANSFER: u32 = 32;
/// Up to this many chunks a list is shorter than the set for the builds we ship.
const HAVE_LIST_BELOW: u32 = 16;
