//! What a user sees while it runs: some lines that move where stderr is a terminal, else a plain line now and then.
//!
//! Map: `builds` is for hosts that stay up, `screen` is where lines go and how they fit, `figures` what monitors are told, `rate` how fast something goes and when it is there, `happening`
//! what goes wrong meanwhile. Here is what the
//! lines say: of a run, a forecast, steps that are counted, bytes that are sent.

#[cfg(feature = "pipeline")]
mod builds;
mod figures;
mod happening;
mod rate;
mod screen;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use scenario::Scenario;
use swarm::{Bytes, Time};

use crate::live::FleetStatus;
use happening::Happening;
use rate::Rate;

#[cfg(feature = "pipeline")]
pub(crate) use builds::Builds;
pub(crate) use figures::Figures;
pub(crate) use screen::Screen;

/// How a run or a forecast stands.
pub(crate) struct Progress {
    screen: Screen,
    regions: Vec<(String, u32)>,
    /// Bytes of the build and its chunks.
    build: (u64, u64),
    phase: String,
    began: Instant,
    /// What no schedule beats, where links are limited: no end is promised before it.
    bound: Option<Duration>,
    /// Of all hosts together, then by region.
    rates: Mutex<Vec<Rate>>,
    /// Of what the seeders of each region have sent, in bytes.
    uplinks: Mutex<Vec<Rate>>,
    happening: Happening,
    /// What monitors are told.
    figures: Option<Arc<Figures>>,
}

/// Some that are done of all.
struct Done<'a> {
    name: &'a str,
    share: f64,
    hosts: u32,
    of: u32,
}

impl Done<'_> {
    /// How many are done, and how many bytes a second hosts get that are each to have a build of `bytes`.
    fn line(&self, rate: &mut Rate, now: Duration, bytes: u64) -> Vec<String> {
        rate.note(now, self.share);
        let per_second = rate.per_second() * f64::from(self.of) * bytes as f64;
        vec![
            format!("{} {:.0} %", self.name, percent(self.share)),
            format!("{} of {} hosts", self.hosts, self.of),
            format!("{}/s", Bytes::new(per_second as u64)),
        ]
    }
}

impl Progress {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let bytes = scenario.build_size().get();
        let regions: Vec<(String, u32)> = scenario.regions.iter().map(|r| (r.name.clone(), r.hosts)).collect();
        Self {
            screen: Screen::new(),
            rates: Mutex::new(vec![Rate::default(); regions.len() + 1]),
            uplinks: Mutex::new(vec![Rate::default(); regions.len()]),
            happening: Happening::new(scenario, Duration::ZERO),
            regions,
            build: (bytes, bytes.div_ceil(scenario.chunk_size().into())),
            phase: String::new(),
            began: Instant::now(),
            bound: None,
            figures: None,
        }
    }

    /// The same, which tells monitors too.
    pub(crate) fn told_to(scenario: &Scenario, figures: Arc<Figures>) -> Self {
        Self {
            figures: Some(figures),
            ..Self::new(scenario)
        }
    }

    /// A new phase.
    pub(crate) fn phase(&mut self, what: &str) {
        what.clone_into(&mut self.phase);
        if let Some(figures) = &self.figures {
            figures.phase(what);
        }
        self.began = Instant::now();
        *lock(&self.rates) = vec![Rate::default(); self.regions.len() + 1];
        *lock(&self.uplinks) = vec![Rate::default(); self.regions.len()];
        self.screen.show(&[vec![what.to_owned()]]);
    }

    /// What no schedule beats.
    pub(crate) fn bound(&mut self, bound: Option<Duration>) {
        self.bound = bound;
    }

    /// The seeders of a live run have begun to seed so long after the build was complete in their buckets.
    pub(crate) fn seeding(&mut self, scenario: &Scenario, after: Duration) {
        self.happening = Happening::new(scenario, after);
    }

    /// So many hosts of this phase are done.
    pub(crate) fn hosts(&self, count: usize) {
        let all: u32 = self.regions.iter().map(|(_, hosts)| hosts).sum();
        self.screen
            .show(&[vec![self.phase.clone(), format!("{count} of {all} hosts")]]);
    }

    /// So many workers of this phase are there.
    pub(crate) fn workers(&self, there: usize, of: u32) {
        self.screen
            .show(&[vec![self.phase.clone(), format!("{there} of {of} are there")]]);
    }

    /// How the fan-out stands `now`, where each region has had the build since then, and what the seeders of each have `sent`, which is asked
    /// now and then only.
    pub(crate) fn fan_out(
        &self,
        status: &FleetStatus,
        (complete_at, now): (&[Time], Time),
        sent: impl Fn() -> Vec<u64>,
    ) {
        let since_last = complete_at.iter().map(|at| now.since(*at)).min();
        self.say_what_happened(since_last.unwrap_or_default());
        if let Some(figures) = &self.figures {
            let ages: Vec<Duration> = complete_at.iter().map(|at| now.since(*at)).collect();
            figures.note(status, &ages);
        }
        let regions = self.regions.iter().enumerate().map(|(index, (name, of))| {
            let hosts = status.done.get(index).copied().unwrap_or_default();
            let share = status.held.get(index).map_or(0.0, |held| held.share());
            Done {
                name,
                hosts,
                of: *of,
                // Those that are done have all of it, whoever is in the sample.
                share: share.max(f64::from(hosts) / f64::from((*of).max(1))),
            }
        });
        let regions: Vec<Done<'_>> = regions.collect();
        let (hosts, of): (u32, u32) = (
            regions.iter().map(|r| r.hosts).sum(),
            regions.iter().map(|r| r.of).sum(),
        );
        let share = regions.iter().map(|r| r.share * f64::from(r.of)).sum::<f64>() / f64::from(of.max(1));
        let all = Done {
            name: &self.phase,
            share,
            hosts,
            of,
        };
        let mut rates = lock(&self.rates);
        let now = self.began.elapsed();
        let uplinks = self.uplinks(now, sent);
        let mut lines = vec![self.line(&all, &mut rates[0], now, true)];
        if status.failed > 0 {
            lines[0].insert(1, format!("{} failed", status.failed));
        }
        if let [uplink] = &uplinks[..] {
            lines[0].push(uplink.clone());
        } else {
            let own = regions.iter().zip(rates.iter_mut().skip(1)).zip(uplinks);
            lines.extend(own.take(REGIONS_SHOWN).map(|((region, rate), uplink)| {
                let mut line = self.line(region, rate, now, false);
                line.push(uplink);
                line
            }));
        }
        self.screen.show(&lines);
    }

    /// What the seeders of each region send.
    fn uplinks(&self, now: Duration, sent: impl Fn() -> Vec<u64>) -> Vec<String> {
        let mut uplinks = lock(&self.uplinks);
        if uplinks.iter().any(|rate| rate.wants(now)) {
            for (rate, bytes) in uplinks.iter_mut().zip(sent()) {
                rate.note(now, bytes as f64);
            }
        }
        let told = uplinks.iter().map(|rate| {
            let bytes = Bytes::new(rate.per_second() as u64);
            format!("seeder {bytes}/s")
        });
        told.collect()
    }

    /// Lines that stay.
    fn say_what_happened(&self, by: Duration) {
        for line in self.happening.by(by) {
            self.screen.say(line);
        }
    }

    fn line(&self, done: &Done<'_>, rate: &mut Rate, now: Duration, with_end: bool) -> Vec<String> {
        let mut parts = done.line(rate, now, self.build.0);
        if with_end && let Some(left) = rate.left() {
            let bound = self.bound.map_or(Duration::ZERO, |bound| bound.saturating_sub(now));
            parts.push(format!("{} left", seconds(left.max(bound))));
        }
        parts
    }

    /// How a forecast stands.
    pub(crate) fn forecast(&self, status: &simulator::Status) {
        let hosts: u32 = self.regions.iter().map(|(_, hosts)| hosts).sum();
        let all = f64::from(hosts) * self.build.1 as f64;
        let share = (status.transfers() as f64 / all).min(1.0);
        self.say_what_happened(status.virtual_time());
        let (now, virtual_time) = (self.began.elapsed(), status.virtual_time().as_secs_f64());
        let mut rates = lock(&self.rates);
        rates[0].note(now, share);
        let mut parts = vec![
            format!("forecast {:.0} %", percent(share)),
            format!("{} of {hosts} hosts", status.hosts_done()),
        ];
        parts.extend(rates[0].left().map(|left| format!("{} left", seconds(left))));
        parts.push(format!("virtual {virtual_time:.1} s"));
        parts.push(format!(
            "{:.2} x real time",
            virtual_time / now.as_secs_f64().max(0.001)
        ));
        self.screen.show(&[parts]);
    }

    pub(crate) fn finish(&self) {
        self.screen.finish();
    }
}

/// Steps that are counted: cells of a sweep, days of torture.
pub(crate) struct Steps {
    screen: Screen,
    what: String,
    of: usize,
    began: Instant,
    rate: Mutex<Rate>,
}

impl Steps {
    pub(crate) fn new(what: &str, of: usize) -> Self {
        Self {
            screen: Screen::new(),
            what: what.to_owned(),
            of,
            began: Instant::now(),
            rate: Mutex::default(),
        }
    }

    /// It turned out that there are others.
    pub(crate) const fn set_length(&mut self, of: usize) {
        self.of = of;
    }

    pub(crate) fn show(&self, done: usize) {
        let mut rate = lock(&self.rate);
        rate.note(self.began.elapsed(), done as f64 / self.of.max(1) as f64);
        let mut parts = vec![format!("{} {done} of {}", self.what, self.of)];
        parts.extend(rate.left().map(|left| format!("{} left", seconds(left))));
        self.screen.show(&[parts]);
    }

    /// Does something that prints.
    pub(crate) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.screen.suspend(print)
    }

    pub(crate) fn finish(&self) {
        self.screen.finish();
    }
}

/// Bytes that are sent.
pub(crate) struct Sending {
    screen: Screen,
    what: &'static str,
    of: u64,
    began: Instant,
    sent: Mutex<(u64, Rate)>,
}

impl Sending {
    pub(crate) fn new(what: &'static str, of: u64) -> Self {
        Self {
            screen: Screen::new(),
            what,
            of,
            began: Instant::now(),
            sent: Mutex::default(),
        }
    }

    /// So many more.
    pub(crate) fn add(&self, bytes: u64) {
        let mut sent = lock(&self.sent);
        sent.0 += bytes;
        let share = sent.0 as f64 / self.of.max(1) as f64;
        sent.1.note(self.began.elapsed(), share);
        let per_second = Bytes::new((sent.1.per_second() * self.of as f64) as u64);
        let mut parts = vec![
            format!("{} {:.0} %", self.what, percent(share)),
            format!("{} of {}", Bytes::new(sent.0), Bytes::new(self.of)),
            format!("{per_second}/s"),
        ];
        parts.extend(sent.1.left().map(|left| format!("{} left", seconds(left))));
        self.screen.show(&[parts]);
    }

    pub(crate) fn finish(&self) {
        self.screen.finish();
    }
}

/// All is there when all is there: 99.6 % is not 100 %.
fn percent(share: f64) -> f64 {
    (share * 100.0).floor()
}

/// As long as people say it.
pub(crate) fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64().ceil() as u64;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Regions that have a line of their own.
const REGIONS_SHOWN: usize = 8;
