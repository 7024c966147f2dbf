//! What must hold at the end: a field of the report, a comparison, a value.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::quantity::{parse_duration, parse_size};

/// A condition on the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// Its name in the file.
    pub name: String,
    /// As it was written.
    pub expression: String,
    field: String,
    comparison: Comparison,
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

/// An expression that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected FIELD COMPARISON VALUE, such as \"stretch.max <= 1.35\" or \"hosts.verified == 1000\"")]
pub struct ThresholdError;

impl Threshold {
    /// Parses `stretch.max <= 1.35`. Durations become milliseconds and sizes bytes, as reports have them.
    pub fn parse(name: &str, expression: &str) -> Result<Self, ThresholdError> {
        // The symbol is the one after the field: a text to compare with can hold others.
        let expression_trimmed = expression.trim_start();
        let field_end = expression_trimmed.find(|c: char| !is_word(c)).ok_or(ThresholdError)?;
        let (field, rest) = expression_trimmed.split_at(field_end);
        let (comparison, value) = COMPARISONS
            .iter()
            .find_map(|(comparison, symbol)| Some((comparison, rest.trim_start().strip_prefix(symbol)?.trim())))
            .ok_or(ThresholdError)?;
        if field.is_empty() {
            return Err(ThresholdError);
        }
        let bound = Bound::parse(value).ok_or(ThresholdError)?;
        if matches!(bound, Bound::Text(_)) && !matches!(comparison, Comparison::Equal | Comparison::NotEqual) {
            return Err(ThresholdError);
        }
        Ok(Self {
            name: name.to_owned(),
            expression: expression.to_owned(),
            field: field.to_owned(),
            comparison: *comparison,
            bound,
        })
    }

    /// Why it says nothing of a forecast, where it does not.
    pub fn not_of_forecasts(&self) -> Option<&'static str> {
        let is = |live: &&(&str, &str)| {
            let below = self.field.strip_prefix(live.0);
            below.is_some_and(|below| below.is_empty() || below.starts_with('.'))
        };
        ONLY_LIVE.iter().find(is).map(|(_, reason)| *reason)
    }

    /// Holds the condition against a report.
    pub fn evaluate(&self, report: &Value) -> Verdict {
        let actual = self.field.split('.').try_fold(report, |value, key| match value {
            Value::Array(items) => items.get(key.parse::<usize>().ok()?),
            value => value.get(key),
        });
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

impl Bound {
    fn parse(value: &str) -> Option<Self> {
        if let Some(text) = value.strip_prefix('"') {
            return Some(Self::Text(text.strip_suffix('"')?.to_owned()));
        }
        let number = value.replace('_', "").parse::<f64>().ok();
        let number = number.or_else(|| Some(parse_duration(value).ok()?.as_secs_f64() * 1000.0));
        let number = number.or_else(|| Some(parse_size(value).ok()? as f64));
        if let Some(number) = number {
            // JSON has no other numbers, and a scenario goes to its workers as JSON.
            return number.is_finite().then_some(Self::Number(number));
        }
        // A word is text as it is. Not so what starts like a number: that has a unit we do not know.
        let is_text = value.starts_with(|c: char| c.is_ascii_alphabetic());
        (is_text && value.chars().all(|c| is_word(c) || matches!(c, '-' | '/'))).then(|| Self::Text(value.to_owned()))
    }
}

/// What the dotted name of a field is made of.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.')
}

/// What only live runs have in their reports, and why.
const ONLY_LIVE: [(&str, &str); 9] = [
    ("wall_seconds", NO_MACHINE),
    ("machine", NO_MACHINE),
    ("limited_by", NO_MACHINE),
    ("joined_after_ms", NO_MACHINE),
    ("transport", NO_MACHINE),
    (
        "logs",
        "a forecast writes no rows; simulation.last_row_after_ms is when the last would be there",
    ),
    ("end_to_end_latency_ms", NO_CLOUD),
    ("stages", NO_CLOUD),
    (
        "traffic.control_bytes",
        "a forecast looks HAVE messages up and counts no control bytes",
    ),
];
const NO_MACHINE: &str = "a forecast does not measure a machine";
const NO_CLOUD: &str = "a forecast begins when the build is in the regional buckets";

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

    #[test]
    fn conditions_are_held_against_the_report() {
        let report = json!({"stretch": {"max": 1.3, "p50": null}, "hosts": {"verified": 10}, "limited_by": "shaping",
            "regions": [{"name": "region-a"}]});
        let check = |text: &str| Threshold::parse("t", text).unwrap().evaluate(&report);
        assert_eq!(check("stretch.max <= 1.35"), Verdict::Met);
        assert_eq!(check("stretch.max < 1.3"), Verdict::Missed(json!(1.3)));
        assert_eq!(check("hosts.verified == 10"), Verdict::Met);
        assert_eq!(check("hosts.verified > 2ms"), Verdict::Met);
        assert_eq!(check("limited_by == \"shaping\""), Verdict::Met);
        assert_eq!(check("limited_by != \"a <= b\""), Verdict::Met);
        assert_eq!(check("limited_by != shaping"), Verdict::Missed(json!("shaping")));
        assert_eq!(check("regions.0.name == region-a"), Verdict::Met);
        assert_eq!(check("stretch.p50 <= 1.2"), Verdict::NoData);
        assert_eq!(check("stretch.p999 <= 1.2"), Verdict::NoData);
    }

    #[test]
    fn what_only_a_live_run_measures_is_not_of_forecasts() {
        let reason = |text: &str| Threshold::parse("t", text).unwrap().not_of_forecasts();
        for live in [
            "wall_seconds < 9",
            "machine.cpu_seconds < 9",
            "logs.rows == 5",
            "traffic.control_bytes < 5",
        ] {
            assert!(reason(live).is_some(), "{live}");
        }
        for both in [
            "stretch.max < 2",
            "traffic.wasted_bytes < 5",
            "logs_of_mine == 1",
            "simulation.events > 1",
        ] {
            assert_eq!(reason(both), None, "{both}");
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
            "x < word",
            "x = 3",
            "x < nan",
            "x == inf",
            "x <= 1e999",
            "x == 5 parsecs",
            "x == \"open",
        ] {
            assert_eq!(Threshold::parse("t", bad), Err(ThresholdError), "{bad}");
        }
    }
}
