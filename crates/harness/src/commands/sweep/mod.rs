//! `harness sweep`: forecasts of a scenario over a grid of values, as one table. `parts` makes it in several processes.

mod parts;

use std::cmp::Ordering;
use std::fmt::Write;
use std::path::Path;
use std::str::FromStr;

use console::style;
use scenario::{LoadOptions, Override, ReportField, ReportsOf, Scenario, Stop, Unit};
use serde::Serialize;
use tokio::sync::watch;

use super::compare::number;
use super::folder::{self, write_whole};
use super::forecasts::{ToForecast, forecast_all};
use super::run::watch_signals;
use super::{print, warn};
use crate::cli::{Format, SweepArguments};
use crate::exit::{Exit, of_stop, print_error};
use crate::report::{Asked, Report};
use parts::Identity;

pub(crate) use parts::Part;

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

/// What has come of a grid.
struct Swept {
    scenario: String,
    /// Null where the cells have different ones.
    seed: Option<u64>,
    metric: String,
    keys: Vec<String>,
    /// Those that were forecast.
    cells: Vec<Cell>,
    /// Of so many.
    of: usize,
}

fn made(arguments: &SweepArguments) -> Result<Exit, Exit> {
    if let Some(folder) = &arguments.collect {
        return collected(arguments, folder);
    }
    let (grid, all) = loaded(arguments)?;
    let scenario = &all[0].scenario;
    let stop = watch_signals().map_err(|error| {
        print_error("failed to listen for signals", &error);
        Exit::Failed
    })?;
    let swept = |cells: Vec<Cell>| Swept {
        scenario: scenario.name.clone(),
        seed: Some(scenario.seed).filter(|seed| all.iter().all(|one| one.scenario.seed == *seed)),
        metric: arguments.metric.clone(),
        keys: arguments.vary.iter().map(|vary| vary.key.clone()).collect(),
        cells,
        of: grid.len(),
    };
    if let Some(part) = arguments.cell {
        return make_part(arguments, part, (&grid, &all), (swept, &stop));
    }
    let folder = folder::make(arguments.out.clone(), &format!("{}-sweep", scenario.name)).map_err(|error| {
        print_error("there is no folder for the sweep", &error);
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
    let swept = swept(cells.collect()).end(&folder, arguments.format)?;
    Ok(exit(&swept, *stop.borrow()))
}

/// Makes some of the cells. What they came to is judged when they are collected.
fn make_part(
    arguments: &SweepArguments,
    part: Part,
    (grid, all): (&[Vec<String>], &[ToForecast]),
    (swept, stop): (impl Fn(Vec<Cell>) -> Swept, &watch::Receiver<Option<Stop>>),
) -> Result<Exit, Exit> {
    let (Some(folder), Some(file)) = (&arguments.out, &arguments.scenario) else {
        return Err(refuse(
            "--cell is written for others to collect; expected --out FOLDER".to_owned(),
        ));
    };
    let failed = |error: std::io::Error| {
        print_error(&format!("failed to write into {}", folder.display()), &error);
        Exit::Failed
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let identity = Identity::of(arguments, file).map_err(failed)?;
    for (index, one) in all.iter().enumerate().skip(part.index).step_by(part.of) {
        let reports = forecast_all(std::slice::from_ref(one), "cell", stop).map_err(refuse)?;
        let Some(Some(report)) = reports.first() else {
            break;
        };
        let swept = swept(vec![cell(report, &grid[index], &arguments.metric)]);
        parts::keep(folder, (part, index), &identity, (&swept, one.scenario.seed)).map_err(failed)?;
    }
    let stopped = *stop.borrow();
    Ok(stopped.map_or(Exit::Success, of_stop))
}

/// Puts together what others have made.
fn collected(arguments: &SweepArguments, folder: &Path) -> Result<Exit, Exit> {
    let swept = parts::collect(folder).map_err(|error| {
        say!("harness: {}", crate::exit::chain(&error));
        Exit::Failed
    })?;
    let swept = swept.end(folder, arguments.format)?;
    Ok(exit(&swept, None))
}

/// The grid, and a scenario for each of its cells.
fn loaded(arguments: &SweepArguments) -> Result<(Vec<Vec<String>>, Vec<ToForecast>), Exit> {
    contradiction(arguments).map_err(refuse)?;
    let grid = grid(&arguments.vary);
    let loaded = grid.iter().map(|values| load(arguments, values)).collect();
    let all: Vec<ToForecast> = Result::map_err(loaded, |message: String| {
        say!("{message}");
        Exit::Usage
    })?;
    check_metric(&arguments.metric, &all[0].scenario).map_err(|message| refuse(format!("--metric {message}")))?;
    warn(all.iter().map(|one| &one.scenario));
    Ok((grid, all))
}

fn refuse(message: String) -> Exit {
    say!("harness: {message}");
    Exit::Usage
}

impl Swept {
    /// Writes and prints it, the best first.
    fn end(mut self, folder: &Path, format: Format) -> Result<Self, Exit> {
        self.cells.sort_by(best_first);
        let json = serde_json::json!({
            "scenario": self.scenario, "seed": self.seed, "metric": self.metric, "keys": self.keys, "cells": self.cells,
            "cells_left_out": self.of - self.cells.len(),
        });
        let path = folder.join("sweep.json");
        write_whole(&path, format!("{json:#}\n")).map_err(|error| {
            print_error(&format!("failed to write {}", path.display()), &error);
            Exit::Failed
        })?;
        match format {
            Format::Text => print(&table(&self, &path)),
            Format::Json => print(&format!("{json:#}\n")),
        }
        Ok(self)
    }
}

/// The least first. A cell in which hosts were left behind is worse than any other, whatever its figure says: that of hosts
/// that are done is least where none is.
fn best_first(a: &Cell, b: &Cell) -> Ordering {
    let left_behind = |cell: &Cell| cell.hosts_pending.is_none_or(|pending| pending > 0.0);
    let key = |cell: &Cell| cell.metric.unwrap_or(f64::INFINITY);
    left_behind(a).cmp(&left_behind(b)).then(key(a).total_cmp(&key(b)))
}

fn exit(swept: &Swept, stopped: Option<Stop>) -> Exit {
    let Swept { cells, of, metric, .. } = swept;
    if let Some(stopped) = stopped {
        say!(
            "harness: {} of {of} cells were forecast before it was stopped",
            cells.len()
        );
        return of_stop(stopped);
    }
    if cells.iter().all(|cell| cell.metric.is_none()) {
        say!("harness: no cell has {metric}: it is null in each report");
        return Exit::NoVerdict;
    }
    match cells.iter().filter(|cell| !cell.thresholds_missed.is_empty()).count() {
        0 => Exit::Success,
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
        let set: Override = format!("{}={value}", self.key).parse()?;
        Ok(set.said_by("--vary"))
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
    for set in &arguments.changes.set.overrides {
        said.push((set.to_string(), set.clone()));
    }
    if let Some(seed) = arguments.changes.seed {
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
    overrides.extend(arguments.changes.set.overrides.iter().cloned());
    let options = LoadOptions {
        overrides,
        ..arguments.changes.options()
    };
    let Some(file) = &arguments.scenario else {
        return Err("harness: expected a scenario".to_owned());
    };
    let scenario = Scenario::load(file, &options).map_err(|error| error.to_string())?;
    let asked = Asked::new("plan", file, &options);
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

fn table(swept: &Swept, path: &Path) -> String {
    let Swept {
        keys, metric, cells, ..
    } = swept;
    let width = |key: &String| key.len().max(12);
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
