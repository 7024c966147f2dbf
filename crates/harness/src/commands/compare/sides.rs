//! The runs of both sides: read from folders, or forecast, and put together in pairs.

use std::ops::Range;
use std::path::{Path, PathBuf};

use scenario::{LoadOptions, Override, Scenario, Stop};
use serde_json::Value;
use tokio::sync::watch;

use super::super::baseline;
use super::super::forecasts::{ToForecast, forecast_all, with_seeds};
use crate::cli::CompareArguments;

/// A run of A and the one of B that it is held against.
pub(super) struct Pair {
    pub(super) a: Value,
    pub(super) b: Value,
}

/// The runs of both sides.
pub(super) struct Sides {
    pub(super) pairs: Vec<Pair>,
    /// Runs of A and of B that have no partner.
    pub(super) alone: (usize, usize),
}

/// Reads or forecasts both.
///
/// # Errors
/// What cannot be read, or what the command line lacks.
pub(super) fn both(arguments: &CompareArguments, stop: &watch::Receiver<Option<Stop>>) -> Result<Sides, String> {
    let (a, b) = &paths(arguments)?;
    if !is_scenario(a) && !is_scenario(b) {
        if !arguments.set.overrides.is_empty() || !arguments.set_b.is_empty() {
            return Err("--set and --set-b are for scenarios; reports are what they are".to_owned());
        }
        let (mut a, mut b) = (read(a)?, read(b)?);
        if let Some(seeds) = &arguments.seeds {
            a.retain(|report| seeds.contains(&seed(report)));
            b.retain(|report| seeds.contains(&seed(report)));
        }
        return Ok(pair(a, b));
    }
    let Some(seeds) = &arguments.seeds else {
        return Err(format!(
            "a scenario is forecast for several seeds; expected --seeds as well, such as --seeds 1..21, or reports in \
             place of {}",
            [a, b].into_iter().find(|path| is_scenario(path)).unwrap_or(a).display()
        ));
    };
    let of = |path: &Path, more: &[Override]| match is_scenario(path) {
        true => to_forecast(path, &[&arguments.set.overrides, more].concat(), seeds).map(Some),
        false => Ok(None),
    };
    let (of_a, of_b) = (of(a, &[])?, of(b, &arguments.set_b)?);
    let from_a = of_a.as_ref().map_or(0, Vec::len);
    let all: Vec<ToForecast> = of_a.into_iter().chain(of_b).flatten().collect();
    let mut made = forecast_all(&all, "forecast", stop)?.into_iter().map(|report| {
        report.map(|report| serde_json::to_value(&report).expect("a report has only keys that are text"))
    });
    let made_a: Vec<Value> = made.by_ref().take(from_a).flatten().collect();
    let made_b: Vec<Value> = made.flatten().collect();
    let a = if is_scenario(a) { made_a } else { read(a)? };
    let b = if is_scenario(b) { made_b } else { read(b)? };
    Ok(pair(a, b))
}

/// Where both are: what was kept under a name comes first.
fn paths(arguments: &CompareArguments) -> Result<(PathBuf, PathBuf), String> {
    let first = arguments.a.clone();
    match (&arguments.baseline, &arguments.b) {
        (Some(name), _) => Ok((baseline::find(&arguments.baselines, name)?, first)),
        (None, Some(second)) => Ok((first, second.clone())),
        (None, None) => Err("expected a second run, or --baseline NAME".to_owned()),
    }
}

fn is_scenario(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}

fn to_forecast(path: &Path, overrides: &[Override], seeds: &Range<u64>) -> Result<Vec<ToForecast>, String> {
    let options = LoadOptions {
        overrides: overrides.to_vec(),
        ..LoadOptions::default()
    };
    // What is said once of a scenario is not said for each seed.
    Scenario::load(path, &options).map_err(|error| error.to_string())?;
    with_seeds(path, &options, seeds).map_err(|error| error.to_string())
}

/// Runs of one seed go together, in the order in which they were read. Of those that are left over each goes with any other:
/// they are draws of the same.
fn pair(a: Vec<Value>, b: Vec<Value>) -> Sides {
    let (mut pairs, mut left_a) = (Vec::new(), Vec::new());
    let mut left_b: Vec<Option<Value>> = b.into_iter().map(Some).collect();
    for a in a {
        let same = |b: &&mut Option<Value>| b.as_ref().is_some_and(|b| seed(b) == seed(&a));
        match left_b.iter_mut().find(same).and_then(Option::take) {
            Some(b) => pairs.push(Pair { a, b }),
            None => left_a.push(a),
        }
    }
    let mut left_b = left_b.into_iter().flatten();
    let mut alone = (0, 0);
    for a in left_a {
        match left_b.next() {
            Some(b) => pairs.push(Pair { a, b }),
            None => alone.0 += 1,
        }
    }
    alone.1 = left_b.count();
    Sides { pairs, alone }
}

pub(crate) fn seed(report: &Value) -> u64 {
    report.get("seed").and_then(Value::as_u64).unwrap_or_default()
}

/// The report of a run's folder, those of the folders in it, or a report itself.
pub(crate) fn read(path: &Path) -> Result<Vec<Value>, String> {
    let own = path.join("report.json");
    if !path.is_dir() || own.exists() {
        let file = if path.is_dir() { own } else { path.to_owned() };
        return Ok(vec![report(&file)?]);
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(path)
        .map_err(|error| format!("{} cannot be read ({error})", path.display()))?
        .filter_map(|entry| Some(entry.ok()?.path().join("report.json")))
        .filter(|file| file.is_file())
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(format!(
            "{} has no report.json, and no folder in it has; expected what `harness run` or `harness plan` wrote",
            path.display()
        ));
    }
    files.iter().map(|file| report(file)).collect()
}

fn report(file: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        format!(
            "{} cannot be read ({error}); expected a run's folder or a report.json",
            file.display()
        )
    })?;
    let report: Value =
        serde_json::from_str(&text).map_err(|error| format!("{} is not JSON: {error}", file.display()))?;
    match report.get("schema_version").and_then(Value::as_u64) {
        // The first has what is compared, and not what it is a report of.
        Some(1 | 2) if report.get("fanout_latency_ms").is_some() => Ok(report),
        Some(other) if other > 2 => Err(format!(
            "{} has schema_version {other}; this harness reads versions 1 and 2",
            file.display()
        )),
        _ => Err(format!(
            "{} is not a report of this harness; expected one written by `harness run` or `harness plan`",
            file.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn runs_of_one_seed_go_together_and_the_rest_with_what_is_left() {
        let runs = |seeds: &[u64]| seeds.iter().map(|seed| json!({"seed": seed})).collect::<Vec<_>>();
        let sides = pair(runs(&[1, 2, 3, 3, 9]), runs(&[3, 1, 7, 3]));
        let pairs: Vec<(u64, u64)> = sides.pairs.iter().map(|pair| (seed(&pair.a), seed(&pair.b))).collect();
        assert_eq!(pairs, [(1, 1), (3, 3), (3, 3), (2, 7)]);
        assert_eq!(sides.alone, (1, 0));
        assert_eq!(pair(runs(&[]), runs(&[1])).alone, (0, 1));
    }
}
