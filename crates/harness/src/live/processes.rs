//! Over how many processes a run's hosts are spread, so that each keeps to the limit of open files, or why they do not fit.

use scenario::{Scenario, Transport};
use serde::Serialize;
use swarm::Bytes;

use super::RunError;
use super::fleet::Slice;
use crate::{estimates, machine};

/// How many worker processes a run takes, 0 for none.
///
/// # Errors
/// Where so many files are not allowed: what would help.
pub(super) fn worker_count(scenario: &Scenario, limit: u64) -> Result<u32, RunError> {
    let transport = match scenario.network.transport {
        Transport::InProcess => "in-process",
        Transport::Memory => "memory",
        Transport::Tcp | Transport::Quic => "",
    };
    if !transport.is_empty() {
        return match scenario.worker_processes {
            Some(_) => Err(RunError::WorkersWithoutSockets { transport }),
            None => Ok(0),
        };
    }
    let files = Files::of(scenario);
    match (scenario.worker_processes, files.processes(limit)) {
        (None, Some(processes)) => Ok(processes),
        (Some(chosen), Some(processes)) if chosen >= processes.max(1) => Ok(chosen),
        (chosen, processes) => Err(RunError::FileLimit {
            needed: files.needed(chosen.unwrap_or(0)),
            limit,
            advice: files.advice(processes),
        }),
    }
}

/// How transports use memory differs: called before the hosts are started.
pub(super) fn settle_memory(scenario: &Scenario) {
    // Each QUIC host has a buffer of 3 MB for what may arrive at once, of which it touches little. In huge pages all of it is
    // resident: 100 hosts took 570 MiB, and take 240.
    if scenario.network.transport == Transport::Quic {
        machine::keep_to_small_pages();
    }
}

/// Whether there is memory for the hosts, before they are started.
///
/// # Errors
/// Where there is not: how much it takes, and what takes less.
pub(super) fn fits_into_memory(scenario: &Scenario) -> Result<(), RunError> {
    let needed = estimates::memory_of_run(scenario);
    match machine::free_memory() {
        Some(free) if needed > free.bytes => Err(RunError::Memory {
            hosts: scenario.host_count(),
            needed: Bytes::new(needed),
            free: free.to_string(),
        }),
        _ => Ok(()),
    }
}

/// What a run over several machines takes of each.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct OfNodes {
    /// At most.
    pub(crate) hosts_of_worker: u32,
    pub(crate) worker_memory_bytes: u64,
    pub(crate) worker_files: u64,
    /// Ends of connections.
    pub(crate) worker_connections: u64,
    pub(crate) run_memory_bytes: u64,
    pub(crate) run_files: u64,
    pub(crate) run_connections: u64,
}

/// Of a run of `scenario` over so many workers.
pub(crate) fn of_nodes(scenario: &Scenario, workers: u32) -> OfNodes {
    let files = Files::of(scenario);
    let hosts = scenario.host_count().div_ceil(workers.max(1));
    let seeders = scenario.regions.iter().map(|region| u64::from(region.seeders)).max();
    let of_host = seeders.unwrap_or(1) + u64::from(scenario.swarm.degree);
    OfNodes {
        hosts_of_worker: hosts,
        worker_memory_bytes: estimates::memory_of_hosts(scenario, hosts),
        worker_files: u64::from(hosts) * files.per_host + FILES_OF_THE_REST,
        worker_connections: u64::from(hosts) * of_host,
        run_memory_bytes: scenario.build_size().get() * 2 + files.of_seeders * MEMORY_OF_A_LINK,
        run_files: files.of_seeders + u64::from(workers) + FILES_OF_THE_REST,
        run_connections: u64::from(scenario.host_count()) * seeders.unwrap_or(1) + u64::from(workers),
    }
}

/// Whether this process may have the seeders' ends of connections, and `workers` beside them.
///
/// # Errors
/// Where the hosts have no sockets, there are fewer of them than workers, or not so many files are allowed.
pub(super) fn seeders_fit(scenario: &Scenario, workers: u32, limit: u64) -> Result<(), RunError> {
    match scenario.network.transport {
        Transport::InProcess => {
            return Err(RunError::WorkersWithoutSockets {
                transport: "in-process",
            });
        }
        Transport::Memory => return Err(RunError::WorkersWithoutSockets { transport: "memory" }),
        Transport::Tcp | Transport::Quic => {}
    }
    let hosts = scenario.host_count();
    if workers > hosts {
        return Err(RunError::MoreWorkersThanHosts { hosts, workers });
    }
    let needed = Files::of(scenario).of_seeders + u64::from(workers) + FILES_OF_THE_REST;
    within(
        needed,
        limit,
        "this process has the seeders' ends of all connections; expected a higher limit",
    )
}

/// Whether a worker on a machine of its own may have the files and the memory for its part.
///
/// # Errors
/// Where it may not: what would help.
pub(super) fn slice_fits(scenario: &Scenario, slice: Slice, limit: u64) -> Result<(), RunError> {
    let takes = of_nodes(scenario, slice.count);
    within(takes.worker_files, limit, "expected a higher limit, more workers")?;
    match machine::free_memory() {
        Some(free) if takes.worker_memory_bytes > free.bytes => Err(RunError::Memory {
            hosts: takes.hosts_of_worker,
            needed: Bytes::new(takes.worker_memory_bytes),
            free: free.to_string(),
        }),
        _ => Ok(()),
    }
}

fn within(needed: u64, limit: u64, advice: &str) -> Result<(), RunError> {
    if needed <= limit {
        return Ok(());
    }
    Err(RunError::FileLimit {
        needed,
        limit,
        advice: format!("{advice} (ulimit -n {needed})"),
    })
}

/// Open files of a run.
#[derive(Clone, Copy, Debug)]
struct Files {
    hosts: u64,
    per_host: u64,
    /// Of the seeders, which are in one process.
    of_seeders: u64,
}

impl Files {
    fn of(scenario: &Scenario) -> Self {
        let hosts = u64::from(scenario.host_count());
        let seeders = scenario.regions.iter().map(|region| region.seeders).max();
        let seeders = u64::from(seeders.unwrap_or(1));
        if scenario.network.transport == Transport::Tcp {
            // A host has a listener, a connection to each seeder and, on average, one to each of its degree of neighbours, and
            // for a while some more. The parent has the seeders' ends.
            Self {
                hosts,
                per_host: 3 + seeders + u64::from(scenario.swarm.degree),
                of_seeders: hosts * seeders,
            }
        } else {
            // A QUIC host has a socket and its copy.
            Self {
                hosts,
                per_host: 2,
                of_seeders: 2 * seeders,
            }
        }
    }

    /// Of the process that has the most, with so many workers.
    fn needed(self, workers: u32) -> u64 {
        let most = match workers {
            0 => self.hosts * self.per_host + self.of_seeders,
            workers => {
                let of_parent = self.of_seeders + u64::from(workers) * FILES_OF_A_WORKER;
                (self.hosts.div_ceil(u64::from(workers)) * self.per_host).max(of_parent)
            }
        };
        most + FILES_OF_THE_REST
    }

    /// The fewest workers that keep to the limit, if any number does that is of use.
    fn processes(self, limit: u64) -> Option<u32> {
        (0..=WORKERS_MAX).find(|workers| self.needed(*workers) <= limit)
    }

    /// What would help.
    fn advice(self, processes: Option<u32>) -> String {
        match processes {
            Some(workers) => format!("expected workers.processes = {workers} or more"),
            None => {
                let alone = self.needed(0);
                let spread = (1..=WORKERS_MAX).map(|workers| (self.needed(workers), workers));
                let (least, workers) = spread.min().unwrap_or((alone, 0));
                if least >= alone {
                    format!("expected a higher limit, {alone} or more (ulimit -n {alone})")
                } else {
                    format!(
                        "expected a higher limit, {alone} or more (ulimit -n {alone}), or {least} with workers.processes = {workers}"
                    )
                }
            }
        }
    }
}

/// Open files of a process that are not its hosts': runtime, cloud, standard streams.
const FILES_OF_THE_REST: u64 = 400;
/// Open files of the parent for each worker: its standard streams, and the connections over which it writes rows to the parent's cloud.
const FILES_OF_A_WORKER: u64 = 11;
/// Bytes of a seeder's end of a connection, as `estimates` has it of hosts.
const MEMORY_OF_A_LINK: u64 = 45 << 10;
/// More worker processes than this cost more than they bring: each has threads and clients of its own.
const WORKERS_MAX: u32 = 64;

#[cfg(test)]
mod tests {
    use scenario::LoadOptions;

    use super::*;

    fn scenario(transport: &str, hosts: u32, more: &str) -> Scenario {
        let text = format!(
            "[build]\nsize = \"1 MiB\"\n[regions.region-a]\nhosts = {hosts}\n[network]\ntransport = \"{transport}\"\n{more}"
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("scenario.toml");
        std::fs::write(&file, text).unwrap();
        Scenario::load(&file, &LoadOptions::default()).unwrap()
    }

    fn said(scenario: &Scenario, limit: u64) -> String {
        worker_count(scenario, limit).unwrap_err().to_string()
    }

    #[test]
    fn what_is_advised_is_taken_when_it_is_followed() {
        for transport in ["tcp", "quic"] {
            for hosts in [1, 200, 3_000, 20_000] {
                for limit in [0, 256, 400, 401, 402, 700, 1_024, 4_096, 65_536] {
                    let plain = scenario(transport, hosts, "");
                    match worker_count(&plain, limit) {
                        Ok(workers) => assert!(workers <= WORKERS_MAX && u64::from(workers) <= u64::from(hosts)),
                        Err(error) => {
                            let said = error.to_string();
                            let advised = said.split("ulimit -n ").nth(1).unwrap();
                            let advised: String = advised.chars().take_while(char::is_ascii_digit).collect();
                            assert_eq!(worker_count(&plain, advised.parse().unwrap()).unwrap(), 0, "{said}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_small_fleet_under_a_low_limit_is_not_told_of_thousands_of_workers() {
        let said = said(&scenario("tcp", 200, ""), 400);
        assert!(
            said.contains("400 are allowed") && said.contains("ulimit -n 3800"),
            "{said}"
        );
        assert!(!said.contains("3200"), "{said}");
    }

    /// Seen with 1,000 hosts in 40 workers at 1,200 files: the parent has the seeders' ends, and what workers connect to its cloud with.
    #[test]
    fn the_parent_has_room_for_what_its_workers_connect_with() {
        let files = Files {
            hosts: 1_000,
            per_host: 16,
            of_seeders: 700,
        };
        let workers = files.processes(1_300).unwrap();
        let of_parent = files.of_seeders + u64::from(workers) * FILES_OF_A_WORKER + FILES_OF_THE_REST;
        assert!(of_parent <= 1_300, "{workers} workers, {of_parent} files");
        assert_eq!(files.processes(1_105), None, "each worker takes more than it brings");
    }

    #[test]
    fn memory_depends_on_the_transport() {
        let needed = |transport, hosts| estimates::memory_of_run(&scenario(transport, hosts, "")) >> 20;
        assert!((800..1_300).contains(&needed("in-process", 10_000)));
        assert!((6_000..8_000).contains(&needed("tcp", 10_000)));
        assert!((200..300).contains(&needed("quic", 100)));
    }

    #[test]
    fn too_few_workers_are_told_how_many_would_do() {
        let few = scenario("tcp", 3_000, "[workers]\nprocesses = 2\n");
        let said = said(&few, 4_096);
        let workers = worker_count(&scenario("tcp", 3_000, ""), 4_096).unwrap();
        assert!(
            said.contains(&format!("workers.processes = {workers} or more")),
            "{said}"
        );
    }
}
