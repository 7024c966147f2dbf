//! What a host is made of, as far as it keeps it from what its links would let through.
//!
//! A forecast knows links only, so what a part lets through is made a limit of the links, once, when the fleet is planned:
//! all that asks for a host's links then goes by the same ones. A live run has the machine's own parts.

use serde::{Deserialize, Serialize};

use crate::{Links, Network};

/// Limits of a host beside its links; none where absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostParts {
    /// What its disk writes at most, bytes a second.
    pub disk: Option<u64>,
}

impl HostParts {
    /// What links of these rates let through to and from such a host. It writes chunks as they come, and a build that is
    /// larger than its memory cannot wait there.
    pub(crate) fn limit(&self, links: Links) -> Links {
        Links {
            uplink: links.uplink,
            downlink: self.disk.map_or(links.downlink, |disk| links.downlink.min(disk)),
        }
    }

    /// What a class says, and what it leaves to `others`.
    fn or(self, others: Self) -> Self {
        Self {
            disk: self.disk.or(others.disk),
        }
    }
}

impl Network {
    /// What a host of a class is made of; one that is like most where there is no class.
    pub(crate) fn parts(&self, class: Option<u16>) -> HostParts {
        let class = class.and_then(|class| self.classes.get(usize::from(class)));
        class.map_or(self.host_parts, |class| class.parts.or(self.host_parts))
    }
}
