//! Whether there is room for a build: by the disk's watermark, and by what builds may take. Invariant: nothing new is begun where less than
//! the watermark would be free then. Removes nothing itself.

use std::path::Path;

use super::{Arguments, speech};

/// What is to stay free, and what builds may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) free_min: Option<u64>,
    pub(crate) store_max: Option<u64>,
}

/// What there is now. What was begun and has not taken its place yet is taken off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    limits: Limits,
    /// Bytes that are free; `None` where the system does not say, and then nobody is held up.
    free: Option<u64>,
    /// That are to stay free.
    free_min: u64,
    /// Bytes of builds.
    stored: u64,
}

impl Limits {
    /// Those of `arguments`.
    pub(crate) const fn of(arguments: &Arguments) -> Self {
        Self {
            free_min: arguments.free_min,
            store_max: arguments.store_max,
        }
    }
}

impl Room {
    /// Of the file system of `folder`, on which builds take `stored` bytes.
    pub(crate) fn of(folder: &Path, limits: Limits, stored: u64) -> Self {
        let there = rustix::fs::statvfs(folder).ok();
        let bytes = |blocks: u64, size: u64| blocks.saturating_mul(size);
        let free = there.as_ref().map(|there| bytes(there.f_bavail, there.f_frsize));
        let total = there.as_ref().map(|there| bytes(there.f_blocks, there.f_frsize));
        let by_default = total.map_or(0, |total| (total / FREE_PART).min(FREE_MIN));
        Self {
            limits,
            free,
            free_min: limits.free_min.unwrap_or(by_default),
            stored,
        }
    }

    /// Bytes that are free.
    pub(crate) const fn free(&self) -> Option<u64> {
        self.free
    }

    /// Takes room for `bytes`.
    pub(crate) const fn take(&mut self, bytes: u64) {
        if let Some(free) = self.free {
            self.free = Some(free.saturating_sub(bytes));
        }
        self.stored = self.stored.saturating_add(bytes);
    }

    /// How many bytes are to go before `bytes` more fit; `None` where they fit.
    pub(crate) fn lacks(&self, bytes: u64) -> Option<u64> {
        let of_disk = self
            .free
            .map_or(0, |free| (self.free_min.saturating_add(bytes)).saturating_sub(free));
        let of_store = self
            .limits
            .store_max
            .map_or(0, |max| self.stored.saturating_add(bytes).saturating_sub(max));
        Some(of_disk.max(of_store)).filter(|lacks| *lacks > 0)
    }

    /// Why `bytes` more do not fit, for people.
    pub(crate) fn why_not(&self, bytes: u64, folder: &Path) -> String {
        let folder = folder.display();
        let needs = speech::bytes(bytes);
        match self.limits.store_max {
            Some(max) if self.stored.saturating_add(bytes) > max => {
                let (stored, max) = (speech::bytes(self.stored), speech::bytes(max));
                format!("{needs} beside the {stored} of builds in {folder} are more than store-max, {max}")
            }
            _ => {
                let (free, min) = (
                    speech::bytes(self.free.unwrap_or_default()),
                    speech::bytes(self.free_min),
                );
                format!("{free} are free in {folder}; expected {needs} for the build, and free-min, {min}, beside it")
            }
        }
    }
}

/// Where nobody has said, so much of the file system stays free …
const FREE_PART: u64 = 20;
/// … or so many bytes, if that is less.
const FREE_MIN: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn room(free: u64, free_min: u64, stored: u64, store_max: Option<u64>) -> Room {
        let limits = Limits {
            free_min: Some(free_min),
            store_max,
        };
        Room {
            limits,
            free: Some(free),
            free_min,
            stored,
        }
    }

    #[test]
    fn what_was_begun_counts_before_it_has_taken_its_place() {
        let mut room = room(100, 20, 0, None);
        assert_eq!(room.lacks(80), None);
        assert_eq!(room.lacks(81), Some(1));
        room.take(50);
        assert_eq!((room.lacks(30), room.lacks(40)), (None, Some(10)));
        room.take(u64::MAX);
        assert_eq!(room.lacks(0), Some(20));
    }

    #[test]
    fn what_builds_may_take_is_a_limit_of_its_own() {
        let room = room(1000, 0, 60, Some(100));
        assert_eq!((room.lacks(40), room.lacks(50)), (None, Some(10)));
        let why = room.why_not(50, Path::new("f"));
        assert_eq!(
            why,
            "50 bytes beside the 60 bytes of builds in f are more than store-max, 100 bytes"
        );
        let unknown = Room { free: None, ..room };
        assert_eq!(unknown.lacks(40), None, "a system that says nothing holds up nobody");
    }
}
