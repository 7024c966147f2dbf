//! What certificates of members are asked for with.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use super::signed::{Expiry, expiry};
use crate::live::Guards;

#[derive(Debug, Args)]
pub(crate) struct CertifyArguments {
    /// The secret key of the region or the stage, as `harness keygen` makes it. Not the one that signs builds.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: PathBuf,
    /// The peer id of the host or seeder, as its `--print-id` prints it.
    #[arg(long, value_name = "PEER_ID")]
    pub(crate) peer: String,
    /// What the host is called, in its rows too.
    #[arg(long, value_name = "ID")]
    pub(crate) host: String,
    /// Its availability zone.
    #[arg(long, value_name = "ZONE")]
    pub(crate) zone: Option<String>,
    /// What it belongs to. May be repeated.
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Vec<String>,
    /// An address at which others may be told to dial it, besides the one from which it is seen to come. May be repeated.
    #[arg(long, value_name = "IP")]
    pub(crate) address: Vec<IpAddr>,
    /// When it ends: after a time such as 24h or 30d, or at one such as 2027-01-31T12:00:00Z; after a day where absent.
    #[arg(long, value_name = "WHEN", value_parser = expiry)]
    pub(crate) expires: Option<Expiry>,
    /// Where it goes; printed where absent. What is there is replaced as a whole: hosts read it again while they run.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// What a run does against who is not of it, and may leave out.
#[derive(Debug, Args)]
pub(crate) struct GuardArguments {
    /// Neither sign the build nor verify it. Otherwise it is signed with a key that is made of the seed, and seeders and hosts believe nothing
    /// else, as those of a fleet that are started with --trust.
    #[arg(long)]
    pub(crate) unsigned: bool,
    /// Let everybody in who reaches a port. Otherwise the run's seeders and hosts have certificates of a key that is made of the seed, and
    /// talk to nobody else, as those of a fleet that are started with --members.
    #[arg(long)]
    pub(crate) open: bool,
}

impl GuardArguments {
    /// What is left.
    pub(crate) const fn guards(&self) -> Guards {
        Guards {
            signed: !self.unsigned,
            closed: !self.open,
        }
    }
}
