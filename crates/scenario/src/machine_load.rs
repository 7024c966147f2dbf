//! What the machine was like during the fan-out of a live run: plain data. Who runs it measures and judges it.

use serde::Serialize;

/// What the machine took of a run. What a system does not tell is null.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MachineLoad {
    /// How long was watched.
    pub watched_seconds: f64,
    /// Cores that the run may use: those of the machine, of its affinity or of its quota.
    pub cores: f64,
    /// Part of these that it used.
    pub own_share: f64,
    /// Of the time in which its threads wanted a core, the part in which they had none.
    pub run_queue_delay_share: Option<f64>,
    /// How late timers were.
    pub timer_lag_ms: Option<TimerLag>,
    /// How many timers were looked at.
    pub timer_ticks: u64,
    /// Part of the machine's time that its host gave to others.
    pub steal_share: Option<f64>,
    /// Part of `processors` that other programs used.
    pub other_busy_share: Option<f64>,
    /// Processors of the machine that the run may be put on.
    pub processors: Option<usize>,
    /// Part of the time in which something on the machine waited for a processor.
    pub pressure_share: Option<f64>,
    /// Cores' worth of time that control groups allow.
    pub quota_cores: Option<f64>,
    /// Periods in which the quota was used up before they were over.
    pub throttled_periods: Option<u64>,
    /// Periods in which the run wanted to run.
    pub periods: Option<u64>,
    /// Part of the time in which the busiest link of a region was busy, of the region in which that is least.
    pub busiest_link_share: Option<f64>,
    /// The machine slept for so long, and the run with it.
    pub slept_seconds: f64,
    /// The clock on the wall was set by so much. No latency is taken from that clock.
    pub wall_clock_set_seconds: f64,
}

/// How late timers were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TimerLag {
    /// On average.
    pub mean: f64,
    /// Half of them were at most so late.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
    /// All.
    pub max: f64,
}
