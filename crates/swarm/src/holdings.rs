//! Where a peer looks for what its neighbours hold: one trait, and two ways.
//!
//! A peer is told by message, and keeps what it was told with each neighbour: then there is nothing to look up ([`Heard`]). Or it
//! lives among very many in one process, whose driver keeps one table for all of them and lends it: then sixteen HAVE messages for each
//! transfer are one entry of the table. What a seeder offers is said by message in both, because it is said to one host.

use crate::bitfield::Bitfield;
use crate::units::HostId;

/// What hosts hold, as far as their neighbours can know.
pub trait Holdings {
    /// What `host` holds; `None` where it is not in the table, and what it said itself counts.
    fn held_by(&self, host: HostId) -> Option<&Bitfield>;

    /// Whether requests waited at `host` when it last told; `None` likewise.
    fn is_busy(&self, host: HostId) -> Option<bool>;

    /// [`Holdings::held_by`] this host will be looked at in a moment.
    fn fetch(&self, _host: HostId) {}
}

/// No table: a peer goes by what its neighbours have told it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard;

impl Holdings for Heard {
    #[inline]
    fn held_by(&self, _host: HostId) -> Option<&Bitfield> {
        None
    }

    #[inline]
    fn is_busy(&self, _host: HostId) -> Option<bool> {
        None
    }
}

/// Which of the two ways a peer goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Messages,
    Table,
}
