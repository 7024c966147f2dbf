//! What must hold at the end: a field of the report, a comparison, a value.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::report_fields::{Amount, ReportField, ReportsOf, UnknownField, find_in_report};

/// A condition on the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// Its name in the file.
    pub name: String,
    /// As it was written.
    pub expression: String,
    field: String,
    comparison: Comparison,
    /// In the unit of the field.
    bound: Bound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Bound {
    Number(f64),
    Text(String),
}

/// Whether a condition holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It does.
    Met,
    /// It does not; this is what the report has.
    Missed(Value),
    /// The report has nothing to compare.
    NoData,
}

/// An expression that is no condition on a report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdError {
    /// It has another form.
    #[error("expected FIELD COMPARISON VALUE, such as \"stretch.max <= 1.35\" or \"hosts.verified == 1000\"")]
    Form,
    /// No report has the field.
    #[error(transparent)]
    Field(#[from] UnknownField),
    /// The field cannot be compared with this.
    #[error("{field} is {wanted}")]
    Value {
        /// The field.
        field: String,
        /// What it is, and what was expected.
        wanted: String,
    },
}

impl Threshold {
    /// Parses `stretch.max <= 1.35` for reports of a scenario with these regions. What it compares with is turned into the
    /// unit that the report has the field in: where that is milliseconds, `60s` is 60,000 and a bare `60` is 60 ms.
    pub fn parse(name: &str, expression: &str, regions: &[&str]) -> Result<Self, ThresholdError> {
        // The symbol is the one after the field: a text to compare with can hold others.
        let expression_trimmed = expression.trim_start();
        let field_end = expression_trimmed
            .find(|c: char| !is_of_field(c))
            .ok_or(ThresholdError::Form)?;
        let (path, rest) = expression_trimmed.split_at(field_end);
        let (comparison, value) = COMPARISONS
            .iter()
            .find_map(|(comparison, symbol)| Some((*comparison, rest.trim_start().strip_prefix(symbol)?.trim())))
            .ok_or(ThresholdError::Form)?;
        if path.is_empty() || value.is_empty() {
            return Err(ThresholdError::Form);
        }
        let unit = ReportField::find(path, regions)?.unit;
        let wrong = || ThresholdError::Value {
            field: path.to_owned(),
            wanted: unit.wanted(),
        };
        if unit.is_text() && !matches!(comparison, Comparison::Equal | Comparison::NotEqual) {
            return Err(wrong());
        }
        Ok(Self {
            name: name.to_owned(),
            expression: expression.to_owned(),
            field: path.to_owned(),
            comparison,
            bound: match unit.parse(value).ok_or_else(wrong)? {
                Amount::Number(number) => Bound::Number(number),
                Amount::Text(text) => Bound::Text(text),
            },
        })
    }

    /// The field of the report that it is about.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// Why it says nothing of a forecast, where it does not.
    pub fn not_of_forecasts(&self) -> Option<&'static str> {
        match ReportField::at(&self.field)?.of {
            ReportsOf::LiveRuns(reason) => Some(reason),
            ReportsOf::Both | ReportsOf::Forecasts => None,
        }
    }

    /// Whether `verdict` is right although the machine held the hosts up, which makes times longer and never shorter. A
    /// condition that the links are the limit says itself that it wants no other run.
    pub fn stands_when_delayed(&self, verdict: &Verdict) -> bool {
        let missed = match verdict {
            Verdict::Met => false,
            Verdict::Missed(_) => true,
            Verdict::NoData => return true,
        };
        if self.field == "limited_by" {
            return !missed;
        }
        if !self.is_of_time() {
            return true;
        }
        match self.comparison {
            Comparison::Less | Comparison::LessOrEqual => !missed,
            Comparison::Greater | Comparison::GreaterOrEqual => missed,
            Comparison::Equal | Comparison::NotEqual => false,
        }
    }

    /// Whether its field is a time that hosts took, or is made of one.
    fn is_of_time(&self) -> bool {
        let field = match self
            .field
            .strip_prefix("regions.")
            .and_then(|rest| rest.split_once('.'))
        {
            Some((_, field)) => field,
            None => &self.field,
        };
        let group = field.split('.').next().unwrap_or_default();
        group != "lower_bound_ms" && (TIMES.contains(&group) || group.ends_with("_ms"))
    }

    /// What a report has for its field.
    pub fn actual<'a>(&self, report: &'a Value) -> Option<&'a Value> {
        find_in_report(report, &self.field).filter(|actual| !actual.is_null())
    }

    /// How far a report is from where the verdict changes, in the unit of the field: above 0 where the condition holds. None for
    /// texts, and where a field is to be equal to something or not.
    pub fn margin(&self, report: &Value) -> Option<f64> {
        let Bound::Number(bound) = self.bound else {
            return None;
        };
        let actual = self.actual(report)?.as_f64()?;
        match self.comparison {
            Comparison::Less | Comparison::LessOrEqual => Some(bound - actual),
            Comparison::Greater | Comparison::GreaterOrEqual => Some(actual - bound),
            Comparison::Equal | Comparison::NotEqual => None,
        }
    }

    /// Holds the condition against a report.
    pub fn evaluate(&self, report: &Value) -> Verdict {
        let actual = find_in_report(report, &self.field);
        let holds = match (actual, &self.bound) {
            (Some(Value::Number(actual)), Bound::Number(bound)) => {
                let actual = actual.as_f64().unwrap_or(f64::NAN);
                match self.comparison {
                    Comparison::Less => actual < *bound,
                    Comparison::LessOrEqual => actual <= *bound,
                    Comparison::Greater => actual > *bound,
                    Comparison::GreaterOrEqual => actual >= *bound,
                    Comparison::Equal => (actual - bound).abs() < f64::EPSILON,
                    Comparison::NotEqual => (actual - bound).abs() >= f64::EPSILON,
                }
            }
            (Some(Value::String(actual)), Bound::Text(bound)) => {
                (actual == bound) == (self.comparison == Comparison::Equal)
            }
            _ => return Verdict::NoData,
        };
        if holds {
            Verdict::Met
        } else {
            Verdict::Missed(actual.cloned().unwrap_or_default())
        }
    }
}

/// What the dotted name of a field is made of; the names of regions have a `-`.
fn is_of_field(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// Groups of fields that are times or made of times, apart from those whose names end in their unit.
const TIMES: [&str; 3] = ["stretch", "stages", "wall_seconds"];

/// Longer symbols first: `<` is in `<=`.
const COMPARISONS: [(Comparison, &str); 6] = [
    (Comparison::LessOrEqual, "<="),
    (Comparison::GreaterOrEqual, ">="),
    (Comparison::Equal, "=="),
    (Comparison::NotEqual, "!="),
    (Comparison::Less, "<"),
    (Comparison::Greater, ">"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(text: &str) -> Result<Threshold, ThresholdError> {
        Threshold::parse("t", text, &["region-a", "region-b"])
    }

    #[test]
    fn conditions_are_held_against_the_report() {
        let report = json!({"stretch": {"max": 1.3, "p50": null}, "hosts": {"verified": 10}, "limited_by": "shaping",
            "build": {"id": "a <= b"}, "regions": [{"name": "region-b", "hosts": 4}, {"name": "region-a", "hosts": 3}]});
        let check = |text: &str| parse(text).unwrap().evaluate(&report);
        assert_eq!(check("stretch.max <= 1.35"), Verdict::Met);
        assert_eq!(check("stretch.max < 1.3"), Verdict::Missed(json!(1.3)));
        assert_eq!(check("hosts.verified == 10"), Verdict::Met);
        assert_eq!(check("hosts.verified != 1_0"), Verdict::Missed(json!(10)));
        assert_eq!(check("limited_by == \"shaping\""), Verdict::Met);
        assert_eq!(check("build.id != \"a <= b\""), Verdict::Missed(json!("a <= b")));
        assert_eq!(check("limited_by != shaping"), Verdict::Missed(json!("shaping")));
        assert_eq!(check("regions.0.name == region-b"), Verdict::Met);
        assert_eq!(check("regions.region-a.hosts == 3"), Verdict::Met);
        assert_eq!(check("stretch.p50 <= 1.2"), Verdict::NoData);
        assert_eq!(check("stretch.p999 <= 1.2"), Verdict::NoData);
    }

    #[test]
    fn a_value_is_turned_into_the_unit_of_its_field() {
        let report =
            json!({"wall_seconds": 1.2, "fanout_latency_ms": {"p99": 1200.0}, "machine": {"peak_rss_bytes": 2000}});
        let check = |text: &str| parse(text).unwrap().evaluate(&report);
        assert_eq!(check("wall_seconds <= 1s"), Verdict::Missed(json!(1.2)));
        assert_eq!(check("wall_seconds == 1200ms"), Verdict::Met);
        assert_eq!(check("wall_seconds <= 1.2"), Verdict::Met);
        assert_eq!(check("fanout_latency_ms.p99 == 1.2s"), Verdict::Met);
        assert_eq!(check("fanout_latency_ms.p99 <= 60"), Verdict::Missed(json!(1200.0)));
        assert_eq!(check("machine.peak_rss_bytes == 2 kB"), Verdict::Met);
        assert_eq!(check("machine.peak_rss_bytes == 2000"), Verdict::Met);
    }

    #[test]
    fn a_value_of_another_unit_is_refused() {
        for (bad, is) in [
            ("stretch.max <= 1s", "a ratio"),
            ("stretch.max <= nan", "a ratio"),
            ("stretch.max <= 1e999", "a ratio"),
            ("stretch.max <= inf", "a ratio"),
            ("stretch.max <= good", "a ratio"),
            ("traffic.wasted_share <= 1%", "a ratio"),
            ("hosts.verified >= 20 ms", "a count"),
            ("hosts.verified >= 20 kB", "a count"),
            ("wall_seconds <= 4 MiB", "a time in seconds"),
            ("fanout_latency_ms.max <= 5 parsecs", "a time in ms"),
            ("machine.peak_rss_bytes <= 2s", "a size"),
            ("limited_by == 3", "a word"),
            ("limited_by != machne", "a word"),
            ("limited_by <= machine", "a word"),
            ("scenario > smoke", "text"),
            ("scenario == \"open", "text"),
            ("scenario == a b", "text"),
        ] {
            let error = parse(bad).unwrap_err();
            assert!(
                matches!(&error, ThresholdError::Value { wanted, .. } if wanted.starts_with(is)),
                "{bad}: {error}"
            );
        }
    }

    #[test]
    fn a_field_that_no_report_has_is_refused() {
        for bad in [
            "fanout_latency.p99 <= 60s",
            "stretch <= 2",
            "stretch.p42 <= 2",
            "regions.region-c.hosts == 1",
            "regions.2.hosts == 1",
            "stuck.0.chunks_held > 3",
            "makespan < 1s",
            "a.b < 3",
        ] {
            let error = parse(bad).unwrap_err();
            assert!(matches!(error, ThresholdError::Field(_)), "{bad}: {error}");
        }
    }

    #[test]
    fn a_busy_machine_makes_later_and_never_earlier() {
        let report = json!({"stretch": {"max": 2.5}, "fanout_latency_ms": {"p99": 900.0}, "lower_bound_ms": 300,
            "regions": [{"name": "region-a", "stretch": {"max": 2.5}, "fanout_latency_ms": {"p50": 7.0}, "hosts": 3}], "wall_seconds": 9,
            "limited_by": "machine", "machine": {"cpu_seconds": 3.0}, "hosts": {"verified": 10}});
        let stands = |text: &str| {
            let threshold = parse(text).unwrap();
            threshold.stands_when_delayed(&threshold.evaluate(&report))
        };
        for missed_because_late in [
            "stretch.max <= 1.35",
            "fanout_latency_ms.p99 < 1ms",
            "regions.0.stretch.max <= 1.35",
            "regions.region-a.fanout_latency_ms.p50 <= 5ms",
            "wall_seconds <= 5",
            "limited_by == shaping",
            "limited_by != machine",
        ] {
            assert!(!stands(missed_because_late), "{missed_because_late}");
        }
        // In time all the same; too early; of something else; without data.
        for right in [
            "stretch.max <= 3",
            "stretch.max >= 3",
            "limited_by == machine",
            "hosts.verified == 11",
            "regions.0.hosts == 4",
            "machine.cpu_seconds <= 1",
            "lower_bound_ms <= 5",
            "stretch.p90 <= 1",
        ] {
            assert!(stands(right), "{right}");
        }
        // Late enough only because of the delay, or equal by chance.
        for by_chance in ["stretch.max > 2", "stretch.max == 2.5", "stretch.max != 2.5"] {
            assert!(!stands(by_chance), "{by_chance}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for bad in [
            "",
            "stretch.max",
            "<= 3",
            "stretch.max <=",
            "a b < 3",
            "stretch.max = 3",
            "stretch.max =< 3",
        ] {
            assert_eq!(parse(bad), Err(ThresholdError::Form), "{bad}");
        }
    }

    #[test]
    fn what_only_a_live_run_measures_is_not_of_forecasts() {
        let reason = |text: &str| parse(text).unwrap().not_of_forecasts();
        for live in [
            "wall_seconds < 9",
            "machine.cpu_seconds < 9",
            "limited_by == shaping",
            "logs.rows == 5",
            "traffic.control_bytes < 5",
            "regions.region-a.replicated_after_ms < 1",
        ] {
            assert!(reason(live).is_some(), "{live}");
        }
        for both in ["stretch.max < 2", "traffic.wasted_bytes < 5", "simulation.events > 1"] {
            assert_eq!(reason(both), None, "{both}");
        }
    }
}
