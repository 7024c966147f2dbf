//! The quantities the core computes with, as types: a time cannot be added to a size by mistake.
//!
//! Everything here is plain integers, so that the same run gives the same result on any machine.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// Nanoseconds since the run began. The driver decides what "began" means and when it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The start of the run.
    pub const ZERO: Self = Self(0);
    /// Later than every time that a run reaches.
    pub const MAX: Self = Self(u64::MAX);

    /// A time from nanoseconds since the run began.
    #[inline]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the run began.
    #[inline]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time that passed since `earlier`; zero where `earlier` is in fact later.
    #[inline]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// So many nanoseconds later; at the end of time where that is beyond it.
    #[inline]
    pub(crate) const fn plus_nanos(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Saturates at [`Time::MAX`].
    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(u64);

impl Bytes {
    /// A size from a number of bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A size in binary mebibytes.
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib * 1024 * 1024)
    }

    /// A size in binary kibibytes.
    pub const fn from_kib(kib: u64) -> Self {
        Self(kib * 1024)
    }

    /// The number of bytes.
    #[inline]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl Add for Bytes {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sub for Bytes {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        for (unit, size) in UNITS {
            if self.0 >= size {
                let whole = self.0 / size;
                let tenths = self.0 % size * 10 / size;
                return if tenths == 0 {
                    write!(f, "{whole} {unit}")
                } else {
                    write!(f, "{whole}.{tenths} {unit}")
                };
            }
        }
        write!(f, "{} B", self.0)
    }
}

/// Bytes per second; never zero, so that a transfer always ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteRate(u64);

impl ByteRate {
    /// A rate from bytes per second; `None` for zero.
    pub const fn from_bytes_per_second(bytes_per_second: u64) -> Option<Self> {
        if bytes_per_second == 0 {
            None
        } else {
            Some(Self(bytes_per_second))
        }
    }

    /// Bytes per second, at least 1.
    pub const fn bytes_per_second(self) -> u64 {
        self.0
    }

    /// What `count` links of this rate pass together; for a count of 0 what one passes, since no rate is zero.
    pub const fn times(self, count: u32) -> Self {
        Self(self.0.saturating_mul(if count == 0 { 1 } else { count as u64 }))
    }

    /// How long `bytes` take at this rate, rounded up to the nanosecond.
    pub fn transfer_time(self, bytes: Bytes) -> Duration {
        let nanos = (u128::from(bytes.0) * 1_000_000_000).div_ceil(u128::from(self.0));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", Bytes(self.0))
    }
}

/// A member of a swarm: a host's agent or the seeder. Small and opaque to the core; whoever starts the
/// agents gives out the numbers, unique within a swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(u64);

impl HostId {
    /// A host from its number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[inline]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// An availability zone of a region. Only whether two are equal matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZoneId(NonZeroU32);

impl ZoneId {
    /// The zone with this number, which is not 0.
    pub const fn new(number: NonZeroU32) -> Self {
        Self(number)
    }

    /// The number.
    #[inline]
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The zone called `name`, by a hash of it: hosts agree on it without a list.
    pub fn named(name: &str) -> Self {
        let hash = blake3::hash(name.as_bytes());
        let number = hash
            .as_bytes()
            .first_chunk()
            .map_or(0, |bytes| u32::from_le_bytes(*bytes));
        Self(NonZeroU32::new(number).unwrap_or(NonZeroU32::MAX))
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "h{}", self.0)
    }
}

/// Which swarm a connection is for: the hosts and seeders of one build. A process that is in several tells by it which of them
/// a neighbour means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SwarmId([u8; Self::LENGTH]);

impl SwarmId {
    /// Bytes of it.
    pub const LENGTH: usize = 16;
    /// The only swarm of a process that is told of none.
    pub const ONLY: Self = Self([0; Self::LENGTH]);

    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// The swarm of this version of the object under a key, by a hash of both: hosts and seeders agree on it without a list.
    pub fn of_build(key: &str, version: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("fleetcast 2 swarm of a build");
        // The length keeps the two apart.
        hasher.update(&(key.len() as u64).to_le_bytes());
        hasher.update(key.as_bytes());
        hasher.update(version.as_bytes());
        let mut id = [0; Self::LENGTH];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..Self::LENGTH]);
        Self(id)
    }
}

impl fmt::Display for SwarmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The place of a chunk in its build, from 0. Whoever uses this crate has it from a [`crate::Manifest`], which knows how many chunks there
/// are; within, it also comes from sets that are as long as their build, and from lists that were checked against its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkIndex(u32);

impl ChunkIndex {
    pub(crate) const fn new(index: u32) -> Self {
        Self(index)
    }

    /// The index as a number.
    #[inline]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The index as a position in a slice.
    #[inline]
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for ChunkIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chunk {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_time_rounds_up_and_never_overflows() {
        let rate = ByteRate::from_bytes_per_second(3).unwrap();
        assert_eq!(rate.transfer_time(Bytes::new(1)), Duration::from_nanos(333_333_334));
        assert_eq!(rate.transfer_time(Bytes::new(u64::MAX)), Duration::from_nanos(u64::MAX));
        assert_eq!(ByteRate::from_bytes_per_second(0), None);
    }

    #[test]
    fn sizes_read_like_people_write_them() {
        assert_eq!(Bytes::from_mib(4).to_string(), "4 MiB");
        assert_eq!(Bytes::new(1536).to_string(), "1.5 KiB");
        assert_eq!(Bytes::new(12).to_string(), "12 B");
    }

    #[test]
    fn time_saturates_instead_of_wrapping() {
        assert_eq!(Time::MAX + Duration::from_secs(1), Time::MAX);
        assert_eq!(Time::ZERO.since(Time::MAX), Duration::ZERO);
    }
}
