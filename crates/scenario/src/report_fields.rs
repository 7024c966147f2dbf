//! The fields of a report that a condition can name, with their units, in one table.
//!
//! Invariant: a report has these fields and no other numbers, but for what it lists host by host. The harness has a test
//! that holds real reports against the table, both ways. Thresholds, comparisons and sweeps take units from here.

use serde_json::{Map, Value, json};
use settings::{parse_duration, parse_size};
use swarm::PeerStats;

/// A field, or the same field of each region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportField {
    /// Its dotted path; `*` stands for a region, by its name or its index, `%` for one of the percentiles, and `#` for one of the core's counters.
    pub pattern: &'static str,
    /// What its number counts.
    pub unit: Unit,
    /// Which reports have it.
    pub of: ReportsOf,
    /// One sentence on what it is.
    pub doc: &'static str,
}

/// What the value of a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Time, in milliseconds.
    Milliseconds,
    /// Time, in seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A number of things.
    Count,
    /// One number over another.
    Ratio,
    /// Hundredths.
    Percent,
    /// US dollars.
    Dollars,
    /// Any text.
    Text,
    /// One of these words.
    Words(&'static [&'static str]),
}

/// Which reports have a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportsOf {
    /// Those of live runs and those of forecasts.
    Both,
    /// Those of live runs only, and why forecasts have none.
    LiveRuns(&'static str),
    /// Those of forecasts only.
    Forecasts,
}

/// A path that is no field of a report of this scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} is no field of a report; {hint}")]
pub struct UnknownField {
    path: String,
    hint: String,
}

/// A number or a text to compare a field with, in the unit of the field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Amount {
    Number(f64),
    Text(String),
}

const fn field(pattern: &'static str, unit: Unit, of: ReportsOf, doc: &'static str) -> ReportField {
    ReportField { pattern, unit, of, doc }
}

use ReportsOf::{Both, Forecasts, LiveRuns};
use Unit::{Bytes, Count, Dollars, Milliseconds, Percent, Ratio, Seconds, Text, Words};

const NO_MACHINE: ReportsOf = LiveRuns("a forecast does not measure a machine");
const NO_CLOUD: ReportsOf = LiveRuns("a forecast begins when the build is in the regional buckets");
const NO_ROWS: ReportsOf =
    LiveRuns("a forecast writes no rows; simulation.last_row_after_ms is when the last would be there");
const NO_CONTROL: ReportsOf = LiveRuns("a forecast looks HAVE messages up and counts no control bytes");

// One field a line: it is read as a table.
#[rustfmt::skip]
/// Every field that a condition can name.
pub const REPORT_FIELDS: &[ReportField] = &[
    field("schema_version", Count, Both, "Version of this form: another number where a field has got another meaning or is gone."),
    field("scenario", Text, Both, "Name of the scenario: its file's, without what is behind the dot."),
    field("description", Text, Both, "What the scenario says of itself."),
    field("mode", Words(&["live", "virtual"]), Both, "Whether real peers ran or a forecast was made."),
    field("transport", Words(&["in-process", "memory", "tcp", "quic"]), NO_MACHINE, "What the hosts spoke over."),
    field("seed", Count, Both, "Seed of everything random."),
    field("git_revision", Text, Both, "Commit that the harness was built from."),
    field("about.harness_version", Text, Both, "Version of the harness."),
    field("about.scenario_file", Text, Both, "The scenario's file, as it was given."),
    field("about.replay", Text, Both, "A line for a shell that makes this report once more."),
    field("about.made.started_at", Text, NO_MACHINE, "When it began, UTC."),
    field("about.made.host.name", Text, NO_MACHINE, "Name of the machine."),
    field("about.made.host.system", Text, NO_MACHINE, "Its operating system."),
    field("about.made.host.processor", Text, NO_MACHINE, "What its processor calls itself."),
    field("about.made.host.cores", Count, NO_MACHINE, "Processors that the harness could use."),
    field("about.made.host.memory_bytes", Bytes, NO_MACHINE, "All memory of the machine."),
    field("about.made.host.load_average", Ratio, NO_MACHINE, "Programs that ran or wanted to, on average of the minute before it began."),
    field("wall_seconds", Seconds, NO_MACHINE, "From the beginning of the run to its end."),
    field("deadline_seconds", Seconds, Both, "When hosts that were not done were given up, after the build was complete in the regional buckets."),
    field("hosts.total", Count, Both, "Hosts of the scenario."),
    field("hosts.verified", Count, Both, "Hosts that have the whole build, each chunk of it verified."),
    field("hosts.failed", Count, Both, "Hosts that could not go on, for want of disk for example."),
    field("hosts.pending", Count, Both, "Hosts that were not done when the run ended."),
    field("hosts.lost", Count, Both, "Those of them whose worker was lost before they were done."),
    field("hosts.excused", Count, Both, "Hosts of which nothing was expected: the scenario made them leave, or corrupt what they send."),
    field("build.id", Text, Both, "Key of the build."),
    field("build.bytes", Bytes, Both, "Size of the build."),
    field("build.chunks", Count, Both, "Chunks of the build."),
    field("build.chunk_bytes", Bytes, Both, "Size of a chunk, the last one's apart."),
    field("fanout_latency_ms.%", Milliseconds, Both, "From when the build was complete in the regional bucket until a host had verified all of it; null where that percentile falls among hosts that were not done."),
    field("end_to_end_latency_ms.%", Milliseconds, NO_CLOUD, "Likewise, from the beginning of the upload."),
    field("lower_bound_ms", Milliseconds, Both, "When the last host is done at the earliest, whatever the schedule; null where links are not limited."),
    field("stretch.%", Ratio, Both, "Fan-out latency over the lower bound of the host: 1 cannot be beaten."),
    field("stretch.last", Ratio, Both, "Latency of the last host over the lower bound of the last host."),
    field("regions.*.name", Text, Both, "Name of the region."),
    field("regions.*.hosts", Count, Both, "Hosts of the region."),
    field("regions.*.verified", Count, Both, "Those that have the whole build."),
    field("regions.*.failed", Count, Both, "Those that could not go on."),
    field("regions.*.pending", Count, Both, "Those that were not done when the run ended."),
    field("regions.*.excused", Count, Both, "Those of which nothing was expected."),
    field("regions.*.fanout_latency_ms.%", Milliseconds, Both, "As fanout_latency_ms, of the region's hosts."),
    field("regions.*.lower_bound_ms", Milliseconds, Both, "As lower_bound_ms, of the region."),
    field("regions.*.stretch.%", Ratio, Both, "As stretch, of the region's hosts."),
    field("regions.*.stretch.last", Ratio, Both, "As stretch.last, of the region."),
    field("regions.*.replicated_after_ms", Milliseconds, NO_CLOUD, "From the beginning of the upload until the build was complete in the region's bucket."),
    field("regions.*.seeding_after_ms", Milliseconds, Both, "From then until a seeder could send: it has pulled and hashed the build."),
    field("regions.*.seeder_sent_bytes", Bytes, Both, "Payload that the region's seeders sent."),
    field("regions.*.seeder_copies", Ratio, Both, "That, in builds: 1 is the least with which a region can have it."),
    field("regions.*.link_use.seeder_uplinks", Ratio, Both, "Part of the seeders' uplinks that was used, from when they could send until the last host was done."),
    field("regions.*.link_use.host_uplinks", Ratio, Both, "Likewise, of the uplinks of all hosts."),
    field("regions.*.link_use.host_downlinks", Ratio, Both, "Likewise, of the downlinks of all hosts."),
    field("traffic.from_seeder_bytes", Bytes, Both, "Payload that hosts have from seeders."),
    field("traffic.from_peers_bytes", Bytes, Both, "Payload that hosts have from each other."),
    field("traffic.wasted_bytes", Bytes, Both, "Payload that was received for nothing: held already, or corrupt."),
    field("traffic.control_bytes", Bytes, NO_CONTROL, "What hosts sent besides payload."),
    field("traffic.wasted_share", Ratio, Both, "Wasted payload, of all that was received."),
    field("protocol.#", Count, Both, "A counter of the protocol, of all hosts together."),
    field("faults.begun", Count, Both, "Faults of the scenario that began, one for each host or seeder, and one for each cut or reset."),
    field("faults.ended", Count, Both, "Those of them that were over."),
    field("faults.connections_cut", Count, Both, "Connections that resets and partitions ended."),
    field("logs.rows", Count, NO_ROWS, "Deployment logs in the table, of hosts that have the build."),
    field("logs.rows_of_failures", Count, NO_ROWS, "Deployment logs in the table, of hosts that have not got it."),
    field("logs.unprocessed_retried", Count, NO_ROWS, "Rows that the table did not take at first."),
    field("machine.cores", Count, NO_MACHINE, "Processors that the harness could use."),
    field("machine.peak_rss_bytes", Bytes, NO_MACHINE, "Most memory that all processes of the run had, together."),
    field("machine.cpu_seconds", Seconds, NO_MACHINE, "CPU time of all processes of the run."),
    field("machine.coordination_cpu_seconds", Seconds, NO_MACHINE, "CPU time that it took workers and the run to hear each other, which is a part of all; 0 without workers."),
    field("machine.fanout_utilisation", Ratio, NO_MACHINE, "Part of the cores that the run took during the fan-out."),
    field("machine.load.watched_seconds", Seconds, NO_MACHINE, "How long the machine was watched: the fan-out."),
    field("machine.load.cores", Ratio, NO_MACHINE, "Cores that the run could have, by quota and affinity."),
    field("machine.load.own_share", Ratio, NO_MACHINE, "Part of them that the run took."),
    field("machine.load.run_queue_delay_share", Ratio, NO_MACHINE, "Time that the run's threads waited for a processor, of the time in which they ran or waited."),
    field("machine.load.timer_lag_ms.mean", Milliseconds, NO_MACHINE, "How much later than asked timers were, on average."),
    field("machine.load.timer_lag_ms.p50", Milliseconds, NO_MACHINE, "Likewise, the middle one."),
    field("machine.load.timer_lag_ms.p99", Milliseconds, NO_MACHINE, "Likewise, one of a hundred."),
    field("machine.load.timer_lag_ms.max", Milliseconds, NO_MACHINE, "Likewise, the worst."),
    field("machine.load.timer_ticks", Count, NO_MACHINE, "Timers that were looked at."),
    field("machine.load.steal_share", Ratio, NO_MACHINE, "Time that the hypervisor gave to others."),
    field("machine.load.other_busy_share", Ratio, NO_MACHINE, "Part of the processors that other programs took."),
    field("machine.load.processors", Count, NO_MACHINE, "Processors that were looked at for this."),
    field("machine.load.pressure_share", Ratio, NO_MACHINE, "Time in which some program waited for a processor, as the system tells."),
    field("machine.load.quota_cores", Ratio, NO_MACHINE, "Cores that a control group allows."),
    field("machine.load.throttled_periods", Count, NO_MACHINE, "Periods of the quota in which the run was held up."),
    field("machine.load.periods", Count, NO_MACHINE, "Periods of the quota."),
    field("machine.load.busiest_link_share", Ratio, NO_MACHINE, "How full the busiest links were: of what they let through, what went through."),
    field("machine.load.slept_seconds", Seconds, NO_MACHINE, "How long the machine slept meanwhile."),
    field("machine.load.wall_clock_set_seconds", Seconds, NO_MACHINE, "By how much the clock was set meanwhile."),
    field("limited_because", Text, NO_MACHINE, "The figures that say what the limit was."),
    field("limited_by", Words(&["shaping", "machine", "model"]), NO_MACHINE, "What latencies measure: the links of the scenario, this machine, or the model."),
    field("clock_uncertainty_ms", Milliseconds, NO_MACHINE, "How far from the truth times of other machines may be; null where all hosts were on this one."),
    field("joined_after_ms", Milliseconds, NO_MACHINE, "When all hosts had their place in the overlay."),
    field("stages.uploaded_ms", Milliseconds, NO_CLOUD, "The build was in the global bucket, from the beginning of the upload."),
    field("stages.workflow_started_ms", Milliseconds, NO_CLOUD, "The workflow began."),
    field("stages.workflow_ended_ms", Milliseconds, NO_CLOUD, "The workflow ended."),
    field("stages.execution", Text, NO_CLOUD, "The workflow's execution."),
    field("stages.last_row_ms", Milliseconds, NO_CLOUD, "The last host's row was in the table."),
    field("stages.regions.*.region", Text, NO_CLOUD, "Name of the region."),
    field("stages.regions.*.replicated_ms", Milliseconds, NO_CLOUD, "The seeder heard that the build is in the region's bucket."),
    field("stages.regions.*.seeding_ms", Milliseconds, NO_CLOUD, "The seeders could send."),
    field("stages.regions.*.first_host_ms", Milliseconds, NO_CLOUD, "The first host had the build."),
    field("stages.regions.*.half_ms", Milliseconds, NO_CLOUD, "Half of the hosts had it."),
    field("stages.regions.*.last_host_ms", Milliseconds, NO_CLOUD, "The last host had it."),
    field("simulation.fidelity", Words(&["faithful", "kernel"]), Forecasts, "What was simulated: the whole protocol, or its bare policy."),
    field("simulation.kernel_difference.hosts", Count, Forecasts, "Hosts of a smaller fleet that was simulated both ways."),
    field("simulation.kernel_difference.faithful_makespan_ms", Milliseconds, Forecasts, "When its last host was done by the whole protocol."),
    field("simulation.kernel_difference.kernel_makespan_ms", Milliseconds, Forecasts, "When by the bare policy."),
    field("simulation.kernel_difference.percent", Percent, Forecasts, "How much later the bare policy says."),
    field("simulation.ends.*", Words(&["converged", "deadline", "deadlock", "stopped"]), Forecasts, "How the region ended."),
    field("simulation.virtual_seconds", Seconds, Forecasts, "From seeding to the end, the slowest region."),
    field("simulation.transfers", Count, Forecasts, "Chunks that arrived."),
    field("simulation.events", Count, Forecasts, "Events that were handled."),
    field("simulation.control_messages", Count, Forecasts, "Messages without payload, those apart that a forecast looks up instead."),
    field("simulation.last_row_after_ms", Milliseconds, Forecasts, "When the last host's row would be in the table."),
    field("simulation.cross_zone_bytes", Bytes, Forecasts, "Payload that went from one zone to another."),
    field("simulation.cross_zone_usd", Dollars, Forecasts, "What that costs."),
];

/// What a report lists one by one, for people: how many there are differs from run to run, so no condition names them.
pub const REPORT_LISTS: &[&str] = &[
    "about.values",
    "about.set",
    "about.made.command",
    "thresholds",
    "thresholds_left_out",
    "histograms",
    "series",
    "flows",
    "fault_times",
    "groups",
    "last_hosts",
    "causes",
    "stuck",
    "banned",
    "logs.failed",
    "warnings",
    "held_back",
    "lost",
    "workers",
];

impl ReportField {
    /// The field at this path, whatever region it names.
    pub fn at(path: &str) -> Option<&'static Self> {
        REPORT_FIELDS.iter().find(|field| field.region_of(path).is_some())
    }

    /// The field at this path in reports of a scenario with these regions.
    pub fn find(path: &str, regions: &[&str]) -> Result<&'static Self, UnknownField> {
        let unknown = |hint: String| UnknownField {
            path: path.to_owned(),
            hint,
        };
        let found = REPORT_FIELDS
            .iter()
            .find_map(|field| Some((field, field.region_of(path)?)));
        match found {
            Some((field, "")) => Ok(field),
            Some((field, region)) if regions.contains(&region) || field.takes_index(region, regions.len()) => Ok(field),
            Some((_, region)) => Err(unknown(format!(
                "{region} is no region of this scenario, which has {}",
                regions.join(", ")
            ))),
            None => Err(unknown(match nearest(path, regions) {
                Some(near) => format!("did you mean {near}?"),
                None => "expected one such as stretch.max or hosts.verified (`harness schema` lists them)".to_owned(),
            })),
        }
    }

    /// The region that the path names, or nothing where the field is of no region; `None` where it is another field's path.
    fn region_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        let (mut parts, mut region) = (path.split('.'), "");
        for expected in self.pattern.split('.') {
            let part = parts.next()?;
            match expected {
                "*" if !part.is_empty() => region = part,
                "%" if PERCENTILES.contains(&part) => {}
                "#" if PeerStats::NAMES.contains(&part) => {}
                _ if part == expected => {}
                _ => return None,
            }
        }
        parts.next().is_none().then_some(region)
    }

    /// Regions are a list, in which an index is a place too; but how they ended stands under their names.
    fn takes_index(&self, region: &str, regions: usize) -> bool {
        !self.pattern.ends_with(".*") && region.parse::<usize>().is_ok_and(|index| index < regions)
    }

    /// The paths of this field in reports of a scenario with these regions.
    fn paths(&self, regions: &[&str]) -> Vec<String> {
        let named: Vec<String> = match self.pattern.contains('*') {
            true => regions.iter().map(|region| self.pattern.replace('*', region)).collect(),
            false => vec![self.pattern.to_owned()],
        };
        let each = |sign: char, words: &'static [&'static str]| {
            move |path: String| match path.contains(sign) {
                true => words.iter().map(|word| path.replace(sign, word)).collect(),
                false => vec![path],
            }
        };
        let named = named.into_iter().flat_map(each('%', &PERCENTILES));
        named.flat_map(each('#', PeerStats::NAMES)).collect()
    }
}

impl Unit {
    /// The amount that this text stands for, in this unit. A number without a unit is in the field's own.
    pub(crate) fn parse(self, text: &str) -> Option<Amount> {
        // JSON has no other numbers, and a scenario goes to its workers as JSON.
        let number = text.replace('_', "").parse::<f64>().ok().filter(|n| n.is_finite());
        let duration = |scale: f64| Some(parse_duration(text).ok()?.as_secs_f64() * scale);
        let number = match self {
            Self::Milliseconds => number.or_else(|| duration(1000.0)),
            Self::Seconds => number.or_else(|| duration(1.0)),
            Self::Bytes => number.or_else(|| Some(parse_size(text).ok()? as f64)),
            Self::Count | Self::Ratio | Self::Percent | Self::Dollars => number,
            Self::Text => return unquoted(text).map(Amount::Text),
            Self::Words(words) => {
                let word = unquoted(text).filter(|word| words.contains(&word.as_str()));
                return word.map(Amount::Text);
            }
        };
        number.map(Amount::Number)
    }

    /// Whether its fields are texts, which are equal or not and nothing else.
    pub(crate) const fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Words(_))
    }

    /// What is wanted of a value to compare with, after "is".
    pub(crate) fn wanted(self) -> String {
        match self {
            Self::Milliseconds => "a time in ms; expected a duration such as \"150ms\", or a number of milliseconds",
            Self::Seconds => "a time in seconds; expected a duration such as \"1.5s\", or a number of seconds",
            Self::Bytes => "a size; expected one such as \"2 GiB\", or a number of bytes",
            Self::Count => "a count; expected a number without a unit, such as 1000",
            Self::Ratio => "a ratio; expected a number without a unit, such as 1.35",
            Self::Percent => "a percentage; expected a number without a unit, such as 5",
            Self::Dollars => "in US dollars; expected a number without a unit, such as 0.5",
            Self::Text => "text; expected == or != and a text, such as == \"one\"",
            Self::Words(words) => return format!("a word; expected == or != and one of {}", words.join(", ")),
        }
        .to_owned()
    }

    /// What its numbers are called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "milliseconds",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::Count => "count",
            Self::Ratio => "ratio",
            Self::Percent => "percent",
            Self::Dollars => "US dollars",
            Self::Text | Self::Words(_) => "text",
        }
    }
}

/// What a report has at a path. A region in a list is found by its name, or by its index.
pub fn find_in_report<'a>(report: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(report, |value, key| match value {
        Value::Array(items) => {
            let is_named = |item: &&Value| {
                ["name", "region"]
                    .iter()
                    .any(|name| item.get(name).is_some_and(|n| n == key))
            };
            items
                .iter()
                .find(is_named)
                .or_else(|| items.get(key.parse::<usize>().ok()?))
        }
        value => value.get(key),
    })
}

/// The fields with their units, for the schema.
pub(crate) fn schema_of_fields() -> Value {
    let of = |field: &ReportField| match field.of {
        Both => field.unit.name().to_owned(),
        LiveRuns(_) => format!("{} (live runs)", field.unit.name()),
        Forecasts => format!("{} (forecasts)", field.unit.name()),
    };
    let paths = |field: &'static ReportField| {
        field
            .paths(&["REGION"])
            .into_iter()
            .map(move |path| (path, json!(of(field))))
    };
    Value::Object(REPORT_FIELDS.iter().flat_map(paths).collect::<Map<_, _>>())
}

/// What the one who wrote `path` probably meant.
fn nearest(path: &str, regions: &[&str]) -> Option<String> {
    if let Some((_, field)) = OTHER_NAMES.iter().find(|(name, _)| *name == path) {
        return Some((*field).to_owned());
    }
    let paths = REPORT_FIELDS.iter().flat_map(|field| field.paths(regions));
    let near = paths.map(|known| (strsim::damerau_levenshtein(path, &known), known));
    let near = near.filter(|(distance, known)| *distance <= 3.max(known.len() / 3));
    near.min().map(|(_, known)| known)
}

/// Text in quotes, or a word as it is.
fn unquoted(text: &str) -> Option<String> {
    if let Some(text) = text.strip_prefix('"') {
        return Some(text.strip_suffix('"')?.to_owned());
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/');
    (!text.is_empty() && text.chars().all(is_word)).then(|| text.to_owned())
}

pub(crate) const PERCENTILES: [&str; 5] = ["p50", "p90", "p99", "p999", "max"];

/// Names that summaries use for fields that are called otherwise.
const OTHER_NAMES: [(&str, &str); 4] = [
    ("makespan", "fanout_latency_ms.max"),
    ("wall", "wall_seconds"),
    ("lower_bound", "lower_bound_ms"),
    ("peak_memory", "machine.peak_rss_bytes"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_one_fields() {
        for field in REPORT_FIELDS {
            for path in field.paths(&["region-a"]) {
                assert_eq!(ReportField::find(&path, &["region-a"]), Ok(field), "{path}");
            }
        }
    }

    #[test]
    fn a_region_is_named_or_counted() {
        let of = |path| ReportField::find(path, &["north", "south"]).map(|field| field.pattern);
        assert_eq!(of("regions.south.stretch.p99"), Ok("regions.*.stretch.%"));
        assert_eq!(of("regions.1.stretch.p99"), Ok("regions.*.stretch.%"));
        assert_eq!(of("simulation.ends.north"), Ok("simulation.ends.*"));
        for bad in [
            "regions.2.stretch.p99",
            "regions.east.stretch.p99",
            "simulation.ends.0",
            "regions..hosts",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
        let error = of("regions.east.hosts").unwrap_err().to_string();
        assert!(
            error.contains("east is no region of this scenario, which has north, south"),
            "{error}"
        );
    }

    #[test]
    fn what_is_near_a_field_is_told() {
        let error = |path| ReportField::find(path, &["r"]).unwrap_err().to_string();
        for (path, meant) in [
            ("fanout_latency.p99", "fanout_latency_ms.p99"),
            ("stretch.p42", "stretch.p50"),
            ("makespan", "fanout_latency_ms.max"),
            ("regions.r.fanout_latency.max", "regions.r.fanout_latency_ms.max"),
        ] {
            assert!(
                error(path).ends_with(&format!("did you mean {meant}?")),
                "{}",
                error(path)
            );
        }
        assert!(error("x").contains("`harness schema` lists them"), "{}", error("x"));
    }

    #[test]
    fn a_field_of_a_list_is_found_by_name_before_index() {
        let report = json!({"regions": [{"name": "b", "hosts": 1}, {"name": "0", "hosts": 2}], "stages": {"regions":
            [{"region": "b", "half_ms": 3}]}});
        let at = |path| find_in_report(&report, path).and_then(Value::as_u64);
        assert_eq!(at("regions.b.hosts"), Some(1));
        assert_eq!(at("regions.0.hosts"), Some(2));
        assert_eq!(at("regions.1.hosts"), Some(2));
        assert_eq!(at("stages.regions.b.half_ms"), Some(3));
        assert_eq!(at("regions.c.hosts"), None);
    }
}
