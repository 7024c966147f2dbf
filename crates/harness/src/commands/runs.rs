//! `harness runs`: the folders that runs and forecasts have left, as a list, one by one, and fewer of them.
//!
//! Invariant: nothing is removed but folders, right below the one that was named, that have a report of ours.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use swarm::Bytes;

use super::folder::bytes_below;
use super::print;
use crate::cli::{Format, OfRuns, RunsArguments};
use crate::exit::{Exit, print_error};
use crate::report::time;

/// A folder that has a report.
struct Kept {
    path: PathBuf,
    report: Value,
    bytes: u64,
}

pub(crate) fn runs(arguments: &RunsArguments) -> Exit {
    let done = match &arguments.what {
        None | Some(OfRuns::List) => list(arguments),
        Some(OfRuns::Show { run }) => show(arguments, run.as_deref()),
        Some(OfRuns::Prune { keep, dry_run }) => prune(arguments, *keep, *dry_run),
    };
    done.err().unwrap_or(Exit::Success)
}

fn list(arguments: &RunsArguments) -> Result<(), Exit> {
    let runs = all(&arguments.folder)?;
    match arguments.format {
        Format::Json => print(&format!("{:#}\n", json!(runs.iter().map(as_json).collect::<Vec<_>>()))),
        Format::Text => {
            let lines: String = runs.iter().map(line).collect();
            let bytes = runs.iter().map(|run| run.bytes).sum();
            print(&format!("{lines}{} runs, {}\n", runs.len(), Bytes::new(bytes)));
        }
    }
    Ok(())
}

fn show(arguments: &RunsArguments, run: Option<&Path>) -> Result<(), Exit> {
    let run = match run {
        None => all(&arguments.folder)?.pop().ok_or_else(|| {
            say!(
                "harness: there is no run in {}; expected one that has ended",
                arguments.folder.display()
            );
            Exit::Usage
        })?,
        Some(run) => {
            let beside = arguments.folder.join(run);
            let path = if run.is_dir() { run.to_owned() } else { beside };
            read(&path).map_err(|error| {
                print_error(
                    &format!(
                        "{} is no run that has ended; expected a folder with report.json",
                        run.display()
                    ),
                    &error,
                );
                Exit::Usage
            })?
        }
    };
    match arguments.format {
        Format::Json => print(&format!("{:#}\n", run.report)),
        Format::Text => print(&shown(&run)),
    }
    Ok(())
}

fn prune(arguments: &RunsArguments, keep: usize, dry_run: bool) -> Result<(), Exit> {
    let mut runs = all(&arguments.folder)?;
    runs.truncate(runs.len().saturating_sub(keep));
    let mut bytes = 0;
    for run in &runs {
        if !dry_run {
            std::fs::remove_dir_all(&run.path).map_err(|error| {
                print_error(&format!("{} cannot be removed", run.path.display()), &error);
                Exit::Failed
            })?;
        }
        bytes += run.bytes;
    }
    let removed: Vec<String> = runs.iter().map(|run| run.path.display().to_string()).collect();
    let is = if dry_run { "would be removed" } else { "removed" };
    match arguments.format {
        Format::Json => print(&format!(
            "{:#}\n",
            json!({"removed": removed, "bytes": bytes, "dry_run": dry_run})
        )),
        Format::Text => {
            let lines: String = removed.iter().map(|path| format!("{is}: {path}\n")).collect();
            print(&format!("{lines}{} runs {is}, {}\n", removed.len(), Bytes::new(bytes)));
        }
    }
    Ok(())
}

/// All that have a report, the oldest first: their names begin with when they were made, and others are in order of their reports.
fn all(folder: &Path) -> Result<Vec<Kept>, Exit> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            print_error(&format!("{} cannot be read", folder.display()), &error);
            return Err(Exit::Usage);
        }
    };
    // A link is somebody's own, and not a folder of a run.
    let folders = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut runs: Vec<Kept> = folders.filter_map(|entry| read(&entry.path()).ok()).collect();
    let written = |run: &Kept| {
        let report = std::fs::metadata(run.path.join(REPORT));
        report.and_then(|report| report.modified()).ok()
    };
    runs.sort_by_cached_key(|run| (written(run), run.path.clone()));
    Ok(runs)
}

/// A run by its folder.
fn read(path: &Path) -> std::io::Result<Kept> {
    let report: Value = serde_json::from_slice(&std::fs::read(path.join(REPORT))?)?;
    if !(report["scenario"].is_string() && report["schema_version"].is_u64()) {
        return Err(std::io::Error::other("its report.json is of something else"));
    }
    Ok(Kept {
        path: path.to_owned(),
        report,
        bytes: bytes_below(path),
    })
}

fn as_json(run: &Kept) -> Value {
    let of = &run.report;
    json!({
        "folder": run.path.display().to_string(), "scenario": of["scenario"], "mode": of["mode"], "seed": of["seed"],
        "interrupted": of["interrupted"], "hosts": of["hosts"], "last_ms": of["fanout_latency_ms"]["max"],
        "missed": missed(of), "bytes": run.bytes,
    })
}

fn missed(report: &Value) -> Vec<&str> {
    let thresholds = report["thresholds"].as_array().into_iter().flatten();
    thresholds
        .filter(|of| of["ok"] == false)
        .filter_map(|of| of["name"].as_str())
        .collect()
}

fn line(run: &Kept) -> String {
    let of = &run.report;
    let name = run
        .path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let last = of["fanout_latency_ms"]["max"].as_f64();
    let mut text = format!(
        "{name:<40} {:<7} seed {:<4} {} of {} verified, last {}, {}",
        word(&of["mode"]),
        of["seed"],
        of["hosts"]["verified"],
        of["hosts"]["total"],
        time(last),
        Bytes::new(run.bytes)
    );
    if of["interrupted"] == true {
        text.push_str(", interrupted");
    }
    let missed = missed(of);
    if !missed.is_empty() {
        let _ = write!(text, ", missed {}", missed.join(", "));
    }
    text.push('\n');
    text
}

/// What a report says in front, once more.
fn shown(run: &Kept) -> String {
    let of = &run.report;
    let mut text = format!(
        "{} ({}, seed {}): {}\n",
        word(&of["scenario"]),
        word(&of["mode"]),
        of["seed"],
        word(&of["description"])
    );
    text.push_str(&line(run));
    for region in of["regions"].as_array().into_iter().flatten() {
        let ms = |field: &str| time(region["fanout_latency_ms"][field].as_f64());
        let _ = writeln!(
            text,
            "{} ({}): p50 {}, p99 {}, last {}",
            word(&region["name"]),
            region["hosts"],
            ms("p50"),
            ms("p99"),
            ms("max")
        );
    }
    for threshold in of["thresholds"].as_array().into_iter().flatten() {
        let verdict = match threshold["ok"].as_bool() {
            Some(true) => "ok",
            Some(false) => "MISSED",
            None => "no verdict",
        };
        let _ = writeln!(
            text,
            "{verdict} {}: {} (it is {})",
            word(&threshold["name"]),
            word(&threshold["expression"]),
            threshold["actual"]
        );
    }
    for last in of["last_hosts"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "last: {}", word(&last["sentence"]));
    }
    let _ = writeln!(text, "replay: {}", word(&of["about"]["replay"]));
    for name in [
        REPORT,
        "report.html",
        "hosts.csv",
        "latency.hlog",
        "latency.hgrm",
        explain::Records::FILE,
    ] {
        let file = run.path.join(name);
        if file.is_file() {
            let _ = writeln!(text, "file: {}", file.display());
        }
    }
    text
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What makes a folder one of a run.
const REPORT: &str = "report.json";
