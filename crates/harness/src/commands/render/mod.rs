//! `harness render`: what an engine is given so that it starts a run and its workers. Placing, starting, ending and retrying are the engine's.
//!
//! Map: `kubernetes`, `slurm`, `batch` have a type for each thing that they write; `yaml` writes such things as text.

mod batch;
mod kubernetes;
mod slurm;
mod yaml;

use std::time::Duration;

use scenario::{Override, Scenario, Transport};

use super::print;
use crate::cli::{Engine, RenderArguments};
use crate::estimates;
use crate::exit::Exit;

/// What is rendered.
struct Rendered {
    name: String,
    workers: u32,
    image: Option<String>,
    is_in_one_zone: bool,
    program: String,
    /// As it was given.
    file: String,
    /// Its text.
    text: String,
    overrides: Vec<Override>,
    /// Bytes of memory of a worker, and of the run.
    memory: [u64; 2],
    /// Bytes of disk of the run.
    disk: u64,
    /// From the first worker to the last row.
    limit: Duration,
}

pub(crate) fn render(arguments: &RenderArguments) -> Exit {
    match rendered(arguments) {
        Ok(text) => {
            print(&text);
            Exit::Success
        }
        Err(message) => {
            say!("{message}");
            Exit::Usage
        }
    }
}

fn rendered(arguments: &RenderArguments) -> Result<String, String> {
    let own = |message: String| format!("harness: {message}");
    let rendered = Rendered::new(arguments)?;
    match arguments.engine {
        Engine::Kubernetes => kubernetes::render(&rendered).map_err(own),
        Engine::Slurm => slurm::render(&rendered).map_err(own),
        Engine::Batch => batch::render(&rendered).map_err(own),
    }
}

impl Rendered {
    fn new(arguments: &RenderArguments) -> Result<Self, String> {
        let own = |message: String| format!("harness: {message}");
        let options = arguments.set.options();
        let scenario = Scenario::load(&arguments.scenario, &options).map_err(|error| error.to_string())?;
        if !matches!(scenario.network.transport, Transport::Tcp | Transport::Quic) {
            return Err(own(
                "hosts on several machines need sockets; expected --set network.transport=tcp".to_owned(),
            ));
        }
        let hosts = scenario.host_count();
        if arguments.workers > hosts {
            return Err(own(format!(
                "{hosts} hosts are fewer than {} workers",
                arguments.workers
            )));
        }
        let text = std::fs::read_to_string(&arguments.scenario)
            .map_err(|error| own(format!("{}: {error}", arguments.scenario.display())))?;
        let of_worker = estimates::memory_of_hosts(&scenario, hosts.div_ceil(arguments.workers));
        let of_run = estimates::of_run(&scenario, None);
        let build = scenario.build_size().get();
        let name = arguments
            .name
            .clone()
            .unwrap_or_else(|| format!("fleetcast-{}", plain(&scenario.name)));
        if !is_label(&name) {
            return Err(own(format!(
                "--name {name}: expected up to 40 letters a to z, digits and dashes, a letter first and no dash last"
            )));
        }
        Ok(Self {
            name,
            workers: arguments.workers,
            image: arguments.image.clone(),
            is_in_one_zone: !arguments.any_zone,
            program: arguments.program.clone(),
            file: arguments.scenario.display().to_string(),
            text,
            overrides: arguments.set.overrides.clone(),
            // Half as much again as was measured, and what each process has besides.
            memory: [of_worker * 3 / 2 + OF_PROCESS, build * 2 + OF_PROCESS],
            disk: of_run.disk_bytes * 11 / 10 + OF_PROCESS,
            limit: scenario.time_limit() + AROUND_A_RUN,
        })
    }

    fn image(&self) -> Result<&str, String> {
        self.image
            .as_deref()
            .ok_or_else(|| "--image is missing; expected an image with the harness as its entry point".to_owned())
    }

    /// What the run is started with, besides where its key and its folder are.
    fn run_arguments(&self, scenario: &str, listen: &str) -> Vec<String> {
        let workers = self.workers.to_string();
        let fixed = [
            "run",
            scenario,
            "--workers",
            &workers,
            "--listen",
            listen,
            "--workers-within",
            WITHIN,
        ];
        let set = self.overrides.iter().flat_map(|set| ["--set".to_owned(), set.pair()]);
        fixed.into_iter().map(str::to_owned).chain(set).collect()
    }
}

/// A name of which engines make names of hosts.
fn is_label(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 40
        && name.chars().all(is_plain)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
}

fn plain(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let name: String = name.chars().map(plain).take(28).collect();
    name.trim_end_matches('-').to_owned()
}

/// Where the run awaits its workers.
const PORT: u16 = 7440;
/// Bytes of a process besides its hosts: runtime, clients, the embedded cloud.
const OF_PROCESS: u64 = 256 << 20;
/// Seconds that an engine may take until all have a place: it starts nodes for them.
const WITHIN: &str = "1800";
/// Until workers have come, hosts have joined, and the last row is written.
const AROUND_A_RUN: Duration = Duration::from_secs(45 * 60);

#[cfg(test)]
mod tests;
