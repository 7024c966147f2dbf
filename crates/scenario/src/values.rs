//! What each key of a scenario comes to, and where it says so: what a file does not say is said here too.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use settings::{Table, Value};

use crate::schema::{self, Kind};
use crate::{Bytes, Scenario};

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyValue {
    /// Its dotted path.
    pub key: String,
    /// As a file would have it, or the rule that holds where no file says anything, such as `measured`.
    pub value: Json,
    /// Who says so.
    pub from: Origin,
}

/// Who says what a key comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// Nobody: it is so by itself.
    Default,
    /// A file, with the line, be it the scenario's own or one that it extends.
    File(String),
    /// An option of the command line, such as `--set swarm.degree=4`.
    Option(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(place) | Self::Option(place) => f.write_str(place),
        }
    }
}

/// Every key that is not a table and has a value, in the order of the schema.
pub(crate) fn of(tree: &Table, scenario: &Scenario) -> Vec<KeyValue> {
    let mut values = Vec::new();
    for key in schema::KEYS {
        if matches!(key.kind, Kind::Table) || key.pattern == "extends" {
            continue;
        }
        let parts: Vec<&str> = key.pattern.split('.').collect();
        let mut found = Vec::new();
        expand(Some(tree), &parts, String::new(), &mut found);
        for (path, entry) in found {
            let given = entry.map(|entry| (as_json(&entry.value), origin(entry)));
            let told = given.or_else(|| Some((default_of(key, scenario)?, Origin::Default)));
            if let Some((value, from)) = told {
                values.push(KeyValue { key: path, value, from });
            }
        }
    }
    values
}

/// The paths that a pattern stands for: names that the user chooses are those of the tree. A key whose table is not there has no
/// entry; one below a name that is not there has no path.
fn expand<'a>(
    table: Option<&'a Table>,
    parts: &[&str],
    above: String,
    found: &mut Vec<(String, Option<&'a settings::Entry>)>,
) {
    let join = |name: &str| {
        if above.is_empty() {
            name.to_owned()
        } else {
            format!("{above}.{name}")
        }
    };
    let Some((first, rest)) = parts.split_first() else {
        return;
    };
    let names: Vec<String> = match (*first, table) {
        ("*", Some(table)) => table.entries.keys().cloned().collect(),
        ("*", None) => Vec::new(),
        (name, _) => vec![name.to_owned()],
    };
    for name in names {
        let entry = table.and_then(|table| table.entries.get(&name));
        if rest.is_empty() {
            found.push((join(&name), entry));
            continue;
        }
        let inner = entry.and_then(|entry| match &entry.value {
            Value::Table(inner) => Some(inner),
            _ => None,
        });
        expand(inner, rest, join(&name), found);
    }
}

fn origin(entry: &settings::Entry) -> Origin {
    let told = entry.place.told();
    match entry.place.layer.is_file {
        true => Origin::File(told),
        false => Origin::Option(told),
    }
}

/// What holds where a key is not given; none where nothing does.
fn default_of(key: &schema::Key, scenario: &Scenario) -> Option<Json> {
    match key.pattern {
        "build.id" => return Some(json!(scenario.build.id)),
        "build.chunk_size" => return Some(json!(Bytes::new(scenario.chunk_size().into()).to_string())),
        _ => {}
    }
    let text = key.default_text();
    if text.is_empty() {
        return None;
    }
    Some(schema::default_value(key.kind, &text).unwrap_or(Json::String(text)))
}

fn as_json(value: &Value) -> Json {
    match value {
        Value::Text(text) => json!(text),
        Value::Integer(number) => json!(number),
        Value::Float(number) => json!(number),
        Value::Boolean(value) => json!(value),
        Value::Array(items) => Json::Array(items.iter().map(as_json).collect()),
        // None of a scenario that was read: keys that are no tables have none of them.
        Value::Table(_) | Value::Other => Json::Null,
    }
}
