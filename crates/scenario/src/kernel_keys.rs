//! What the fidelity "kernel" has nothing for: it is the bare policy, and would ignore these keys without a word.

use crate::section::Section;
use crate::{Fidelity, Policy, Scenario};

/// A key that only the faithful fidelity knows.
struct Lack {
    table: &'static str,
    key: &'static str,
    /// Whether what the scenario has there is more than the kernel does anyway.
    asks: fn(&Scenario) -> bool,
    why: &'static str,
}

/// Reports keys that were given and that a forecast at this fidelity would ignore. A default asks for nothing.
pub(crate) fn check(root: &Section<'_>, scenario: &Scenario) {
    if scenario.fidelity != Fidelity::Kernel {
        return;
    }
    let report = |section: &Section<'_>, key: &str, why: &str| {
        section.problem(
            key,
            format!("the fidelity \"kernel\" {why}; leave it out, or expect it of fidelity = \"faithful\""),
        );
    };
    if scenario.has_faults() {
        report(root, "faults", "has no faults");
    }
    for Lack { table, key, asks, why } in LACKS {
        let mut names = table.split('.');
        let outer = root.section(names.next().unwrap_or_default());
        let section = names.fold(outer, |section, name| section.section(name));
        if section.entry(key).is_some() && asks(scenario) {
            report(&section, key, why);
        }
    }
    for (name, section) in root.section("regions").named() {
        if scenario
            .regions
            .iter()
            .any(|region| region.name == name && region.seeders > 1)
        {
            report(&section, "seeders", "has one seeder a region");
        }
    }
}

fn has_zones(scenario: &Scenario) -> bool {
    scenario.regions.iter().any(|region| region.zones > 1)
}

const LACKS: &[Lack] = &[
    Lack {
        table: "swarm",
        key: "policy",
        asks: |scenario| scenario.swarm.policy != Policy::LatestUseful,
        why: "has one policy, \"latest-useful\"",
    },
    Lack {
        table: "swarm",
        key: "locality",
        asks: |scenario| scenario.swarm.locality && has_zones(scenario),
        why: "keeps nothing within zones",
    },
    Lack {
        table: "swarm",
        key: "have_interval",
        asks: |_| true,
        why: "has no messages that could wait",
    },
    Lack {
        table: "swarm",
        key: "patience",
        asks: |_| true,
        why: "has nobody who could stall",
    },
    Lack {
        table: "network",
        key: "racks",
        asks: |_| true,
        why: "has no racks",
    },
    Lack {
        table: "network.zones",
        key: "uplink",
        asks: |_| true,
        why: "has no limits between zones",
    },
    // With one zone there is nothing between zones, and nothing that is wrong.
    Lack {
        table: "network.zones",
        key: "latency",
        asks: has_zones,
        why: "keeps nothing within zones, so far more would be late than is",
    },
    Lack {
        table: "network.zones",
        key: "usd_per_gib",
        asks: has_zones,
        why: "keeps nothing within zones, so it cannot tell what goes between them",
    },
];
