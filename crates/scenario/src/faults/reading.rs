//! Reads the tables `[faults.NAME]`.

use std::time::Duration;

use settings::parse_duration;

use super::{
    Chosen, Fault, FaultKind, Faults, HostShare, Kind, NetworkFault, NetworkFaultKind, SeederFault, SeederFaultKind,
    keys,
};
use crate::Scenario;
use crate::reader::{percent, share};
use crate::section::Section;
use crate::words::{self, CUT_FROM, FAULT_KINDS, KEPT_STORES, WAYS};

/// All faults of a scenario. One without a kind is told so, and is none.
pub(crate) fn read(root: &Section<'_>) -> Faults {
    let mut faults = Faults::default();
    for (name, fault) in root.section("faults").named() {
        let kind = fault.word("kind", &FAULT_KINDS);
        if fault.entry("kind").is_none() {
            let expected = words::list(&FAULT_KINDS);
            fault.problem("kind", format!("missing; expected one of {expected}"));
        }
        let read = Read::new(root, &fault);
        let Some(kind) = kind else {
            continue;
        };
        keys::check(&fault, kind);
        match kind {
            Kind::Hosts(kind) => faults.hosts.push(read.of_hosts(name, kind, &fault)),
            Kind::Network(kind) => faults.network.push(read.of_network(name, kind)),
            Kind::Seeders(kind) => faults.seeders.push(read.of_seeders(name, kind, root, &fault)),
        }
    }
    faults
}

/// Every key of a fault, as far as it is there and right: each is looked at, whatever the kind.
struct Read {
    chosen: Chosen,
    at: Option<Duration>,
    lasts: Option<Duration>,
    seeder: Option<u32>,
    to: Option<f64>,
    worst: Option<f64>,
    store: crate::KeptStore,
    seeders: Option<bool>,
    way: crate::Way,
    connections: HostShare,
}

impl Read {
    fn new(root: &Section<'_>, fault: &Section<'_>) -> Self {
        Self {
            chosen: Chosen {
                hosts: read_share(fault, "hosts", "hosts", "\"5%\"").unwrap_or(HostShare::Count(0)),
                regions: read_regions(root, fault),
                zone: fault.number("zone"),
            },
            at: fault.parsed("at", parse_duration),
            lasts: fault.parsed("for", parse_duration),
            seeder: fault.number("seeder"),
            to: percent(fault, "to"),
            worst: percent(fault, "worst"),
            store: fault.word("store", &KEPT_STORES).unwrap_or_default(),
            seeders: fault.word("from", &CUT_FROM),
            way: fault.word("way", &WAYS).unwrap_or_default(),
            connections: read_share(fault, "connections", "connections", "\"50%\"")
                .unwrap_or(HostShare::Percent(100.0)),
        }
    }

    fn of_hosts(self, name: String, kind: FaultKind, fault: &Section<'_>) -> Fault {
        if self.to == Some(0.0) {
            fault.problem("to", "expected more than nothing, such as \"1%\"");
        }
        let to_percent = self.to.unwrap_or(100.0);
        match self.worst {
            Some(worst) if worst <= 0.0 => fault.problem("worst", "expected more than nothing, such as \"0.1%\""),
            Some(worst) if worst > to_percent => fault.problem("worst", "expected no more than to"),
            Some(_) | None => {}
        }
        Fault {
            name,
            kind,
            chosen: self.chosen,
            at: self.at.unwrap_or_default(),
            lasts: self.lasts,
            to_percent,
            worst_percent: self.worst,
            store: self.store,
        }
    }

    fn of_network(self, name: String, kind: NetworkFaultKind) -> NetworkFault {
        NetworkFault {
            name,
            kind,
            chosen: self.chosen,
            at: self.at.unwrap_or_default(),
            lasts: self.lasts.unwrap_or_default(),
            seeders: self.seeders.unwrap_or(kind != NetworkFaultKind::Reset),
            way: self.way,
            connections: self.connections,
        }
    }

    fn of_seeders(self, name: String, kind: SeederFaultKind, root: &Section<'_>, fault: &Section<'_>) -> SeederFault {
        let Self { seeder, .. } = self;
        let regions = self.chosen.regions;
        let applies = |name: &String| regions.as_ref().is_none_or(|chosen| chosen.contains(name));
        for (name, region) in root.section("regions").named().filter(|(name, _)| applies(name)) {
            let seeders = region.number("seeders").unwrap_or(1);
            if seeder.is_some_and(|seeder| seeder >= seeders) {
                let expected = format!("expected less than {seeders}, the seeders of {name:?}");
                fault.problem("seeder", expected);
            }
        }
        SeederFault {
            name,
            regions,
            seeder,
            at: self.at.unwrap_or_default(),
            down: match kind {
                SeederFaultKind::Restart => Some(self.lasts.unwrap_or_default()),
                SeederFaultKind::Lost => None,
            },
        }
    }
}

/// A number of things or a share of them. One that is neither is told.
fn read_share(fault: &Section<'_>, key: &str, of: &str, example: &str) -> Option<HostShare> {
    fault.entry(key)?;
    let found = share(fault, key);
    if found.is_none() {
        fault.problem(
            key,
            format!("expected a number of {of} or a share of them, such as 10 or {example}"),
        );
    }
    found
}

fn read_regions(root: &Section<'_>, fault: &Section<'_>) -> Option<Vec<String>> {
    let chosen = fault.texts("regions");
    for name in chosen.iter().flatten() {
        if !root.section("regions").named().any(|(region, _)| region == *name) {
            let problem = format!("names {name:?}, which is no region of this scenario");
            fault.problem("regions", problem);
        }
    }
    chosen
}

/// Holds faults against the rest of the scenario: what can never come to anything is told.
pub(crate) fn check(root: &Section<'_>, scenario: &Scenario) {
    let section = root.section("faults");
    let slow = scenario.faults.iter().filter(|fault| fault.kind == FaultKind::SlowDown);
    for fault in slow.filter(|_| scenario.network.host.is_none()) {
        let problem = "slows links that are not limited; expected [network.host] as well";
        section.section(&fault.name).problem("", problem);
    }
    let Some(deadline) = scenario.deadline.filter(|deadline| !deadline.is_zero()) else {
        return;
    };
    let late = scenario.faults.iter().filter(|fault| fault.kind == FaultKind::JoinLate);
    for fault in late.filter(|fault| fault.at >= deadline) {
        let message = format!(
            "not before the deadline of {deadline:?}, so its hosts are never in time; expected less or no deadline"
        );
        section.section(&fault.name).problem("at", message);
    }
}
