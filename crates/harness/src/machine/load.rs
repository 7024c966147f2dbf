//! What the machine did during the fan-out, and how it was to be a process on it.
//!
//! A [`Watch`] runs in each process of a run; what the processes saw and what the machine did make a
//! [`MachineLoad`], which is what the report shows and [`super::judge`] judges.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use peer::Traffic;
use rustix::time::{ClockId, Timespec, clock_gettime};
use scenario::{MachineLoad, TimerLag};
use serde::{Deserialize, Serialize};
use swarm::Bytes;
use tokio::task::JoinHandle;

use super::cgroup::{ControlGroups, Periods};
use super::lag::{LagHistogram, TICK};
use super::proc::{self, ThreadTimes, ThreadWatch, Ticks};

/// How it was for one process, or for several together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ProcessLoad {
    cpu_seconds: f64,
    /// `None` where the system does not tell.
    threads: Option<ThreadTimes>,
    lag: LagHistogram,
    /// How busy the busiest link of each region was.
    busiest_links: BTreeMap<usize, f64>,
}

impl ProcessLoad {
    /// Adds another process of the same run.
    pub(crate) fn add(&mut self, other: &Self) {
        self.cpu_seconds += other.cpu_seconds;
        match (&mut self.threads, other.threads) {
            (Some(sum), Some(threads)) => sum.add(threads),
            (sum, threads) => *sum = sum.or(threads),
        }
        self.lag.add(&other.lag);
        for (region, share) in &other.busiest_links {
            let busiest = self.busiest_links.entry(*region).or_default();
            *busiest = busiest.max(*share);
        }
    }

    /// Notes how a node of `region` used its links, where enough of the build went through them to say.
    pub(crate) fn note_links(&mut self, region: usize, build: Bytes, traffic: &Traffic) {
        for link in [traffic.uplink, traffic.downlink] {
            let enough = link.bytes >= build.get() / PART_OF_BUILD;
            if let Some(share) = link.busy_share().filter(|_| enough) {
                let busiest = self.busiest_links.entry(region).or_default();
                *busiest = busiest.max(share);
            }
        }
    }
}

/// Watches a process from [`Watch::start`] to [`Watch::stop`].
#[derive(Debug)]
pub(crate) struct Watch {
    began: Instant,
    before: Snapshot,
    probe: Arc<Mutex<Probe>>,
    ticking: JoinHandle<()>,
}

#[derive(Debug)]
struct Probe {
    /// When the next tick is, since the watch began.
    due: Duration,
    lag: LagHistogram,
    threads: Option<ThreadWatch>,
}

impl Watch {
    /// Begins to watch. Its ticks are a task among the others of the runtime, so that they wait for what these wait for.
    pub(crate) fn start() -> Self {
        let began = Instant::now();
        let probe = Arc::new(Mutex::new(Probe {
            due: TICK,
            lag: LagHistogram::default(),
            threads: proc::own_threads().map(ThreadWatch::since),
        }));
        Self {
            began,
            before: Snapshot::take(),
            ticking: tokio::spawn(tick(Arc::clone(&probe), began)),
            probe,
        }
    }

    /// What this process saw since then, and what the machine did.
    pub(crate) fn stop(self) -> (ProcessLoad, MachineUse) {
        self.ticking.abort();
        let mut probe = self.probe.lock();
        probe.note_ticks(self.began.elapsed());
        probe.note_threads();
        let after = Snapshot::take();
        let load = ProcessLoad {
            cpu_seconds: after.cpu_seconds - self.before.cpu_seconds,
            threads: probe.threads.as_ref().map(ThreadWatch::total),
            lag: std::mem::take(&mut probe.lag),
            busiest_links: BTreeMap::new(),
        };
        (load, MachineUse::between(&self.before, &after))
    }
}

impl Probe {
    fn note_ticks(&mut self, now: Duration) -> Duration {
        self.due = self.lag.note_ticks(self.due, now);
        self.due
    }

    fn note_threads(&mut self) {
        if let (Some(watch), Some(threads)) = (&mut self.threads, proc::own_threads()) {
            watch.note(threads);
        }
    }
}

async fn tick(probe: Arc<Mutex<Probe>>, began: Instant) {
    let mut due = TICK;
    for count in 1_u64.. {
        tokio::time::sleep_until((began + due).into()).await;
        let mut probe = probe.lock();
        due = probe.note_ticks(began.elapsed());
        if count % THREADS_EVERY == 0 {
            probe.note_threads();
        }
    }
}

/// Counters of the machine at one moment.
#[derive(Clone, Debug, Default)]
struct Snapshot {
    clocks: Clocks,
    cpu_seconds: f64,
    ticks: Option<Ticks>,
    pressure_micros: Option<u64>,
    quota_cores: Option<f64>,
    periods: Vec<Periods>,
}

/// Seconds. The monotonic clock is what the run goes by; it rests while the machine sleeps.
#[derive(Clone, Copy, Debug, Default)]
struct Clocks {
    monotonic: f64,
    /// Goes on while the machine sleeps.
    boot: Option<f64>,
    /// The clock on the wall, which may be set.
    wall: f64,
}

impl Snapshot {
    fn take() -> Self {
        let groups = ControlGroups::of_self();
        Self {
            clocks: Clocks::now(),
            cpu_seconds: super::cpu_seconds(),
            ticks: proc::ticks(),
            pressure_micros: proc::pressure_micros(),
            quota_cores: groups.quota_cores(),
            periods: groups.periods(),
        }
    }
}

impl Clocks {
    fn now() -> Self {
        let seconds = |time: Timespec| time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
        #[cfg(target_os = "linux")]
        let boot = Some(seconds(clock_gettime(ClockId::Boottime)));
        #[cfg(not(target_os = "linux"))]
        let boot = None;
        Self {
            monotonic: seconds(clock_gettime(ClockId::Monotonic)),
            boot,
            wall: seconds(clock_gettime(ClockId::Realtime)),
        }
    }
}

/// What the machine did between two snapshots.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MachineUse {
    seconds: f64,
    slept_seconds: f64,
    wall_clock_set_seconds: f64,
    /// Processors that this process may use, their busy seconds and the share that was stolen.
    processors: Option<(usize, f64, f64)>,
    pressure_share: Option<f64>,
    quota_cores: Option<f64>,
    /// Of the group that was stopped most.
    periods: Option<Periods>,
}

impl MachineUse {
    fn between(before: &Snapshot, after: &Snapshot) -> Self {
        let seconds = after.clocks.monotonic - before.clocks.monotonic;
        let boot = after
            .clocks
            .boot
            .zip(before.clocks.boot)
            .map(|(after, before)| after - before);
        let with_sleep = boot.unwrap_or(seconds);
        let wall = after.clocks.wall - before.clocks.wall;
        // The clocks are read one after another, and a machine that is busy takes its time between.
        let beyond_reading = |seconds: f64| if seconds.abs() < READING_SECONDS { 0.0 } else { seconds };
        let processors = before.ticks.zip(after.ticks).and_then(|(before, after)| {
            let all = after.all.checked_sub(before.all).filter(|all| *all > 0)? as f64;
            let share = |before: u64, after: u64| after.saturating_sub(before) as f64 / all;
            let cores = after.processors as f64;
            let busy = share(before.busy, after.busy) * cores * seconds;
            Some((after.processors, busy, share(before.stolen, after.stolen)))
        });
        let pressure = before.pressure_micros.zip(after.pressure_micros);
        let pressure = pressure.map(|(before, after)| after.saturating_sub(before) as f64 / 1e6 / seconds.max(1e-9));
        let periods = before
            .periods
            .iter()
            .zip(&after.periods)
            .map(|(before, after)| Periods {
                all: after.all.saturating_sub(before.all),
                throttled: after.throttled.saturating_sub(before.throttled),
            });
        Self {
            seconds,
            slept_seconds: beyond_reading(with_sleep - seconds).max(0.0),
            wall_clock_set_seconds: beyond_reading(wall - with_sleep),
            processors,
            pressure_share: pressure.map(|share| share.min(1.0)),
            quota_cores: after.quota_cores,
            periods: periods.max_by_key(|periods| periods.throttled),
        }
    }
}

/// What a run says of its machine: of all its processes together, `cores` of affinity or machine being there for them.
pub(crate) fn machine_load(processes: &ProcessLoad, machine: &MachineUse, cores: usize) -> MachineLoad {
    let allowed = machine
        .quota_cores
        .map_or(cores as f64, |quota| quota.min(cores as f64));
    let own = processes.cpu_seconds / machine.seconds.max(1e-9);
    let milliseconds = |lag: Duration| round(lag.as_secs_f64() * 1000.0);
    let at = |per_mille| processes.lag.at(per_mille).map(milliseconds);
    let timer_lag = || {
        Some(TimerLag {
            mean: processes.lag.mean().map(milliseconds)?,
            p50: at(500)?,
            p99: at(990)?,
            max: at(1000)?,
        })
    };
    // A region in which no link was busy was held up by something else, whatever the others were.
    let busiest_links = processes.busiest_links.values().copied();
    let others = |(processors, busy, _): (usize, f64, f64)| {
        let others = (busy - processes.cpu_seconds).max(0.0);
        round(others / (processors as f64 * machine.seconds.max(1e-9)))
    };
    MachineLoad {
        watched_seconds: round(machine.seconds),
        cores: allowed,
        own_share: round(own / allowed),
        run_queue_delay_share: processes.threads.and_then(ThreadTimes::waited_share).map(round),
        timer_lag_ms: timer_lag(),
        timer_ticks: processes.lag.ticks(),
        steal_share: machine.processors.map(|(_, _, stolen)| round(stolen)),
        other_busy_share: machine.processors.map(others),
        processors: machine.processors.map(|(processors, _, _)| processors),
        pressure_share: machine.pressure_share.map(round),
        quota_cores: machine.quota_cores.map(round),
        throttled_periods: machine.periods.map(|periods| periods.throttled),
        periods: machine.periods.map(|periods| periods.all),
        busiest_link_share: busiest_links.min_by(f64::total_cmp).map(round),
        slept_seconds: round(machine.slept_seconds),
        wall_clock_set_seconds: round(machine.wall_clock_set_seconds),
    }
}

/// Three decimals, as in the rest of the report.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Ticks between two readings of all threads: a second.
const THREADS_EVERY: u64 = 100;

/// A link through which less than this part of the build went had too little to do.
const PART_OF_BUILD: u64 = 4;

/// Clocks that differ by less were read at different moments.
const READING_SECONDS: f64 = 0.5;

#[cfg(test)]
mod tests {
    use super::*;
    use peer::LinkUse;

    fn snapshot(seconds: f64) -> Snapshot {
        Snapshot {
            clocks: Clocks {
                monotonic: seconds,
                boot: Some(seconds + 1000.0),
                wall: seconds + 1e9,
            },
            ..Snapshot::default()
        }
    }

    fn ticks(processors: usize, busy: u64, stolen: u64, all: u64) -> Option<Ticks> {
        Some(Ticks {
            processors,
            busy,
            stolen,
            all,
        })
    }

    #[test]
    fn what_others_used_is_what_was_busy_without_us() {
        let (mut before, mut after) = (snapshot(5.0), snapshot(15.0));
        // Ten seconds of two processors in ticks of 10 ms: 14 of the 20 seconds busy, one stolen.
        before.ticks = ticks(2, 1000, 7, 5000);
        after.ticks = ticks(2, 2400, 107, 7000);
        (before.pressure_micros, after.pressure_micros) = (Some(1_000_000), Some(3_500_000));
        let processes = ProcessLoad {
            cpu_seconds: 5.0,
            threads: Some(ThreadTimes {
                ran: 5_000,
                waited: 1_000,
            }),
            ..ProcessLoad::default()
        };
        let load = machine_load(&processes, &MachineUse::between(&before, &after), 2);
        assert_eq!((load.watched_seconds, load.cores, load.own_share), (10.0, 2.0, 0.25));
        assert_eq!((load.other_busy_share, load.steal_share), (Some(0.45), Some(0.05)));
        assert_eq!(
            (load.run_queue_delay_share, load.pressure_share),
            (Some(0.167), Some(0.25))
        );
        assert_eq!((load.slept_seconds, load.wall_clock_set_seconds), (0.0, 0.0));
    }

    #[test]
    fn a_quota_is_what_there_is_of_the_machine() {
        let (mut before, mut after) = (snapshot(0.0), snapshot(6.6));
        before.periods = vec![Periods::default(), Periods { all: 100, throttled: 3 }];
        after.periods = vec![
            Periods { all: 66, throttled: 1 },
            Periods {
                all: 166,
                throttled: 65,
            },
        ];
        after.quota_cores = Some(0.2);
        let processes = ProcessLoad {
            cpu_seconds: 1.32,
            ..ProcessLoad::default()
        };
        let load = machine_load(&processes, &MachineUse::between(&before, &after), 1);
        assert_eq!((load.cores, load.quota_cores, load.own_share), (0.2, Some(0.2), 1.0));
        assert_eq!((load.throttled_periods, load.periods), (Some(62), Some(66)));
        // More than there is does not make cores.
        after.quota_cores = Some(64.0);
        assert_eq!(
            machine_load(&processes, &MachineUse::between(&before, &after), 2).cores,
            2.0
        );
    }

    #[test]
    fn a_machine_that_slept_is_told_from_a_clock_that_was_set() {
        let before = snapshot(0.0);
        let mut slept = snapshot(30.0);
        slept.clocks.boot = slept.clocks.boot.map(|boot| boot + 3600.0);
        slept.clocks.wall += 3600.0;
        let slept = MachineUse::between(&before, &slept);
        assert_eq!((slept.seconds, slept.slept_seconds), (30.0, 3600.0));
        assert_eq!(slept.wall_clock_set_seconds, 0.0);
        for (set, expected) in [(-7200.0, -7200.0), (0.2, 0.0)] {
            let mut after = snapshot(30.0);
            after.clocks.wall += set;
            let set = MachineUse::between(&before, &after);
            assert_eq!((set.slept_seconds, set.wall_clock_set_seconds), (0.0, expected));
        }
        let mut no_boot = snapshot(30.0);
        no_boot.clocks.boot = None;
        assert_eq!(MachineUse::between(&before, &no_boot).slept_seconds, 0.0);
    }

    #[test]
    fn a_system_that_tells_nothing_leaves_nulls() {
        let machine = MachineUse::between(&snapshot(0.0), &snapshot(0.0));
        let load = machine_load(&ProcessLoad::default(), &machine, 4);
        let json = serde_json::to_value(&load).unwrap();
        let nulls = [
            "run_queue_delay_share",
            "timer_lag_ms",
            "steal_share",
            "other_busy_share",
            "pressure_share",
            "quota_cores",
            "throttled_periods",
            "periods",
            "busiest_link_share",
        ];
        for name in nulls {
            assert!(json[name].is_null(), "{name}: {}", json[name]);
        }
        assert_eq!(load.own_share, 0.0);
    }

    #[test]
    fn the_busiest_link_of_the_region_with_the_least_busy_ones_counts() {
        let build = Bytes::new(1000);
        let link = |bytes, busy, rested| LinkUse {
            bytes,
            busy: Duration::from_secs(busy),
            rested: Duration::from_secs(rested),
        };
        let traffic = |uplink, downlink| Traffic {
            uplink,
            downlink,
            ..Traffic::default()
        };
        let mut load = ProcessLoad::default();
        load.note_links(0, build, &traffic(link(2000, 9, 1), link(1000, 5, 5)));
        load.note_links(0, build, &traffic(link(800, 1, 9), link(1000, 5, 5)));
        // A chunk or two pass at the full rate anyway.
        load.note_links(1, build, &traffic(link(200, 1, 0), link(1000, 1, 9)));
        // Of a worker.
        let mut other = ProcessLoad::default();
        other.note_links(1, build, &traffic(link(300, 2, 8), LinkUse::default()));
        load.add(&other);
        let of = |load: &ProcessLoad| machine_load(load, &MachineUse::default(), 2).busiest_link_share;
        assert_eq!(of(&load), Some(0.2));
        assert_eq!(of(&ProcessLoad::default()), None);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_runtime_that_is_held_up_has_late_timers() {
        let watch = Watch::start();
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(120) {
            // All workers are kept from their timers.
            let spin = || async {
                let until = Instant::now() + Duration::from_millis(40);
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
            };
            let _ = tokio::join!(tokio::spawn(spin()), tokio::spawn(spin()));
        }
        let (load, machine) = watch.stop();
        let load = machine_load(&load, &machine, 2);
        assert!(load.timer_lag_ms.is_some_and(|lag| lag.max >= 10.0), "{load:?}");
        assert!(load.own_share > 0.0 && load.watched_seconds >= 0.12, "{load:?}");
    }
}
