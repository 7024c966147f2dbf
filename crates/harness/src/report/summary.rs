//! The summary that people read.

use std::fmt::{self, Display};

use scenario::{Fidelity, RegionEnd};
use swarm::Bytes;

use super::{Latencies, Report};

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = &self.hosts;
        let mode = if self.interrupted { "interrupted" } else { self.mode };
        let how = match &self.simulation {
            Some(simulation) => match simulation.fidelity {
                Fidelity::Faithful => "faithful".to_owned(),
                Fidelity::Kernel => "kernel".to_owned(),
            },
            None => {
                let transport = serde_json::to_value(self.transport).unwrap_or_default();
                transport.as_str().unwrap_or_default().to_owned()
            }
        };
        writeln!(
            f,
            "{} ({mode}, {how}, seed {}): {}",
            self.scenario, self.seed, self.description
        )?;
        writeln!(
            f,
            "build {}: {} in {} chunks of {}",
            self.build.id,
            Bytes::new(self.build.bytes),
            self.build.chunks,
            Bytes::new(self.build.chunk_bytes.into()),
        )?;
        write!(f, "hosts: {} of {} verified", hosts.verified, hosts.total)?;
        for (count, what) in [
            (hosts.failed, "failed"),
            (hosts.pending, "pending"),
            (hosts.excused, "left or banned by plan"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        match self.logs.rows {
            Some(rows) => writeln!(f, "; {rows} deployment log rows\n")?,
            None => writeln!(f, "\n")?,
        }

        writeln!(
            f,
            "{:<24} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "fan-out latency", "p50", "p90", "p99", "p99.9", "max"
        )?;
        for region in &self.regions {
            let name = format!("  {} ({})", region.name, region.hosts);
            self.row(f, &name, &region.fanout_latency_ms)?;
        }
        self.row(f, "  all", &self.fanout_latency_ms)?;
        if self.simulation.is_none() {
            self.row(f, "end to end", &self.end_to_end_latency_ms)?;
        }
        match self.lower_bound_ms {
            Some(bound) => {
                let s = &self.stretch;
                let show = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
                writeln!(
                    f,
                    "{:<24} {:>9} {:>9} {:>9} {:>9} {:>9}",
                    "stretch",
                    show(s.p50),
                    show(s.p90),
                    show(s.p99),
                    show(s.p999),
                    show(s.max)
                )?;
                writeln!(
                    f,
                    "makespan {}, lower bound {}; stretch of the last host {}",
                    time(self.fanout_latency_ms.max),
                    time(Some(bound)),
                    show(s.last)
                )?;
            }
            None if hosts.excused == hosts.total => {
                writeln!(
                    f,
                    "nothing is expected of any host, so there is no makespan and no lower bound"
                )?;
            }
            None => writeln!(
                f,
                "makespan {}; no lower bound, since links are not limited",
                time(self.fanout_latency_ms.max)
            )?,
        }
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
        if let Some(m) = &self.machine {
            let control = t.control_bytes.map(|bytes| format!("control: {}\n", Bytes::new(bytes)));
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
            let set = m.load.as_ref().map_or(0.0, |load| load.wall_clock_set_seconds);
            if set != 0.0 {
                writeln!(
                    f,
                    "  the clock was set by {set} s meanwhile; latencies do not come from it"
                )?;
            }
        }
        if let Some(stages) = &self.stages {
            let at = |ms: Option<f64>| time(ms);
            writeln!(
                f,
                "stages, from the beginning of the upload: uploaded {}, workflow started {} and ended {}",
                at(Some(stages.uploaded_ms)),
                at(stages.workflow_started_ms),
                at(stages.workflow_ended_ms),
            )?;
            for region in &stages.regions {
                writeln!(
                    f,
                    "  {}: replicated {}, seeding {}, first host {}, half {}, last host {}",
                    region.region,
                    at(Some(region.replicated_ms)),
                    at(Some(region.seeding_ms)),
                    at(region.first_host_ms),
                    at(region.half_ms),
                    at(region.last_host_ms),
                )?;
            }
            writeln!(f, "  last row {}", at(stages.last_row_ms))?;
        }
        if let Some(s) = &self.simulation {
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
                let end = serde_json::to_value(end).unwrap_or_default();
                writeln!(f, "region {region} ended by: {}", end.as_str().unwrap_or_default())?;
            }
        }
        for banned in self.banned.iter().take(BANNED_SHOWN) {
            writeln!(f, "banned for corrupt chunks: {} by {} hosts", banned.host, banned.by)?;
        }
        if self.banned.len() > BANNED_SHOWN {
            writeln!(f, "and {} more", self.banned.len() - BANNED_SHOWN)?;
        }
        for host in &self.stuck {
            let error = host
                .error
                .as_deref()
                .map(|error| format!(": {error}"))
                .unwrap_or_default();
            writeln!(
                f,
                "not done: {} has {} of {} chunks, {} neighbours, {} chunks that none of them has{error}",
                host.host, host.chunks_held, host.chunks_total, host.neighbours, host.chunks_without_source
            )?;
        }
        for row in &self.logs.failed {
            writeln!(f, "row not written: {row}")?;
        }
        for threshold in &self.thresholds {
            match threshold.ok {
                Some(true) => writeln!(f, "ok      {}: {}", threshold.name, threshold.expression)?,
                Some(false) => writeln!(
                    f,
                    "MISSED  {}: {} (it is {})",
                    threshold.name, threshold.expression, threshold.actual
                )?,
                None => match &threshold.no_verdict {
                    Some(why) => {
                        let (name, expression) = (&threshold.name, &threshold.expression);
                        writeln!(
                            f,
                            "NO VERDICT  {name}: {expression} (it is {}; {why})",
                            threshold.actual
                        )?;
                    }
                    None => writeln!(f, "NO DATA {}: {}", threshold.name, threshold.expression)?,
                },
            }
        }
        for threshold in &self.thresholds_left_out {
            let (name, expression, reason) = (&threshold.name, &threshold.expression, threshold.reason);
            writeln!(f, "left out {name}: {expression} ({reason})")?;
        }
        Ok(())
    }
}

impl Report {
    /// Seconds after which it is known that a host was not done.
    fn ran_for(&self) -> f64 {
        let virtual_seconds = self.simulation.as_ref().map(|s| s.virtual_seconds);
        self.wall_seconds.or(virtual_seconds).unwrap_or_default()
    }

    fn row(&self, f: &mut fmt::Formatter<'_>, name: &str, row: &Latencies) -> fmt::Result {
        let show = |value: Option<f64>| match value {
            Some(_) => time(value),
            None if self.hosts.excused == self.hosts.total => "-".to_owned(),
            None => format!("> {:.0} s", self.deadline_seconds.min(self.ran_for())),
        };
        let cells = [row.p50, row.p90, row.p99, row.p999, row.max].map(show);
        write!(f, "{name:<24}")?;
        for cell in cells {
            write!(f, " {cell:>9}")?;
        }
        match self.hosts.pending {
            0 => writeln!(f),
            pending => writeln!(f, "  ({pending} pending)"),
        }
    }
}

/// Banned hosts that are shown one by one.
const BANNED_SHOWN: usize = 10;

fn time(milliseconds: Option<f64>) -> String {
    match milliseconds {
        Some(ms) if ms < 10.0 => format!("{ms:.3} ms"),
        Some(ms) if ms < 1000.0 => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.2} s", ms / 1000.0),
        None => "not reached".to_owned(),
    }
}
