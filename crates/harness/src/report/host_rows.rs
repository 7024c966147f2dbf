//! A row a host: `hosts.csv` for spreadsheets and notebooks, and of very many hosts `hosts.parquet`, which holds a million in some megabytes.

use std::fmt::Write;

use scenario::{HostOutcome, HostState, RunOutcome, Scenario};

use super::parquet::{Cell, Kind, Table};

/// The rows as a file.
#[derive(Debug)]
pub(crate) struct HostRows {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
}

const COLUMNS: [(&str, Kind); 10] = [
    ("host", Kind::Text),
    ("region", Kind::Text),
    ("state", Kind::Text),
    ("verified_after_ms", Kind::MaybeNumber),
    ("bytes_from_seeder", Kind::Integer),
    ("bytes_from_peers", Kind::Integer),
    ("bytes_wasted", Kind::Integer),
    ("chunks_held", Kind::Integer),
    ("chunks_total", Kind::Integer),
    ("neighbours", Kind::Integer),
];

/// In the order of the regions and hosts.
pub(super) fn host_rows(scenario: &Scenario, outcome: &RunOutcome) -> HostRows {
    let mut hosts: Vec<&HostOutcome> = outcome.hosts.iter().collect();
    hosts.sort_unstable_by_key(|host| (host.region, host.host));
    if scenario.host_count() > CSV_MAX {
        let mut table = Table::new(&COLUMNS);
        for host in hosts {
            let name = scenario.regions[host.region].host_name(host.host);
            table.push(&cells(scenario, host, &name));
        }
        return HostRows {
            name: "hosts.parquet",
            bytes: table.finish(),
        };
    }
    let mut text = COLUMNS.map(|(name, _)| name).join(",");
    text.push('\n');
    for host in hosts {
        let name = scenario.regions[host.region].host_name(host.host);
        // Names of regions and hosts have neither commas nor quotes.
        for (place, cell) in cells(scenario, host, &name).iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            let _ = match cell {
                Cell::Text(text_of) => write!(text, "{comma}{text_of}"),
                Cell::Integer(number) => write!(text, "{comma}{number}"),
                Cell::MaybeNumber(Some(number)) => write!(text, "{comma}{number}"),
                Cell::MaybeNumber(None) => write!(text, "{comma}"),
            };
        }
        text.push('\n');
    }
    HostRows {
        name: "hosts.csv",
        bytes: text.into_bytes(),
    }
}

fn cells<'a>(scenario: &'a Scenario, host: &HostOutcome, name: &'a str) -> [Cell<'a>; COLUMNS.len()] {
    let state = match host.state {
        HostState::Verified => "verified",
        HostState::Failed(_) => "failed",
        HostState::Pending => "pending",
        HostState::Lost => "lost",
        HostState::Excused => "excused",
    };
    [
        Cell::Text(name),
        Cell::Text(&scenario.regions[host.region].name),
        Cell::Text(state),
        Cell::MaybeNumber(host.verified_after.map(super::milliseconds)),
        Cell::Integer(host.bytes_from_seeder),
        Cell::Integer(host.bytes_from_peers),
        Cell::Integer(host.bytes_wasted),
        Cell::Integer(host.chunks_held.into()),
        Cell::Integer(host.chunks_total.into()),
        Cell::Integer(host.neighbours.into()),
    ]
}

/// Of these a CSV is 8 MB.
const CSV_MAX: u32 = 100_000;
