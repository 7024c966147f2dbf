//! The control groups that this process is in and what they leave it of the machine: a quota of processor time, how often
//! that was used up, and memory. Both versions are read, each group and all above it, since the tightest one counts. What
//! a system does not have is `None`.

use std::path::{Path, PathBuf};

/// Folders of this process's control groups, its own first and then those above.
#[derive(Clone, Debug, Default)]
pub(crate) struct ControlGroups {
    cpu: Vec<Group>,
    memory: Vec<Group>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    folder: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Periods in which a group with a quota wanted to run, and those of them in which it used the quota up and had to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Periods {
    pub(crate) all: u64,
    pub(crate) throttled: u64,
}

impl ControlGroups {
    /// Of this process.
    pub(crate) fn of_self() -> Self {
        Self::below(Path::new("/"))
    }

    /// As the files below `root` tell.
    fn below(root: &Path) -> Self {
        let read = |name: &str| std::fs::read_to_string(root.join("proc/self").join(name)).unwrap_or_default();
        let (mounts, groups) = (read("mountinfo"), read("cgroup"));
        let find = |controller: &str| {
            let folders = [
                (Version::Two, folders(&mounts, &groups, None)),
                (Version::One, folders(&mounts, &groups, Some(controller))),
            ];
            let below = |(version, folders): (Version, Vec<PathBuf>)| {
                folders.into_iter().map(move |folder| Group {
                    folder: root.join(folder.strip_prefix("/").unwrap_or(&folder)),
                    version,
                })
            };
            folders.into_iter().flat_map(below).collect()
        };
        Self {
            cpu: find("cpu"),
            memory: find("memory"),
        }
    }

    /// How many cores' worth of time the tightest group allows; `None` where nothing is limited.
    pub(crate) fn quota_cores(&self) -> Option<f64> {
        self.cpu.iter().filter_map(Group::quota_cores).min_by(f64::total_cmp)
    }

    /// Of each group that has a quota, always in the same order.
    pub(crate) fn periods(&self) -> Vec<Periods> {
        let limited = self.cpu.iter().filter(|group| group.quota_cores().is_some());
        limited.map(Group::periods).collect()
    }

    /// Bytes that the tightest group still lets this process have; `None` where nothing is limited.
    pub(crate) fn memory_left(&self) -> Option<u64> {
        self.memory.iter().filter_map(Group::memory_left).min()
    }
}

impl Group {
    fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.join(name)).ok()
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.read(name)?.trim().parse().ok()
    }

    fn quota_cores(&self) -> Option<f64> {
        match self.version {
            Version::Two => parse_cpu_max(&self.read("cpu.max")?),
            Version::One => {
                // -1 where there is none, which is no u64.
                let (quota, period) = (self.number("cpu.cfs_quota_us")?, self.number("cpu.cfs_period_us")?);
                cores(quota, period)
            }
        }
    }

    fn periods(&self) -> Periods {
        parse_periods(&self.read("cpu.stat").unwrap_or_default())
    }

    fn memory_left(&self) -> Option<u64> {
        let (limits, used, cache): (&[&str], _, _) = match self.version {
            Version::Two => (&["memory.max", "memory.high"], "memory.current", "inactive_file"),
            Version::One => (
                &["memory.limit_in_bytes"],
                "memory.usage_in_bytes",
                "total_inactive_file",
            ),
        };
        let limit = limits.iter().filter_map(|name| self.number(name)).min()?;
        // Files that were read and are not in use are given up before anything is refused.
        let stat = self.read("memory.stat").unwrap_or_default();
        let used = self
            .number(used)?
            .saturating_sub(value_of(&stat, cache).unwrap_or_default());
        (limit < UNLIMITED_V1).then(|| limit.saturating_sub(used))
    }
}

/// Folders of a process's group and all above it: in the hierarchy of version 1 that has `controller`, or in that of
/// version 2. `mounts` is `/proc/self/mountinfo` and `groups` `/proc/self/cgroup`.
fn folders(mounts: &str, groups: &str, controller: Option<&str>) -> Vec<PathBuf> {
    let (Some(mount), Some(group)) = (find_mount(mounts, controller), find_group(groups, controller)) else {
        return Vec::new();
    };
    // A container may see its own group as the whole hierarchy: the mount then begins there and not at the root. What
    // lies outside of what is mounted cannot be read.
    let inner = Path::new(group)
        .strip_prefix(&mount.root)
        .unwrap_or_else(|_| Path::new(""));
    let within = inner
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    let inner = if within { inner } else { Path::new("") };
    inner.ancestors().map(|part| mount.point.join(part)).collect()
}

struct Mount {
    /// What of the hierarchy is mounted.
    root: PathBuf,
    point: PathBuf,
}

/// A line is `36 35 98:0 ROOT POINT options fields… - TYPE source OPTIONS`, where OPTIONS name the controllers of version 1.
fn find_mount(mounts: &str, controller: Option<&str>) -> Option<Mount> {
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut kind = kind.split(' ');
        let (kind, options) = (kind.next()?, kind.nth(1).unwrap_or_default());
        let wanted = match controller {
            None => kind == "cgroup2",
            Some(controller) => kind == "cgroup" && options.split(',').any(|option| option == controller),
        };
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        wanted.then(|| Mount {
            root: unescape(root).into(),
            point: unescape(point).into(),
        })
    })
}

/// A line is `number:controllers:path`, and `0::path` in version 2.
fn find_group<'a>(groups: &'a str, controller: Option<&str>) -> Option<&'a str> {
    groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let wanted = match controller {
            None => number == "0" && controllers.is_empty(),
            Some(controller) => controllers.split(',').any(|one| one == controller),
        };
        wanted.then_some(path)
    })
}

/// Blanks in the names of mounts are written as `\040`.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
}

/// `50000 100000`, microseconds of each period, or `max 100000`.
fn parse_cpu_max(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    cores(words.next()?.parse().ok()?, words.next()?.parse().ok()?)
}

fn cores(quota: u64, period: u64) -> Option<f64> {
    (period > 0).then(|| quota as f64 / period as f64)
}

fn parse_periods(stat: &str) -> Periods {
    Periods {
        all: value_of(stat, "nr_periods").unwrap_or_default(),
        throttled: value_of(stat, "nr_throttled").unwrap_or_default(),
    }
}

/// The number behind `key` in lines of key and number.
fn value_of(stat: &str, key: &str) -> Option<u64> {
    stat.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok())?
    })
}

/// Version 1 has no word for "no limit", only the largest number of whole pages.
const UNLIMITED_V1: u64 = 1 << 62;

#[cfg(test)]
mod tests {
    use super::*;

    /// As a virtual machine with both versions has it, and a group of version 1 for the processor.
    const HYBRID_MOUNTS: &str = "\
24 1 0:22 / /proc rw,relatime shared:5 - proc proc rw
30 23 0:26 / /sys/fs/cgroup rw,relatime shared:9 - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime shared:10 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/cpuset rw,relatime shared:11 - cgroup cgroup rw,cpuset
33 30 0:29 / /sys/fs/cgroup/memory rw,relatime shared:12 - cgroup cgroup rw,memory
34 30 0:30 / /sys/fs/cgroup/unified rw,relatime shared:13 - cgroup2 cgroup2 rw
";
    const HYBRID_GROUPS: &str = "9:name=systemd:/\n4:memory:/jobs\n3:cpuset:/\n2:cpu,cpuacct:/jobs/one\n0::/\n";

    /// As a container without a namespace of its own for groups has it: the mount begins at its group.
    const CONTAINER_MOUNTS: &str =
        "700 690 0:30 /docker/4be1 /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate\n";

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, ControlGroups) {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let groups = ControlGroups::below(root.path());
        (root, groups)
    }

    fn folders_of(controller: Option<&str>) -> Vec<String> {
        let folders = folders(HYBRID_MOUNTS, HYBRID_GROUPS, controller);
        folders.iter().map(|folder| folder.display().to_string()).collect()
    }

    #[test]
    fn a_group_and_those_above_it_are_found_in_both_versions() {
        let cpu = [
            "/sys/fs/cgroup/cpu/jobs/one",
            "/sys/fs/cgroup/cpu/jobs",
            "/sys/fs/cgroup/cpu/",
        ];
        assert_eq!(folders_of(Some("cpu")), cpu);
        // Not the hierarchy "cpuset", whose name begins alike.
        assert_eq!(folders_of(Some("cpuset")), ["/sys/fs/cgroup/cpuset/"]);
        assert_eq!(folders_of(None), ["/sys/fs/cgroup/unified/"]);
        assert_eq!(folders_of(Some("hugetlb")), Vec::<String>::new());
    }

    #[test]
    fn a_mount_that_begins_at_the_containers_group_is_its_group() {
        let own = folders(CONTAINER_MOUNTS, "0::/docker/4be1\n", None);
        assert_eq!(own, [PathBuf::from("/sys/fs/cgroup/")]);
        let inner = folders(CONTAINER_MOUNTS, "0::/docker/4be1/init\n", None);
        assert_eq!(inner[0], PathBuf::from("/sys/fs/cgroup/init"));
        // Outside of what is mounted, and outside of the namespace.
        for outside in ["0::/docker/other\n", "0::/../sibling\n"] {
            assert_eq!(
                folders(CONTAINER_MOUNTS, outside, None),
                [PathBuf::from("/sys/fs/cgroup/")]
            );
        }
    }

    #[test]
    fn the_tightest_quota_counts_wherever_it_stands() {
        let (_root, groups) = machine(&[
            (
                "proc/self/mountinfo",
                "30 1 0:9 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
            ),
            ("proc/self/cgroup", "0::/pod/container\n"),
            ("sys/fs/cgroup/pod/container/cpu.max", "200000 100000\n"),
            (
                "sys/fs/cgroup/pod/container/cpu.stat",
                "usage_usec 5\nnr_periods 10\nnr_throttled 1\nthrottled_usec 7\n",
            ),
            ("sys/fs/cgroup/pod/cpu.max", "50000 100000\n"),
            ("sys/fs/cgroup/pod/cpu.stat", "nr_periods 66\nnr_throttled 62\n"),
            ("sys/fs/cgroup/pod/memory.max", "1000000\n"),
            ("sys/fs/cgroup/pod/memory.high", "max\n"),
            ("sys/fs/cgroup/pod/memory.current", "300000\n"),
            ("sys/fs/cgroup/pod/memory.stat", "anon 200000\ninactive_file 50000\n"),
            ("sys/fs/cgroup/pod/container/memory.max", "max\n"),
        ]);
        assert_eq!(groups.quota_cores(), Some(0.5));
        let periods = [(10, 1), (66, 62)].map(|(all, throttled)| Periods { all, throttled });
        assert_eq!(groups.periods(), periods);
        assert_eq!(groups.memory_left(), Some(750_000));
    }

    #[test]
    fn version_one_is_read_too_and_its_largest_number_is_no_limit() {
        let (_root, groups) = machine(&[
            ("proc/self/mountinfo", HYBRID_MOUNTS),
            ("proc/self/cgroup", HYBRID_GROUPS),
            ("sys/fs/cgroup/cpu/jobs/one/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/jobs/one/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu/jobs/cpu.cfs_quota_us", "20000\n"),
            ("sys/fs/cgroup/cpu/jobs/cpu.cfs_period_us", "100000\n"),
            (
                "sys/fs/cgroup/cpu/jobs/cpu.stat",
                "nr_periods 66\nnr_throttled 62\nthrottled_time 4500000000\n",
            ),
            (
                "sys/fs/cgroup/memory/jobs/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
            ("sys/fs/cgroup/memory/jobs/memory.usage_in_bytes", "1000\n"),
        ]);
        assert_eq!(groups.quota_cores(), Some(0.2));
        assert_eq!(groups.periods(), [Periods { all: 66, throttled: 62 }]);
        assert_eq!(groups.memory_left(), None);
    }

    #[test]
    fn no_files_and_files_that_are_nonsense_are_no_limits() {
        let (_root, none) = machine(&[]);
        assert_eq!((none.quota_cores(), none.memory_left()), (None, None));
        assert!(none.periods().is_empty());
        let (_root, nonsense) = machine(&[
            (
                "proc/self/mountinfo",
                "- cgroup2\n1 2 - cgroup2\n30 1 0:9 / /c rw - cgroup2 cgroup2 rw\n",
            ),
            ("proc/self/cgroup", "0\n0:\n0::/a\n"),
            ("c/a/cpu.max", "lots\n"),
            ("c/cpu.max", "5 0\n"),
            ("c/a/memory.max", "-3\n"),
            ("c/a/cpu.stat", "nr_periods\n"),
        ]);
        assert_eq!((nonsense.quota_cores(), nonsense.memory_left()), (None, None));
    }
}
