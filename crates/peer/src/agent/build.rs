//! One version of a build at a directory's host: waiting for its turn, under way, or in place.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use peer::{Addresses, Multiaddr, NodeReport, PeerId, SeededBuild, Traffic};

use super::fetch::Fetch;
use super::kept::Stamp;

/// A version of a build.
pub(super) struct Build {
    pub(super) seeded: SeededBuild,
    pub(super) out: PathBuf,
    pub(super) is_listed: bool,
    /// A file stood at its place, when its turn was last waited for, that may be this build.
    pub(super) may_be_there: bool,
    /// When it was heard of in this process, and how long before that by the wall clock.
    pub(super) heard: (Instant, Duration),
    pub(super) phase: Phase,
    /// Attempts that failed one after the other.
    pub(super) failures: u32,
    pub(super) last_error: Option<String>,
    /// Who was asked whether it may be put in place said no: it is not tried again by itself.
    pub(super) is_refused: bool,
    /// Why it is not begun, where that is not that others come first.
    pub(super) waits_for: Option<String>,
    /// Its seeders are to be found elsewhere since it was begun.
    pub(super) has_moved: bool,
}

/// How far it is.
pub(super) enum Phase {
    /// For its turn, by number, which does not come before this moment.
    Waiting { number: u64, not_before: Instant },
    /// Being fetched, or checked.
    UnderWay(Box<Fetch>),
    /// In place; the node serves it to others.
    InPlace(Serving),
}

/// A build that is served to others.
pub(super) struct Serving {
    fetch: Box<Fetch>,
    /// Bytes that were sent when that was last looked at, and since when they are so many.
    sent: (u64, Instant),
}

impl Serving {
    /// It has just come with this.
    pub(super) fn by(fetch: Box<Fetch>) -> Self {
        let sent = (fetch.report().traffic.sent, Instant::now());
        Self { fetch, sent }
    }

    /// The root of its manifest.
    pub(super) fn root(&self) -> Option<String> {
        self.fetch.build().map(|(_, root)| root)
    }

    /// For how long nobody has taken anything of it, as far as was looked.
    fn is_idle_for(&mut self) -> Duration {
        let sent = self.fetch.report().traffic.sent;
        if sent != self.sent.0 {
            self.sent = (sent, Instant::now());
        }
        self.sent.1.elapsed()
    }
}

impl Build {
    /// Heard of now, and for the first time so long ago; its turn has this number.
    pub(super) fn new(seeded: SeededBuild, out: PathBuf, heard_ago: Duration, number: u64) -> Self {
        let now = Instant::now();
        let mut build = Self {
            seeded,
            out,
            is_listed: true,
            may_be_there: false,
            heard: (now, heard_ago),
            phase: Phase::Waiting {
                number,
                not_before: now,
            },
            failures: 0,
            last_error: None,
            waits_for: None,
            is_refused: false,
            has_moved: false,
        };
        build.waits(number, Duration::ZERO);
        build
    }

    /// Whether it is not in place, as far as is known.
    pub(super) fn is_unfinished(&self) -> bool {
        !matches!(self.phase, Phase::InPlace(_))
    }

    /// Whether it has to be looked at from time to time.
    pub(super) fn is_busy(&self) -> bool {
        (self.is_unfinished() && !self.is_refused) || self.is_leaving()
    }

    /// What its node has done; `None` while it waits.
    pub(super) fn report(&self) -> Option<NodeReport> {
        match &self.phase {
            Phase::UnderWay(fetch) => Some(fetch.report()),
            Phase::InPlace(serving) => Some(serving.fetch.report()),
            Phase::Waiting { .. } => None,
        }
    }

    /// What its node has moved.
    pub(super) fn traffic(&self) -> Option<Traffic> {
        self.report().map(|report| report.traffic)
    }

    /// Whether nothing of it has come for a while.
    pub(super) fn stalled(&self) -> bool {
        matches!(&self.phase, Phase::UnderWay(fetch) if fetch.is_stalled())
    }

    /// Whether it is served though it is not listed any more, so that it has to be looked at whether somebody still wants it.
    fn is_leaving(&self) -> bool {
        !self.is_listed && !self.is_unfinished()
    }

    /// Whether it is not listed any more and nobody has taken anything of it for so long.
    pub(super) fn has_been_left(&mut self, patience: Duration) -> bool {
        let is_listed = self.is_listed;
        match &mut self.phase {
            Phase::InPlace(serving) => !is_listed && serving.is_idle_for() >= patience,
            Phase::Waiting { .. } | Phase::UnderWay(_) => false,
        }
    }

    /// Its size, where the directory says it.
    pub(super) fn size(&self) -> Option<u64> {
        Some(self.seeded.size).filter(|size| *size > 0)
    }

    /// Why it never began, or did not begin again.
    pub(super) fn why_not_begun(&self) -> String {
        match (&self.waits_for, &self.last_error) {
            (Some(room), _) => format!("it was not begun: {room}"),
            (None, Some(error)) => format!("it was not begun again after: {error}"),
            (None, None) => "it was not begun: others came first".to_owned(),
        }
    }

    /// How long ago this host heard of it.
    pub(super) fn took(&self) -> Duration {
        self.heard.0.elapsed() + self.heard.1
    }

    /// Waits for its turn from now on, and no shorter than `wait`. What was under way or served is given back.
    pub(super) fn waits(&mut self, number: u64, wait: Duration) -> Phase {
        let there = Stamp::of(&self.out);
        self.may_be_there = there.is_some_and(|there| self.size().is_none_or(|size| size == there.size));
        let not_before = Instant::now() + wait;
        std::mem::replace(&mut self.phase, Phase::Waiting { number, not_before })
    }

    /// Its seeders are these now. What comes from the ones before goes on where they are the same at the same places.
    pub(super) fn seeders_are(&mut self, seeded: SeededBuild, number: u64) {
        self.is_listed = true;
        if seeded.seeders == self.seeded.seeders {
            self.seeded = seeded;
            return;
        }
        let are_same = peers(&seeded.seeders) == peers(&self.seeded.seeders);
        self.seeded = seeded;
        match &self.phase {
            Phase::Waiting { .. } => {}
            // The connection may well last; if it does not, `has_moved` says what to do.
            Phase::UnderWay(_) if are_same => self.has_moved = true,
            // It begins again with what it holds: the part file, or the file in place.
            Phase::UnderWay(_) | Phase::InPlace(_) => drop(self.waits(number, Duration::ZERO)),
        }
    }

    /// It begins again where its seeders are now.
    pub(super) fn move_over(&mut self) {
        tracing::info!(
            key = self.seeded.key,
            "nothing comes from where its seeders were; trying where they are"
        );
        self.has_moved = false;
        self.waits(0, Duration::ZERO);
    }
}

fn peers(addresses: &[Multiaddr]) -> BTreeSet<PeerId> {
    let peers = Addresses::by_peer(addresses).unwrap_or_default();
    peers.iter().map(Addresses::peer).collect()
}
