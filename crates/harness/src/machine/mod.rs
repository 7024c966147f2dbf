//! What this process takes of the machine, what it may take, and whether the machine was the limit of a run.
//!
//! Map: `cgroup` and `proc` read what the system tells, `lag` is how late timers are, `load` puts together what a run saw of
//! its machine, `verdict` says whether that was its limit.

mod cgroup;
mod lag;
mod load;
mod proc;
mod verdict;

use std::fmt::{self, Display};
use std::path::Path;
use std::time::{Duration, Instant};

use peer::Clock;
use rustix::process::{Resource, Rlimit, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use swarm::Bytes;

use cgroup::ControlGroups;

pub(crate) use load::{MachineUse, ProcessLoad, Watch, machine_load};
pub(crate) use verdict::{LimitedBy, Shaped, judge};

/// Memory that this process gets from now on comes in small pages: where it has large buffers and touches little of them. A
/// system without huge pages needs no telling.
pub(crate) fn keep_to_small_pages() {
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// CPU time of this process so far.
pub(crate) fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Most memory that this process has had resident, bytes; 0 where the system does not tell.
pub(crate) fn peak_rss_bytes() -> u64 {
    own_bytes("VmHWM").unwrap_or_default()
}

fn own_bytes(key: &str) -> Option<u64> {
    Some(proc::kibibytes(Path::new("/proc/self/status"), key)? * 1024)
}

/// Memory that this process can still have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FreeMemory {
    pub(crate) bytes: u64,
    limit: MemoryLimit,
}

/// What there is least memory of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MemoryLimit {
    Machine,
    ControlGroup,
    AddressSpace,
    Data,
}

impl Display for FreeMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of memory are free", Bytes::new(self.bytes))?;
        match self.limit {
            MemoryLimit::Machine => Ok(()),
            MemoryLimit::ControlGroup => write!(f, " within the limit of the control group"),
            MemoryLimit::AddressSpace => write!(f, " within the limit of the address space (ulimit -v)"),
            MemoryLimit::Data => write!(f, " within the limit of data (ulimit -d)"),
        }
    }
}

/// Memory that can be had without swapping and within all limits; `None` where the system tells of none.
pub(crate) fn free_memory() -> Option<FreeMemory> {
    let machine = proc::kibibytes(Path::new("/proc/meminfo"), "MemAvailable").map(|kib| kib * 1024);
    // What is there of the process already is within its limits, too.
    let within = |limit: Rlimit, used: &str| Some(limit.current?.saturating_sub(own_bytes(used).unwrap_or_default()));
    least([
        (MemoryLimit::Machine, machine),
        (MemoryLimit::ControlGroup, ControlGroups::of_self().memory_left()),
        (MemoryLimit::AddressSpace, within(getrlimit(Resource::As), "VmSize")),
        (MemoryLimit::Data, within(getrlimit(Resource::Data), "VmData")),
    ])
}

fn least(limits: [(MemoryLimit, Option<u64>); 4]) -> Option<FreeMemory> {
    let known = limits.into_iter().filter_map(|(limit, bytes)| {
        let bytes = bytes?;
        Some(FreeMemory { bytes, limit })
    });
    known.min_by_key(|free| free.bytes)
}

/// Processors that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Alike for all processes of this machine since it was started, and of no other; empty where the system does not tell.
pub(crate) fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// What the machine calls its processor; `None` where it does not tell.
pub(crate) fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))?;
    Some(line.1.trim().to_owned())
}

/// All memory of the machine.
pub(crate) fn memory_bytes() -> Option<u64> {
    Some(proc::kibibytes(Path::new("/proc/meminfo"), "MemTotal")? * 1024)
}

/// Whether whoever started this process wants it to outlive its terminal, as `nohup` does.
pub(crate) fn ignores_hang_up() -> bool {
    proc::ignored_signals().is_some_and(|ignored| ignored & 1 == 1)
}

/// Bytes that are free for this user where `folder` is or would be; `None` where the system does not tell.
pub(crate) fn free_disk(folder: &Path) -> Option<u64> {
    let folder = std::path::absolute(folder).ok()?;
    let there = folder.ancestors().find(|folder| folder.exists())?;
    let disk = rustix::fs::statvfs(there).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// The machine's monotonic time in nanoseconds, which all its processes share.
pub(crate) fn monotonic_nanos() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// A clock whose zero was at `epoch` of [`monotonic_nanos`], in whichever process.
pub(crate) fn clock_since(epoch: u64) -> Clock {
    let passed = Duration::from_nanos(monotonic_nanos().saturating_sub(epoch));
    Clock::since(Instant::now().checked_sub(passed).unwrap_or_else(Instant::now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_memory_counts_and_its_limit_is_named() {
        let free = |machine, group, space| {
            least([
                (MemoryLimit::Machine, machine),
                (MemoryLimit::ControlGroup, group),
                (MemoryLimit::AddressSpace, space),
                (MemoryLimit::Data, None),
            ])
        };
        let said = |free: Option<FreeMemory>| free.unwrap().to_string();
        assert_eq!(said(free(Some(1 << 30), None, None)), "1 GiB of memory are free");
        let group = said(free(Some(2 << 30), Some(1 << 30), Some(3 << 30)));
        assert_eq!(group, "1 GiB of memory are free within the limit of the control group");
        let space = said(free(Some(2 << 30), Some(2 << 30), Some(1 << 30)));
        assert!(space.ends_with("(ulimit -v)"), "{space}");
        assert_eq!(free(None, None, None), None);
    }
}
