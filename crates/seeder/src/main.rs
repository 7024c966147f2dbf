//! `seeder`: pulls a build from a bucket and seeds it to the hosts that join, or every build that a queue tells of, until it
//! is told to stop.

mod configuration;
mod run_queue;
mod signals;
mod status;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory as _, Parser};
use cloud::{Buckets, Cloud, CloudConfig};
use configuration::Configuration;
use peer::{
    Clock, Endpoint, EndpointConfig, HttpAddress, Limits, MemberArguments, Members, Multiaddr, NodeIdentity, Notifier,
    OPEN_SWARM, RateSchedule, Shaping, SharedLink, TrafficClass, TransportKind, agent_runtime, connections_within,
    host_of, raise_file_limit,
};
use program::{Exit, LogFormat, chain, log_to_stderr};
use seeder::{
    BuildNotice, GetTurns, PullError, PullOptions, Pulled, RegionalSeeder, SeedError, SeederOptions, Spool,
    SpoolFolder, SpoolLimits, adopt, pull_object,
};
use signals::Signals;
use signing::TrustedKeys;
use swarm::{ByteRate, Part, SeederConfig, SwarmId};

/// Whose builds are seeded; everybody's where absent.
type Trust = Option<Arc<TrustedKeys>>;

/// Seed a build from a regional bucket.
#[derive(Clone, Debug, Parser)]
#[command(version, about, after_help = COMMANDS)]
struct Arguments {
    /// A file that says what flags do not: each flag is a key of it. Where nobody names one /etc/fleetcast/seeder.toml, if it is there. A
    /// variable FLEETCAST_SEEDER_QUEUE or the like comes before the file, and a flag before both. `seeder check` says what holds.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The regional bucket.
    #[arg(long, required_unless_present_any = ["queue", "print_id"], requires = "key")]
    bucket: Option<String>,
    /// The build's key.
    #[arg(long, requires = "bucket")]
    key: Option<String>,
    /// Instead of one build: the queue that tells of builds, such as region-a-builds-events. The first line printed is the address of
    /// the directory that hosts follow (`peer --directory`), in a line for each address at which it can be reached. One seeder to a
    /// queue: of two each would hear of half the builds, and its hosts would get those only. A second one is for when the first dies.
    #[arg(long, conflicts_with_all = ["bucket", "key"])]
    queue: Option<String>,
    /// Builds of a queue that are seeded at a time. One gives way when all hosts have it or its key has a newer version; until then
    /// others wait.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=64))]
    builds_max: u16,
    /// Seconds for which a build is seeded whatever waits, and for as long after a host has come for it or has it.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    seed_at_least: u16,
    /// Seconds after which a build that a host cannot finish gives way, if nothing of it was sent meanwhile.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u32).range(1..))]
    give_up_after: u32,
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
    /// Folder for builds: what is in it is not pulled again by a seeder that is restarted. One seeder at a time has it. For a
    /// queue also for the key that proves who the directory is.
    #[arg(long, value_name = "FOLDER", default_value = "seeder-spool")]
    folder: PathBuf,
    /// Bytes that builds take in the folder at most; what the disk has where absent. Builds that are not seeded any more make
    /// room, the oldest first.
    #[arg(long, value_name = "BYTES")]
    spool_max: Option<u64>,
    /// Bytes of a chunk; chosen from the build's size where absent.
    #[arg(long, value_name = "BYTES")]
    chunk_size: Option<u32>,
    /// Which of the region's seeders this is, such as 1/2 for the first of two. All pull the build, and each begins with its part
    /// of the chunks; hosts are given the addresses of all. Not for a queue, whose messages reach one seeder each.
    #[arg(long, value_name = "PART/PARTS", default_value = "1/1", value_parser = part)]
    part: Part,
    /// Payload that is sent at most, of all builds together, such as "10 Gbit/s"; no limit where absent, or "none". With times of day, of UTC:
    /// "none, 08:00-18:00 2 Gbit/s".
    #[arg(long, value_name = "RATE", value_parser = rate)]
    upload_rate: Option<RateSchedule>,
    /// The class of traffic (DSCP) of what is sent to hosts over TCP, such as le, cs1 or a number from 0 to 63, for switches that know classes. QUIC
    /// sets these bits itself.
    #[arg(long, value_name = "CLASS")]
    traffic_class: Option<TrafficClass>,
    /// Where /metrics, /healthz, /readyz and /status are answered over HTTP: an address with its port, or unix:PATH for who may write to
    /// that socket. May be repeated. Nobody is asked who they are: not for the open network.
    #[arg(long, value_name = "ADDRESS", requires = "queue")]
    http: Vec<HttpAddress>,
    /// How lines on stderr are written: for people, or an object of JSON each.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
    /// Hosts that may be connected.
    #[arg(long, default_value_t = 100_000)]
    hosts_max: u32,
    /// Seed only builds that are signed with a key of this file: a public key in a line, as `harness keygen` writes it, and two while
    /// one takes the place of the other. Hosts decide for themselves. Without it whatever is in the bucket is seeded.
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    #[command(flatten)]
    belonging: MemberArguments,
    /// Write the rows that the directory's hosts hand over to host-deployment-logs, each in the name that its host has proven: hosts need no
    /// credentials then.
    #[arg(long, requires = "queue")]
    log: bool,
    /// The stage whose table is meant, such as prod: host-deployment-logs-prod. Without it the table of a local stack, which has no
    /// stage.
    #[arg(
        long,
        value_name = "STAGE",
        default_value = "",
        hide_default_value = true,
        requires = "log"
    )]
    stage: String,
    /// The AWS region of that table, where this seeder is in another one: all regions of a fleet write to one table.
    #[arg(long, value_name = "AWS_REGION", requires = "log")]
    log_region: Option<String>,
    /// Endpoint of S3, and of the other services; the standard AWS environment's where absent.
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,
}

fn main() -> ExitCode {
    let flags: Vec<OsString> = std::env::args_os().skip(1).collect();
    match flags.first().and_then(|first| first.to_str()) {
        Some("check") => return configuration::check(&flags[1..]),
        Some("status") => return status::status(&flags[1..]),
        _ => {}
    }
    let configuration = match Configuration::read(&flags) {
        Ok(configuration) => configuration,
        Err(exit) => return exit,
    };
    let arguments = &configuration.arguments;
    log_to_stderr("info,libp2p_swarm=warn", arguments.log_format);
    if arguments.queue.is_some() && !arguments.part.is_whole() {
        let message = "--part is for seeders of one build: a seeder of a --queue has hosts of its own, for which it seeds all \
            of it";
        Arguments::command()
            .error(clap::error::ErrorKind::ArgumentConflict, message)
            .exit();
    }
    let runtime = match agent_runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let exit = runtime.block_on(Box::pin(run(configuration)));
    // Whoever waits for a disk or for S3 is not waited for: what counts is written down already.
    runtime.shutdown_background();
    exit
}

async fn run(configuration: Configuration) -> ExitCode {
    let arguments = &configuration.arguments.clone();
    if arguments.belonging.print_id {
        return print_id(arguments);
    }
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return fail(&error),
    };
    let limits = SpoolLimits {
        bytes_max: arguments.spool_max,
    };
    let folder = match SpoolFolder::open(&arguments.folder, limits) {
        Ok(folder) => folder,
        Err(error) => return fail(&error),
    };
    let trust = match &arguments.trust {
        Some(file) => match TrustedKeys::read(file) {
            Ok(keys) => Some(Arc::new(keys)),
            Err(error) => {
                program::say!("seeder: --trust {}", chain(&error));
                return ExitCode::from(Exit::Usage);
            }
        },
        None => {
            program::say!(
                "seeder: whatever is in the bucket is believed; with --trust only what is signed with a key of that file"
            );
            None
        }
    };
    let config = CloudConfig::at_or_environment(arguments.endpoint_url.as_deref());
    let cloud = Cloud::connect(&config).await;
    match (&arguments.bucket, &arguments.key, &arguments.queue) {
        (Some(bucket), Some(key), _) => {
            let notice = BuildNotice {
                bucket: bucket.clone(),
                key: key.clone(),
            };
            seed_one(arguments, &cloud.buckets(), &notice, (&folder, &trust), signals).await
        }
        (_, _, Some(queue)) => run_queue::seed_all(configuration, &cloud, queue, (&folder, &trust), signals).await,
        _ => ExitCode::from(Exit::Usage), // The command line does not let it come to this.
    }
}

/// Seeds one build until it is told to stop, which is no failure once it is seeded. Hosts can join before the build is here.
async fn seed_one(
    arguments: &Arguments,
    buckets: &Buckets,
    notice: &BuildNotice,
    (folder, trust): (&Arc<SpoolFolder>, &Trust),
    mut signals: Signals,
) -> ExitCode {
    let begin = async {
        let (identity, members) = who(arguments, NodeIdentity::random)?;
        let endpoint = Endpoint::start(endpoint_config(arguments, identity, members));
        let endpoint = endpoint.await.map_err(|error| fail(&error))?;
        print_addresses(&endpoint);
        let up = uplink(arguments);
        if arguments.upload_rate.as_ref().is_some_and(RateSchedule::changes) {
            tokio::spawn(keep_time(arguments.clone(), up.clone()));
        }
        let seeder = start(arguments, (&endpoint, &up), folder, trust, SwarmId::ONLY);
        let pulled = find(arguments, buckets, notice, folder, trust).await;
        let pulled = pulled.map_err(|source| {
            fail(&SeedError::Pull {
                bucket: notice.bucket.clone(),
                key: notice.key.clone(),
                source,
            })
        })?;
        seeder.seed(pulled);
        Ok((endpoint, seeder))
    };
    let seeder = tokio::select! {
        seeder = begin => seeder,
        signal = signals.first() => {
            program::say!("seeder: stopped before {} was seeded; what has come of it stays in {}", notice.key, folder.path().display());
            return signal.exit_code();
        }
    };
    match seeder {
        Ok((endpoint, seeder)) => {
            let notifier = Notifier::from_environment();
            notifier.ready();
            signals.first().await;
            notifier.stopping();
            endpoint.close().await;
            drop(seeder);
            ExitCode::SUCCESS
        }
        Err(exit) => exit,
    }
}

/// The build as the bucket has it; as the spool has it where the bucket does not say soon what it has.
async fn find(
    arguments: &Arguments,
    buckets: &Buckets,
    notice: &BuildNotice,
    folder: &Arc<SpoolFolder>,
    trust: &Trust,
) -> Result<Pulled, PullError> {
    let (spool, known) = (Arc::clone(folder), notice.clone());
    let look_in_spool = move || spool.newest(&known.bucket, &known.key);
    let spooled = tokio::task::spawn_blocking(look_in_spool).await.unwrap_or_default();
    let head = buckets.head(&notice.bucket, &notice.key);
    let object = match spooled {
        None => head.await?,
        Some(spooled) => match tokio::time::timeout(HEAD_PATIENCE, head).await {
            // What the spool has of it is not pulled again.
            Ok(Ok(object)) => object,
            other => {
                let why = match other {
                    Ok(Err(error)) => chain(&error),
                    _ => format!("no answer within {} ms", HEAD_PATIENCE.as_millis()),
                };
                let (key, bucket, etag) = (&notice.key, &notice.bucket, &spooled.object.etag);
                tracing::warn!(
                    key,
                    bucket,
                    etag,
                    why,
                    "S3 does not say which version it has; the spool's is seeded"
                );
                let pulled = adopt(buckets, spooled);
                pulled.check(trust.as_deref())?;
                return Ok(pulled);
            }
        },
    };
    pull_object(buckets, object, &pull_options(arguments, folder, trust)).await
}

/// Where this process listens, for all builds.
fn endpoint_config(arguments: &Arguments, identity: NodeIdentity, members: Option<Arc<Members>>) -> EndpointConfig {
    let transport = arguments.listen.first().map_or(TransportKind::Tcp, TransportKind::of);
    let mut config = EndpointConfig::everywhere(identity, transport);
    if !arguments.listen.is_empty() {
        config.listen.clone_from(&arguments.listen);
    }
    config.advertise.clone_from(&arguments.advertise);
    // Each host has a connection for each build.
    let files = raise_file_limit();
    config.connections = connections_within(files, arguments.hosts_max);
    if config.connections < arguments.hosts_max {
        let fit = config.connections;
        program::say!(
            "seeder: the limit of {files} open files leaves room for {fit} connections, and hosts beyond are refused; `ulimit -n` raises it"
        );
    }
    config.members = members;
    config.traffic_class = arguments.traffic_class;
    config
}

/// Who this seeder is, by its key or the one that there is `otherwise`, and whom it talks to. That this is everybody is told.
fn who(
    arguments: &Arguments,
    otherwise: impl FnOnce() -> NodeIdentity,
) -> Result<(NodeIdentity, Option<Arc<Members>>), ExitCode> {
    let belonging = &arguments.belonging;
    let known = belonging.own_identity(Some(&arguments.folder)).and_then(|identity| {
        let identity = identity.unwrap_or_else(otherwise);
        let members = belonging.members(&identity)?;
        Ok((identity, members))
    });
    let known = known.map_err(|error| {
        program::say!("seeder: {}", chain(&error));
        ExitCode::from(Exit::Usage)
    })?;
    if known.1.is_none() {
        program::say!("seeder: {OPEN_SWARM}");
    }
    Ok(known)
}

/// Prints the peer id of its key, for who certifies it.
fn print_id(arguments: &Arguments) -> ExitCode {
    match arguments.belonging.own_identity(Some(&arguments.folder)) {
        Ok(identity) => {
            print_line(
                &identity
                    .map(|identity| identity.peer_id().to_string())
                    .unwrap_or_default(),
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            program::say!("seeder: {}", chain(&error));
            ExitCode::from(Exit::Usage)
        }
    }
}

/// Says where hosts reach it, each address in a line: any of them, or all, are given to hosts.
fn print_addresses(endpoint: &Endpoint) {
    for address in endpoint.addresses() {
        print_line(&address.to_string());
    }
}

/// What all swarms of this process may send.
fn uplink(arguments: &Arguments) -> SharedLink {
    SharedLink::new(rate_now(arguments))
}

/// Has `up` go by the time of day.
async fn keep_time(arguments: Arguments, up: SharedLink) {
    loop {
        tokio::time::sleep(CLOCK_EVERY).await;
        up.set_rate(rate_now(&arguments));
    }
}

/// Starts the swarm of a build.
fn start(
    arguments: &Arguments,
    (endpoint, up): (&Endpoint, &SharedLink),
    folder: &Arc<SpoolFolder>,
    trust: &Trust,
    swarm: SwarmId,
) -> RegionalSeeder {
    let host = host_of(endpoint.peer_id());
    let mut core = SeederConfig::new(host);
    core.part = arguments.part;
    RegionalSeeder::join(
        endpoint,
        SeederOptions {
            swarm,
            core,
            shaping: Shaping {
                shared_up: Some(up.clone()),
                ..Shaping::default()
            },
            limits: Limits::default(),
            seed: host.get(),
            clock: Clock::start(),
            pull: pull_options(arguments, folder, trust),
        },
    )
}

fn pull_options(arguments: &Arguments, folder: &Arc<SpoolFolder>, trust: &Trust) -> PullOptions {
    PullOptions {
        chunk_size: arguments.chunk_size,
        turns: GetTurns::new(GETS_MAX),
        spool: Spool::Folder(Arc::clone(folder)),
        trust: trust.clone(),
    }
}

/// What `seeder` does besides.
const COMMANDS: &str = "Commands:
  seeder check [FLAGS]   say what flags, environment and file come to, and where each value comes from; 2 where something is wrong
  seeder status [FLAGS]  say how the seeder of this machine's queue is";

fn rate(text: &str) -> Result<RateSchedule, String> {
    RateSchedule::parse(text, 0).ok_or_else(|| format!("expected {RATE}"))
}

/// What a rate is.
const RATE: &str =
    "a rate in quotes, such as \"10 Gbit/s\", or \"none\"; with times of UTC: \"none, 08:00-18:00 2 Gbit/s\"";

/// What may be sent now.
fn rate_now(arguments: &Arguments) -> Option<ByteRate> {
    arguments.upload_rate.as_ref().and_then(|rate| rate.now().rate())
}

/// The part as people count, from 1.
fn part(text: &str) -> Result<Part, String> {
    let part = text.split_once('/').and_then(|(part, parts)| {
        let (part, parts): (u32, u32) = (part.parse().ok()?, parts.parse().ok()?);
        Part::new(part.checked_sub(1)?, parts)
    });
    part.ok_or_else(|| "expected a part of how many, such as 1/2".to_owned())
}

/// Peers are started with what it prints. A seeder that nobody reads any more goes on seeding.
fn print_line(line: &str) {
    if let Err(error) = program::print_line(line) {
        program::say!("seeder: {line} is not printed: {error}");
    }
}

fn fail(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    program::say!("seeder: {}", chain(error));
    ExitCode::from(Exit::Failed)
}

/// How late a limit that goes by the time of day is at most.
const CLOCK_EVERY: Duration = Duration::from_secs(10);
/// GETs of the process at a time: enough to fill its link where one connection to S3 does not, of 8 MiB or a chunk each.
const GETS_MAX: usize = 8;
/// The bucket is waited for no longer than this where the spool has a version of the build.
const HEAD_PATIENCE: Duration = Duration::from_millis(700);
