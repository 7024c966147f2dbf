//! A sweep in parts: each makes some of the cells and leaves a file for each in a folder that all see; whoever collects them has what one process
//! would have made, byte for byte.
//!
//! Invariant: a file names the sweep that it is a cell of, so that cells of two sweeps are never put together.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use scenario::Override;
use serde::{Deserialize, Serialize};

use super::{Cell, Swept, Vary};
use crate::cli::SweepArguments;
use crate::commands::folder::write_whole;

/// Every `of`-th cell from `index` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(super) index: usize,
    pub(super) of: usize,
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected K/N with K from 0 and below N, such as 0/40".to_owned();
        let (index, of) = text.split_once('/').ok_or_else(expected)?;
        let (index, of) = (
            index.parse().map_err(|_unread| expected())?,
            of.parse().map_err(|_unread| expected())?,
        );
        if index < of {
            Ok(Self { index, of })
        } else {
            Err(expected())
        }
    }
}

/// A cell, as it is kept. Numbers are text, which is read again to the last bit.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// Of the file of the scenario, what was changed, the grid and the metric.
    sweep: String,
    /// The command that makes all of its cells, without which of them.
    command: Vec<String>,
    parts: usize,
    cell: usize,
    cells: usize,
    scenario: String,
    seed: u64,
    metric_name: String,
    keys: Vec<String>,
    values: Vec<String>,
    metric: Option<String>,
    stretch_p50: Option<String>,
    stretch_p99: Option<String>,
    stretch_max: Option<String>,
    wasted_bytes: Option<String>,
    hosts_pending: Option<String>,
    thresholds_missed: Vec<String>,
}

/// What a sweep is, whoever makes some of it.
pub(super) struct Identity {
    sweep: String,
    command: Vec<String>,
}

impl Identity {
    pub(super) fn of(arguments: &SweepArguments, scenario: &Path) -> std::io::Result<Self> {
        let mut command = vec!["harness".to_owned(), "sweep".to_owned(), scenario.display().to_string()];
        for Vary { key, values } in &arguments.vary {
            command.extend(["--vary".to_owned(), format!("{key}={}", values.join(","))]);
        }
        for set in arguments.changes.set.overrides.iter().map(Override::pair) {
            command.extend(["--set".to_owned(), set]);
        }
        if let Some(seed) = arguments.changes.seed {
            command.extend(["--seed".to_owned(), seed.to_string()]);
        }
        command.extend(["--metric".to_owned(), arguments.metric.clone()]);
        // Where the file is does not matter, and what made its figures does.
        let mut whole = std::fs::read(scenario)?;
        whole.extend_from_slice(env!("FLEETCAST_GIT_REVISION").as_bytes());
        for word in &command[3..] {
            whole.push(0);
            whole.extend_from_slice(word.as_bytes());
        }
        let sweep = swarm::Hash::of(&whole).to_string();
        Ok(Self { sweep, command })
    }
}

/// Leaves a cell in the folder.
pub(super) fn keep(
    folder: &Path,
    (part, index): (Part, usize),
    identity: &Identity,
    (swept, seed): (&Swept, u64),
) -> std::io::Result<()> {
    let Some(cell) = swept.cells.first() else {
        return Ok(());
    };
    let exactly = |number: Option<f64>| number.map(|number| number.to_string());
    let kept = Kept {
        sweep: identity.sweep.clone(),
        command: identity.command.clone(),
        parts: part.of,
        cell: index,
        cells: swept.of,
        scenario: swept.scenario.clone(),
        seed,
        metric_name: swept.metric.clone(),
        keys: swept.keys.clone(),
        values: cell.values.clone(),
        metric: exactly(cell.metric),
        stretch_p50: exactly(cell.stretch_p50),
        stretch_p99: exactly(cell.stretch_p99),
        stretch_max: exactly(cell.stretch_max),
        wasted_bytes: exactly(cell.wasted_bytes),
        hosts_pending: exactly(cell.hosts_pending),
        thresholds_missed: cell.thresholds_missed.clone(),
    };
    let text = serde_json::to_string_pretty(&kept).expect("a cell has only keys that are text");
    write_whole(&folder.join(format!("cell-{index:06}.json")), text + "\n")
}

/// Why a folder has not a whole sweep.
#[derive(Debug, thiserror::Error)]
pub(super) enum CollectError {
    #[error("{} has no cells; expected a folder into which `sweep --cell` has written", folder.display())]
    Nothing { folder: PathBuf },
    #[error("failed to read {}", path.display())]
    Unread { path: PathBuf, source: std::io::Error },
    #[error("{} is no cell of a sweep: {why}", path.display())]
    NoCell { path: PathBuf, why: String },
    #[error("{} is of another sweep than {}; expected a folder for each", path.display(), first.display())]
    Another { path: PathBuf, first: PathBuf },
    #[error("{missing} of {of} cells are missing; make them with\n{commands}")]
    Missing {
        missing: usize,
        of: usize,
        commands: String,
    },
}

/// Puts all cells of a folder together.
pub(super) fn collect(folder: &Path) -> Result<Swept, CollectError> {
    let mut kept: Vec<(PathBuf, Kept)> = Vec::new();
    for path in cells_in(folder)? {
        let text = std::fs::read_to_string(&path).map_err(|source| CollectError::Unread {
            path: path.clone(),
            source,
        })?;
        let no_cell = |why: String| CollectError::NoCell {
            path: path.clone(),
            why,
        };
        let cell: Kept = serde_json::from_str(&text).map_err(|error| no_cell(error.to_string()))?;
        if cell.cell >= cell.cells || cell.parts == 0 || cell.values.len() != cell.keys.len() {
            return Err(no_cell("its numbers do not go together".to_owned()));
        }
        if let Some((first, of)) = kept.first()
            && (of.sweep != cell.sweep || of.cells != cell.cells)
        {
            let first = first.clone();
            return Err(CollectError::Another { path, first });
        }
        kept.push((path, cell));
    }
    kept.sort_by_key(|(_, cell)| cell.cell);
    kept.dedup_by_key(|(_, cell)| cell.cell);
    let Some((_, first)) = kept.first() else {
        let folder = folder.to_owned();
        return Err(CollectError::Nothing { folder });
    };
    if kept.len() < first.cells {
        return Err(missing(folder, &kept));
    }
    let seed = Some(first.seed).filter(|seed| kept.iter().all(|(_, cell)| cell.seed == *seed));
    let mut swept = Swept {
        scenario: first.scenario.clone(),
        seed,
        metric: first.metric_name.clone(),
        keys: first.keys.clone(),
        cells: Vec::new(),
        of: first.cells,
    };
    for (path, cell) in kept {
        let cell = cell.cell().map_err(|why| CollectError::NoCell { path, why })?;
        swept.cells.push(cell);
    }
    Ok(swept)
}

fn cells_in(folder: &Path) -> Result<Vec<PathBuf>, CollectError> {
    let unread = |source| CollectError::Unread {
        path: folder.to_owned(),
        source,
    };
    let mut cells = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unread)? {
        let path = entry.map_err(unread)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("cell-") && name.ends_with(".json") {
            cells.push(path);
        }
    }
    cells.sort();
    Ok(cells)
}

fn missing(folder: &Path, kept: &[(PathBuf, Kept)]) -> CollectError {
    let first = &kept[0].1;
    let is_there = |cell: &usize| kept.iter().any(|(_, kept)| kept.cell == *cell);
    let missing: Vec<usize> = (0..first.cells).filter(|cell| !is_there(cell)).collect();
    let mut parts: Vec<usize> = missing.iter().map(|cell| cell % first.parts).collect();
    parts.sort_unstable();
    parts.dedup();
    let command = |part: &usize| {
        let mut words = first.command.clone();
        words.extend(["--cell".to_owned(), format!("{part}/{}", first.parts)]);
        words.extend(["--out".to_owned(), folder.display().to_string()]);
        let words: Vec<String> = words.iter().map(|word| crate::report::quote(word)).collect();
        format!("  {}", words.join(" "))
    };
    let commands: Vec<String> = parts.iter().map(command).collect();
    CollectError::Missing {
        missing: missing.len(),
        of: first.cells,
        commands: commands.join("\n"),
    }
}

impl Kept {
    fn cell(self) -> Result<Cell, String> {
        let number = |text: Option<String>| match text {
            None => Ok(None),
            Some(text) => match text.parse::<f64>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(format!("{text:?} is no number")),
            },
        };
        Ok(Cell {
            values: self.values,
            metric: number(self.metric)?,
            stretch_p50: number(self.stretch_p50)?,
            stretch_p99: number(self.stretch_p99)?,
            stretch_max: number(self.stretch_max)?,
            wasted_bytes: number(self.wasted_bytes)?,
            hosts_pending: number(self.hosts_pending)?,
            thresholds_missed: self.thresholds_missed,
        })
    }
}
