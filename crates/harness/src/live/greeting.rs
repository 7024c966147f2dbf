//! What a worker and the run say when they meet: who they are, and whether they can work together.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::protocol::PROTOCOL;
use crate::machine;

/// What a worker says of itself, first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    protocol: u32,
    revision: String,
    /// The part of the run that it is to have, where somebody has told it.
    pub(super) index: Option<u32>,
    /// Its own end of the connection: where its hosts will listen.
    pub(super) ip: IpAddr,
    /// Processors that it may use.
    pub(super) cores: usize,
    /// Alike for all processes of a machine.
    pub(super) machine: String,
}

/// What it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    Welcome {
        index: u32,
        of: u32,
    },
    TurnedAway {
        why: String,
        /// Whether it may be otherwise in a while.
        is_for_now: bool,
    },
}

impl Hello {
    /// Of this process.
    pub(super) fn of_this(index: Option<u32>, ip: IpAddr) -> Self {
        Self {
            protocol: PROTOCOL,
            revision: revision(),
            index,
            ip,
            cores: machine::cores(),
            machine: machine::boot_id(),
        }
    }

    /// What was said, by whatever version of this program.
    ///
    /// # Errors
    /// Why the two cannot work together.
    pub(super) fn understood(said: &Value) -> Result<Self, String> {
        let (protocol, revision) = (said["protocol"].as_u64(), said["revision"].as_str());
        if protocol != Some(PROTOCOL.into()) {
            let other = protocol.map_or_else(|| "another".to_owned(), |other| other.to_string());
            return Err(format!(
                "the worker speaks protocol {other} and the run {PROTOCOL}; expected one build of harness for all"
            ));
        }
        let own = self::revision();
        if revision != Some(&own) {
            return Err(format!(
                "the worker is of revision {} and the run of {own}; expected one build of harness for all",
                revision.unwrap_or("unknown")
            ));
        }
        serde_json::from_value(said.clone()).map_err(|error| format!("the worker says nothing of use: {error}"))
    }
}

fn revision() -> String {
    concat!(env!("CARGO_PKG_VERSION"), " ", env!("FLEETCAST_GIT_REVISION")).to_owned()
}
