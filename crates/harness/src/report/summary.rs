//! The summary that people read: what went wrong first, figures then, and last what makes it once more.

use std::fmt::{self, Display, Formatter};

use console::style;
use scenario::{Fidelity, RegionEnd};
use swarm::Bytes;

use super::{Latencies, Report, ThresholdReport};

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.headline(f)?;
        self.what_failed(f)?;
        self.latencies(f)?;
        self.bounds(f)?;
        self.traffic(f)?;
        self.machine(f)?;
        self.stages(f)?;
        self.simulation(f)?;
        self.hosts_of_note(f)?;
        self.why_last(f)?;
        self.what_held(f)?;
        writeln!(f, "replay: {}", self.about.replay)
    }
}

impl Report {
    fn headline(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mode = if self.interrupted { "interrupted" } else { self.mode };
        let how = match &self.simulation {
            Some(simulation) => match simulation.fidelity {
                Fidelity::Faithful => "faithful".to_owned(),
                Fidelity::Kernel => "kernel".to_owned(),
            },
            None => word(&self.transport),
        };
        let title = format!("{} ({mode}, {how}, seed {})", self.scenario, self.seed);
        writeln!(f, "{}: {}", style(title).bold(), self.description)?;
        // The description is the file's; what it does not know is told beside it.
        if !self.about.set.is_empty() {
            writeln!(f, "but with {}", self.about.set.join(", "))?;
        }
        writeln!(
            f,
            "build {}: {} in {} chunks of {}",
            self.build.id,
            Bytes::new(self.build.bytes),
            self.build.chunks,
            Bytes::new(self.build.chunk_bytes.into()),
        )?;
        let hosts = &self.hosts;
        write!(f, "hosts: {} of {} verified", hosts.verified, hosts.total)?;
        for (count, what) in [
            (hosts.failed, "failed"),
            (hosts.pending, "pending"),
            (hosts.excused, "excused: the scenario made them leave or corrupt"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        match self.logs.rows {
            Some(rows) => writeln!(f, "; {rows} deployment log rows"),
            None => writeln!(f),
        }
    }

    /// Above all figures: who reads only the beginning has read this.
    fn what_failed(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for ThresholdReport {
            name,
            expression,
            ok,
            actual,
            no_verdict,
            ..
        } in &self.thresholds
        {
            match (ok, no_verdict) {
                (Some(true), _) => {}
                (Some(false), _) => {
                    writeln!(
                        f,
                        "{}  {name}: {expression} (it is {actual})",
                        style("MISSED").red().bold()
                    )?;
                }
                (None, Some(why)) => writeln!(
                    f,
                    "{}  {name}: {expression} (it is {actual}; {why})",
                    style("NO VERDICT").yellow().bold()
                )?,
                (None, None) => writeln!(f, "{} {name}: {expression}", style("NO DATA").yellow().bold())?,
            }
        }
        for lost in &self.lost {
            writeln!(f, "{}: {lost}", style("lost").red().bold())?;
        }
        for row in &self.logs.failed {
            writeln!(f, "{}: {row}", style("row not written").red())?;
        }
        writeln!(f)
    }

    fn what_held(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for threshold in self.thresholds.iter().filter(|threshold| threshold.ok == Some(true)) {
            let (name, expression, actual) = (&threshold.name, &threshold.expression, &threshold.actual);
            writeln!(f, "{}      {name}: {expression} (it is {actual})", style("ok").green())?;
        }
        for threshold in &self.thresholds_left_out {
            let (name, expression, reason) = (&threshold.name, &threshold.expression, threshold.reason);
            writeln!(f, "left out {name}: {expression} ({reason})")?;
        }
        Ok(())
    }

    fn latencies(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let heads = ["p50", "p90", "p99", "p99.9", "max"].map(str::to_owned);
        cells(f, "fan-out latency", &heads)?;
        writeln!(f)?;
        for region in &self.regions {
            let name = format!("  {} ({})", region.name, region.hosts);
            self.row(f, &name, &region.fanout_latency_ms, region.pending)?;
        }
        self.row(f, "  all", &self.fanout_latency_ms, self.hosts.pending)?;
        for group in self.groups.iter().take(GROUPS_SHOWN) {
            let name = format!("  {} {} ({})", group.by, group.name, group.hosts);
            if group.excused == group.hosts {
                writeln!(f, "{name:<24} excused: the scenario made them leave or corrupt")?;
                continue;
            }
            self.row(f, &name, &group.fanout_latency_ms, 0)?;
        }
        if self.groups.len() > GROUPS_SHOWN {
            writeln!(
                f,
                "  and {} groups more, in report.json",
                self.groups.len() - GROUPS_SHOWN
            )?;
        }
        if self.simulation.is_none() {
            self.row(f, "end to end", &self.end_to_end_latency_ms, self.hosts.pending)?;
        }
        Ok(())
    }

    fn bounds(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let show = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
        let makespan = time(self.fanout_latency_ms.max);
        match self.lower_bound_ms {
            Some(bound) => {
                let s = &self.stretch;
                cells(f, "stretch", &[s.p50, s.p90, s.p99, s.p999, s.max].map(show))?;
                let (bound, last) = (time(Some(bound)), show(s.last));
                writeln!(
                    f,
                    "\nmakespan {makespan}, lower bound {bound}; stretch of the last host {last}"
                )
            }
            None if self.hosts.excused == self.hosts.total => {
                writeln!(
                    f,
                    "nothing is expected of any host, so there is no makespan and no lower bound"
                )
            }
            None => writeln!(f, "makespan {makespan}; no lower bound, since links are not limited"),
        }
    }

    fn traffic(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let t = &self.traffic;
        writeln!(
            f,
            "\npayload: {} from the seeders, {} from peers, {} wasted ({:.2} %)",
            Bytes::new(t.from_seeder_bytes),
            Bytes::new(t.from_peers_bytes),
            Bytes::new(t.wasted_bytes),
            t.wasted_share * 100.0,
        )?;
        let copies: Vec<String> = self
            .regions
            .iter()
            .map(|r| format!("{} {:.2}", r.name, r.seeder_copies))
            .collect();
        writeln!(f, "builds sent by seeders: {}", copies.join(", "))?;
        for held in &self.held_back {
            writeln!(f, "{held}")?;
        }
        Ok(())
    }

    fn machine(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(m) = &self.machine else {
            return Ok(());
        };
        let control = self
            .traffic
            .control_bytes
            .map(|bytes| format!("control: {}\n", Bytes::new(bytes)));
        let control = control.unwrap_or_default();
        let used = m.fanout_utilisation.map_or_else(String::new, |part| {
            format!(", {:.0} % busy in the fan-out", part * 100.0)
        });
        let quota = m.load.as_ref().and_then(|load| load.quota_cores);
        let cores = match quota.filter(|quota| *quota < m.cores as f64) {
            Some(quota) => format!("{quota} cores (by quota)"),
            None => format!("{} cores", m.cores),
        };
        writeln!(
            f,
            "{control}machine: {:.1} s wall, {:.1} CPU s on {cores}{used}, peak memory {}; limited by {}",
            self.wall_seconds.unwrap_or_default(),
            m.cpu_seconds,
            Bytes::new(m.peak_rss_bytes),
            match self.limited_by {
                "machine" => "the machine: latencies measure this implementation, not a network",
                other => other,
            },
        )?;
        if let Some(because) = &self.limited_because {
            writeln!(f, "  since {because}")?;
        }
        if let Some(uncertainty) = self.clock_uncertainty_ms {
            let workers = self.workers.len();
            writeln!(
                f,
                "  {workers} workers of other machines; the clocks of all are known to {uncertainty} ms"
            )?;
        }
        let set = m.load.as_ref().map_or(0.0, |load| load.wall_clock_set_seconds);
        if set != 0.0 {
            writeln!(
                f,
                "  the clock was set by {set} s meanwhile; latencies do not come from it"
            )?;
        }
        Ok(())
    }

    fn stages(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(stages) = &self.stages else {
            return Ok(());
        };
        writeln!(
            f,
            "stages, from the beginning of the upload: uploaded {}, workflow started {} and ended {}",
            time(Some(stages.uploaded_ms)),
            time(stages.workflow_started_ms),
            time(stages.workflow_ended_ms),
        )?;
        for region in &stages.regions {
            writeln!(
                f,
                "  {}: replicated {}, seeding {}, first host {}, half {}, last host {}",
                region.region,
                time(Some(region.replicated_ms)),
                time(Some(region.seeding_ms)),
                time(region.first_host_ms),
                time(region.half_ms),
                time(region.last_host_ms),
            )?;
        }
        writeln!(f, "  last row {}", time(stages.last_row_ms))
    }

    fn simulation(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(s) = &self.simulation else {
            return Ok(());
        };
        let across = match s.cross_zone_bytes {
            None | Some(0) => String::new(),
            Some(bytes) => {
                let cost = s.cross_zone_usd.map_or_else(String::new, |usd| format!(" (${usd:.2})"));
                format!("; {} from zone to zone{cost}", Bytes::new(bytes))
            }
        };
        writeln!(
            f,
            "simulated: {:.2} s of virtual time, {} chunk transfers, {} events{across}",
            s.virtual_seconds, s.transfers, s.events
        )?;
        if s.fidelity == Fidelity::Kernel {
            let difference = s.kernel_difference.as_ref().map_or_else(
                || "how far from the faithful one is not known".to_owned(),
                |d| format!("{:+.1} % of the faithful makespan at {} hosts", d.percent, d.hosts),
            );
            writeln!(
                f,
                "fidelity: kernel, the policy without its messages; {difference}; what crosses zones is not known"
            )?;
        }
        for (region, end) in s.ends.iter().filter(|(_, end)| **end != RegionEnd::Converged) {
            writeln!(f, "region {region} ended by: {}", word(end))?;
        }
        Ok(())
    }

    /// Those that were banned, and those that are not done. Whoever was stopped has no trouble to tell of: some of them will do.
    fn hosts_of_note(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for banned in self.banned.iter().take(BANNED_SHOWN) {
            writeln!(f, "banned for corrupt chunks: {} by {} hosts", banned.host, banned.by)?;
        }
        if self.banned.len() > BANNED_SHOWN {
            writeln!(f, "and {} more", self.banned.len() - BANNED_SHOWN)?;
        }
        let most = if self.interrupted {
            STOPPED_SHOWN
        } else {
            self.stuck.len()
        };
        for host in self.stuck.iter().take(most) {
            write!(
                f,
                "not done: {} has {} of {} chunks, {} neighbours",
                host.host, host.chunks_held, host.chunks_total, host.neighbours
            )?;
            // What nobody has yet is on its way as long as nobody is at an end.
            if host.chunks_without_source > 0 && !self.interrupted {
                write!(f, ", {} chunks that none of them has", host.chunks_without_source)?;
            }
            match &host.error {
                Some(error) => writeln!(f, ": {error}")?,
                None => writeln!(f)?,
            }
        }
        let left_out = (self.hosts.pending + self.hosts.failed).saturating_sub(most.min(self.stuck.len()));
        if left_out > 0 {
            writeln!(f, "not done: {left_out} more")?;
        }
        Ok(())
    }

    /// Why the last host of each region was late; `harness explain` has the rest of it.
    fn why_last(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut told = "";
        for last in self.last_hosts.iter().filter(|last| {
            let is_first = last.region != told;
            told = &last.region;
            is_first
        }) {
            writeln!(f, "last: {}", last.sentence)?;
        }
        Ok(())
    }

    /// Seconds after which it is known that a host was not done.
    fn ran_for(&self) -> f64 {
        let virtual_seconds = self.simulation.as_ref().map(|s| s.virtual_seconds);
        self.wall_seconds.or(virtual_seconds).unwrap_or_default()
    }

    fn row(&self, f: &mut Formatter<'_>, name: &str, row: &Latencies, pending: usize) -> fmt::Result {
        let show = |value: Option<f64>| match value {
            Some(_) => time(value),
            None if self.hosts.excused == self.hosts.total => "-".to_owned(),
            None => format!("> {:.0} s", self.deadline_seconds.min(self.ran_for())),
        };
        cells(f, name, &[row.p50, row.p90, row.p99, row.p999, row.max].map(show))?;
        match pending {
            0 => writeln!(f),
            pending => writeln!(f, "  ({pending} pending)"),
        }
    }
}

fn cells(f: &mut Formatter<'_>, name: &str, cells: &[String; 5]) -> fmt::Result {
    write!(f, "{name:<24}")?;
    cells.iter().try_for_each(|cell| write!(f, " {cell:>9}"))
}

/// As JSON has it.
fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// Groups of hosts that are alike which are shown.
const GROUPS_SHOWN: usize = 12;
/// Banned hosts that are shown one by one.
const BANNED_SHOWN: usize = 10;
/// Hosts of a run that was stopped that are shown one by one.
const STOPPED_SHOWN: usize = 3;

/// Milliseconds as people read them.
pub(crate) fn time(milliseconds: Option<f64>) -> String {
    match milliseconds {
        Some(ms) if ms < 1.0 => format!("{:.0} us", ms * 1000.0),
        Some(ms) if ms < 10.0 => format!("{ms:.3} ms"),
        Some(ms) if ms < 1000.0 => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.2} s", ms / 1000.0),
        None => "not reached".to_owned(),
    }
}
