//! What a run over several machines takes of each of them, and whether they have it.

use std::fmt::Write;
use std::time::Duration;

use console::style;
use scenario::{Scenario, Transport};
use serde::Serialize;
use swarm::Bytes;

use super::dollars::Dollars;
use crate::cli::CheckArguments;
use crate::cost::PricesError;
use crate::live::{self, OfNodes};
use crate::machine;

/// A run over several machines, each of which is as large as was said, or as this one.
#[derive(Debug, Serialize)]
pub(super) struct Spread {
    workers: u32,
    #[serde(flatten)]
    takes: OfNodes,
    node_memory_bytes: Option<u64>,
    node_files: u64,
    dollars: Dollars,
    /// What does not fit, and what would help.
    does_not_fit: Vec<String>,
}

impl Spread {
    /// What `arguments` ask for; nothing where that is no run over several machines.
    ///
    /// # Errors
    /// Where there are no prices.
    pub(super) fn of(
        scenario: &Scenario,
        bound: Option<Duration>,
        arguments: &CheckArguments,
    ) -> Result<Option<Self>, PricesError> {
        let Some(workers) = arguments.workers else {
            return Ok(None);
        };
        let takes = live::of_nodes(scenario, workers);
        let memory = arguments.node_memory.or_else(|| Some(machine::free_memory()?.bytes));
        let mut spread = Self {
            workers,
            takes,
            node_memory_bytes: memory,
            node_files: arguments.node_files.unwrap_or_else(peer::raise_file_limit),
            dollars: Dollars::of(scenario, workers, bound, &arguments.dollars)?,
            does_not_fit: Vec::new(),
        };
        spread.does_not_fit = spread.refusals(scenario);
        Ok(Some(spread))
    }

    pub(super) fn fits(&self) -> bool {
        self.does_not_fit.is_empty()
    }

    fn refusals(&self, scenario: &Scenario) -> Vec<String> {
        let mut refusals = Vec::new();
        let takes = &self.takes;
        let hosts = scenario.host_count();
        if !matches!(scenario.network.transport, Transport::Tcp | Transport::Quic) {
            refusals.push("hosts on several machines need sockets; expected --set network.transport=tcp".to_owned());
        }
        if self.workers > hosts {
            refusals.push(format!(
                "{hosts} hosts are fewer than {} workers; expected --workers {hosts}",
                self.workers
            ));
        }
        // Each part of a node's need that grows with its hosts says how many workers would do.
        let would_do = |needed: u64, allowed: u64| {
            let workers = u64::from(self.workers).saturating_mul(needed).div_ceil(allowed.max(1));
            format!(
                "expected --workers {} or more",
                workers.max(u64::from(self.workers) + 1)
            )
        };
        if let Some(memory) = self
            .node_memory_bytes
            .filter(|memory| takes.worker_memory_bytes > *memory)
        {
            let (needed, has) = (Bytes::new(takes.worker_memory_bytes), Bytes::new(memory));
            let fixed = scenario.build_size().get();
            let advice = if memory > fixed {
                would_do(takes.worker_memory_bytes - fixed, memory - fixed)
            } else {
                "expected nodes that have room for the build".to_owned()
            };
            refusals.push(format!(
                "a worker takes {needed} of memory and a node has {has}; {advice}"
            ));
        }
        if takes.worker_files > self.node_files {
            let advice = would_do(takes.worker_files, self.node_files);
            refusals.push(format!(
                "a worker takes {} open files and {} are allowed; {advice}, or ulimit -n {}",
                takes.worker_files, self.node_files, takes.worker_files
            ));
        }
        if u64::from(takes.hosts_of_worker) > PORTS {
            let advice = would_do(takes.hosts_of_worker.into(), PORTS);
            refusals.push(format!(
                "a worker's {} hosts listen at one address, which has {PORTS} ports to choose from; {advice}",
                takes.hosts_of_worker
            ));
        }
        if takes.run_files > self.node_files {
            refusals.push(format!(
                "the run takes {} open files, for the seeders' ends of all connections, and {} are allowed; expected ulimit -n {}, fewer \
                 hosts, or fewer seeders",
                takes.run_files, self.node_files, takes.run_files
            ));
        }
        refusals
    }

    pub(super) fn text(&self) -> String {
        let takes = &self.takes;
        let mut text = format!("\n{}\n", style(format!("over {} workers", self.workers)).bold());
        let _ = writeln!(
            text,
            "  each worker  up to {} hosts: {} of memory, {} open files, {} connections",
            takes.hosts_of_worker,
            Bytes::new(takes.worker_memory_bytes),
            takes.worker_files,
            takes.worker_connections
        );
        let _ = writeln!(
            text,
            "  the run      the seeders: {} of memory, {} open files, {} connections",
            Bytes::new(takes.run_memory_bytes),
            takes.run_files,
            takes.run_connections
        );
        text.push_str(&self.dollars.text());
        for refusal in &self.does_not_fit {
            let _ = writeln!(text, "  {}: {refusal}", style("does not fit").red());
        }
        text
    }
}

/// Ports that Linux chooses from where none is asked for: 32768 to 60999.
const PORTS: u64 = 28_232;
