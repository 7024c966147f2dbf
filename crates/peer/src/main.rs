//! `peer`: joins a seeder's swarm, fetches its build to a file, and exits 0 when the file is in place.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use cloud::{Cloud, CloudConfig, DeploymentLogWriter};
use peer::{
    Clock, HostPlacement, Limits, Multiaddr, Node, NodeConfig, NodeIdentity, Observer, PeerId, Role, Shaping,
    StoreError, StoreKind, Traffic, TransportKind, deployment_log, host_of,
};
use swarm::{Contact, HostId, PeerConfig, Time, ZoneId};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Fetch a build from a seeder and its swarm.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// Address of the seeder with its peer id, as the seeder prints it: /ip4/10.0.0.1/tcp/4001/p2p/12D3… Given again for each
    /// seeder of the region, in the order of their parts.
    #[arg(long, value_name = "MULTIADDR", required = true)]
    seeder: Vec<Multiaddr>,
    /// Where the build goes. What an interrupted run left beside it is taken up again.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Where to listen for other hosts; tcp or quic, as the seeder.
    #[arg(long, value_name = "MULTIADDR")]
    listen: Option<Multiaddr>,
    /// Where other hosts reach this one, if not where it listens.
    #[arg(long, value_name = "MULTIADDR")]
    advertise: Option<Multiaddr>,
    /// Give up after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    timeout: u64,
    /// Keep serving other hosts for so many seconds after the file is in place.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
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
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_env("RUST_LOG").unwrap_or_else(|_| "warn".into()))
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(4, &format!("failed to start the runtime: {error}")),
    };
    runtime.block_on(run(arguments))
}

async fn run(arguments: Arguments) -> ExitCode {
    let mut seeders = Vec::new();
    for address in &arguments.seeder {
        let Some(seeder) = peer_of(address) else {
            let message = format!("--seeder {address}: expected an address that ends with /p2p/<peer id>");
            return fail(2, &message);
        };
        seeders.push(Contact {
            host: host_of(seeder),
            address: address.to_vec().into(),
        });
    }
    let first = arguments.seeder.first().map(ToString::to_string).unwrap_or_default();
    let is_quic = first.contains("/quic-v1");
    let (transport, listen) = if is_quic {
        (TransportKind::Quic, "/ip4/0.0.0.0/udp/0/quic-v1")
    } else {
        (TransportKind::Tcp, "/ip4/0.0.0.0/tcp/0")
    };
    let loopback = first.starts_with("/ip4/127.");
    let listen = if loopback {
        listen.replace("0.0.0.0", "127.0.0.1")
    } else {
        listen.to_owned()
    };
    let Ok(listen) = arguments.listen.map_or_else(|| listen.parse(), Ok) else {
        return fail(2, "no address to listen on");
    };
    let identity = NodeIdentity::random();
    let host = identity.host();
    let host_id = arguments.host_id.unwrap_or_else(|| identity.peer_id().to_string());
    let zone = arguments.zone.as_deref().map(ZoneId::named);
    let (sender, mut state) = watch::channel(State::Fetching);
    let started = Instant::now();
    let node = Node::start(NodeConfig {
        identity,
        host,
        transport,
        listen,
        advertise: arguments.advertise,
        shaping: Shaping::default(),
        limits: Limits::default(),
        store: StoreKind::Disk(arguments.out.clone()),
        role: Role::Host(Box::new(move |address| PeerConfig {
            zone,
            ..PeerConfig::with_seeders(host, address.into(), seeders)
        })),
        seed: host.get(),
        clock: Clock::start(),
        observer: Arc::new(Progress(sender)),
    })
    .await;
    let node = match node {
        Ok(node) => node,
        Err(error) => return fail(4, &cloud::chain(&error)),
    };
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return fail(4, "failed to listen for signals");
    };
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
        _ = interrupt.recv() => Some((130, "interrupted; run it again to go on".to_owned())),
        _ = terminate.recv() => Some((143, "terminated; run it again to go on".to_owned())),
    };
    if arguments.log {
        let placement = HostPlacement {
            host_id,
            region: arguments.region,
            zone: arguments.zone.unwrap_or_else(|| "unknown".to_owned()),
        };
        let config = arguments
            .endpoint_url
            .as_deref()
            .map(CloudConfig::at)
            .unwrap_or_default();
        let writer = DeploymentLogWriter::start(Cloud::connect(&config).await.deployment_logs());
        let error = failure.as_ref().map(|(_, error)| error.clone());
        let build = node.build_id().unwrap_or_else(|| "unknown".to_owned());
        writer
            .write(deployment_log(
                &placement,
                &build,
                started.elapsed(),
                &node.report(),
                error,
            ))
            .await;
        if let Some(lost) = writer.finish().await.failed.first() {
            return fail(4, &format!("the row was not written: {}", lost.error));
        }
    }
    match failure {
        Some((code, message)) => fail(code, &message),
        None => {
            tokio::time::sleep(Duration::from_secs(arguments.linger)).await;
            ExitCode::SUCCESS
        }
    }
}

fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    let text = address.to_string();
    text.rsplit_once("/p2p/")?.1.parse().ok()
}

fn fail(code: u8, message: &str) -> ExitCode {
    eprintln!("peer: {message}");
    ExitCode::from(code)
}
