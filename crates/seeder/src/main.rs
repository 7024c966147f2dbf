//! `seeder`: pulls a build from a bucket and seeds it to the hosts that join, or every build that a queue tells of, until it
//! is told to stop.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use cloud::{Buckets, Cloud, CloudConfig, chain};
use peer::{
    Clock, DirectoryServer, Endpoint, EndpointConfig, Limits, Multiaddr, NodeIdentity, SeededBuild, Shaping,
    TransportKind, host_of, log_to_stderr,
};
use pipeline::PipelineClients;
use seeder::{BuildFeed, BuildNotice, PullOptions, QueueFeed, RegionalSeeder, SeederOptions, Spool};
use swarm::{SeederConfig, SwarmId};
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
    /// the directory that hosts follow (`peer --directory`), in a line for each address at which it can be reached.
    #[arg(long, conflicts_with_all = ["bucket", "key"])]
    queue: Option<String>,
    /// Builds of a queue that are seeded at a time; the oldest gives way to the newest.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    builds_max: u16,
    /// Seconds after which the build of a seeder that died while pulling is taken up by another one.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(2..=43_200))]
    visible_after: u16,
    /// Where to listen: /ip4/0.0.0.0/tcp/4001, or /ip4/0.0.0.0/udp/4001/quic-v1. May be repeated. Without it at every address of
    /// this machine, at a port that is free. All builds of a queue and their directory share the port; hosts are started with the
    /// directory's address, so it wants one that stays.
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<Multiaddr>,
    /// Where hosts reach it, if not at the addresses at which it listens. May be repeated; names are fine.
    #[arg(long, value_name = "MULTIADDR")]
    advertise: Vec<Multiaddr>,
    /// Folder for the build while it is seeded. For a queue also for the key that proves who the directory is, and the list of builds that a
    /// seeder takes up again when it is restarted.
    #[arg(long, value_name = "FOLDER", default_value = "seeder-spool")]
    folder: PathBuf,
    /// Bytes of a chunk; chosen from the build's size where absent.
    #[arg(long, value_name = "BYTES")]
    chunk_size: Option<u32>,
    /// Which of the region's seeders this is, such as 1/2 for the first of two. All pull the build, and each begins with its part
    /// of the chunks; hosts are given the addresses of all.
    #[arg(long, value_name = "PART/PARTS", default_value = "1/1", value_parser = part)]
    part: (u32, u32),
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
    let endpoint = match Endpoint::start(endpoint_config(arguments, NodeIdentity::random())).await {
        Ok(endpoint) => endpoint,
        Err(error) => return fail(&error),
    };
    print_addresses(&endpoint);
    let seeder = start(arguments, &endpoint, SwarmId::ONLY);
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
    let directory = match DirectoryServer::start(endpoint_config(arguments, identity)).await {
        Ok(directory) => directory,
        Err(error) => return fail(&error),
    };
    print_addresses(directory.endpoint());
    let visible_after = Duration::from_secs(arguments.visible_after.into());
    let mut builds = Builds {
        arguments,
        buckets: cloud.buckets(),
        directory,
        seeding: Vec::new(),
    };
    builds.take_up_again().await;
    let mut feed = QueueFeed::new(queue, visible_after);
    while let Some(delivery) = feed.next().await {
        let told = match builds.take_up(&delivery.notice).await {
            Ok(()) => delivery.done().await,
            Err(error) => {
                tell_failure(&delivery.notice, error.as_ref());
                delivery.give_back(AGAIN_AFTER).await
            }
        };
        if let Err(error) = told {
            tracing::warn!(%error, "the queue tells of it again");
        }
    }
    ExitCode::SUCCESS
}

/// What the seeder of a queue seeds, the oldest first.
struct Builds<'a> {
    arguments: &'a Arguments,
    buckets: Buckets,
    directory: DirectoryServer,
    seeding: Vec<Seeding>,
}

struct Seeding {
    notice: BuildNotice,
    version: String,
    size: u64,
    /// Its part in the swarm, for as long as this is here.
    _swarm: RegionalSeeder,
}

impl Builds<'_> {
    /// Seeds a build, unless it does so already.
    async fn take_up(&mut self, notice: &BuildNotice) -> Result<(), Box<dyn std::error::Error>> {
        let version = self.buckets.head(&notice.bucket, &notice.key).await?.etag;
        let is_known = |known: &Seeding| known.notice == *notice && known.version == version;
        if self.seeding.iter().any(is_known) {
            return Ok(());
        }
        let swarm = SwarmId::of_build(&notice.key, &version);
        let seeder = start(self.arguments, self.directory.endpoint(), swarm);
        let pulled = seeder.pull(&self.buckets, notice).await?;
        let (version, size) = (pulled.object.etag.clone(), pulled.object.size);
        if let Some(address) = self.directory.endpoint().addresses().first() {
            print_line(&format!("{} {address}", notice.key));
        }
        seeder.seed(pulled);
        self.seeding.retain(|known| known.notice != *notice);
        self.seeding.push(Seeding {
            notice: notice.clone(),
            version,
            size,
            _swarm: seeder,
        });
        if self.seeding.len() > usize::from(self.arguments.builds_max) {
            self.seeding.remove(0);
        }
        let listed = self.seeding.iter().map(|build| SeededBuild {
            key: build.notice.key.clone(),
            version: build.version.clone(),
            seeders: self.directory.endpoint().addresses(),
            size: build.size,
        });
        self.directory.publish(listed.collect());
        // The queue does not tell of it again, so a seeder that is started again has to know by itself.
        let notices: Vec<&BuildNotice> = self.seeding.iter().map(|build| &build.notice).collect();
        if let Err(error) = keep(&self.arguments.folder, &notices) {
            tracing::warn!(%error, "after a restart the builds that are seeded now are not taken up again");
        }
        Ok(())
    }

    /// Seeds what it seeded before it was started again.
    async fn take_up_again(&mut self) {
        for notice in kept(&self.arguments.folder) {
            if let Err(error) = self.take_up(&notice).await {
                tell_failure(&notice, error.as_ref());
            }
        }
    }
}

fn tell_failure(notice: &BuildNotice, error: &(dyn std::error::Error + 'static)) {
    let (build, bucket) = (&notice.key, &notice.bucket);
    tracing::error!(build, bucket, "not seeded: {}", chain(error));
}

fn keep(folder: &Path, notices: &[&BuildNotice]) -> std::io::Result<()> {
    let (file, new) = (folder.join(SEEDING), folder.join(format!("{SEEDING}.new")));
    std::fs::create_dir_all(folder)?;
    std::fs::write(&new, serde_json::to_vec_pretty(notices)?)?;
    std::fs::rename(new, file)
}

fn kept(folder: &Path) -> Vec<BuildNotice> {
    let file = folder.join(SEEDING);
    let text = match std::fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "cannot be read; what was seeded before is not taken up again");
            return Vec::new();
        }
    };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::warn!(file = %file.display(), %error, "is no list of builds; what was seeded before is not taken up again");
        Vec::new()
    })
}

/// Where this process listens, for all builds.
fn endpoint_config(arguments: &Arguments, identity: NodeIdentity) -> EndpointConfig {
    let transport = arguments.listen.first().map_or(TransportKind::Tcp, TransportKind::of);
    let mut config = EndpointConfig::everywhere(identity, transport);
    if !arguments.listen.is_empty() {
        config.listen.clone_from(&arguments.listen);
    }
    config.advertise.clone_from(&arguments.advertise);
    config.connections = arguments.hosts_max;
    config
}

/// Says where hosts reach it, each address in a line: any of them, or all, are given to hosts.
fn print_addresses(endpoint: &Endpoint) {
    for address in endpoint.addresses() {
        print_line(&address.to_string());
    }
}

/// Starts the swarm of a build.
fn start(arguments: &Arguments, endpoint: &Endpoint, swarm: SwarmId) -> RegionalSeeder {
    let host = host_of(endpoint.peer_id());
    let mut core = SeederConfig::new(host);
    core.part = arguments.part;
    RegionalSeeder::join(
        endpoint,
        SeederOptions {
            swarm,
            core,
            shaping: Shaping::default(),
            limits: Limits::default(),
            seed: host.get(),
            clock: Clock::start(),
            pull: PullOptions {
                chunk_size: arguments.chunk_size,
                requests: 8,
                spool: Spool::Folder(arguments.folder.clone()),
            },
        },
    )
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

/// Name of the file with the builds that are seeded.
const SEEDING: &str = "seeding.json";
/// Name of the file with the directory's key.
const DIRECTORY_KEY: &str = "directory.key";
/// A build that could not be pulled is tried again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
