//! `harness solve`: the least value of a key with which a scenario meets its thresholds, by halving what is left.
//!
//! It counts on more being better, or with `--greatest` on less: where a value in the middle meets the thresholds, all on its good side are taken
//! to meet them too. Every value that was tried is told.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use scenario::{LoadOptions, Override, Stop};
use serde::Serialize;
use tokio::sync::watch;

use super::forecasts::{ToForecast, forecast_all, with_seeds};
use super::run::watch_signals;
use super::{print, warn};
use crate::cli::{Format, SolveArguments};
use crate::exit::{Exit, of_stop, print_error};
use crate::report::Report;

/// A key and the ends of its values, `swarm.degree=2..32`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span {
    key: String,
    from: f64,
    to: f64,
    /// Behind the number.
    unit: String,
    is_whole: bool,
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected KEY=FROM..TO with FROM below TO, such as swarm.degree=2..32 or network.seeder.uplink=1..10 Gbit/s";
        let (key, values) = text.split_once('=').ok_or(expected)?;
        let (from, to) = values.split_once("..").ok_or(expected)?;
        let ((from, unit_of_from), (to, unit)) = (number(from).ok_or(expected)?, number(to).ok_or(expected)?);
        if !unit_of_from.is_empty() && unit_of_from != unit {
            return Err(format!(
                "{unit_of_from} and {unit} are two units; expected both ends in one"
            ));
        }
        if key.trim().is_empty() || from >= to {
            return Err(expected.to_owned());
        }
        Ok(Self {
            key: key.trim().to_owned(),
            from,
            to,
            unit,
            is_whole: from.fract() == 0.0 && to.fract() == 0.0,
        })
    }
}

/// A number and what stands behind it.
fn number(text: &str) -> Option<(f64, String)> {
    let text = text.trim();
    let end = text
        .find(|letter: char| !(letter.is_ascii_digit() || matches!(letter, '.' | '_')))
        .unwrap_or(text.len());
    let value: f64 = text[..end].replace('_', "").parse().ok()?;
    value.is_finite().then(|| (value, text[end..].trim().to_owned()))
}

impl Span {
    fn written(&self, value: f64) -> String {
        format!("{value} {}", self.unit).trim_end().to_owned()
    }

    fn set_to(&self, value: f64) -> Result<Override, String> {
        let set: Override = format!("{}={}", self.key, self.written(value)).parse()?;
        Ok(set.said_by("solve"))
    }

    /// Halfway between a value that meets and one that does not; none where they are near enough.
    fn between(&self, a: f64, b: f64, within_percent: f64) -> Option<f64> {
        let (least, most) = (a.min(b), a.max(b));
        let near = most * within_percent / 100.0;
        if self.is_whole {
            let middle = ((least + most) / 2.0).floor();
            return (most - least > near.max(1.0) && middle > least).then_some(middle);
        }
        // Six digits: what is written is what is tried.
        let middle: f64 = format!("{:.6}", (least + most) / 2.0).parse().ok()?;
        (most - least > near && middle > least && middle < most).then_some(middle)
    }
}

/// A value and what came of it.
#[derive(Clone, Debug, Serialize)]
struct Tried {
    value: String,
    met: bool,
    /// What was missed, and with how many seeds.
    missed: Vec<(String, usize)>,
}

pub(crate) fn solve(arguments: &SolveArguments) -> Exit {
    solved(arguments).unwrap_or_else(|exit| exit)
}

fn solved(arguments: &SolveArguments) -> Result<Exit, Exit> {
    let stop = watch_signals().map_err(|error| {
        print_error("failed to listen for signals", &error);
        Exit::Failed
    })?;
    let span = &arguments.span;
    let mut tried = Vec::new();
    let mut meets = |value: f64| -> Result<bool, Exit> {
        let of = forecast(arguments, value, tried.is_empty(), &stop)?;
        let met = of.met;
        tried.push((value, of));
        Ok(met)
    };
    let (mut good, mut bad) = if arguments.greatest {
        (span.from, span.to)
    } else {
        (span.to, span.from)
    };
    let answer = match meets(good)? {
        false => None,
        true if meets(bad)? => Some(bad),
        true => {
            while let Some(middle) = span.between(good, bad, arguments.within) {
                *(if meets(middle)? { &mut good } else { &mut bad }) = middle;
            }
            Some(good)
        }
    };
    tell(arguments, answer, tried);
    Ok(if answer.is_some() { Exit::Success } else { Exit::No })
}

fn tell(arguments: &SolveArguments, answer: Option<f64>, mut tried: Vec<(f64, Tried)>) {
    let span = &arguments.span;
    tried.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let answer = answer.map(|value| span.written(value));
    let which = if arguments.greatest { "greatest" } else { "least" };
    if arguments.format == Format::Json {
        let tried: Vec<&Tried> = tried.iter().map(|(_, tried)| tried).collect();
        let json = serde_json::json!({
            "key": span.key, "which": which, "answer": answer, "seeds": [arguments.seeds.start, arguments.seeds.end],
            "within_percent": arguments.within, "tried": tried,
        });
        print(&format!("{json:#}\n"));
        return;
    }
    let mut text = String::new();
    for (_, of) in &tried {
        let missed: Vec<String> = of
            .missed
            .iter()
            .map(|(what, seeds)| format!("{what} ({seeds})"))
            .collect();
        let verdict = if of.met {
            "ok".to_owned()
        } else {
            format!("MISSED {}", missed.join(", "))
        };
        let _ = writeln!(text, "{:>16}  {verdict}", of.value);
    }
    let Range { start, end } = arguments.seeds;
    let _ = match answer {
        Some(value) => writeln!(
            text,
            "{} = {value} is the {which} that meets the thresholds, seeds {start}..{end}",
            span.key
        ),
        None => writeln!(
            text,
            "no value of {} from {} to {} meets the thresholds, seeds {start}..{end}, as far as the {} tells",
            span.key,
            span.written(span.from),
            span.written(span.to),
            if arguments.greatest { "least" } else { "greatest" }
        ),
    };
    print(&text);
}

/// Forecasts the scenario with a value, once for each seed.
fn forecast(
    arguments: &SolveArguments,
    value: f64,
    is_first: bool,
    stop: &watch::Receiver<Option<Stop>>,
) -> Result<Tried, Exit> {
    let all = load(&arguments.scenario, arguments, value)?;
    if is_first {
        warn(all.iter().map(|one| &one.scenario));
        if all.iter().any(|one| one.scenario.thresholds.is_empty()) {
            say!(
                "harness: {} has no thresholds to be met; expected some, such as --set 'thresholds.quick=stretch.max <= 1.2'",
                arguments.scenario.display()
            );
            return Err(Exit::Usage);
        }
    }
    let written = arguments.span.written(value);
    let reports = forecast_all(&all, &written, stop).map_err(|message| {
        say!("harness: {message}");
        Exit::Usage
    })?;
    if let Some(stopped) = *stop.borrow() {
        say!("harness: it was stopped before there was an answer");
        return Err(of_stop(stopped));
    }
    let mut missed: Vec<(String, usize)> = Vec::new();
    let mut note = |what: String| match missed.iter_mut().find(|(other, _)| *other == what) {
        Some((_, seeds)) => *seeds += 1,
        None => missed.push((what, 1)),
    };
    for report in reports.iter().flatten() {
        report.problems().into_iter().for_each(&mut note);
    }
    Ok(Tried {
        value: written,
        met: missed.is_empty(),
        missed,
    })
}

fn load(path: &Path, arguments: &SolveArguments, value: f64) -> Result<Vec<ToForecast>, Exit> {
    let refuse = |message: String| {
        say!("harness: {message}");
        Exit::Usage
    };
    let own = arguments.span.set_to(value).map_err(refuse)?;
    if let Some(other) = arguments.set.overrides.iter().find(|set| set.meets(&own)) {
        return Err(refuse(format!(
            "{other} and {} are about one key; expected one of them",
            arguments.span.key
        )));
    }
    let options = LoadOptions {
        overrides: arguments.set.overrides.iter().cloned().chain([own]).collect(),
        ..LoadOptions::default()
    };
    with_seeds(path, &options, &arguments.seeds).map_err(|error| {
        say!("{error}");
        Exit::Usage
    })
}

impl Report {
    /// What keeps it from being a good one, by name: hosts that were left behind, and thresholds that do not hold.
    fn problems(&self) -> Vec<String> {
        let report = serde_json::to_value(self).expect("a report has only keys that are text");
        let left = report["hosts"]["pending"].as_u64().unwrap_or(0) + report["hosts"]["failed"].as_u64().unwrap_or(0);
        let thresholds = report["thresholds"].as_array().into_iter().flatten();
        let missed = thresholds
            .filter(|of| of["ok"] != true)
            .filter_map(|of| of["name"].as_str().map(str::to_owned));
        (left > 0)
            .then(|| "hosts left behind".to_owned())
            .into_iter()
            .chain(missed)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_through_has_a_key_two_ends_and_one_unit() {
        let span: Span = "network.seeder.uplink=1..10 Gbit/s".parse().unwrap();
        assert_eq!(
            (span.from, span.to, span.written(2.5)),
            (1.0, 10.0, "2.5 Gbit/s".to_owned())
        );
        assert_eq!("swarm.degree=2..32".parse::<Span>().unwrap().written(7.0), "7");
        for text in [
            "swarm.degree",
            "swarm.degree=4",
            "a=4..4",
            "a=5..2",
            "=1..2",
            "a=1 MB..2 GB",
            "a=x..y",
            "a=1..",
            "a=..2",
        ] {
            assert!(text.parse::<Span>().unwrap_err().contains("expected"), "{text}");
        }
    }

    #[test]
    fn halving_comes_to_an_end_within_what_was_asked_for() {
        for (text, within) in [
            ("a=1..1000000", 0.0),
            ("a=0.5..7.25", 1.0),
            ("a=1..3", 0.0),
            ("a=0..1", 50.0),
        ] {
            let span: Span = text.parse().unwrap();
            for share in [0.0, 0.001, 0.3, 0.77, 1.0] {
                let least = span.from + (span.to - span.from) * share;
                let (mut good, mut bad, mut steps) = (span.to, span.from, 0);
                while let Some(middle) = span.between(good, bad, within) {
                    *(if middle >= least { &mut good } else { &mut bad }) = middle;
                    steps += 1;
                }
                let near = (good * within / 100.0).max(if span.is_whole { 1.0 } else { 0.0 });
                assert!(
                    steps < 40 && good >= least.min(span.to) && good - bad <= near + 1e-5,
                    "{text}, {share}: {good} {bad}"
                );
            }
        }
    }
}
