//! `seeder`: pulls a build from a bucket and seeds it to the hosts that join, until it is told to stop.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use cloud::{Cloud, CloudConfig};
use peer::{Clock, Limits, Multiaddr, NodeIdentity, Shaping, TransportKind};
use seeder::{BuildNotice, ChannelFeed, PullOptions, RegionalSeeder, SeederOptions, Spool};
use swarm::SeederConfig;
use tokio::signal::unix::{SignalKind, signal};

/// Seed a build from a regional bucket.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// The regional bucket.
    #[arg(long)]
    bucket: String,
    /// The build's key.
    #[arg(long)]
    key: String,
    /// Where to listen: /ip4/0.0.0.0/tcp/4001, or /ip4/0.0.0.0/udp/4001/quic-v1.
    #[arg(long, value_name = "MULTIADDR", default_value = "/ip4/127.0.0.1/tcp/0")]
    listen: Multiaddr,
    /// Where hosts reach it, if not where it listens.
    #[arg(long, value_name = "MULTIADDR")]
    advertise: Option<Multiaddr>,
    /// Folder for the build while it is seeded.
    #[arg(long, value_name = "FOLDER", default_value = "seeder-spool")]
    folder: PathBuf,
    /// Bytes of a chunk; chosen from the build's size where absent.
    #[arg(long, value_name = "BYTES")]
    chunk_size: Option<u32>,
    /// Neighbours of each host.
    #[arg(long, default_value_t = 12)]
    degree: u16,
    /// Hosts that may be connected.
    #[arg(long, default_value_t = 100_000)]
    hosts_max: u32,
    /// Endpoint of S3; the standard AWS environment's where absent.
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_env("RUST_LOG").unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    runtime.block_on(run(arguments))
}

async fn run(arguments: Arguments) -> ExitCode {
    let is_quic = arguments.listen.to_string().contains("/quic-v1");
    let identity = NodeIdentity::random();
    let mut core = SeederConfig::new(identity.host());
    core.degree = arguments.degree;
    let started = RegionalSeeder::start(SeederOptions {
        seed: identity.host().get(),
        identity,
        core,
        transport: if is_quic {
            TransportKind::Quic
        } else {
            TransportKind::Tcp
        },
        listen: arguments.listen,
        advertise: arguments.advertise,
        shaping: Shaping::default(),
        limits: Limits {
            connections: arguments.hosts_max,
            ..Limits::default()
        },
        clock: Clock::start(),
        pull: PullOptions {
            chunk_size: arguments.chunk_size,
            requests: 8,
            spool: Spool::Folder(arguments.folder),
        },
    });
    let seeder = match started.await {
        Ok(seeder) => seeder,
        Err(error) => return fail(&error),
    };
    print_address(&seeder);
    let config = arguments
        .endpoint_url
        .as_deref()
        .map(CloudConfig::at)
        .unwrap_or_default();
    let buckets = Cloud::connect(&config).await.buckets();
    let (notices, mut feed) = ChannelFeed::new();
    let notice = BuildNotice {
        bucket: arguments.bucket,
        key: arguments.key,
    };
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        eprintln!("seeder: failed to listen for signals");
        return ExitCode::from(4);
    };
    let work = async {
        // The feed has room for its first notice.
        let _ = notices.send(notice).await;
        let (pulled, delivery) = seeder.pull_from(&buckets, &mut feed).await?;
        seeder.seed(pulled);
        if let Err(error) = delivery.done().await {
            tracing::warn!(%error, "the build will be delivered again");
        }
        std::future::pending::<Result<(), seeder::SeedError>>().await
    };
    tokio::select! {
        result = work => match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        },
        _ = interrupt.recv() => ExitCode::from(130),
        _ = terminate.recv() => ExitCode::from(143),
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the address is this program's result: peers are started with it"
)]
fn print_address(seeder: &RegionalSeeder) {
    println!("{}", seeder.address());
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    eprintln!("seeder: {text}");
    ExitCode::from(4)
}
