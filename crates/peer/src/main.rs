//! `peer`: joins a seeder's swarm, fetches its build to a file, and exits 0 when the file is in place; or follows a region's
//! directory and keeps a folder with every build that is seeded there, until it is told to stop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use cloud::{Cloud, CloudConfig, DeploymentLogWriter};
use peer::{
    Addresses, Clock, Directory, Endpoint, EndpointConfig, HostPlacement, Limits, Multiaddr, Node, NodeConfig,
    NodeIdentity, Observer, PeerId, Role, SeededBuild, Shaping, StoreError, StoreOpener, Traffic, TransportKind,
    deployment_log, host_of, log_to_stderr,
};
use swarm::{Contact, HostId, PeerConfig, SwarmId, Time, ZoneId};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Fetch a build, or every build of a region, from seeders and their swarms.
#[derive(Clone, Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// Address of the seeder with its peer id, as the seeder prints it: /ip4/10.0.0.1/tcp/4001/p2p/12D3… Given again for each
    /// seeder of the region, in the order of their parts.
    #[arg(long, value_name = "MULTIADDR", requires = "out")]
    seeder: Vec<Multiaddr>,
    /// Where the build goes. What an interrupted run left beside it is taken up again.
    #[arg(long, value_name = "FILE", requires = "seeder")]
    out: Option<PathBuf>,
    /// Instead of one build: the directory of builds that `seeder --queue` prints first. Every build that it lists is fetched, and
    /// served to others for as long as it is listed; KEY and PATH are printed when it is in place.
    #[arg(
        long,
        value_name = "MULTIADDR",
        required_unless_present = "seeder",
        conflicts_with = "seeder",
        requires = "folder"
    )]
    directory: Option<Multiaddr>,
    /// Where the builds of a directory go, each by its key.
    #[arg(long, value_name = "FOLDER", requires = "directory")]
    folder: Option<PathBuf>,
    /// Where to listen for other hosts; tcp or quic, as the seeder. May be repeated. Without it at every address of this machine, at
    /// a port that is free, or on the loopback interface where the seeder is there. All builds share the port.
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<Multiaddr>,
    /// Where other hosts reach this one, if not at the addresses at which it listens. May be repeated; names are fine.
    #[arg(long, value_name = "MULTIADDR")]
    advertise: Vec<Multiaddr>,
    /// Give up a build after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    timeout: u64,
    /// Keep serving other hosts for so many seconds after the file is in place.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, conflicts_with = "directory")]
    linger: u64,
    /// Write a row to host-deployment-logs, at the standard AWS environment's DynamoDB.
    #[arg(long)]
    log: bool,
    /// Endpoint of DynamoDB for the row.
    #[arg(long, value_name = "URL", requires = "log")]
    endpoint_url: Option<String>,
    /// This host's id in the row; its peer id where absent.
    #[arg(long, value_name = "ID")]
    host_id: Option<String>,
    /// This host's region in the row.
    #[arg(long, default_value = "unknown")]
    region: String,
    /// This host's availability zone: chunks come from hosts of the same zone where they can. Also in the row.
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
}

/// Why a build is not in place, and the exit code for that.
type Failure = (u8, String);

enum State {
    Fetching,
    Complete,
    Failed(String),
}

struct Progress(watch::Sender<State>);

impl Observer for Progress {
    fn complete(&self, _host: HostId, _at: Time, _traffic: Traffic) {
        self.0.send_replace(State::Complete);
    }

    fn failed(&self, _host: HostId, error: &StoreError) {
        let cause = std::error::Error::source(error)
            .map(|source| format!(": {source}"))
            .unwrap_or_default();
        self.0.send_replace(State::Failed(
            format!("failed to {error}{cause}").replace("failed to failed to", "failed to"),
        ));
    }
}

fn main() -> ExitCode {
    log_to_stderr("warn");
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail((4, format!("failed to start the runtime: {error}"))),
    };
    runtime.block_on(run(arguments))
}

async fn run(arguments: Arguments) -> ExitCode {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return fail((4, "failed to listen for signals".to_owned()));
    };
    let stopped = async move {
        tokio::select! {
            _ = interrupt.recv() => (130, "interrupted; run it again to go on".to_owned()),
            _ = terminate.recv() => (143, "terminated; run it again to go on".to_owned()),
        }
    };
    match (&arguments.directory, &arguments.folder, &arguments.out) {
        (Some(directory), Some(folder), _) => {
            let failure = tokio::select! {
                failure = follow(&arguments, directory, folder) => failure,
                stopped = stopped => stopped,
            };
            fail(failure)
        }
        (_, _, Some(out)) => {
            let seeders = match Addresses::by_peer(&arguments.seeder) {
                Ok(seeders) => seeders,
                Err(error) => return fail((2, format!("--seeder {error}"))),
            };
            let endpoint = match start_endpoint(&arguments, &seeders).await {
                Ok(endpoint) => endpoint,
                Err(failure) => return fail(failure),
            };
            let fetched = fetch(&arguments, &endpoint, SwarmId::ONLY, &seeders, out, stopped).await;
            match fetched {
                Ok(_serving) => {
                    tokio::time::sleep(Duration::from_secs(arguments.linger)).await;
                    ExitCode::SUCCESS
                }
                Err(failure) => fail(failure),
            }
        }
        _ => fail((
            2,
            "expected --seeder with --out, or --directory with --folder".to_owned(),
        )),
    }
}

/// Fetches what the directory lists, each build in a task of its own, for as long as it is listed there.
async fn follow(arguments: &Arguments, address: &Multiaddr, folder: &Path) -> Failure {
    let addresses = match Addresses::of([address]) {
        Ok(addresses) => addresses,
        Err(error) => return (2, format!("--directory {error}")),
    };
    let endpoint = match start_endpoint(arguments, &[addresses.clone()]).await {
        Ok(endpoint) => endpoint,
        Err(failure) => return failure,
    };
    let mut directory = match Directory::follow(addresses) {
        Ok(directory) => directory,
        Err(error) => return (4, cloud::chain(&error)),
    };
    let mut hosts: BTreeMap<String, (SeededBuild, Fetching)> = BTreeMap::new();
    while let Some(builds) = directory.changed().await {
        // One that is seeded elsewhere now, or is another version, begins again: what is in place is found so.
        hosts.retain(|_, (build, _)| builds.contains(build));
        for build in builds {
            if hosts.contains_key(&build.key) {
                continue;
            }
            let Some(out) = place_of(folder, &build.key) else {
                tracing::error!(key = build.key, "leads out of the folder; the build is not fetched");
                continue;
            };
            let task = tokio::spawn(keep_trying(arguments.clone(), endpoint.clone(), build.clone(), out));
            hosts.insert(build.key.clone(), (build, Fetching(task)));
        }
    }
    (4, "the directory is not followed any more".to_owned())
}

/// Ends with its handle.
struct Fetching(JoinHandle<()>);

impl Drop for Fetching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Fetches a build, again where that fails, and serves it.
async fn keep_trying(arguments: Arguments, endpoint: Endpoint, build: SeededBuild, out: PathBuf) {
    loop {
        match fetch_listed(&arguments, &endpoint, &build, &out).await {
            Ok(_serving) => {
                print_line(&format!("{} {}", build.key, out.display()));
                std::future::pending::<()>().await;
            }
            Err((_, message)) => {
                tracing::error!(key = build.key, "not in place: {message}; trying again");
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }
}

/// Fetches a build of the directory.
async fn fetch_listed(
    arguments: &Arguments,
    endpoint: &Endpoint,
    build: &SeededBuild,
    out: &Path,
) -> Result<Node, Failure> {
    let seeders = Addresses::by_peer(&build.seeders).map_err(|error| (2, format!("its seeder {error}")))?;
    let (swarm, stopped) = (build.swarm(), std::future::pending());
    fetch(arguments, endpoint, swarm, &seeders, out, stopped).await
}

/// The file of a build by its key, below `folder`.
fn place_of(folder: &Path, key: &str) -> Option<PathBuf> {
    let is_name = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    key.split('/').all(is_name).then(|| folder.join(key))
}

/// Starts what this process listens with, for all builds that it fetches.
async fn start_endpoint(arguments: &Arguments, seeders: &[Addresses]) -> Result<Endpoint, Failure> {
    let (identity, transport) = (NodeIdentity::random(), transport_to(seeders));
    let mut config = EndpointConfig::everywhere(identity.clone(), transport.clone());
    if !arguments.listen.is_empty() {
        config.listen.clone_from(&arguments.listen);
    } else if seeders.iter().all(Addresses::is_on_loopback) {
        config = EndpointConfig::on_loopback(identity, transport);
    }
    config.advertise.clone_from(&arguments.advertise);
    Endpoint::start(config).await.map_err(|error| (4, cloud::chain(&error)))
}

/// As the first of the addresses says.
fn transport_to(seeders: &[Addresses]) -> TransportKind {
    let first = seeders.first().and_then(|seeder| seeder.at().first());
    first.map_or(TransportKind::Tcp, TransportKind::of)
}

/// Fetches a build to `out` and writes its row. The node that is the result serves it to others until it is dropped.
async fn fetch(
    arguments: &Arguments,
    endpoint: &Endpoint,
    swarm: SwarmId,
    seeders: &[Addresses],
    out: &Path,
    stopped: impl Future<Output = Failure>,
) -> Result<Node, Failure> {
    let contacts: Vec<Contact> = seeders
        .iter()
        .map(|seeder| Contact {
            host: host_of(seeder.peer()),
            address: seeder.encode(),
        })
        .collect();
    let peer_id = endpoint.peer_id();
    let host = host_of(peer_id);
    let zone = arguments.zone.as_deref().map(ZoneId::named);
    let (sender, mut state) = watch::channel(State::Fetching);
    let started = Instant::now();
    let node = endpoint.join(NodeConfig {
        swarm,
        host,
        shaping: Shaping::default(),
        limits: Limits::default(),
        store: StoreOpener::on_disk(out.to_owned()),
        role: Role::Host(Box::new(move |address| PeerConfig {
            zone,
            ..PeerConfig::with_seeders(host, address, contacts)
        })),
        seed: host.get(),
        clock: Clock::start(),
        observer: Arc::new(Progress(sender)),
    });
    let done = state.wait_for(|state| !matches!(state, State::Fetching));
    let failure = tokio::select! {
        done = done => match done.as_deref() {
            Ok(State::Complete) => None,
            Ok(State::Failed(error)) => Some((4, error.clone())),
            Ok(State::Fetching) | Err(_) => Some((4, "the node has ended".to_owned())),
        },
        () = tokio::time::sleep(Duration::from_secs(arguments.timeout)) => {
            let report = node.report();
            let held = format!("{} of {} chunks", report.chunks_held, report.chunks_total);
            Some((3, format!("not complete after {} s: {held}, {} neighbours", arguments.timeout, report.neighbours)))
        }
        stopped = stopped => Some(stopped),
    };
    if arguments.log {
        let error = failure.as_ref().map(|(_, error)| error.clone());
        write_row(arguments, &node, peer_id, started.elapsed(), error).await?;
    }
    match failure {
        Some(failure) => Err(failure),
        None => Ok(node),
    }
}

async fn write_row(
    arguments: &Arguments,
    node: &Node,
    peer_id: PeerId,
    took: Duration,
    error: Option<String>,
) -> Result<(), Failure> {
    let placement = HostPlacement {
        host_id: arguments.host_id.clone().unwrap_or_else(|| peer_id.to_string()),
        region: arguments.region.clone(),
        zone: arguments.zone.clone().unwrap_or_else(|| "unknown".to_owned()),
    };
    let endpoint = arguments.endpoint_url.as_deref();
    let config = endpoint.map(CloudConfig::at).unwrap_or_default();
    let writer = DeploymentLogWriter::start(Cloud::connect(&config).await.deployment_logs());
    let build = node.build_id().unwrap_or_else(|| "unknown".to_owned());
    let row = deployment_log(&placement, &build, took, &node.report(), error);
    writer.write(row).await;
    match writer.finish().await.failed.first() {
        Some(lost) => Err((4, format!("the row was not written: {}", lost.error))),
        None => Ok(()),
    }
}

#[expect(
    clippy::print_stdout,
    reason = "what is in place is this program's result: whoever started it waits for that"
)]
fn print_line(line: &str) {
    println!("{line}");
}

fn fail((code, message): Failure) -> ExitCode {
    eprintln!("peer: {message}");
    ExitCode::from(code)
}

/// A build that could not be fetched is tried again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
