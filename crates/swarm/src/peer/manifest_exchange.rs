//! How the manifest comes here and goes on from here, and what begins with it: opening the store, and the download.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;

use super::download::Download;
use super::{Build, Peer, Timer};
use crate::bitfield::Bitfield;
use crate::event::{Action, DisconnectReason};
use crate::manifest::Manifest;
use crate::units::{HostId, Time};
use crate::wire::Message;

impl Peer {
    /// Asks a neighbour that says it has the manifest for it, another one each time, and a seeder when there is none, or in turn with them:
    /// who says so and is silent is not to keep it from anybody.
    pub(super) fn request_manifest(&mut self, now: Time) {
        let knowing: Vec<HostId> = self
            .neighbours
            .iter()
            .filter(|n| n.knows_manifest)
            .map(|n| n.host)
            .collect();
        let Build::Announced {
            asked,
            asked_of,
            asked_at,
            ..
        } = &mut self.build
        else {
            return;
        };
        let attempt = *asked;
        if knowing.is_empty() && attempt == 0 {
            // Give the neighbours a moment to hear of it: a seeder that answers everybody has no uplink left for chunks.
            self.timers.set_at_latest(Timer::ManifestRetry, now + MANIFEST_PATIENCE);
            *asked += 1;
            return;
        }
        let seeders = self.config.seeders.iter().map(|seeder| seeder.host);
        let seeders: Vec<HostId> = seeders.filter(|seeder| self.neighbours.contains(*seeder)).collect();
        // Two neighbours have had theirs by then, or one and those that came while nobody knew it.
        let is_seeders_turn = attempt >= 2 && attempt.is_multiple_of(2);
        let (those, turn) = if seeders.is_empty() || !(is_seeders_turn || knowing.is_empty()) {
            (&knowing, attempt.div_ceil(2))
        } else {
            (&seeders, attempt / 2)
        };
        *asked_of = (!those.is_empty()).then(|| those[turn as usize % those.len()]);
        let Some(from) = *asked_of else {
            // Nobody is there: whoever comes next is asked.
            self.timers.set(Timer::ManifestRetry, now + MANIFEST_PATIENCE);
            return;
        };
        *asked += 1;
        *asked_at = now;
        let patience = MANIFEST_PATIENCE * (1 << (attempt / ASKED_A_ROUND).min(5));
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
        let Build::Announced {
            info,
            by,
            signed,
            asked_of,
            asked_at,
            ..
        } = &self.build
        else {
            self.stats.messages_ignored += 1;
            return;
        };
        // One that comes without having been asked for shows no round trip.
        let round_trip = asked_of.map_or(Duration::ZERO, |_| now.since(*asked_at));
        if manifest.root() != info.root {
            self.ban(now, from, DisconnectReason::WrongManifest);
            self.request_manifest(now);
            return;
        }
        self.timers.clear(Timer::ManifestRetry);
        if signed.is_some_and(|signed| !signed.is_of(&manifest)) {
            // It is the manifest of this root: what is wrong is what the seeder said of it.
            let (by, build_id) = (*by, info.build_id.clone());
            let why = "it was signed with another size or in other chunks than it has".to_owned();
            self.build = Build::Unknown;
            return self.refuse_build(now, by, build_id, why);
        }
        self.actions.push_back(Action::OpenStore(Arc::clone(&manifest)));
        self.build = Build::Opening {
            info: info.clone(),
            manifest,
            round_trip,
        };
    }

    /// `seeder` announces what is not believed: it has nothing to say for a while. Another one may, and so may this one when somebody
    /// has seen to it.
    pub(super) fn refuse_build(&mut self, now: Time, seeder: HostId, build_id: String, why: String) {
        self.actions.push_back(Action::Refuse {
            by: seeder,
            build_id,
            why,
        });
        self.banned.insert(seeder, now + REFUSED_FOR);
        self.ban(now, seeder, DisconnectReason::UnprovenBuild);
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
        let seed = self.rng.next_u64();
        let mut download = Download::new(&self.config, Arc::clone(manifest), held, *round_trip, seed);
        let offers = self.early_offers();
        let mut liars = Vec::new();
        for neighbour in self.neighbours.iter_mut() {
            if !download.take_up_early_holdings(neighbour) {
                liars.push(neighbour.host);
            }
        }
        let complete = download.ledger.is_complete();
        self.uploads.set_chunks(download.manifest.chunk_count());
        self.build = Build::Fetching(download);
        for host in liars {
            self.ban(now, host, DisconnectReason::ProtocolViolation);
        }
        for host in self.members().map(|n| n.host).collect::<Vec<HostId>>() {
            self.introduce_holdings(host);
        }
        for (seeder, chunks) in offers {
            self.decline_offers(seeder, &chunks);
        }
        if complete {
            self.completed(now);
        }
        self.refill = true;
        self.take_up_early_invitations(now);
    }

    /// Somebody who knows the manifest is there, or somebody has gone: the next is asked where nobody is to answer.
    pub(super) fn request_manifest_if_waiting(&mut self, now: Time) {
        if let Build::Announced { asked, asked_of, .. } = &self.build
            && (*asked <= 1 || asked_of.is_none_or(|host| !self.neighbours.contains(host)))
        {
            self.request_manifest(now);
        }
    }
}

/// A seeder whose build was not believed is tried again after this.
const REFUSED_FOR: Duration = Duration::from_secs(30);
/// An unanswered request for the manifest goes to somebody else after this; doubles with each round, as a manifest may be long and a link slow.
const MANIFEST_PATIENCE: Duration = Duration::from_secs(1);
/// Requests of a round.
const ASKED_A_ROUND: u32 = 4;
