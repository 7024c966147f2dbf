//! Whether the machine was the limit of a run on shaped links, and the figures that say so. Pure.
//!
//! Effects decide: time in which threads had no core, timers that came late, links that rested. That somebody else used
//! the machine is no verdict by itself, since there may have been room for both; it is named as the cause of an effect.

use std::time::Duration;

use scenario::MachineLoad;

/// What held a live run, and why that is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) limited_by: LimitedBy,
    pub(crate) because: String,
}

/// What a live run can be limited by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitedBy {
    Machine,
    Shaping,
}

/// What a run on shaped links expects of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shaped {
    /// How long a chunk takes on a host's uplink.
    pub(crate) chunk_time: Duration,
    /// From one host to another.
    pub(crate) latency: Duration,
}

/// What limited a run during which the machine did `load`; `shaped` where its links are limited. Of a run that was ended
/// before the fan-out nothing is known.
pub(crate) fn judge(load: Option<&MachineLoad>, shaped: Option<Shaped>) -> Verdict {
    let Some(shaped) = shaped else {
        return Verdict {
            limited_by: LimitedBy::Machine,
            because: "links are not limited".to_owned(),
        };
    };
    let Some(load) = load else {
        return Verdict {
            limited_by: LimitedBy::Shaping,
            because: "links are limited; the machine was not watched".to_owned(),
        };
    };
    let mut reasons: Vec<String> = CHECKS.iter().filter_map(|check| check(load, shaped)).collect();
    if reasons.is_empty() {
        return Verdict {
            limited_by: LimitedBy::Shaping,
            because: at_rest(load),
        };
    }
    reasons.extend(others(load));
    Verdict {
        limited_by: LimitedBy::Machine,
        because: reasons.join("; "),
    }
}

type Check = fn(&MachineLoad, Shaped) -> Option<String>;

/// In the order in which they are told: what explains most comes first.
const CHECKS: [Check; 7] = [slept, throttled, used_up, stolen, waited, late, links_rested];

fn slept(load: &MachineLoad, _: Shaped) -> Option<String> {
    let slept = load.slept_seconds;
    (slept > 0.0).then(|| format!("the machine slept for {slept:.0} s during the run"))
}

fn throttled(load: &MachineLoad, _: Shaped) -> Option<String> {
    let (throttled, periods) = (load.throttled_periods?, load.periods?);
    let quota = load.quota_cores.unwrap_or_default();
    let share = throttled as f64 / periods.max(1) as f64;
    (share >= THROTTLED_SHARE)
        .then(|| format!("throttled in {throttled} of {periods} periods by a quota of {quota} cores"))
}

fn used_up(load: &MachineLoad, _: Shaped) -> Option<String> {
    let share = load.own_share;
    (share >= OWN_SHARE).then(|| {
        format!(
            "this run used {:.0} % of the {} it may use",
            share * 100.0,
            cores(load.cores)
        )
    })
}

fn stolen(load: &MachineLoad, _: Shaped) -> Option<String> {
    let share = load.steal_share?;
    (share >= STEAL_SHARE).then(|| format!("the host of this virtual machine took {:.0} % of it", share * 100.0))
}

/// Threads that wait for each other and for nobody else's are not held up by the machine before it is used up, which is
/// what [`used_up`] and [`late`] see.
fn waited(load: &MachineLoad, _: Shaped) -> Option<String> {
    let share = load.run_queue_delay_share?;
    let by_others = load.other_busy_share.is_none_or(|share| share >= OTHERS_SHARE);
    let told = || {
        format!(
            "run queue delay {:.0} % of the time that threads wanted a core",
            share * 100.0
        )
    };
    (share >= RUN_QUEUE_SHARE && by_others).then(told)
}

fn late(load: &MachineLoad, shaped: Shaped) -> Option<String> {
    let lag = load.timer_lag_ms?;
    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let tolerable = milliseconds(LAG).max(LAG_OF_CHUNK * milliseconds(shaped.chunk_time));
    if lag.mean > tolerable {
        let (mean, p99) = (lag.mean, lag.p99);
        return Some(format!("timers {mean:.0} ms late on average, {p99:.0} ms at p99"));
    }
    let pause = PAUSE_OF_RUN * load.watched_seconds * 1000.0;
    (lag.max > pause).then(|| format!("everything stood still for {:.0} ms", lag.max))
}

fn links_rested(load: &MachineLoad, shaped: Shaped) -> Option<String> {
    let share = load.busiest_link_share?;
    // Where an answer takes longer than a chunk, links rest between chunks, whatever the machine does.
    let by_latency = shaped.latency * 2 >= shaped.chunk_time;
    let told = || format!("the busiest link was busy for {:.0} % of the time only", share * 100.0);
    (share < LINKS_SHARE && !by_latency).then(told)
}

fn others(load: &MachineLoad) -> Option<String> {
    let (share, processors) = (load.other_busy_share?, load.processors?);
    let used = share * processors as f64;
    (share >= OTHERS_SHARE).then(|| format!("other programs used {used:.1} of {}", cores(processors as f64)))
}

/// The same figures where none of them is a reason.
fn at_rest(load: &MachineLoad) -> String {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let mut figures = vec![format!("{} of {} used", percent(load.own_share), cores(load.cores))];
    figures.extend(
        load.run_queue_delay_share
            .map(|share| format!("run queue delay {}", percent(share))),
    );
    figures.extend(
        load.timer_lag_ms
            .map(|lag| format!("timers {:.1} ms late at p99", lag.p99)),
    );
    let links = load.busiest_link_share;
    figures.extend(links.map(|share| format!("the busiest link busy for {} of the time", percent(share))));
    figures.join("; ")
}

fn cores(count: f64) -> String {
    if count == 1.0 {
        "1 core".to_owned()
    } else {
        format!("{count} cores")
    }
}

/// Of the periods of a quota. One that was used up stands still for the rest of it, up to a tenth of a second, and with it
/// every host.
const THROTTLED_SHARE: f64 = 0.05;

/// Of the cores that may be used. Busier than this, what comes at the same time waits for each other.
const OWN_SHARE: f64 = 0.85;

/// Of the machine's time. What is stolen is time in which something was ready to run.
const STEAL_SHARE: f64 = 0.05;

/// Of the time in which threads wanted a core. Beside an idle machine a run waits for some percent of it.
const RUN_QUEUE_SHARE: f64 = 0.1;

/// Of the processors, used by other programs: what a system does for itself is less.
const OTHERS_SHARE: f64 = 0.1;

/// On average. Timers are late by half to one millisecond wherever they are, since that is their grain.
const LAG: Duration = Duration::from_millis(2);

/// Of the time that a chunk takes, on average. A chunk waits for its turn some four times on its way (asked for, let into the
/// uplink, read, out of the downlink), so this makes hosts an eighth later.
const LAG_OF_CHUNK: f64 = 0.03;

/// Of the fan-out. A pause makes every host later that is not done, by its whole length.
const PAUSE_OF_RUN: f64 = 0.05;

/// Of the time until its last byte. Where links are the limit, some of them are busy nearly all the time: the seeder's, or
/// those of the slowest hosts.
const LINKS_SHARE: f64 = 0.5;

#[cfg(test)]
mod tests {
    use super::*;
    use scenario::TimerLag;

    const SHAPED: Shaped = Shaped {
        chunk_time: Duration::from_millis(524),
        latency: Duration::ZERO,
    };

    /// Ten thousand hosts with the machine to themselves.
    fn quiet() -> MachineLoad {
        MachineLoad {
            watched_seconds: 49.0,
            cores: 2.0,
            own_share: 0.6,
            run_queue_delay_share: Some(0.03),
            timer_lag_ms: lag(1.3, 6.0, 40.0),
            steal_share: Some(0.002),
            other_busy_share: Some(0.02),
            processors: Some(2),
            pressure_share: Some(0.1),
            busiest_link_share: Some(0.97),
            ..MachineLoad::default()
        }
    }

    fn machine_because(load: &MachineLoad) -> String {
        let verdict = judge(Some(load), Some(SHAPED));
        assert_eq!(verdict.limited_by, LimitedBy::Machine, "{}", verdict.because);
        verdict.because
    }

    fn is_shaping(load: &MachineLoad) {
        let verdict = judge(Some(load), Some(SHAPED));
        assert_eq!(verdict.limited_by, LimitedBy::Shaping, "{}", verdict.because);
    }

    #[test]
    fn a_machine_that_is_there_for_the_run_is_not_its_limit() {
        let verdict = judge(Some(&quiet()), Some(SHAPED));
        assert_eq!(verdict.limited_by, LimitedBy::Shaping);
        let figures = "60 % of 2 cores used; run queue delay 3 %; timers 6.0 ms late at p99; the busiest link busy for 97 % of the time";
        assert_eq!(verdict.because, figures);
    }

    #[test]
    fn a_flat_out_run_is_limited_by_the_machine_and_one_that_was_not_watched_by_its_links() {
        assert_eq!(judge(Some(&quiet()), None).limited_by, LimitedBy::Machine);
        assert_eq!(judge(None, Some(SHAPED)).limited_by, LimitedBy::Shaping);
    }

    #[test]
    fn threads_that_wait_behind_other_programs_are_held_up_by_the_machine() {
        let mut load = quiet();
        load.run_queue_delay_share = Some(0.18);
        // Behind each other: busy below the limit, and in time.
        is_shaping(&load);
        load.other_busy_share = Some(0.45);
        assert_eq!(
            machine_because(&load),
            "run queue delay 18 % of the time that threads wanted a core; other programs used 0.9 of 2 cores"
        );
        // Where nobody tells who else is there, what was waited stands by itself.
        load.other_busy_share = None;
        assert!(machine_because(&load).starts_with("run queue delay 18 %"));
    }

    #[test]
    fn other_programs_that_leave_room_are_no_limit() {
        let mut load = quiet();
        load.other_busy_share = Some(0.35);
        is_shaping(&load);
    }

    #[test]
    fn a_quota_that_is_used_up_is_the_machine() {
        let mut load = quiet();
        (load.quota_cores, load.cores, load.own_share) = (Some(0.2), 0.2, 0.99);
        (load.throttled_periods, load.periods) = (Some(62), Some(66));
        let because = machine_because(&load);
        assert!(
            because.starts_with("throttled in 62 of 66 periods by a quota of 0.2 cores"),
            "{because}"
        );
        assert!(because.contains("used 99 % of the 0.2 cores"), "{because}");
        // A quota of which there is enough, and one that was never reached.
        (load.cores, load.own_share) = (2.0, 0.3);
        (load.throttled_periods, load.periods) = (Some(1), Some(66));
        is_shaping(&load);
        (load.throttled_periods, load.periods) = (Some(0), Some(0));
        is_shaping(&load);
    }

    #[test]
    fn a_run_that_uses_all_that_there_is_is_limited_by_it() {
        let mut load = quiet();
        load.own_share = 0.85;
        assert_eq!(machine_because(&load), "this run used 85 % of the 2 cores it may use");
        load.cores = 1.0;
        assert_eq!(machine_because(&load), "this run used 85 % of the 1 core it may use");
        load.own_share = 0.84;
        is_shaping(&load);
    }

    #[test]
    fn time_that_a_host_took_from_its_virtual_machine_is_the_machine() {
        let mut load = quiet();
        load.steal_share = Some(0.3);
        assert_eq!(
            machine_because(&load),
            "the host of this virtual machine took 30 % of it"
        );
    }

    fn lag(mean: f64, p99: f64, max: f64) -> Option<TimerLag> {
        Some(TimerLag {
            mean,
            p50: 1.0,
            p99,
            max,
        })
    }

    #[test]
    fn timers_are_too_late_when_they_are_for_a_chunk() {
        let mut load = quiet();
        load.timer_lag_ms = lag(15.0, 300.0, 600.0);
        is_shaping(&load);
        load.timer_lag_ms = lag(16.0, 40.0, 60.0);
        assert_eq!(machine_because(&load), "timers 16 ms late on average, 40 ms at p99");
        // Chunks of 33 ms: the grain of timers is no harm, more is.
        let small = Shaped {
            chunk_time: Duration::from_millis(33),
            ..SHAPED
        };
        load.timer_lag_ms = lag(1.2, 9.0, 60.0);
        assert_eq!(judge(Some(&load), Some(small)).limited_by, LimitedBy::Shaping);
        load.timer_lag_ms = lag(2.1, 9.0, 60.0);
        assert_eq!(judge(Some(&load), Some(small)).limited_by, LimitedBy::Machine);
    }

    #[test]
    fn one_long_pause_is_the_machine_though_it_is_rare() {
        let mut load = quiet();
        load.watched_seconds = 600.0;
        load.timer_lag_ms = lag(2.0, 2.0, 29_000.0);
        is_shaping(&load);
        load.timer_lag_ms = lag(2.0, 2.0, 31_000.0);
        assert_eq!(machine_because(&load), "everything stood still for 31000 ms");
    }

    #[test]
    fn links_that_rest_show_that_something_else_was_the_limit() {
        let mut load = quiet();
        load.busiest_link_share = Some(0.06);
        assert_eq!(
            machine_because(&load),
            "the busiest link was busy for 6 % of the time only"
        );
        // Unless answers take longer than chunks.
        let far = Shaped {
            latency: Duration::from_millis(300),
            ..SHAPED
        };
        assert_eq!(judge(Some(&load), Some(far)).limited_by, LimitedBy::Shaping);
    }

    #[test]
    fn a_machine_that_slept_gives_no_figures() {
        let mut load = quiet();
        load.slept_seconds = 3600.0;
        assert_eq!(machine_because(&load), "the machine slept for 3600 s during the run");
    }

    #[test]
    fn a_system_that_tells_nothing_still_has_timers() {
        let mut load = MachineLoad {
            watched_seconds: 2.0,
            cores: 8.0,
            own_share: 0.1,
            ..MachineLoad::default()
        };
        is_shaping(&load);
        load.timer_lag_ms = lag(90.0, 400.0, 900.0);
        assert_eq!(machine_because(&load), "timers 90 ms late on average, 400 ms at p99");
    }
}
