//! Scenario files as one tree: layers of TOML, merged, in which every key remembers where it stands.
//!
//! Precedence: what is extended < the file < `--set`, in order. Tables merge deeply; scalars and arrays are replaced.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use crate::LoadOptions;
use crate::problem::{Layer, Place, Problem, ScenarioError};

/// A value of the merged tree.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Array(Vec<Self>),
    Table(Table),
    Other,
}

/// A table of the merged tree.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) entries: BTreeMap<String, Entry>,
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// One `key=value` of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
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
            key: key.to_owned(),
            value: value.trim().to_owned(),
        })
    }
}

/// Reads `path` with what it extends and puts the command line's values on top.
pub(crate) fn load(path: &Path, options: &LoadOptions) -> Result<Table, ScenarioError> {
    let mut tree = load_file(path, &mut Vec::new())?;
    for Override { key, value } in &options.overrides {
        let layer = parse_override(&format!("--set {key}={value}"), key, value)?;
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
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let hint = if error.kind() == std::io::ErrorKind::NotFound {
            "there is no such file; expected the path of a scenario, such as scenarios/smoke.toml".to_owned()
        } else {
            format!("failed to read it: {error}")
        };
        Problem::of_file(name.clone(), hint)
    })?;
    above.push(path.canonicalize().unwrap_or_else(|_| path.to_owned()));
    let mut own = parse(name, text)?;
    let Some(extends) = own.entries.remove("extends") else {
        return Ok(own);
    };
    let Value::Text(base) = &extends.value else {
        let message = "extends = … — expected the path of another scenario, relative to this file";
        return Err(Problem::at(&extends.place, message).into());
    };
    let base = path.parent().unwrap_or_else(|| Path::new("")).join(base);
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
            let message = format!("extends — there is no file {}", base.display());
            return Err(Problem::at(&extends.place, message).into());
        }
    }
    let mut tree = load_file(&base, above)?;
    put_on_top(&mut tree, own);
    Ok(tree)
}

fn parse(name: String, text: String) -> Result<Table, ScenarioError> {
    let layer = Arc::new(Layer {
        name,
        text,
        is_file: true,
    });
    match DeTable::parse(&layer.text) {
        Ok(table) => Ok(convert_table(table.get_ref(), &layer)),
        Err(error) => {
            let place = Place {
                layer: Arc::clone(&layer),
                span: error.span().unwrap_or(0..0),
            };
            let message = format!("not valid TOML at column {}: {}", place.column(), error.message());
            Err(Problem::at(&place, message).into())
        }
    }
}

fn parse_override(name: &str, key: &str, value: &str) -> Result<Table, ScenarioError> {
    let layer = |text: String| {
        Arc::new(Layer {
            name: name.to_owned(),
            text,
            is_file: false,
        })
    };
    let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
    for text in [format!("{key} = {value}"), format!("{key} = \"{quoted}\"")] {
        let layer = layer(text);
        if let Ok(table) = DeTable::parse(&layer.text) {
            return Ok(convert_table(table.get_ref(), &layer));
        }
    }
    Err(Problem::of_file(name, "expected a dotted key and a value, such as swarm.degree=12").into())
}

fn convert_table(table: &DeTable<'_>, layer: &Arc<Layer>) -> Table {
    let entries = table.iter().map(|(key, value)| {
        let place = Place {
            layer: Arc::clone(layer),
            span: key.span(),
        };
        let value = convert(value.get_ref(), layer);
        (key.get_ref().to_string(), Entry { place, value })
    });
    Table {
        entries: entries.collect(),
    }
}

fn convert(value: &DeValue<'_>, layer: &Arc<Layer>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            i64::from_str_radix(&digits, number.radix()).map_or(Value::Other, Value::Integer)
        }
        DeValue::Float(number) => number
            .as_str()
            .replace('_', "")
            .parse()
            .map_or(Value::Other, Value::Float),
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Datetime(_) => Value::Other,
        DeValue::Array(items) => Value::Array(items.iter().map(|item| convert(item.get_ref(), layer)).collect()),
        DeValue::Table(table) => Value::Table(convert_table(table, layer)),
    }
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

fn merge(base: &mut Table, over: Table) {
    for (key, entry) in over.entries {
        match (base.entries.get_mut(&key), entry.value) {
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
