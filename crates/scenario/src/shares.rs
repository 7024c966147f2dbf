//! Holds the shares of faults and classes against the hosts that there are.

use settings::Value;

use crate::faults::Chosen;
use crate::section::Section;
use crate::{HostShare, Region, Scenario};

/// Holds the faults and classes against the regions whose hosts and zones have been read.
pub(crate) fn check_fleet(root: &Section<'_>, scenario: &Scenario) {
    let regions = root.section("regions");
    let is_read = |region: &&Region| {
        let section = regions.section(&region.name);
        let as_read = |key: &str, value: u32, default: Option<u32>| match section.entry(key).map(|entry| &entry.value) {
            Some(Value::Integer(written)) => *written == i64::from(value),
            Some(_) => false,
            None => default == Some(value),
        };
        as_read("hosts", region.hosts, None) && as_read("zones", region.zones, Some(1))
    };
    for region in scenario.regions.iter().filter(is_read) {
        let mut each_fits = true;
        let classes = root.section("network").section("classes");
        for class in &scenario.network.classes {
            let hosts = Candidates::of_region(region);
            each_fits &= check_share(&classes.section(&class.name), class.hosts, &hosts);
        }
        let faults = root.section("faults");
        let of_hosts = scenario.faults.iter().map(|fault| (&fault.name, &fault.chosen));
        let of_network = scenario.network_faults.iter().map(|fault| (&fault.name, &fault.chosen));
        for (name, chosen) in of_hosts
            .chain(of_network)
            .filter(|(_, chosen)| chosen.applies_to(region))
        {
            each_fits &= check_chosen(&faults.section(name), chosen, region);
        }
        if each_fits {
            check_together(root, scenario, region);
        }
    }
}

/// Whether a fault can have what it asks of a region.
fn check_chosen(section: &Section<'_>, chosen: &Chosen, region: &Region) -> bool {
    let hosts = match chosen.zone {
        Some(zone) if zone >= region.zones => {
            let (zones, name) = (region.zones, &region.name);
            let counted = "counted from 0; or the regions that have it, as regions = [\"…\"]";
            section.problem(
                "zone",
                format!("expected less than {zones}, the zones of {name:?}, {counted}"),
            );
            return false;
        }
        Some(zone) => Candidates::of_zone(region, zone),
        None => Candidates::of_region(region),
    };
    check_share(section, chosen.hosts, &hosts)
}

/// Those of whom a share is drawn.
struct Candidates {
    count: u32,
    name: String,
}

impl Candidates {
    fn of_region(region: &Region) -> Self {
        Self {
            count: region.hosts,
            name: format!("{:?}", region.name),
        }
    }

    fn of_zone(region: &Region, zone: u32) -> Self {
        Self {
            count: region.hosts_in(zone),
            name: format!("zone {zone} of {:?}", region.name),
        }
    }
}

/// Whether a share of so many is some of them. None is meant only where it is written as 0.
fn check_share(section: &Section<'_>, share: HostShare, of: &Candidates) -> bool {
    let Candidates { count, name } = of;
    match share {
        HostShare::Count(0) => true,
        HostShare::Count(wanted) if wanted > *count => {
            section.problem("hosts", format!("expected at most {count}, all hosts of {name}"));
            false
        }
        HostShare::Percent(percent) if percent > 0.0 && *count == 0 => {
            section.problem(
                "hosts",
                format!("there is no host in {name}; expected fewer zones or more hosts"),
            );
            false
        }
        HostShare::Percent(percent) if percent > 0.0 && share.of(*count) == 0 => {
            let least = (1000.0 / f64::from(*count)).ceil() / 10.0;
            let hosts = if *count == 1 { "host" } else { "hosts" };
            section.problem(
                "hosts",
                format!("{percent} % of {count} {hosts}, those of {name}, is no host; expected a count, or at least {least} %"),
            );
            false
        }
        HostShare::Count(_) | HostShare::Percent(_) => true,
    }
}

/// Faults of hosts never share one, so together they cannot have more than there are, in no zone and in no region; nor can classes.
fn check_together(root: &Section<'_>, scenario: &Scenario, region: &Region) {
    let taken = |zone: Option<u32>| {
        let faults = scenario.faults.iter();
        let own = faults.filter(|fault| zone.is_none() || fault.chosen.zone == zone);
        own.map(|fault| fault.chosen.count(region)).sum::<usize>()
    };
    let mut zones: Vec<u32> = scenario.faults.iter().filter_map(|fault| fault.chosen.zone).collect();
    zones.sort_unstable();
    zones.dedup();
    let of_zones = zones
        .into_iter()
        .map(|zone| (taken(Some(zone)), Candidates::of_zone(region, zone)));
    let all = (taken(None), Candidates::of_region(region));
    let too_many = of_zones.chain([all]).find(|(taken, of)| *taken > of.count as usize);
    if let Some((taken, Candidates { count, name })) = too_many {
        root.problem(
            "faults",
            format!("name {taken} hosts of {name}, which has {count}; expected no more"),
        );
    }
    let classes = scenario.network.classes.iter();
    let of_classes: usize = classes.map(|class| class.hosts.of(region.hosts)).sum();
    if of_classes > region.hosts as usize {
        let Region { name, hosts, .. } = region;
        root.section("network").problem(
            "classes",
            format!("name {of_classes} hosts of {name:?}, which has {hosts}; expected no more"),
        );
    }
}
