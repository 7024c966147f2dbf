//! What is promised, and what is broken of it.

use swarm::HostId;

use crate::day::Nanos;

macro_rules! invariants {
    ($($(#[doc = $meaning:literal])+ $variant:ident = $word:literal,)+) => {
        /// Something that is promised.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Invariant {
            $($(#[doc = $meaning])+ $variant,)+
        }

        impl Invariant {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its word in reports.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    };
}

invariants! {
    /// The core does not panic, and nothing overflows.
    Panic = "panic",
    /// Its books agree ([`swarm::Peer::check`]).
    Check = "check",
    /// Nothing is stored, announced or served that is not verified and there.
    Unverified = "unverified",
    /// A host is complete when it has every chunk, and once.
    Completes = "completes",
    /// Who is honest and can be reached has the build in time: `crate::bound` says when that is.
    Late = "late",
    /// The same, and it had not the build after six times that either.
    Never = "never",
    /// No honest host is banned or expelled at the end.
    HonestBanned = "honest-banned",
    /// Nobody asks whom it has banned.
    AsksBanned = "asks-banned",
    /// Nobody has more than twice the degree of neighbours, and two.
    Degree = "degree",
    /// Nobody asks for more than comes.
    Requests = "requests",
    /// Nobody talks without end.
    Messages = "messages",
    /// Nobody dials without end.
    Dials = "dials",
    /// When everybody is done it is quiet.
    Quiet = "quiet",
    /// Nobody wakes up without end.
    Wakeups = "wakeups",
    /// Little comes that is not wanted.
    Waste = "waste",
    /// Seeders leave most of the work to hosts.
    SeederBuilds = "seeder-builds",
    /// A day ends.
    Runaway = "runaway",
}

impl std::fmt::Display for Invariant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.word())
    }
}

/// Something that is promised was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What.
    pub invariant: Invariant,
    /// By whom, or to whom it was done.
    pub host: Option<HostId>,
    /// When, in nanoseconds of the day.
    pub at: Nanos,
    /// What was seen.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.at as f64 / 1e9;
        write!(f, "{} at {seconds:.3} s", self.invariant)?;
        if let Some(host) = self.host {
            write!(f, ", {host}")?;
        }
        write!(f, ": {}", self.what)
    }
}
