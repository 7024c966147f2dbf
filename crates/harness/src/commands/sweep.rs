//! `harness sweep`: forecasts of a scenario over a grid of values, as one table.

use std::cmp::Ordering;
use std::fmt::Write;
use std::path::Path;
use std::str::FromStr;

use console::style;
use scenario::{LoadOptions, Override, ReportField, ReportsOf, Scenario, Stop, Unit};
use serde::Serialize;

use super::compare::number;
use super::folder::{self, write_whole};
use super::forecasts::{ToForecast, forecast_all};
use super::run::watch_signals;
use super::{print, warn};
use crate::cli::{Format, SweepArguments};
use crate::exit::{Exit, complain};
use crate::report::{Asked, Report};

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
    thresholds_missed: Vec<String>,
}

pub(crate) fn sweep(arguments: &SweepArguments) -> Exit {
    made(arguments).unwrap_or_else(|exit| exit)
}

fn made(arguments: &SweepArguments) -> Result<Exit, Exit> {
    let refuse = |message: String| {
        say!("harness: {message}");
        Exit::Usage
    };
    contradiction(arguments).map_err(refuse)?;
    let grid = grid(&arguments.vary);
    let loaded = grid.iter().map(|values| load(arguments, values)).collect();
    let all: Vec<ToForecast> = Result::map_err(loaded, |message: String| {
        say!("{message}");
        Exit::Usage
    })?;
    let scenario = &all[0].scenario;
    check_metric(&arguments.metric, scenario).map_err(|message| refuse(format!("--metric {message}")))?;
    warn(all.iter().map(|one| &one.scenario));
    let folder = folder::make(arguments.out.clone(), &format!("{}-sweep", scenario.name)).map_err(|error| {
        complain("there is no folder for the sweep", &error);
        Exit::Failed
    })?;
    let stop = watch_signals().map_err(|error| {
        complain("failed to listen for signals", &error);
        Exit::Failed
    })?;
    let reports = forecast_all(&all, "cell", &stop).map_err(|message| {
        folder::leave_if_empty(&folder);
        refuse(message)
    })?;
    let cells = grid
        .iter()
        .zip(&reports)
        .filter_map(|(values, report)| Some(cell(report.as_ref()?, values, &arguments.metric)));
    let mut cells: Vec<Cell> = cells.collect();
    cells.sort_by(best_first);
    let keys: Vec<&str> = arguments.vary.iter().map(|vary| vary.key.as_str()).collect();
    // Null where the cells have different ones.
    let seed = Some(scenario.seed).filter(|seed| all.iter().all(|one| one.scenario.seed == *seed));
    let json = serde_json::json!({
        "scenario": scenario.name, "seed": seed, "metric": arguments.metric, "keys": keys, "cells": cells,
        "cells_left_out": all.len() - cells.len(),
    });
    let path = folder.join("sweep.json");
    write_whole(&path, format!("{json:#}\n")).map_err(|error| {
        complain(&format!("failed to write {}", path.display()), &error);
        Exit::Failed
    })?;
    match arguments.format {
        Format::Text => print(&table(&keys, &arguments.metric, &cells, &path)),
        Format::Json => print(&format!("{json:#}\n")),
    }
    Ok(exit(arguments, &cells, all.len(), *stop.borrow()))
}

/// The least first. A cell in which hosts were left behind is worse than any other, whatever its figure says: that of hosts
/// that are done is least where none is.
fn best_first(a: &Cell, b: &Cell) -> Ordering {
    let left_behind = |cell: &Cell| cell.hosts_pending.is_none_or(|pending| pending > 0.0);
    let key = |cell: &Cell| cell.metric.unwrap_or(f64::INFINITY);
    left_behind(a).cmp(&left_behind(b)).then(key(a).total_cmp(&key(b)))
}

fn exit(arguments: &SweepArguments, cells: &[Cell], of: usize, stopped: Option<Stop>) -> Exit {
    if let Some(stopped) = stopped {
        say!(
            "harness: {} of {of} cells were forecast before it was stopped",
            cells.len()
        );
        return stopped.into();
    }
    if cells.iter().all(|cell| cell.metric.is_none()) {
        say!("harness: no cell has {}: it is null in each report", arguments.metric);
        return Exit::NoVerdict;
    }
    match cells.iter().filter(|cell| !cell.thresholds_missed.is_empty()).count() {
        0 => Exit::Well,
        missed => {
            say!("harness: {missed} of {of} cells miss a threshold");
            Exit::No
        }
    }
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

fn load(arguments: &SweepArguments, values: &[String]) -> Result<ToForecast, String> {
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
    let scenario = Scenario::load(&arguments.scenario, &options).map_err(|error| error.to_string())?;
    let asked = Asked::new("plan", &arguments.scenario, &options);
    Ok(ToForecast { scenario, asked })
}

/// What came of a cell.
fn cell(report: &Report, values: &[String], metric: &str) -> Cell {
    let report = serde_json::to_value(report).expect("a report has only keys that are text");
    Cell {
        values: values.to_vec(),
        metric: number(&report, metric),
        stretch_p50: number(&report, "stretch.p50"),
        stretch_p99: number(&report, "stretch.p99"),
        stretch_max: number(&report, "stretch.max"),
        wasted_bytes: number(&report, "traffic.wasted_bytes"),
        hosts_pending: number(&report, "hosts.pending"),
        thresholds_missed: report["thresholds"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|threshold| threshold["ok"] == false)
            .filter_map(|threshold| threshold["name"].as_str().map(str::to_owned))
            .collect(),
    }
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
        if !cell.thresholds_missed.is_empty() {
            let _ = writeln!(
                text,
                "  {} {}",
                style("MISSED").red().bold(),
                cell.thresholds_missed.join(", ")
            );
        }
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
