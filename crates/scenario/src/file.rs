//! Scenario files as one tree: layers of TOML, merged, in which every key remembers where it stands.
//!
//! Precedence: what is extended < the file < `--set`, in order. Tables merge deeply; scalars and arrays are replaced.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use settings::{Entry, Layer, Problem, Table, Value};

use crate::schema::{self, Kind};
use crate::{LoadOptions, ScenarioError};

/// One `key=value` of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// What it is called where something is wrong with it.
    option: &'static str,
    key: String,
    value: String,
}

impl std::str::FromStr for Override {
    type Err = String;

    /// `swarm.degree=12`; the value is TOML, or a plain word such as `4s`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text
            .split_once('=')
            .ok_or("expected KEY=VALUE, such as swarm.degree=12")?;
        let key = key.trim();
        if key.is_empty() || key.split('.').any(|part| part.trim().is_empty()) {
            return Err("expected a dotted key before the =, such as swarm.degree".to_owned());
        }
        Ok(Self {
            option: "--set",
            key: key.to_owned(),
            value: value.trim().to_owned(),
        })
    }
}

impl Override {
    /// The same, which another option than `--set` has said: what is wrong with it is told of that one.
    #[must_use]
    pub fn said_by(self, option: &'static str) -> Self {
        Self { option, ..self }
    }

    /// As it is given: KEY=VALUE.
    pub fn pair(&self) -> String {
        format!("{}={}", self.key, self.value)
    }

    /// Whether both say something of one key.
    pub fn meets(&self, other: &Self) -> bool {
        let (own, others) = (self.keys(), other.keys());
        own.iter().any(|key| {
            others
                .iter()
                .any(|other| is_within(key, other) || is_within(other, key))
        })
    }

    fn layer(&self) -> Result<Table, ScenarioError> {
        parse_override(&self.to_string(), &self.key, &self.value)
    }

    /// The keys that it sets, each as the names that lead to it. A build has one source, so both its kinds are one key.
    fn keys(&self) -> Vec<Vec<String>> {
        let mut keys = Vec::new();
        if let Ok(layer) = self.layer() {
            leaves(&layer, &mut Vec::new(), &mut keys);
        }
        for key in &mut keys {
            if *key == ["build", "path"] {
                *key = vec!["build".to_owned(), "size".to_owned()];
            }
        }
        keys
    }
}

impl std::fmt::Display for Override {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}={}", self.option, self.key, self.value)
    }
}

fn leaves(table: &Table, above: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    for (key, entry) in &table.entries {
        above.push(key.clone());
        match &entry.value {
            Value::Table(inner) => leaves(inner, above, found),
            _ => found.push(above.clone()),
        }
        above.pop();
    }
}

fn is_within(key: &[String], outer: &[String]) -> bool {
    key.starts_with(outer)
}

/// What the command line says twice, of which the last holds.
pub(crate) fn given_twice(options: &LoadOptions) -> Vec<String> {
    let set = options.overrides.iter().map(|set| (set.to_string(), set.clone()));
    let of_option = |option: String, key: &str, value: String| {
        let set = Override {
            option: "--set",
            key: key.to_owned(),
            value,
        };
        (option, set)
    };
    let seed = options
        .seed
        .map(|seed| of_option(format!("--seed {seed}"), "seed", seed.to_string()));
    let build = options.build.as_ref();
    let build = build.map(|path| of_option(format!("--build {}", path.display()), "build.path", String::new()));
    let given: Vec<(String, Override)> = set.chain(seed).chain(build).collect();
    let overruled = given.iter().enumerate().filter_map(|(index, (name, own))| {
        let (by, _) = given[index + 1..].iter().rev().find(|(_, later)| later.meets(own))?;
        Some(format!("{name} does not hold, since {by} says otherwise"))
    });
    overruled.collect()
}

/// Reads `path` with what it extends and puts the command line's values on top.
pub(crate) fn load(path: &Path, options: &LoadOptions) -> Result<Table, ScenarioError> {
    with(load_file(path, &mut Vec::new())?, options)
}

/// Likewise of a text, which extends nothing.
pub(crate) fn load_text(name: &str, text: String, options: &LoadOptions) -> Result<Table, ScenarioError> {
    with(Table::parse(Layer::of_file(name, text))?, options)
}

/// The command line's values on top.
fn with(mut tree: Table, options: &LoadOptions) -> Result<Table, ScenarioError> {
    for set in &options.overrides {
        let layer = set.layer()?;
        if let Some(extends) = layer.entries.get("extends") {
            let message = "extends — expected in a file: write one with this line and run that";
            return Err(Problem::at(&extends.place, message).into());
        }
        put_on_top(&mut tree, layer);
    }
    if let Some(seed) = options.seed {
        put_on_top(&mut tree, parse_override("--seed", "seed", &seed.to_string())?);
    }
    if let Some(build) = &options.build {
        // Of the working folder, not of the scenario's.
        let build = std::path::absolute(build).unwrap_or_else(|_| build.clone());
        let text = format!("{:?}", build.display().to_string());
        put_on_top(&mut tree, parse_override("--build", "build.path", &text)?);
    }
    Ok(tree)
}

/// `above` has the files that lead here, by their canonical paths: one file has many relative names.
fn load_file(path: &Path, above: &mut Vec<PathBuf>) -> Result<Table, ScenarioError> {
    let name = shown(path);
    let text = text_of(path).map_err(|error| {
        use std::io::ErrorKind;
        let hint = match error.kind() {
            ErrorKind::NotFound => {
                "there is no such file; expected the path of a scenario, such as scenarios/smoke.toml".to_owned()
            }
            ErrorKind::IsADirectory => {
                "it is a folder; expected the path of a scenario in it, such as scenarios/smoke.toml".to_owned()
            }
            ErrorKind::InvalidData => {
                "it is no text in UTF-8; expected a scenario in TOML, such as `harness init` writes".to_owned()
            }
            _ => format!("failed to read it: {error}; expected a file that this user may read"),
        };
        Problem::of_file(name.clone(), hint)
    })?;
    above.push(path.canonicalize().unwrap_or_else(|_| path.to_owned()));
    let mut own = Table::parse(Layer::of_file(name, text))?;
    let Some(extends) = own.entries.remove("extends") else {
        return Ok(own);
    };
    let Value::Text(base) = &extends.value else {
        let message = "extends = … — expected the path of another scenario, relative to this file";
        return Err(Problem::at(&extends.place, message).into());
    };
    let base = base_of(path, base);
    match base.canonicalize() {
        Ok(found) if above.contains(&found) => {
            let message = format!(
                "extends = {:?} — this file is extended by that one already",
                base.display()
            );
            return Err(Problem::at(&extends.place, message).into());
        }
        Ok(found) if found.is_file() => {}
        _ => {
            let beside = std::fs::canonicalize(path)
                .ok()
                .and_then(|target| Some(target.parent()?.join(base.file_name()?)));
            let beside = beside.filter(|_| path.is_symlink());
            let nor = beside.map_or_else(String::new, |beside| format!(", nor {}", beside.display()));
            let message = format!(
                "extends — there is no file {}{nor}; expected the path of another scenario, relative to this file",
                base.display()
            );
            return Err(Problem::at(&extends.place, message).into());
        }
    }
    let mut tree = load_file(&base, above)?;
    put_on_top(&mut tree, own);
    Ok(tree)
}

/// What stands for standard input where the path of a scenario is expected.
const STDIN: &str = "-";

/// As a file is called in messages.
pub(crate) fn shown(path: &Path) -> String {
    if path == Path::new(STDIN) {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    }
}

/// Standard input is read once, and is the same for whoever loads it again with another seed.
fn text_of(path: &Path) -> std::io::Result<String> {
    static READ: OnceLock<Result<String, String>> = OnceLock::new();
    if path != Path::new(STDIN) {
        return std::fs::read_to_string(path);
    }
    let read = READ.get_or_init(|| std::io::read_to_string(std::io::stdin()).map_err(|error| error.to_string()));
    read.clone().map_err(std::io::Error::other)
}

/// What `path` extends: beside it or, where it is a link and there is nothing, beside what it leads to.
fn base_of(path: &Path, base: &str) -> PathBuf {
    let beside = |path: &Path| path.parent().unwrap_or_else(|| Path::new("")).join(base);
    let here = beside(path);
    if here.exists() || !path.is_symlink() {
        return here;
    }
    let there = path.canonicalize().map(|target| beside(&target)).ok();
    there.filter(|there| there.exists()).unwrap_or(here)
}

fn parse_override(name: &str, key: &str, value: &str) -> Result<Table, ScenarioError> {
    let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
    let quoted = format!("{key} = \"{quoted}\"");
    // A shell has taken the quotes of 1.10. One that still has them has them; `false` leaves out what a file has.
    let is_text = schema::key_at(key).is_some_and(|key| matches!(key.kind, Kind::Text));
    let leaves_out = value == "false" && key.starts_with("thresholds.");
    let as_text = is_text && !leaves_out && !value.starts_with(['"', '\'']);
    let forms = if as_text {
        vec![quoted]
    } else {
        vec![format!("{key} = {value}"), quoted]
    };
    for text in forms {
        if let Ok(table) = Table::parse(Layer::of_option(name, text)) {
            return Ok(table);
        }
    }
    Err(Problem::of_file(name, "expected a dotted key and a value, such as swarm.degree=12").into())
}

/// Puts a layer on top of those below. A build has one source, so a layer that names one replaces the other kind too.
fn put_on_top(tree: &mut Table, layer: Table) {
    const SOURCES: [&str; 2] = ["size", "path"];
    let above = layer.entries.get("build").map(|entry| &entry.value);
    let below = tree.entries.get_mut("build").map(|entry| &mut entry.value);
    if let (Some(Value::Table(above)), Some(Value::Table(below))) = (above, below)
        && SOURCES.iter().any(|source| above.entries.contains_key(*source))
    {
        below.entries.retain(|key, _| !SOURCES.contains(&key.as_str()));
    }
    merge(tree, layer);
}

/// No key of a scenario is true or false, so `false` is free to mean that what is there below is not wanted.
fn merge(base: &mut Table, over: Table) {
    for (key, entry) in over.entries {
        match (base.entries.get_mut(&key), entry.value) {
            (Some(_), Value::Boolean(false)) => {
                base.entries.remove(&key);
            }
            (
                Some(Entry {
                    value: Value::Table(below),
                    ..
                }),
                Value::Table(above),
            ) => merge(below, above),
            (_, value) => {
                let place = entry.place;
                base.entries.insert(key, Entry { place, value });
            }
        }
    }
}
