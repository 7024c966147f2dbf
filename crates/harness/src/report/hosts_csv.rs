//! `hosts.csv`: a row a host, for spreadsheets and notebooks.

use std::fmt::Write;

use scenario::{HostState, RunOutcome, Scenario};

/// The rows, in the order of the regions and hosts; `None` for more hosts than such a file is of use for.
pub(super) fn hosts_csv(scenario: &Scenario, outcome: &RunOutcome) -> Option<String> {
    if scenario.host_count() > HOSTS_MAX {
        return None;
    }
    let mut hosts: Vec<_> = outcome.hosts.iter().collect();
    hosts.sort_unstable_by_key(|host| (host.region, host.host));
    let mut text = "host,region,state,verified_after_ms,bytes_from_seeder,bytes_from_peers,bytes_wasted,chunks_held,\
                    chunks_total,neighbours\n"
        .to_owned();
    for host in hosts {
        let region = &scenario.regions[host.region];
        let state = match host.state {
            HostState::Verified => "verified",
            HostState::Failed(_) => "failed",
            HostState::Pending => "pending",
            HostState::Lost => "lost",
            HostState::Excused => "excused",
        };
        let after = host
            .verified_after
            .map_or_else(String::new, |after| super::milliseconds(after).to_string());
        // Names of regions and hosts have neither commas nor quotes.
        let _ = writeln!(
            text,
            "{},{},{state},{after},{},{},{},{},{},{}",
            region.host_name(host.host),
            region.name,
            host.bytes_from_seeder,
            host.bytes_from_peers,
            host.bytes_wasted,
            host.chunks_held,
            host.chunks_total,
            host.neighbours
        );
    }
    Some(text)
}

/// Of these it is 8 MB.
const HOSTS_MAX: u32 = 100_000;
