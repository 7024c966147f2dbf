//! The fields of a report that a condition can name, with their units, in one table.
//!
//! Invariant: a report has these fields and no other numbers, but for what it lists host by host. The harness has a test
//! that holds real reports against the table, both ways. Thresholds, comparisons and sweeps take units from here.

use serde_json::{Map, Value, json};
use swarm::PeerStats;

use crate::quantity::{parse_duration, parse_size};

/// A field, or the same field of each region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportField {
    /// Its dotted path; `*` stands for a region, by its name or its index, `%` for one of the percentiles, and `#` for one of the core's counters.
    pub pattern: &'static str,
    /// What its number counts.
    pub unit: Unit,
    /// Which reports have it.
    pub of: ReportsOf,
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

const fn field(pattern: &'static str, unit: Unit, of: ReportsOf) -> ReportField {
    ReportField { pattern, unit, of }
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
    field("schema_version", Count, Both),
    field("scenario", Text, Both),
    field("description", Text, Both),
    field("mode", Words(&["live", "virtual"]), Both),
    field("transport", Words(&["in-process", "memory", "tcp", "quic"]), NO_MACHINE),
    field("seed", Count, Both),
    field("git_revision", Text, Both),
    field("wall_seconds", Seconds, NO_MACHINE),
    field("deadline_seconds", Seconds, Both),
    field("hosts.total", Count, Both),
    field("hosts.verified", Count, Both),
    field("hosts.failed", Count, Both),
    field("hosts.pending", Count, Both),
    field("hosts.excused", Count, Both),
    field("build.id", Text, Both),
    field("build.bytes", Bytes, Both),
    field("build.chunks", Count, Both),
    field("build.chunk_bytes", Bytes, Both),
    field("fanout_latency_ms.%", Milliseconds, Both),
    field("end_to_end_latency_ms.%", Milliseconds, NO_CLOUD),
    field("lower_bound_ms", Milliseconds, Both),
    field("stretch.%", Ratio, Both),
    field("stretch.last", Ratio, Both),
    field("regions.*.name", Text, Both),
    field("regions.*.hosts", Count, Both),
    field("regions.*.fanout_latency_ms.%", Milliseconds, Both),
    field("regions.*.lower_bound_ms", Milliseconds, Both),
    field("regions.*.stretch.%", Ratio, Both),
    field("regions.*.stretch.last", Ratio, Both),
    field("regions.*.replicated_after_ms", Milliseconds, NO_CLOUD),
    field("regions.*.seeding_after_ms", Milliseconds, Both),
    field("regions.*.seeder_sent_bytes", Bytes, Both),
    field("regions.*.seeder_copies", Ratio, Both),
    field("traffic.from_seeder_bytes", Bytes, Both),
    field("traffic.from_peers_bytes", Bytes, Both),
    field("traffic.wasted_bytes", Bytes, Both),
    field("traffic.control_bytes", Bytes, NO_CONTROL),
    field("traffic.wasted_share", Ratio, Both),
    field("protocol.#", Count, Both),
    field("faults.begun", Count, Both),
    field("faults.ended", Count, Both),
    field("faults.connections_cut", Count, Both),
    field("logs.rows", Count, NO_ROWS),
    field("logs.unprocessed_retried", Count, NO_ROWS),
    field("machine.cores", Count, NO_MACHINE),
    field("machine.peak_rss_bytes", Bytes, NO_MACHINE),
    field("machine.cpu_seconds", Seconds, NO_MACHINE),
    field("machine.fanout_utilisation", Ratio, NO_MACHINE),
    field("machine.load.watched_seconds", Seconds, NO_MACHINE),
    field("machine.load.cores", Ratio, NO_MACHINE),
    field("machine.load.own_share", Ratio, NO_MACHINE),
    field("machine.load.run_queue_delay_share", Ratio, NO_MACHINE),
    field("machine.load.timer_lag_ms.mean", Milliseconds, NO_MACHINE),
    field("machine.load.timer_lag_ms.p50", Milliseconds, NO_MACHINE),
    field("machine.load.timer_lag_ms.p99", Milliseconds, NO_MACHINE),
    field("machine.load.timer_lag_ms.max", Milliseconds, NO_MACHINE),
    field("machine.load.timer_ticks", Count, NO_MACHINE),
    field("machine.load.steal_share", Ratio, NO_MACHINE),
    field("machine.load.other_busy_share", Ratio, NO_MACHINE),
    field("machine.load.processors", Count, NO_MACHINE),
    field("machine.load.pressure_share", Ratio, NO_MACHINE),
    field("machine.load.quota_cores", Ratio, NO_MACHINE),
    field("machine.load.throttled_periods", Count, NO_MACHINE),
    field("machine.load.periods", Count, NO_MACHINE),
    field("machine.load.busiest_link_share", Ratio, NO_MACHINE),
    field("machine.load.slept_seconds", Seconds, NO_MACHINE),
    field("machine.load.wall_clock_set_seconds", Seconds, NO_MACHINE),
    field("limited_because", Text, NO_MACHINE),
    field("limited_by", Words(&["shaping", "machine", "model"]), NO_MACHINE),
    field("joined_after_ms", Milliseconds, NO_MACHINE),
    field("stages.uploaded_ms", Milliseconds, NO_CLOUD),
    field("stages.workflow_started_ms", Milliseconds, NO_CLOUD),
    field("stages.workflow_ended_ms", Milliseconds, NO_CLOUD),
    field("stages.execution", Text, NO_CLOUD),
    field("stages.last_row_ms", Milliseconds, NO_CLOUD),
    field("stages.regions.*.region", Text, NO_CLOUD),
    field("stages.regions.*.replicated_ms", Milliseconds, NO_CLOUD),
    field("stages.regions.*.seeding_ms", Milliseconds, NO_CLOUD),
    field("stages.regions.*.first_host_ms", Milliseconds, NO_CLOUD),
    field("stages.regions.*.half_ms", Milliseconds, NO_CLOUD),
    field("stages.regions.*.last_host_ms", Milliseconds, NO_CLOUD),
    field("simulation.fidelity", Words(&["faithful", "kernel"]), Forecasts),
    field("simulation.kernel_difference.hosts", Count, Forecasts),
    field("simulation.kernel_difference.faithful_makespan_ms", Milliseconds, Forecasts),
    field("simulation.kernel_difference.kernel_makespan_ms", Milliseconds, Forecasts),
    field("simulation.kernel_difference.percent", Percent, Forecasts),
    field("simulation.ends.*", Words(&["converged", "deadline", "deadlock", "stopped"]), Forecasts),
    field("simulation.virtual_seconds", Seconds, Forecasts),
    field("simulation.transfers", Count, Forecasts),
    field("simulation.events", Count, Forecasts),
    field("simulation.control_messages", Count, Forecasts),
    field("simulation.last_row_after_ms", Milliseconds, Forecasts),
    field("simulation.cross_zone_bytes", Bytes, Forecasts),
    field("simulation.cross_zone_usd", Dollars, Forecasts),
];

/// What a report lists one by one, for people: how many there are differs from run to run, so no condition names them.
pub const REPORT_LISTS: &[&str] = &[
    "thresholds",
    "thresholds_left_out",
    "histograms",
    "stuck",
    "banned",
    "logs.failed",
    "warnings",
    "held_back",
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

    const fn name(self) -> &'static str {
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

const PERCENTILES: [&str; 5] = ["p50", "p90", "p99", "p999", "max"];

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
