//! The command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Command, CommandFactory as _, Parser};
use cloud::{CloudConfig, DeploymentLog};
use peer::{
    HostPlacement, HttpAddress, MemberArguments, Multiaddr, NodeReport, RateSchedule, TrafficClass, deployment_log,
};
use program::LogFormat;

use super::limits;
use super::rows::LogBy;

/// Fetch a build, or every build of a region, from seeders and their swarms.
#[derive(Clone, Debug, Parser)]
#[command(version, about, after_help = COMMANDS)]
pub(crate) struct Arguments {
    /// A file that says what flags do not: each flag is a key of it. Where nobody names one /etc/fleetcast/host.toml, if it is there. A
    /// variable FLEETCAST_KEEP or the like comes before the file, and a flag before both.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Address of the seeder with its peer id, as the seeder prints it: /ip4/10.0.0.1/tcp/4001/p2p/12D3… Given again for each
    /// seeder of the region, in the order of their parts.
    #[arg(long, value_name = "MULTIADDR", requires = "out")]
    pub(crate) seeder: Vec<Multiaddr>,
    /// Where the build goes. What an interrupted run left beside it is taken up again.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Instead of one build: the directory of builds that `seeder --queue` prints first. Every build that it lists is fetched, and
    /// served to others while it is listed or they want it; KEY and PATH are printed when a version is in place, once for each.
    #[arg(
        long,
        value_name = "MULTIADDR",
        required_unless_present_any = ["seeder", "print_id"],
        conflicts_with = "seeder"
    )]
    pub(crate) directory: Option<Multiaddr>,
    /// Where the builds of a directory go, each by its key. A list of what has come is kept there too.
    #[arg(long, value_name = "FOLDER", requires = "directory")]
    pub(crate) folder: Option<PathBuf>,
    /// Where to listen for other hosts; tcp or quic, as the seeder. May be repeated. Without it at every address of this machine, at
    /// a port that is free, or on the loopback interface where the seeder is there. All builds share the port.
    #[arg(long, value_name = "MULTIADDR")]
    pub(crate) listen: Vec<Multiaddr>,
    /// Where other hosts reach this one, if not at the addresses at which it listens. May be repeated; names are fine.
    #[arg(long, value_name = "MULTIADDR")]
    pub(crate) advertise: Vec<Multiaddr>,
    /// Give up a build after so many seconds. One that a directory still lists is begun again.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub(crate) timeout: u64,
    /// Keep serving other hosts for so many seconds after the file is in place.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, conflicts_with = "directory")]
    pub(crate) linger: u64,
    /// How many builds are fetched at a time. Of those that wait the one that lacks least comes first; one that is far smaller
    /// than all that are being fetched, and one after others that do not move, does not wait.
    #[arg(long, value_name = "NUMBER", default_value_t = 4, requires = "directory")]
    pub(crate) fetches_max: u16,
    /// How many builds that are not listed any more stay in the folder, the newest of them. The one that came last always
    /// stays.
    #[arg(long, value_name = "NUMBER", default_value_t = 3, requires = "directory")]
    pub(crate) keep: usize,
    /// How many bytes of them stay, such as 20000000000 or "20 GB"; no limit where absent.
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "directory")]
    pub(crate) keep_size: Option<u64>,
    /// The key of a build that stays in the folder whatever else goes. May be repeated.
    #[arg(long, value_name = "KEY", requires = "directory")]
    pub(crate) pin: Vec<String>,
    /// A symbolic link that always leads to the build that came last; a name in the folder, or a path elsewhere. It is replaced at once: who
    /// opens it finds the old build or the new one.
    #[arg(long, value_name = "LINK", requires = "directory")]
    pub(crate) current: Option<PathBuf>,
    /// A command for the shell that is run when all of a build has come and is verified, before it is put in place. Where it fails the build
    /// is refused, until there is a newer version, SIGHUP or a restart. It finds FLEETCAST_BUILD, FLEETCAST_VERSION, FLEETCAST_ROOT,
    /// FLEETCAST_PATH (the file now) and FLEETCAST_TARGET (where it will stand) in its environment.
    #[arg(long, value_name = "COMMAND", requires = "directory")]
    pub(crate) before_install: Option<String>,
    /// A command that is run when a version of a build has come and is in place, once, likewise.
    #[arg(long, value_name = "COMMAND", requires = "directory")]
    pub(crate) installed: Option<String>,
    /// A command that is run when a build has not come or was refused, with FLEETCAST_ERROR, once for each reason.
    #[arg(long, value_name = "COMMAND", requires = "directory")]
    pub(crate) failed: Option<String>,
    /// A command that takes longer is killed with all that it has started, and has failed.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) hook_timeout: u64,
    /// A build that is not listed any more is served to other hosts until none has taken anything of it for so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, requires = "directory")]
    pub(crate) serve_idle: u64,
    /// Payload that is sent at most, of all builds together, such as "200 Mbit/s", or "none". Where nobody has said half of what the
    /// slowest network card does for a directory's host, or 500 Mbit/s where no card says; none where the directory is on this machine. With
    /// times of day, of UTC: "1 Gbit/s, 08:00-18:00 200 Mbit/s".
    #[arg(long, value_name = "RATE", value_parser = limits::parse)]
    pub(crate) upload_rate: Option<RateSchedule>,
    /// Payload that is received at most, likewise.
    #[arg(long, value_name = "RATE", value_parser = limits::parse)]
    pub(crate) download_rate: Option<RateSchedule>,
    /// The class of traffic (DSCP) of what is sent to hosts and seeders over TCP, such as le, cs1 or a number from 0 to 63, for switches that know
    /// classes. QUIC sets these bits itself, and what goes to the directory, which is little, is in no class.
    #[arg(long, value_name = "CLASS")]
    pub(crate) traffic_class: Option<TrafficClass>,
    /// Connections that others may make to this host, as far as half of the files that it may open allow; the other half is for those
    /// that it makes. A directory lists at most 64 builds, each with up to 26 neighbours, and some more are being left.
    #[arg(long, value_name = "NUMBER", default_value_t = 4096)]
    pub(crate) connections_max: u32,
    /// Nothing new is fetched where less than so many bytes would be free on its disk then. Where nobody has said 1 GiB, or a twentieth of
    /// the disk if that is less. What was begun goes on; what is not listed any more makes room where that helps.
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "directory")]
    pub(crate) free_min: Option<u64>,
    /// Bytes that builds may take in the folder; no limit where absent.
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "directory")]
    pub(crate) store_max: Option<u64>,
    /// Where /metrics, /healthz, /readyz and /status are answered over HTTP: an address with its port, or unix:PATH for who may write to
    /// that socket. May be repeated. Nobody is asked who they are: not for the open network.
    #[arg(long, value_name = "ADDRESS", requires = "directory")]
    pub(crate) http: Vec<HttpAddress>,
    /// Permission bits of what is fetched, such as 0755. Without it those of what stood at its place, or what the umask leaves.
    #[arg(long, value_name = "OCTAL", value_parser = mode)]
    pub(crate) mode: Option<u32>,
    /// Believe only builds that are signed with a key of this file, whoever the seeder is: a public key in a line, as `harness keygen`
    /// writes it, and two while one takes the place of the other. What this host has had is remembered beside the builds, and
    /// nothing older is taken. Without it every build of the seeder is believed.
    #[arg(long, value_name = "FILE")]
    pub(crate) trust: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) belonging: MemberArguments,
    /// How lines on stderr are written: for people, or an object of JSON each.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
    /// Do not say on stderr what has come. Warnings and errors are said all the same.
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Have a row written to host-deployment-logs for each build that has come or has not.
    #[arg(long)]
    pub(crate) log: bool,
    /// Who writes it: the seeder whose directory is followed, in the name that this host has proven to it, or this host, with
    /// credentials for DynamoDB of its own. Where nobody has said the seeder in a closed swarm, unless the table is named here, and else the
    /// host.
    #[arg(long, value_name = "WHO", value_enum, requires = "log", requires = "directory")]
    pub(crate) log_by: Option<LogBy>,
    /// Endpoint of DynamoDB for the row; the standard AWS environment's where absent.
    #[arg(long, value_name = "URL", requires = "log")]
    pub(crate) endpoint_url: Option<String>,
    /// The stage whose table is meant, such as prod: host-deployment-logs-prod. Without it the table of a local stack, which has no
    /// stage.
    #[arg(
        long,
        value_name = "STAGE",
        default_value = "",
        hide_default_value = true,
        requires = "log"
    )]
    pub(crate) stage: String,
    /// The AWS region of that table, where this host is in another one: all regions of a fleet write to one table.
    #[arg(long, value_name = "AWS_REGION", requires = "log")]
    pub(crate) log_region: Option<String>,
    /// This host's id in the row. Where absent the machine's name and eight digits made of its machine id; a directory's host keeps in
    /// its folder what it was called first. In a closed swarm its certificate says it. Several agents of one machine that fetch the same builds need ids of their own.
    #[arg(long, value_name = "ID")]
    pub(crate) host_id: Option<String>,
    /// This host's region in the row.
    #[arg(long, default_value = "unknown")]
    pub(crate) region: String,
    /// This host's availability zone: chunks come from hosts of the same zone where they can. Also in the row. On EC2 its metadata
    /// service tells it; in a closed swarm the certificate does.
    #[arg(long, value_name = "ZONE")]
    pub(crate) zone: Option<String>,
}

impl Arguments {
    /// The command line of an agent, or of one build by its seeders.
    pub(crate) fn to_run() -> Command {
        let command = Self::command().mut_arg("out", |out| out.requires("seeder"));
        command.mut_arg("directory", |directory| directory.requires("folder"))
    }

    /// After which a build is given up.
    pub(crate) const fn patience(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// After which a build that is not listed and of which nobody takes anything is not served any more.
    pub(crate) const fn serve_patience(&self) -> Duration {
        Duration::from_secs(self.serve_idle)
    }

    /// Asks the machine for its zone where nobody has said it. Without one chunks come from any zone, which EC2 charges for.
    pub(crate) async fn find_zone(&mut self) {
        if self.zone.is_some() || !cloud::is_on_ec2() {
            return;
        }
        self.zone = cloud::availability_zone(None).await;
        if self.zone.is_none() {
            tracing::warn!(
                "this machine of EC2 does not tell its availability zone, so chunks come from any: each GB between zones costs \
                 $0.01 on either side; --zone says it"
            );
        }
    }

    /// Where rows go.
    pub(crate) fn cloud(&self) -> CloudConfig {
        let config = CloudConfig::at_or_environment(self.endpoint_url.as_deref());
        CloudConfig {
            region: self.log_region.clone(),
            ..config.in_stage(&self.stage)
        }
    }

    /// The row of a build that has come just now, `took` after this host heard of it, or failed.
    pub(crate) fn row(
        &self,
        host_id: &str,
        build: &str,
        version: Option<String>,
        took: Duration,
        report: &NodeReport,
        error: Option<String>,
    ) -> DeploymentLog {
        let placement = HostPlacement {
            host_id: self.host_id.clone().unwrap_or_else(|| host_id.to_owned()),
            region: self.region.clone(),
            zone: self.zone.clone().unwrap_or_else(|| "unknown".to_owned()),
        };
        DeploymentLog {
            version,
            ..deployment_log(&placement, build, took, report, error)
        }
    }

    /// Says a sentence, unless nobody wants to hear it.
    pub(crate) fn say(&self, sentence: &str) {
        if !self.quiet {
            super::speech::say(sentence);
        }
    }
}

/// Permission bits as chmod takes them.
fn mode(text: &str) -> Result<u32, String> {
    let bits = u32::from_str_radix(text, 8).ok().filter(|bits| *bits <= 0o7777);
    bits.ok_or_else(|| "expected permission bits in octal, such as 0755".to_owned())
}

/// Bytes, as a number or with a unit.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let bytes = text.parse().ok().or_else(|| settings::parse_size(text).ok());
    bytes.ok_or_else(|| format!("expected {SIZE}"))
}

/// What a size is.
pub(super) const SIZE: &str = "a number of bytes, or one with its unit, such as \"20 GB\"";

/// What `peer` does besides.
const COMMANDS: &str = "Commands:
  peer check [FLAGS]   say what flags, environment and file come to, and where each value comes from; 2 where something is wrong
  peer status [FLAGS]  say how the agent of this machine is
  peer get BUILD [FLAGS]  fetch one build of the directory by its key, beside an agent that runs";

/// The file of a build by its key, below `folder`; `None` where the key leads out of it or to a file of the agent itself.
pub(crate) fn place_of(folder: &Path, key: &str) -> Option<PathBuf> {
    let is_name = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    let is_ours = key.starts_with(super::kept::OURS);
    (key.split('/').all(is_name) && !is_ours).then(|| folder.join(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_to_the_table_of_the_stage_in_its_region() {
        let parse = |more: &[&str]| {
            let fixed = ["peer", "--directory", "/ip4/127.0.0.1/tcp/1", "--folder", "f"];
            Arguments::try_parse_from(fixed.iter().chain(more)).map(|arguments| arguments.cloud())
        };
        let config = parse(&["--log", "--stage", "prod", "--log-region", "us-east-1"]).unwrap();
        assert_eq!(
            (config.stage.as_str(), config.region.as_deref()),
            ("prod", Some("us-east-1"))
        );
        assert_eq!(parse(&["--log"]).unwrap().stage, "");
        // What says where rows go is a mistake where none are written.
        assert!(parse(&["--stage", "prod"]).is_err() && parse(&["--log-region", "us-east-1"]).is_err());
    }
}
