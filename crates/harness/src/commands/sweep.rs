//! `harness sweep`: forecasts of a scenario over a grid of values, as one table.

use std::fmt::Write;
use std::path::Path;
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use scenario::{LoadOptions, Override, Scenario};
use serde::Serialize;
use serde_json::Value;
use simulator::Status;

use super::compare::number;
use super::print;
use super::run::{default_folder, prepare, write_whole};
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
    let folder = arguments
        .out
        .clone()
        .unwrap_or_else(|| default_folder(&format!("{}-sweep", scenarios[0].name)));
    if let Err(error) = prepare(&folder) {
        complain(&format!("cannot use {} for the sweep", folder.display()), &error);
        return Exit::Failed;
    }
    let mut cells = match forecast_all(&grid, &scenarios, &arguments.metric) {
        Ok(cells) => cells,
        Err(message) => {
            eprintln!("harness: {message}");
            return Exit::Usage;
        }
    };
    // Best first: the least; what has no metric did not finish and is the worst.
    cells.sort_by(|a, b| {
        let key = |cell: &Cell| cell.metric.unwrap_or(f64::INFINITY);
        key(a).total_cmp(&key(b))
    });
    let keys: Vec<&str> = arguments.vary.iter().map(|vary| vary.key.as_str()).collect();
    let json = serde_json::json!({
        "scenario": scenarios[0].name, "seed": scenarios[0].seed, "metric": arguments.metric, "keys": keys, "cells": cells,
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
        return Exit::NoVerdict;
    }
    Exit::Well
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

fn load(arguments: &SweepArguments, values: &[String]) -> Result<Scenario, String> {
    let varied = arguments.vary.iter().zip(values);
    // What is set for all cells comes last and wins.
    let mut overrides: Vec<Override> = varied
        .map(|(vary, value)| {
            format!("{}={value}", vary.key)
                .parse()
                .map_err(|error| format!("harness: {error}"))
        })
        .collect::<Result<_, String>>()?;
    overrides.extend(arguments.overrides.iter().cloned());
    let options = LoadOptions {
        overrides,
        seed: arguments.seed,
        build: None,
    };
    Scenario::load(&arguments.scenario, &options).map_err(|error| error.to_string())
}

/// As many cells at a time as there are cores, one thread each.
fn forecast_all(grid: &[Vec<String>], scenarios: &[Scenario], metric: &str) -> Result<Vec<Cell>, String> {
    let next = AtomicUsize::new(0);
    let cells: Mutex<Vec<Result<Cell, String>>> = Mutex::default();
    let bar = crate::progress::cells(scenarios.len());
    std::thread::scope(|threads| {
        for _ in 0..machine::cores().min(scenarios.len()) {
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
