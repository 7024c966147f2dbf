//! What a configuration file may say: one row for each key, which is also a flag and a variable of the environment.

use std::ffi::OsString;

use crate::tree::Value;

/// A key, the flag `--NAME`, and the variable PREFIX_NAME.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name, as the flag has it.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Another key without which it means nothing.
    pub needs: Option<&'static str>,
    /// A process that runs takes a new value of it.
    pub is_live: bool,
}

/// What a key holds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// True or false. False is what it is where nobody has said.
    Switch,
    /// A whole number.
    Number {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
        /// Of what.
        unit: &'static str,
    },
    /// Text.
    Text(Text),
    /// A whole number, or text with a unit.
    Quantity(Text),
    /// A list of texts.
    Texts(Text),
}

/// A text, and which ones are right.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// What was expected, with an example.
    pub expected: &'static str,
    /// Whether it is right.
    pub is_right: fn(&str) -> bool,
}

impl Kind {
    /// The path of a file.
    pub const FILE: Self = Self::text("the path of a file in quotes", is_some_text);
    /// Any text that is not empty.
    pub const NAME: Self = Self::text("text in quotes", is_some_text);

    /// A text, where `is_right` says so; `expected` tells people.
    pub const fn text(expected: &'static str, is_right: fn(&str) -> bool) -> Self {
        Self::Text(Text { expected, is_right })
    }

    /// A list of such texts.
    pub const fn texts(expected: &'static str, is_right: fn(&str) -> bool) -> Self {
        Self::Texts(Text { expected, is_right })
    }

    /// A whole number from `min` to `max`, of what `unit` says.
    pub const fn number(min: u64, max: u64, unit: &'static str) -> Self {
        Self::Number { min, max, unit }
    }
}

/// Whether there is anything in it.
pub const fn is_some_text(text: &str) -> bool {
    !text.is_empty()
}

/// Whether the flags ask for help or the version, whatever a file says.
pub fn asks_for_words(flags: &[OsString]) -> bool {
    let words = ["-h", "--help", "-V", "--version"];
    flags.iter().any(|flag| words.iter().any(|word| flag == word))
}

/// Keys that come to something else than before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Those that hold from now on.
    pub live: Vec<&'static str>,
    /// Those that hold after a restart.
    pub later: Vec<&'static str>,
}

impl Changed {
    /// Those of `keys` that `is_other` says it of.
    pub fn of(keys: &[Key], is_other: impl Fn(&Key) -> bool) -> Self {
        let mut changed = Self::default();
        for key in keys.iter().filter(|key| is_other(key)) {
            let among = if key.is_live {
                &mut changed.live
            } else {
                &mut changed.later
            };
            among.push(key.name);
        }
        changed
    }

    /// What was taken up, for people.
    pub fn sentence(&self) -> String {
        let taken = match self.live.join(", ") {
            live if live.is_empty() => "nothing".to_owned(),
            live => live,
        };
        format!("the configuration was read again: {taken} has changed")
    }
}

impl Key {
    /// A key of this kind, which a process takes up when it starts.
    pub const fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            needs: None,
            is_live: false,
        }
    }

    /// The same, which means nothing without the key `other`.
    #[must_use]
    pub const fn needs(self, other: &'static str) -> Self {
        Self {
            needs: Some(other),
            ..self
        }
    }

    /// The same, which can change while a process runs.
    #[must_use]
    pub const fn live(self) -> Self {
        Self { is_live: true, ..self }
    }

    /// Its variable of the environment.
    pub fn variable(&self, prefix: &str) -> String {
        let name = self.name.replace('-', "_").to_ascii_uppercase();
        format!("{prefix}{name}")
    }

    /// The values that a file gives it, as its flag takes them.
    pub(crate) fn of_file(&self, value: &Value) -> Result<Vec<String>, String> {
        let texts = match (self.kind, value) {
            (Kind::Switch, Value::Boolean(value)) => vec![value.to_string()],
            (Kind::Number { .. } | Kind::Quantity(_), Value::Integer(number)) => vec![number.to_string()],
            (Kind::Text(_) | Kind::Quantity(_) | Kind::Texts(_), Value::Text(text)) => vec![text.clone()],
            (Kind::Texts(_), Value::Array(items)) => {
                let text = |item: &Value| match item {
                    Value::Text(text) => Some(text.clone()),
                    _ => None,
                };
                items
                    .iter()
                    .map(text)
                    .collect::<Option<_>>()
                    .ok_or_else(|| self.expected())?
            }
            _ => return Err(self.expected()),
        };
        self.checked(texts)
    }

    /// The values that a variable gives it; those of a list stand between commas.
    pub(crate) fn of_variable(&self, value: &str) -> Result<Vec<String>, String> {
        let texts = match self.kind {
            Kind::Texts(_) => value.split(',').map(|text| text.trim().to_owned()).collect(),
            _ => vec![value.to_owned()],
        };
        self.checked(texts)
    }

    fn checked(&self, texts: Vec<String>) -> Result<Vec<String>, String> {
        let is_right = |text: &String| match self.kind {
            Kind::Switch => text == "true" || text == "false",
            Kind::Number { min, max, .. } => text.parse().is_ok_and(|number: u64| (min..=max).contains(&number)),
            Kind::Text(of) | Kind::Quantity(of) | Kind::Texts(of) => (of.is_right)(text),
        };
        match texts.iter().find(|text| !is_right(text)) {
            None => Ok(texts),
            // Of several, which.
            Some(wrong) if texts.len() > 1 => Err(format!("{wrong:?}: {}", self.expected())),
            Some(_) => Err(self.expected()),
        }
    }

    fn expected(&self) -> String {
        match self.kind {
            Kind::Switch => "expected true or false".to_owned(),
            Kind::Number { min, max, unit } if max == u64::MAX => format!("expected a number of {unit}, {min} or more"),
            Kind::Number { min, max, unit } => format!("expected {min} to {max} ({unit})"),
            Kind::Text(text) | Kind::Quantity(text) => format!("expected {}", text.expected),
            Kind::Texts(text) => format!("expected a list in brackets, each {}", text.expected),
        }
    }
}

/// What is wrong with a table of keys whose program has these flags, but for flags that ask for something `else` than to run: each flag is a key,
/// each key a flag, and what a key needs is one. Nothing where all is well; for tests of programs.
pub fn mismatches<'a>(keys: &[Key], flags: impl IntoIterator<Item = &'a str>, else_than_run: &[&str]) -> Vec<String> {
    let flags: Vec<&str> = flags.into_iter().filter(|flag| !else_than_run.contains(flag)).collect();
    let is_key = |name: &str| keys.iter().any(|key| key.name == name);
    let no_key = flags.iter().filter(|flag| !is_key(flag));
    let no_flag = keys.iter().filter(|key| !flags.contains(&key.name));
    let no_need = keys.iter().filter_map(|key| key.needs.filter(|needed| !is_key(needed)));
    no_key
        .map(|flag| format!("--{flag} is no key"))
        .chain(no_flag.map(|key| format!("{} is no flag", key.name)))
        .chain(no_need.map(|needed| format!("{needed} is needed and no key")))
        .collect()
}
