//! `harness sweep`: forecasts of a scenario over a grid of values, as one table.

use std::fmt::Write;
use std::path::Path;
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use scenario::{LoadOptions, Override, ReportField, ReportsOf, Scenario, Unit};
use serde::Serialize;
use serde_json::Value;
use simulator::Status;

use super::compare::number;
use super::folder::{self, write_whole};
use super::plan::fits;
use super::{print, warn};
use crate::cli::{Format, SweepArguments};
use crate::exit::{Exit, chain, complain};
use crate::machine;
use crate::virtual_time;

/// A key and the values that it takes, `swarm.degree=4,8,16`.
#[derive(Clone, Debug)]
pub(crate) struct Vary {
    key: String,
    values: Vec<String>,
}

impl FromStr for Vary {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, values) = text
            .split_once('=')
            .ok_or("expected KEY=VALUE,VALUE, such as swarm.degree=4,8,16")?;
        let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
        if key.trim().is_empty() || values.iter().any(String::is_empty) {
            return Err("expected KEY=VALUE,VALUE, such as swarm.degree=4,8,16".to_owned());
        }
        Ok(Self {
            key: key.trim().to_owned(),
            values,
        })
    }
}

/// One point of the grid and what came of it.
#[derive(Debug, Serialize)]
struct Cell {
    values: Vec<String>,
    /// The metric; null where the report has none, as when hosts did not finish.
    metric: Option<f64>,
    stretch_p50: Option<f64>,
    stretch_p99: Option<f64>,
    stretch_max: Option<f64>,
    wasted_bytes: Option<f64>,
    hosts_pending: Option<f64>,
}

pub(crate) fn sweep(arguments: &SweepArguments) -> Exit {
    if let Err(message) = contradiction(arguments) {
        eprintln!("harness: {message}");
        return Exit::Usage;
    }
    let grid = grid(&arguments.vary);
    let mut scenarios = Vec::new();
    for values in &grid {
        match load(arguments, values) {
            Ok(scenario) => scenarios.push(scenario),
            Err(message) => {
                eprintln!("{message}");
                return Exit::Usage;
            }
        }
    }
    if let Err(message) = check_metric(&arguments.metric, &scenarios[0]) {
        eprintln!("harness: --metric {message}");
        return Exit::Usage;
    }
    let cells_at_once = match how_many_fit(&scenarios) {
        Ok(count) => count,
        Err(message) => {
            eprintln!("harness: {message}");
            return Exit::Usage;
        }
    };
    warn(&scenarios);
    let folder = match folder::make(arguments.out.clone(), &format!("{}-sweep", scenarios[0].name)) {
        Ok(folder) => folder,
        Err(error) => {
            complain("there is no folder for the sweep", &error);
            return Exit::Failed;
        }
    };
    let mut cells = match forecast_all(&grid, &scenarios, &arguments.metric, cells_at_once) {
        Ok(cells) => cells,
        Err(message) => {
            eprintln!("harness: {message}");
            folder::leave_if_empty(&folder);
            return Exit::Usage;
        }
    };
    // Best first: the least; what has no metric did not finish and is the worst.
    cells.sort_by(|a, b| {
        let key = |cell: &Cell| cell.metric.unwrap_or(f64::INFINITY);
        key(a).total_cmp(&key(b))
    });
    let keys: Vec<&str> = arguments.vary.iter().map(|vary| vary.key.as_str()).collect();
    // Null where the cells have different ones.
    let seed = scenarios[0].seed;
    let seed = scenarios.iter().all(|scenario| scenario.seed == seed).then_some(seed);
    let json = serde_json::json!({
        "scenario": scenarios[0].name, "seed": seed, "metric": arguments.metric, "keys": keys, "cells": cells,
    });
    let path = folder.join("sweep.json");
    if let Err(error) = write_whole(&path, &format!("{json:#}\n")) {
        complain(&format!("failed to write {}", path.display()), &error);
        return Exit::Failed;
    }
    match arguments.format {
        Format::Text => print(&table(&keys, &arguments.metric, &cells, &path)),
        Format::Json => print(&format!("{json:#}\n")),
    }
    if cells.iter().all(|cell| cell.metric.is_none()) {
        eprintln!("harness: no cell has {}: it is null in each report", arguments.metric);
        return Exit::NoVerdict;
    }
    Exit::Well
}

/// How many cells at a time: one for each core, and no more than there is memory for.
fn how_many_fit(scenarios: &[Scenario]) -> Result<usize, String> {
    let most = machine::cores().min(scenarios.len());
    let needed = |scenario: &&Scenario| simulator::memory_estimate(scenario, 1);
    let Some(largest) = scenarios.iter().max_by_key(needed) else {
        return Ok(most);
    };
    fits(largest, 1)?;
    let fitting = machine::free_memory().map_or(u64::MAX, |free| free.bytes / needed(&largest).max(1));
    Ok(usize::try_from(fitting).unwrap_or(usize::MAX).clamp(1, most.max(1)))
}

/// Every combination, the last key changing fastest.
fn grid(vary: &[Vary]) -> Vec<Vec<String>> {
    vary.iter().fold(vec![Vec::new()], |grid, vary| {
        let extended = grid.iter().flat_map(|values| {
            vary.values.iter().map(move |value| {
                let mut values = values.clone();
                values.push(value.clone());
                values
            })
        });
        extended.collect()
    })
}

impl Vary {
    fn set_to(&self, value: &str) -> Result<Override, String> {
        format!("{}={value}", self.key).parse()
    }
}

impl std::fmt::Display for Vary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "--vary {}={}", self.key, self.values.join(","))
    }
}

/// A key that is varied has one place that says so: a row that is labelled with a value has that value.
fn contradiction(arguments: &SweepArguments) -> Result<(), String> {
    let mut said: Vec<(String, Override)> = Vec::new();
    for set in &arguments.overrides {
        said.push((set.to_string(), set.clone()));
    }
    if let Some(seed) = arguments.seed {
        said.push((format!("--seed {seed}"), format!("seed={seed}").parse()?));
    }
    for vary in &arguments.vary {
        let own = vary.values.iter().map(|value| vary.set_to(value));
        let own = own.collect::<Result<Vec<Override>, String>>()?;
        if let Some((other, _)) = said.iter().find(|(_, set)| own.iter().any(|own| own.meets(set))) {
            return Err(format!("{vary} and {other} are about one key; expected one of them"));
        }
        said.extend(own.into_iter().map(|own| (vary.to_string(), own)));
    }
    Ok(())
}

/// Cells are sorted by a number that forecasts have.
fn check_metric(metric: &str, scenario: &Scenario) -> Result<(), String> {
    let regions: Vec<&str> = scenario.regions.iter().map(|region| region.name.as_str()).collect();
    let field = ReportField::find(metric, &regions).map_err(|error| error.to_string())?;
    match (field.of, field.unit) {
        (ReportsOf::LiveRuns(reason), _) => Err(format!("{metric} is of live runs: {reason}")),
        (_, Unit::Text | Unit::Words(_)) => Err(format!("{metric} is text; expected a field that is a number")),
        _ => Ok(()),
    }
}

fn load(arguments: &SweepArguments, values: &[String]) -> Result<Scenario, String> {
    let varied = arguments.vary.iter().zip(values);
    let mut overrides: Vec<Override> = varied
        .map(|(vary, value)| vary.set_to(value).map_err(|error| format!("harness: {error}")))
        .collect::<Result<_, String>>()?;
    overrides.extend(arguments.overrides.iter().cloned());
    let options = LoadOptions {
        overrides,
        seed: arguments.seed,
        build: None,
    };
    Scenario::load(&arguments.scenario, &options).map_err(|error| error.to_string())
}

/// `cells_at_once` cells at a time, one thread each.
fn forecast_all(
    grid: &[Vec<String>],
    scenarios: &[Scenario],
    metric: &str,
    cells_at_once: usize,
) -> Result<Vec<Cell>, String> {
    let next = AtomicUsize::new(0);
    let cells: Mutex<Vec<Result<Cell, String>>> = Mutex::default();
    let bar = crate::progress::cells(scenarios.len());
    std::thread::scope(|threads| {
        for _ in 0..cells_at_once {
            threads.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(scenario) = scenarios.get(index) else {
                        break;
                    };
                    let cell = forecast(scenario, &grid[index], metric);
                    bar.inc(1);
                    cells
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .push(cell);
                }
            });
        }
    });
    bar.finish_and_clear();
    let cells = cells.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut cells = cells.into_iter().collect::<Result<Vec<Cell>, String>>()?;
    // In the grid's order before they are sorted, so that equals come out the same each time.
    cells.sort_by_key(|cell| grid.iter().position(|values| *values == cell.values));
    Ok(cells)
}

fn forecast(scenario: &Scenario, values: &[String], metric: &str) -> Result<Cell, String> {
    let status = Status::new(scenario);
    let (report, _) = virtual_time::forecast(scenario, 1, &status, || None).map_err(|error| chain(&error))?;
    let report: Value = serde_json::from_str(&report.to_json()).map_err(|error| error.to_string())?;
    Ok(Cell {
        values: values.to_vec(),
        metric: number(&report, metric),
        stretch_p50: number(&report, "stretch.p50"),
        stretch_p99: number(&report, "stretch.p99"),
        stretch_max: number(&report, "stretch.max"),
        wasted_bytes: number(&report, "traffic.wasted_bytes"),
        hosts_pending: number(&report, "hosts.pending"),
    })
}

fn table(keys: &[&str], metric: &str, cells: &[Cell], path: &Path) -> String {
    let width = |key: &&str| key.len().max(12);
    let mut text = String::new();
    for key in keys {
        let _ = write!(text, "{key:>width$} ", width = width(key));
    }
    let _ = writeln!(
        text,
        "{metric:>16} {:>8} {:>8} {:>8} {:>8}",
        "p50", "p99", "max", "pending"
    );
    let show = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    for cell in cells {
        for (key, value) in keys.iter().zip(&cell.values) {
            let _ = write!(text, "{value:>width$} ", width = width(key));
        }
        let _ = writeln!(
            text,
            "{:>16} {:>8} {:>8} {:>8} {:>8.0}",
            show(cell.metric),
            show(cell.stretch_p50),
            show(cell.stretch_p99),
            show(cell.stretch_max),
            cell.hosts_pending.unwrap_or_default(),
        );
    }
    let _ = writeln!(text, "p50, p99 and max are of the stretch; saved as {}", path.display());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_has_every_combination() {
        let vary = ["a=1,2".parse().unwrap(), "b=x,y,z".parse::<Vary>().unwrap()];
        let grid = grid(&vary);
        assert_eq!(grid.len(), 6);
        assert_eq!(grid[0], ["1", "x"]);
        assert_eq!(grid[5], ["2", "z"]);
        assert!("swarm.degree".parse::<Vary>().is_err() && "a=1,,2".parse::<Vary>().is_err());
    }
}
