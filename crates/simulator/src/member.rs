//! Numbers of a region's members: 0 is the first seeder, then come the hosts, then the other seeders.

use swarm::HostId;

/// A member of a region. It is who the core knows by the host of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MemberId(u32);

impl MemberId {
    pub(crate) const FIRST_SEEDER: Self = Self(0);

    pub(crate) const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The member at a place of a table of all members.
    pub(crate) fn at(index: usize) -> Self {
        Self(u32::try_from(index).expect("a region's members are a u32"))
    }

    /// Who the core knows by `host`.
    #[inline]
    pub(crate) fn of(host: HostId) -> Self {
        Self(u32::try_from(host.get()).expect("members of a region are numbered by a u32"))
    }

    #[inline]
    pub(crate) const fn host(self) -> HostId {
        HostId::new(self.0 as u64)
    }

    pub(crate) const fn number(self) -> u32 {
        self.0
    }

    /// Its place in tables of all members.
    #[inline]
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}
