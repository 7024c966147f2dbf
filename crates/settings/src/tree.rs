//! A file as a tree of keys that remember where they stand.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use crate::problem::{Layer, Place, Problem, Problems};

/// A value of a tree.
#[derive(Clone, Debug)]
pub enum Value {
    /// Text in quotes.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// A list.
    Array(Vec<Self>),
    /// A table.
    Table(Table),
    /// What no key is: a date, or a number beyond all bounds.
    Other,
}

/// A table of a tree.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Its keys.
    pub entries: BTreeMap<String, Entry>,
}

/// A key with its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where its name stands.
    pub place: Place,
    /// What it holds.
    pub value: Value,
}

impl Table {
    /// Reads a layer.
    ///
    /// # Errors
    /// Where it is no TOML, with the place.
    pub fn parse(layer: Layer) -> Result<Self, Problems> {
        let layer = Arc::new(layer);
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
}

impl Value {
    /// ` = ` and the value, as a message shows what a key holds; nothing for what is long.
    pub fn shown(&self) -> String {
        match self {
            Self::Text(text) => format!(" = {text:?}"),
            Self::Integer(number) => format!(" = {number}"),
            Self::Float(number) => format!(" = {number}"),
            Self::Boolean(value) => format!(" = {value}"),
            Self::Array(_) => " = […]".to_owned(),
            Self::Table(_) | Self::Other => String::new(),
        }
    }
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
