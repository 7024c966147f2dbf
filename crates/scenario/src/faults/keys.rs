//! Which keys a fault of each kind has: one table, from which the reader says what is missing and what is too much.

use super::{FaultKind, Kind, NetworkFaultKind, SeederFaultKind};
use crate::section::Section;
use crate::words::{FAULT_KINDS, word_of};

/// A key of `[faults.NAME]` that not every kind has.
struct Key {
    name: &'static str,
    /// What to write where it is missing.
    expected: &'static str,
    need: fn(Kind) -> Need,
}

/// Whether a kind has a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    No,
    May,
    Must,
}

use Need::{May, Must, No};

const KEYS: [Key; 11] = [
    Key {
        name: "at",
        expected: "when, after the build is complete in the region, such as \"3s\"",
        need: |kind| match kind {
            Kind::Hosts(kind) if !kind.has_time() => No,
            Kind::Hosts(_) | Kind::Network(_) | Kind::Seeders(_) => Must,
        },
    },
    Key {
        name: "for",
        expected: "how long, such as \"10s\"",
        need: |kind| match kind {
            Kind::Hosts(FaultKind::SlowDown) => May,
            Kind::Hosts(FaultKind::Pause | FaultKind::Crash)
            | Kind::Network(NetworkFaultKind::Partition | NetworkFaultKind::SilentCut)
            | Kind::Seeders(SeederFaultKind::Restart) => Must,
            _ => No,
        },
    },
    Key {
        name: "hosts",
        expected: "a number of hosts or a share of them, such as 10 or \"5%\"",
        need: of_hosts,
    },
    Key {
        name: "zone",
        expected: "",
        need: |kind| if of_hosts(kind) == Must { May } else { No },
    },
    Key {
        name: "seeder",
        expected: "",
        need: |kind| if matches!(kind, Kind::Seeders(_)) { May } else { No },
    },
    Key {
        name: "to",
        expected: "what is left of the links, such as \"10%\"",
        need: |kind| match kind {
            Kind::Hosts(FaultKind::SlowDown) => Must,
            _ => No,
        },
    },
    Key {
        name: "worst",
        expected: "",
        need: |kind| match kind {
            Kind::Hosts(FaultKind::SlowDown) => May,
            _ => No,
        },
    },
    Key {
        name: "store",
        expected: "",
        need: |kind| match kind {
            Kind::Hosts(FaultKind::Crash) => May,
            _ => No,
        },
    },
    Key {
        name: "from",
        expected: "",
        need: |kind| if matches!(kind, Kind::Network(_)) { May } else { No },
    },
    Key {
        name: "way",
        expected: "",
        need: |kind| match kind {
            Kind::Network(NetworkFaultKind::SilentCut) => May,
            _ => No,
        },
    },
    Key {
        name: "connections",
        expected: "",
        need: |kind| match kind {
            Kind::Network(NetworkFaultKind::Reset) => May,
            _ => No,
        },
    },
];

const fn of_hosts(kind: Kind) -> Need {
    match kind {
        Kind::Hosts(_) | Kind::Network(_) => Must,
        Kind::Seeders(_) => No,
    }
}

impl FaultKind {
    /// Whether it begins at some time; else it holds from the start.
    const fn has_time(self) -> bool {
        match self {
            Self::Leave | Self::JoinLate | Self::SlowDown | Self::Pause | Self::Crash => true,
            Self::Corrupt | Self::Stall | Self::Trickle | Self::Claim | Self::Busy => false,
        }
    }
}

/// Reports keys that a fault of this kind lacks, and keys that it does not have.
pub(super) fn check(fault: &Section<'_>, kind: Kind) {
    for key in &KEYS {
        let is_there = fault.entry(key.name).is_some();
        match (key.need)(kind) {
            Must if !is_there => fault.problem(key.name, format!("missing; expected {}", key.expected)),
            No if is_there => {
                let has = FAULT_KINDS.iter().filter(|word| (key.need)(word.value) != No);
                let has: Vec<String> = has.map(|word| format!("{:?}", word.word)).collect();
                let own = word_of(&FAULT_KINDS, &kind).unwrap_or_default();
                fault.problem(
                    key.name,
                    format!("a fault of kind {own:?} has none; expected it with {}", has.join(", ")),
                );
            }
            No | May | Must => {}
        }
    }
}
