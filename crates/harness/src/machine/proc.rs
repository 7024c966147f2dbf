//! What Linux says in `/proc` of threads and processors. Parsers are pure; what a system does not have is `None`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Nanoseconds of threads: on a core, and ready to run with no core free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ThreadTimes {
    pub(crate) ran: u64,
    pub(crate) waited: u64,
}

impl ThreadTimes {
    /// Of the time in which threads wanted a core, the part in which they had none.
    pub(crate) fn waited_share(self) -> Option<f64> {
        let wanted = self.ran + self.waited;
        (wanted > 0).then(|| self.waited as f64 / wanted as f64)
    }

    pub(crate) const fn add(&mut self, other: Self) {
        self.ran += other.ran;
        self.waited += other.waited;
    }
}

/// Adds up what threads of a process ran and waited since it was begun, though threads come and go.
#[derive(Debug)]
pub(crate) struct ThreadWatch {
    last: BTreeMap<u32, ThreadTimes>,
    total: ThreadTimes,
}

impl ThreadWatch {
    /// From these readings on.
    pub(crate) const fn since(threads: BTreeMap<u32, ThreadTimes>) -> Self {
        Self {
            last: threads,
            total: ThreadTimes { ran: 0, waited: 0 },
        }
    }

    /// Another reading of all threads. What a thread did after the last one before its end is lost.
    pub(crate) fn note(&mut self, threads: BTreeMap<u32, ThreadTimes>) {
        for (id, now) in &threads {
            let before = self.last.get(id).copied().unwrap_or_default();
            // Less than before: the number was given to a new thread.
            let same = before.ran <= now.ran && before.waited <= now.waited;
            let before = if same { before } else { ThreadTimes::default() };
            self.total.add(ThreadTimes {
                ran: now.ran - before.ran,
                waited: now.waited - before.waited,
            });
        }
        self.last = threads;
    }

    pub(crate) const fn total(&self) -> ThreadTimes {
        self.total
    }
}

/// All threads of this process; `None` where the system does not tell.
pub(crate) fn own_threads() -> Option<BTreeMap<u32, ThreadTimes>> {
    let entries = std::fs::read_dir("/proc/self/task").ok()?;
    let threads: BTreeMap<u32, ThreadTimes> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let id = entry.file_name().to_str()?.parse().ok()?;
            // A thread may have ended meanwhile.
            let text = std::fs::read_to_string(entry.path().join("schedstat")).ok()?;
            Some((id, parse_schedstat(&text)?))
        })
        .collect();
    (!threads.is_empty()).then_some(threads)
}

/// `ran waited slices`, nanoseconds.
fn parse_schedstat(text: &str) -> Option<ThreadTimes> {
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    Some(ThreadTimes {
        ran: numbers.next()?.ok()?,
        waited: numbers.next()?.ok()?,
    })
}

/// Clock ticks of the processors that this process may use, since the system began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ticks {
    pub(crate) processors: usize,
    /// Something ran, whoever's.
    pub(crate) busy: u64,
    /// A processor of this virtual machine had something to run, and the host ran something else.
    pub(crate) stolen: u64,
    /// All, resting among them.
    pub(crate) all: u64,
}

/// As they are now; `None` where the system does not tell.
pub(crate) fn ticks() -> Option<Ticks> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    parse_stat(
        &std::fs::read_to_string("/proc/stat").ok()?,
        allowed_processors(&status).as_deref(),
    )
}

/// Lines `cpuN user nice system idle iowait irq softirq steal guest guest_nice`, of the processors `allowed` or of all.
fn parse_stat(text: &str, allowed: Option<&[usize]>) -> Option<Ticks> {
    let mut sum = Ticks::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(number) = words
            .next()
            .and_then(|word| word.strip_prefix("cpu")?.parse::<usize>().ok())
        else {
            continue;
        };
        if allowed.is_some_and(|allowed| !allowed.contains(&number)) {
            continue;
        }
        // Guests' time is in that of users already.
        let ticks: Vec<u64> = words.take(8).map_while(|word| word.parse().ok()).collect();
        let [user, nice, system, idle, waiting, interrupts, soft, stolen] = ticks[..] else {
            return None;
        };
        sum.processors += 1;
        let busy = user + nice + system + interrupts + soft;
        sum.busy += busy;
        sum.stolen += stolen;
        sum.all += busy + idle + waiting + stolen;
    }
    (sum.processors > 0).then_some(sum)
}

/// `Cpus_allowed_list:` and `0-1,4` of `/proc/self/status`.
fn allowed_processors(status: &str) -> Option<Vec<usize>> {
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let mut processors = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        processors.extend(first.parse().ok()?..=last.parse::<usize>().ok()?);
    }
    Some(processors)
}

/// Microseconds in which something on the machine waited for a processor; `None` where the system does not tell.
pub(crate) fn pressure_micros() -> Option<u64> {
    parse_pressure(&std::fs::read_to_string("/proc/pressure/cpu").ok()?)
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=23709683`.
fn parse_pressure(text: &str) -> Option<u64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    some.split(' ')
        .find_map(|word| word.strip_prefix("total=")?.parse().ok())
}

/// The signals that this process ignores, a bit each, the first for SIGHUP.
pub(crate) fn ignored_signals() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let bits = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(bits.trim(), 16).ok()
}

/// The number of kibibytes behind `key` in a file of lines `Key:   number kB`.
pub(crate) fn kibibytes(path: &Path, key: &str) -> Option<u64> {
    parse_kibibytes(&std::fs::read_to_string(path).ok()?, key)
}

fn parse_kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "\
cpu  43433 0 6555 18489 1523 0 46 45 0 0
cpu0 21463 0 2977 9955 609 0 3 20 0 0
cpu1 21969 1 3578 8534 914 2 42 25 7 0
intr 1 2 3
ctxt 12
";

    #[test]
    fn ticks_are_of_the_processors_that_may_be_used() {
        let both = parse_stat(STAT, None).unwrap();
        assert_eq!((both.processors, both.stolen), (2, 45));
        let one = parse_stat(STAT, Some(&[1])).unwrap();
        let busy = 21969 + 1 + 3578 + 2 + 42;
        let expected = Ticks {
            processors: 1,
            busy,
            stolen: 25,
            all: busy + 8534 + 914 + 25,
        };
        assert_eq!(one, expected);
        assert_eq!(parse_stat(STAT, Some(&[7])), None);
        assert_eq!(parse_stat("cpu0 1 2 three\n", None), None);
        assert_eq!(parse_stat("", None), None);
    }

    #[test]
    fn two_of_64_processors_are_two() {
        let status = "Name:\tharness\nCpus_allowed:\t30\nCpus_allowed_list:\t4-5\n";
        assert_eq!(allowed_processors(status), Some(vec![4, 5]));
        assert_eq!(
            allowed_processors("Cpus_allowed_list:\t0,3-4,63\n"),
            Some(vec![0, 3, 4, 63])
        );
        assert_eq!(allowed_processors("Cpus_allowed_list:\tall\n"), None);
        assert_eq!(allowed_processors(""), None);
        let lines: Vec<String> = (0..64).map(|n| format!("cpu{n} 1 0 1 8 0 0 0 0 0 0")).collect();
        let ticks = parse_stat(&lines.join("\n"), Some(&[4, 5])).unwrap();
        assert_eq!((ticks.processors, ticks.busy, ticks.all), (2, 4, 20));
    }

    #[test]
    fn pressure_and_memory_are_read_and_may_be_missing() {
        let text = "some avg10=26.79 avg60=10.80 avg300=4.84 total=23709683\nfull avg10=0.00 total=0\n";
        assert_eq!(parse_pressure(text), Some(23_709_683));
        assert_eq!(parse_pressure("full avg10=0.00 total=0\n"), None);
        let text = "MemTotal:       24684388 kB\nMemAvailable:   22730012 kB\n";
        assert_eq!(parse_kibibytes(text, "MemAvailable"), Some(22_730_012));
        assert_eq!(parse_kibibytes(text, "Mem"), None);
        assert_eq!(kibibytes(Path::new("/nowhere/at/all"), "Mem"), None);
    }

    #[test]
    fn threads_that_come_and_go_are_counted_while_they_are_seen() {
        let of = |list: &[(u32, u64, u64)]| {
            let threads = list.iter().map(|(id, ran, waited)| {
                let times = ThreadTimes {
                    ran: *ran,
                    waited: *waited,
                };
                (*id, times)
            });
            threads.collect::<BTreeMap<_, _>>()
        };
        let mut watch = ThreadWatch::since(of(&[(1, 1000, 500), (2, 10, 10)]));
        watch.note(of(&[(1, 1100, 520), (3, 7, 1)]));
        assert_eq!(watch.total(), ThreadTimes { ran: 107, waited: 21 });
        // Thread 2 has gone; its number comes again, and so does number 3 without a reading between.
        watch.note(of(&[(1, 1100, 520), (2, 20, 2), (3, 3, 0)]));
        assert_eq!(watch.total(), ThreadTimes { ran: 130, waited: 23 });
        assert_eq!(ThreadTimes { ran: 82, waited: 18 }.waited_share(), Some(0.18));
        assert_eq!(ThreadTimes::default().waited_share(), None);
    }

    #[test]
    fn a_schedstat_is_what_ran_and_what_waited() {
        let expected = ThreadTimes {
            ran: 81_234,
            waited: 3_699_108,
        };
        assert_eq!(parse_schedstat("81234 3699108 12\n"), Some(expected));
        assert_eq!(parse_schedstat("81234\n"), None);
        assert_eq!(parse_schedstat("a b c"), None);
        if cfg!(target_os = "linux") && Path::new("/proc/self/schedstat").exists() {
            assert!(own_threads().is_some_and(|threads| !threads.is_empty()));
        }
    }
}
