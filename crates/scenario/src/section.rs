//! Reads the tables of a scenario: finds a key, checks its type, and notes what is wrong with its place.
//!
//! Invariant: a getter answers `None` for a key that is absent or wrong, and a wrong one has been reported. Which keys a
//! scenario has and what they mean together is left to `reader`.

use std::cell::RefCell;
use std::fmt::Display;

use settings::{Entry, Place, Problem, QuantityError, Table, Value, nearest};

use crate::schema::{self, Kind};
use crate::words::{self, Word};

/// Collects the problems of one scenario.
pub(crate) struct Reader {
    pub(crate) file: String,
    pub(crate) problems: RefCell<Vec<(Option<Place>, Problem)>>,
}

impl Reader {
    /// Every key must be one that the schema knows.
    pub(crate) fn check_keys(&self, table: &Table, path: &str, pattern: &str) {
        for (key, entry) in &table.entries {
            let full = join(path, key);
            let known = [join(pattern, key), join(pattern, "*")];
            let found = schema::KEYS
                .iter()
                .find(|k| known.iter().any(|pattern| k.pattern == *pattern));
            match (found, &entry.value) {
                (Some(found), Value::Table(inner)) if matches!(found.kind, Kind::Table) => {
                    self.check_keys(inner, &full, found.pattern);
                }
                (Some(found), _) if matches!(found.kind, Kind::Table) => {
                    self.report(&entry.place, format!("{full} — expected a table, [{full}]"));
                }
                (Some(_), _) => {}
                (None, _) => {
                    let siblings = schema::KEYS.iter().filter_map(|k| schema::child_of(k.pattern, pattern));
                    let nearest = nearest(key, siblings.filter(|sibling| *sibling != "*"));
                    let hint = match nearest {
                        Some(sibling) => format!("did you mean {}?", join(path, sibling)),
                        None => {
                            let siblings = schema::KEYS.iter().filter_map(|k| schema::child_of(k.pattern, pattern));
                            let list: Vec<_> = siblings.collect();
                            format!("expected one of {}", list.join(", "))
                        }
                    };
                    self.report(&entry.place, format!("{full} is not a key of a scenario — {hint}"));
                }
            }
        }
    }

    fn report(&self, place: &Place, message: String) {
        self.problems
            .borrow_mut()
            .push((Some(place.clone()), Problem::at(place, message)));
    }
}

/// A table of the tree, there or not, and how to name what is in it.
pub(crate) struct Section<'a> {
    pub(crate) reader: &'a Reader,
    pub(crate) path: String,
    pub(crate) pattern: String,
    pub(crate) table: Option<&'a Table>,
    /// Where its name stands; the root has none.
    pub(crate) place: Option<&'a Place>,
}

impl<'a> Section<'a> {
    pub(crate) fn entry(&self, key: &str) -> Option<&'a Entry> {
        self.table?.entries.get(key)
    }

    pub(crate) fn section(&self, key: &str) -> Self {
        let table = match self.entry(key).map(|entry| &entry.value) {
            Some(Value::Table(table)) => Some(table),
            _ => None,
        };
        Self {
            reader: self.reader,
            path: join(&self.path, key),
            pattern: join(&self.pattern, key),
            table,
            place: self.entry(key).map(|entry| &entry.place),
        }
    }

    /// The tables that this one names.
    pub(crate) fn named(&self) -> impl Iterator<Item = (String, Self)> {
        let keys: Vec<String> = self
            .table
            .iter()
            .flat_map(|table| table.entries.keys().cloned())
            .collect();
        let sections: Vec<_> = keys
            .into_iter()
            .map(|key| {
                let mut section = self.section(&key);
                section.pattern = join(&self.pattern, "*");
                (key, section)
            })
            .filter(|(_, section)| section.table.is_some())
            .collect();
        sections.into_iter()
    }

    /// Reports a problem at `key` of this section, or at the section's name where the key is not there or empty.
    pub(crate) fn problem(&self, key: &str, message: impl Display) {
        let full = if key.is_empty() {
            self.path.clone()
        } else {
            join(&self.path, key)
        };
        let entry = if key.is_empty() { None } else { self.entry(key) };
        let shown = entry.map(|entry| entry.value.shown()).unwrap_or_default();
        let message = format!("{full}{shown} — {message}");
        let place = entry.map(|entry| &entry.place).or(self.place);
        match place {
            Some(place) => self.reader.report(place, message),
            None => {
                let problem = Problem::of_file(self.reader.file.clone(), message);
                self.reader.problems.borrow_mut().push((None, problem));
            }
        }
    }

    pub(crate) fn text(&self, key: &str) -> Option<String> {
        match &self.entry(key)?.value {
            Value::Text(text) => Some(text.clone()),
            _ => {
                self.problem(key, "expected text in quotes");
                None
            }
        }
    }

    pub(crate) fn texts(&self, key: &str) -> Option<Vec<String>> {
        let text = |value: &Value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        };
        let texts = match &self.entry(key)?.value {
            Value::Array(items) => items.iter().map(text).collect::<Option<Vec<_>>>(),
            _ => None,
        };
        if texts.is_none() {
            self.problem(key, "expected a list of texts, such as [\"region-a\"]");
        }
        texts
    }

    pub(crate) fn integer(&self, key: &str, min: i64, max: i64) -> Option<i64> {
        match &self.entry(key)?.value {
            Value::Integer(number) if (min..=max).contains(number) => Some(*number),
            _ => {
                self.problem(key, format!("expected {min} to {max}"));
                None
            }
        }
    }

    /// A number whose range the schema has.
    pub(crate) fn number(&self, key: &str) -> Option<u32> {
        let entry = self.entry(key)?;
        let pattern = join(&self.pattern, key);
        let described = schema::KEYS.iter().find(|k| k.pattern == pattern)?;
        let Kind::Number { min, max, unit, hint } = described.kind else {
            return None;
        };
        match &entry.value {
            Value::Integer(number) if (i64::from(min)..=i64::from(max)).contains(number) => u32::try_from(*number).ok(),
            _ => {
                self.problem(key, format!("expected {min} to {max} ({unit}); try {hint}"));
                None
            }
        }
    }

    /// An amount of US dollars.
    pub(crate) fn money(&self, key: &str) -> Option<f64> {
        let amount = match &self.entry(key)?.value {
            Value::Float(amount) => Some(*amount),
            Value::Integer(amount) => Some(*amount as f64),
            _ => None,
        };
        let amount = amount.filter(|amount| (0.0..=MONEY_MAX).contains(amount));
        if amount.is_none() {
            self.problem(key, format!("expected 0 to {MONEY_MAX} (US dollars); try 0.02"));
        }
        amount
    }

    pub(crate) fn parsed<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, QuantityError>) -> Option<T> {
        let text = match &self.entry(key)?.value {
            Value::Text(text) => text.as_str(),
            // A bare number has no unit, and is told so.
            _ => "",
        };
        match parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(key, error);
                None
            }
        }
    }

    pub(crate) fn word<T: Copy>(&self, key: &str, words: &[Word<T>]) -> Option<T> {
        let entry = self.entry(key)?;
        let found = match &entry.value {
            Value::Text(text) => words::value_of(words, text),
            _ => None,
        };
        if found.is_none() {
            self.problem(key, format!("expected one of {}", words::list(words)));
        }
        found
    }
}

/// Nothing that is counted costs more.
const MONEY_MAX: f64 = 1e6;

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
