//! `harness baseline`: reports that are kept under a name, for `harness compare --baseline`.
//!
//! Invariant: what has a name is whole. It is a folder of folders with a report.json each, as `run --repeat` leaves them, put together beside
//! its place and renamed there; nothing but such a folder is replaced or removed.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::compare::{read_reports, seed};
use super::folder::write_whole;
use super::print;
use crate::cli::{BaselineArguments, BaselineName, Format, OfBaselines};
use crate::exit::{Exit, print_error};
use crate::report::time;

pub(crate) fn baseline(arguments: &BaselineArguments) -> Exit {
    let folder = &arguments.folder;
    let done = match &arguments.what {
        OfBaselines::Set { name, run } => set(folder, name, run, arguments.format),
        OfBaselines::List => list(folder, arguments.format),
        OfBaselines::Rm { name } => remove(folder, name, arguments.format),
    };
    done.err().unwrap_or(Exit::Success)
}

/// The folder of a baseline, which is there.
///
/// # Errors
/// A sentence with those that are.
pub(super) fn find(folder: &Path, name: &BaselineName) -> Result<PathBuf, String> {
    let path = folder.join(name.as_str());
    if is_one(&path) {
        return Ok(path);
    }
    let known = names(folder).unwrap_or_default();
    let known = match known.as_slice() {
        [] => format!(
            "there is none in {}; expected one that `harness baseline set NAME RUN` has made",
            folder.display()
        ),
        names => format!("there are {}", names.join(", ")),
    };
    Err(format!("there is no baseline {}: {known}", name.as_str()))
}

fn set(folder: &Path, name: &BaselineName, run: &Path, format: Format) -> Result<(), Exit> {
    let reports = read_reports(run).map_err(|message| {
        say!("harness: {message}");
        Exit::Usage
    })?;
    let path = folder.join(name.as_str());
    if path.exists() && !is_one(&path) {
        say!(
            "harness: {} is there and is no baseline; expected another name, or another folder with --in",
            path.display()
        );
        return Err(Exit::Usage);
    }
    let is_replaced = put(folder, &path, &reports).map_err(|error| {
        print_error(&format!("the baseline cannot be kept in {}", path.display()), &error);
        Exit::Failed
    })?;
    let kept = if is_replaced { "replaced" } else { "kept" };
    match format {
        Format::Json => print(&format!("{:#}\n", as_json(name.as_str(), &path, &reports))),
        Format::Text => print(&format!(
            "{kept}: {}, in {}\n",
            line(name.as_str(), &reports).trim_end(),
            path.display()
        )),
    }
    Ok(())
}

/// Writes the reports beside their place, and changes the two. Whether something else had the place.
fn put(folder: &Path, path: &Path, reports: &[Value]) -> io::Result<bool> {
    std::fs::create_dir_all(folder)?;
    let beside = |what: &str| {
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(what);
        folder.join(name)
    };
    let (new, old) = (beside(".new"), beside(".old"));
    for left in [&new, &old] {
        if left.exists() {
            std::fs::remove_dir_all(left)?;
        }
    }
    for (number, report) in reports.iter().enumerate() {
        let own = new.join(format!("{number:04}"));
        std::fs::create_dir_all(&own)?;
        write_whole(&own.join(REPORT), serde_json::to_vec(report)?)?;
    }
    let is_replaced = path.exists();
    if is_replaced {
        std::fs::rename(path, &old)?;
    }
    std::fs::rename(&new, path)?;
    if is_replaced {
        std::fs::remove_dir_all(&old)?;
    }
    Ok(is_replaced)
}

fn list(folder: &Path, format: Format) -> Result<(), Exit> {
    let names = names(folder).map_err(|error| {
        print_error(&format!("{} cannot be read", folder.display()), &error);
        Exit::Usage
    })?;
    let (mut text, mut values) = (String::new(), Vec::new());
    for name in &names {
        let path = folder.join(name);
        match read_reports(&path) {
            Ok(reports) => {
                text.push_str(&line(name, &reports));
                values.push(as_json(name, &path, &reports));
            }
            Err(why) => {
                let _ = writeln!(text, "{name:<20} cannot be read: {why}");
                values.push(json!({"name": name, "folder": path.display().to_string(), "error": why}));
            }
        }
    }
    match format {
        Format::Json => print(&format!("{:#}\n", Value::from(values))),
        Format::Text => print(&format!("{text}{} baselines\n", names.len())),
    }
    Ok(())
}

fn remove(folder: &Path, name: &BaselineName, format: Format) -> Result<(), Exit> {
    let path = find(folder, name).map_err(|message| {
        say!("harness: {message}");
        Exit::Usage
    })?;
    std::fs::remove_dir_all(&path).map_err(|error| {
        print_error(&format!("{} cannot be removed", path.display()), &error);
        Exit::Failed
    })?;
    match format {
        Format::Json => print(&format!("{:#}\n", json!({"removed": name.as_str()}))),
        Format::Text => print(&format!("removed: {}\n", path.display())),
    }
    Ok(())
}

/// Those that there are, by name.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let names = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names
        .filter(|name| name.parse::<BaselineName>().is_ok() && is_one(&folder.join(name)))
        .collect();
    names.sort();
    Ok(names)
}

/// Whether it is a folder that was kept here, by its first report. A link is somebody's own.
fn is_one(path: &Path) -> bool {
    let is_folder = path.symlink_metadata().is_ok_and(|found| found.is_dir());
    is_folder && path.join("0000").join(REPORT).is_file()
}

fn line(name: &str, reports: &[Value]) -> String {
    let first = &reports[0];
    let seeds: Vec<String> = reports.iter().map(|report| seed(report).to_string()).collect();
    let last = reports
        .iter()
        .map(|report| report["fanout_latency_ms"]["max"].as_f64())
        .max_by(|a, b| a.unwrap_or(f64::INFINITY).total_cmp(&b.unwrap_or(f64::INFINITY)));
    format!(
        "{name:<20} {} ({}), seeds {}, last {}\n",
        word(&first["scenario"]),
        word(&first["mode"]),
        seeds.join(" "),
        time(last.flatten())
    )
}

fn as_json(name: &str, path: &Path, reports: &[Value]) -> Value {
    let seeds: Vec<u64> = reports.iter().map(seed).collect();
    json!({
        "name": name, "folder": path.display().to_string(), "scenario": reports[0]["scenario"],
        "mode": reports[0]["mode"], "seeds": seeds,
    })
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

const REPORT: &str = "report.json";
