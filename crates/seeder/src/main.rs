//! `seeder`: pulls a build from a bucket and seeds it to the hosts that join, or every build that a queue tells of, until it
//! is told to stop.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use cloud::{Buckets, Cloud, CloudConfig, chain};
use peer::{
    Clock, DirectoryServer, Limits, Multiaddr, NodeIdentity, SeededBuild, Shaping, TransportKind, log_to_stderr,
};
use seeder::{BuildFeed, BuildNotice, PullOptions, QueueFeed, RegionalSeeder, SeederOptions, Spool};
use swarm::SeederConfig;
use tokio::signal::unix::{SignalKind, signal};

/// Seed a build from a regional bucket.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// The regional bucket.
    #[arg(long, required_unless_present = "queue", requires = "key")]
    bucket: Option<String>,
    /// The build's key.
    #[arg(long, requires = "bucket")]
    key: Option<String>,
    /// Instead of one build: the queue that tells of builds, such as region-a-builds-events. The first line printed is the address of
    /// the directory that hosts follow (`peer --directory`); each build gets a swarm and an address of its own, printed as
    /// KEY ADDRESS.
    #[arg(long, conflicts_with_all = ["bucket", "key"])]
    queue: Option<String>,
    /// Builds of a queue that are seeded at a time; the oldest gives way to the newest.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    builds_max: u16,
    /// Seconds after which the build of a seeder that died while pulling is taken up by another one.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(2..=43_200))]
    visible_after: u16,
    /// Where the directory of a queue listens; hosts are started with this address, so it wants a port that stays.
    #[arg(
        long,
        value_name = "MULTIADDR",
        default_value = "/ip4/127.0.0.1/tcp/0",
        requires = "queue"
    )]
    directory_listen: Multiaddr,
    /// Where hosts reach the directory, if not where it listens.
    #[arg(long, value_name = "MULTIADDR", requires = "queue")]
    directory_advertise: Option<Multiaddr>,
    /// Where to listen: /ip4/0.0.0.0/tcp/4001, or /ip4/0.0.0.0/udp/4001/quic-v1. For a queue, with port 0.
    #[arg(long, value_name = "MULTIADDR", default_value = "/ip4/127.0.0.1/tcp/0")]
    listen: Multiaddr,
    /// Where hosts reach it, if not where it listens.
    #[arg(long, value_name = "MULTIADDR")]
    advertise: Option<Multiaddr>,
    /// Folder for the build while it is seeded, and for the key that proves who the directory is.
    #[arg(long, value_name = "FOLDER", default_value = "seeder-spool")]
    folder: PathBuf,
    /// Bytes of a chunk; chosen from the build's size where absent.
    #[arg(long, value_name = "BYTES")]
    chunk_size: Option<u32>,
    /// Which of the region's seeders this is, such as 1/2 for the first of two. All pull the build, and each begins with its part
    /// of the chunks; hosts are given the addresses of all.
    #[arg(long, value_name = "PART/PARTS", default_value = "1/1", value_parser = part)]
    part: (u32, u32),
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
    log_to_stderr("info");
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    runtime.block_on(run(arguments))
}

async fn run(arguments: Arguments) -> ExitCode {
    let config = CloudConfig::at_or_environment(arguments.endpoint_url.as_deref());
    let cloud = Cloud::connect(&config).await;
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        eprintln!("seeder: failed to listen for signals");
        return ExitCode::from(4);
    };
    let work = async {
        match (&arguments.bucket, &arguments.key, &arguments.queue) {
            (Some(bucket), Some(key), _) => {
                let notice = BuildNotice {
                    bucket: bucket.clone(),
                    key: key.clone(),
                };
                seed_one(&arguments, &cloud.buckets(), &notice).await
            }
            (_, _, Some(queue)) => seed_all(&arguments, &cloud, queue).await,
            _ => ExitCode::from(2), // The command line does not let it come to this.
        }
    };
    tokio::select! {
        exit = work => exit,
        _ = interrupt.recv() => ExitCode::from(130),
        _ = terminate.recv() => ExitCode::from(143),
    }
}

/// Seeds one build until it is told to stop. Hosts can join before the build is here.
async fn seed_one(arguments: &Arguments, buckets: &Buckets, notice: &BuildNotice) -> ExitCode {
    let seeder = match start(arguments).await {
        Ok(seeder) => seeder,
        Err(error) => return fail(&error),
    };
    print_line(&seeder.address().to_string());
    match seeder.pull(buckets, notice).await {
        Ok(pulled) => seeder.seed(pulled),
        Err(error) => return fail(&error),
    }
    std::future::pending().await
}

/// Seeds what the queue tells of. A build that cannot be pulled goes back to it, and after some times into its dead-letter
/// queue.
async fn seed_all(arguments: &Arguments, cloud: &Cloud, queue: &str) -> ExitCode {
    let queue = match cloud.queues().named(queue).await {
        Ok(queue) => queue,
        Err(error) => return fail(&error),
    };
    let key = arguments.folder.join(DIRECTORY_KEY);
    let identity = match NodeIdentity::kept_in(&key) {
        Ok(identity) => identity,
        Err(error) => {
            eprintln!("seeder: {}: {error}", key.display());
            return ExitCode::from(4);
        }
    };
    let transport = TransportKind::of(&arguments.directory_listen);
    let (listen, advertise) = (
        arguments.directory_listen.clone(),
        arguments.directory_advertise.clone(),
    );
    let directory = match DirectoryServer::start(&identity, &transport, listen, advertise).await {
        Ok(directory) => directory,
        Err(error) => return fail(&error),
    };
    print_line(&directory.address().to_string());
    let visible_after = Duration::from_secs(arguments.visible_after.into());
    let (mut feed, buckets) = (QueueFeed::new(queue, visible_after), cloud.buckets());
    let mut seeding: Vec<(BuildNotice, String, RegionalSeeder)> = Vec::new();
    while let Some(delivery) = feed.next().await {
        let notice = delivery.notice.clone();
        let pulled = async {
            let seeder = start(arguments).await?;
            let pulled = seeder.pull(&buckets, &notice).await?;
            Ok::<_, Box<dyn std::error::Error>>((seeder, pulled))
        };
        let told = match pulled.await {
            Ok((seeder, pulled)) => {
                let etag = pulled.object.etag.clone();
                // The same version, told again, keeps the swarm that it has.
                if !seeding
                    .iter()
                    .any(|(other, version, _)| *other == notice && *version == etag)
                {
                    print_line(&format!("{} {}", notice.key, seeder.address()));
                    seeder.seed(pulled);
                    seeding.retain(|(other, _, _)| *other != notice);
                    seeding.push((notice, etag, seeder));
                    if seeding.len() > usize::from(arguments.builds_max) {
                        seeding.remove(0);
                    }
                    let listed = seeding.iter().map(|(notice, etag, seeder)| SeededBuild {
                        key: notice.key.clone(),
                        version: etag.clone(),
                        seeders: vec![seeder.address().clone()],
                    });
                    directory.publish(listed.collect());
                }
                delivery.done().await
            }
            Err(error) => {
                tracing::error!(
                    build = notice.key,
                    bucket = notice.bucket,
                    "not seeded: {}",
                    chain(error.as_ref())
                );
                delivery.give_back(AGAIN_AFTER).await
            }
        };
        if let Err(error) = told {
            tracing::warn!(%error, "the queue tells of it again");
        }
    }
    ExitCode::SUCCESS
}

async fn start(arguments: &Arguments) -> Result<RegionalSeeder, peer::NodeError> {
    let identity = NodeIdentity::random();
    let mut core = SeederConfig::new(identity.host());
    core.degree = arguments.degree;
    core.part = arguments.part;
    RegionalSeeder::start(SeederOptions {
        seed: identity.host().get(),
        identity,
        core,
        transport: TransportKind::of(&arguments.listen),
        listen: arguments.listen.clone(),
        advertise: arguments.advertise.clone(),
        shaping: Shaping::default(),
        limits: Limits {
            connections: arguments.hosts_max,
            ..Limits::default()
        },
        clock: Clock::start(),
        pull: PullOptions {
            chunk_size: arguments.chunk_size,
            requests: 8,
            spool: Spool::Folder(arguments.folder.clone()),
        },
    })
    .await
}

/// The part as a number from 0, and how many there are.
fn part(text: &str) -> Result<(u32, u32), String> {
    let numbers = text.split_once('/').and_then(|(part, parts)| {
        let (part, parts): (u32, u32) = (part.parse().ok()?, parts.parse().ok()?);
        (1..=parts).contains(&part).then(|| (part - 1, parts))
    });
    numbers.ok_or_else(|| "expected a part of how many, such as 1/2".to_owned())
}

#[expect(
    clippy::print_stdout,
    reason = "addresses are this program's result: peers are started with them"
)]
fn print_line(line: &str) {
    println!("{line}");
}

fn fail(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    eprintln!("seeder: {}", chain(error));
    ExitCode::from(4)
}

/// Name of the file with the directory's key.
const DIRECTORY_KEY: &str = "directory.key";
/// A build that could not be pulled is tried again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
