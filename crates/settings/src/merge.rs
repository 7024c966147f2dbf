//! A command line with the environment and a file below it: what nobody has said as a flag is put to the flags.
//!
//! Invariant: a key has one value or list, and one origin; lists are not mixed. What is wrong with the file is told all at once, in its
//! order.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::keys::{Key, Kind};
use crate::nearest;
use crate::problem::{Layer, Place, Problem, Problems};
use crate::tree::Table;

/// Where settings come from, from the first to the last that counts.
pub struct Sources<'a> {
    /// The command line, without the name of the program.
    pub flags: &'a [OsString],
    /// How variables begin.
    pub prefix: &'a str,
    /// Values of variables; those that are empty count as absent.
    pub environment: &'a dyn Fn(&str) -> Option<OsString>,
    /// The file that is read where it is there and neither `--config` nor its variable names another one.
    pub default_file: &'a Path,
}

/// Who says what a key holds.
#[derive(Clone, Debug)]
pub enum Origin {
    /// The command line.
    Flag,
    /// This variable of the environment.
    Variable(String),
    /// A file, there.
    File(Place),
}

/// A key that somebody has said something of.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Its name.
    pub key: &'static str,
    /// It is true or false.
    pub is_switch: bool,
    /// What it holds; of a flag nothing, which the flags say.
    pub values: Vec<String>,
    /// Who says so.
    pub origin: Origin,
}

/// What all sources say.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// What was said, in the order of the table of keys.
    pub settings: Vec<Setting>,
}

impl Setting {
    /// Whether the command line says it.
    pub const fn is_flag(&self) -> bool {
        matches!(self.origin, Origin::Flag)
    }

    /// File and line, variable or flag.
    pub fn told(&self) -> String {
        match &self.origin {
            Origin::Flag => "flag".to_owned(),
            Origin::Variable(name) => name.clone(),
            Origin::File(place) => place.told(),
        }
    }

    /// A problem with it, at its place.
    pub fn problem(&self, message: &str) -> Problem {
        let message = format!("{} {message}", self.key);
        match &self.origin {
            Origin::Flag => Problem::of_file(format!("--{}", self.key), message),
            Origin::Variable(name) => Problem::of_file(name.clone(), message),
            Origin::File(place) => Problem::at(place, message),
        }
    }
}

impl Merged {
    /// The setting of a key.
    pub fn get(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key == key)
    }

    /// Whether the command line says this key.
    pub fn has_flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(Setting::is_flag)
    }

    /// Leaves out what environment and file say of these keys.
    pub fn leave_out(&mut self, keys: &[&str]) {
        let stays = |setting: &Setting| setting.is_flag() || !keys.contains(&setting.key);
        self.settings.retain(stays);
    }

    /// The command line that says all of it.
    pub fn command_line(&self, program: &str, flags: &[OsString]) -> Vec<OsString> {
        let mut line = vec![program.into()];
        line.extend(flags.iter().cloned());
        for setting in &self.settings {
            for value in &setting.values {
                match value.as_str() {
                    "true" if setting.is_switch => line.push(format!("--{}", setting.key).into()),
                    // As if nobody had said it.
                    "false" if setting.is_switch => {}
                    value => line.push(format!("--{}={value}", setting.key).into()),
                }
            }
        }
        line
    }

    /// Each key that means nothing without another one has that.
    ///
    /// # Errors
    /// Where one lacks it.
    pub fn check_needs(&self, keys: &[Key]) -> Result<(), Problems> {
        let lacks = keys.iter().filter_map(|key| {
            let (setting, needed) = (self.get(key.name)?, key.needs?);
            let is_there = self.get(needed).is_some();
            (!is_there && !setting.is_flag())
                .then(|| setting.problem(&format!("— expected {needed} with it, which is missing")))
        });
        all_or_ok(lacks.collect())
    }
}

/// What flags, environment and file say, each checked where it was said. Flags are not checked: whoever parses them does that.
///
/// # Errors
/// Where the file cannot be read, has a key that is none, or a key holds what it cannot hold.
pub fn merge(keys: &[Key], sources: &Sources<'_>) -> Result<Merged, Problems> {
    let (file, table) = read_file(sources)?;
    let mut problems = Vec::new();
    for (name, entry) in table.iter().flat_map(|table| &table.entries) {
        if keys.iter().all(|key| key.name != name) {
            let hint = match nearest(name, keys.iter().map(|key| key.name)) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("expected one of {}", names(keys)),
            };
            let message = format!("{name} is not a key of this file — {hint}");
            problems.push((entry.place.span.start, Problem::at(&entry.place, message)));
        }
    }
    let mut settings = Vec::new();
    for key in keys {
        // A file is checked as a whole, whatever of it counts.
        let of_file = table
            .as_ref()
            .and_then(|table| table.entries.get(key.name))
            .and_then(|entry| {
                let values = key.of_file(&entry.value).map_err(|expected| {
                    let message = format!("{}{} — {expected}", key.name, entry.value.shown());
                    problems.push((entry.place.span.start, Problem::at(&entry.place, message)));
                });
                Some((values.ok()?, Origin::File(entry.place.clone())))
            });
        let of_variable = variable(key, sources)
            .map_err(|problem| problems.push((0, problem)))
            .ok()
            .flatten();
        let of_flag = flag(sources.flags, key.name).map(|_| (Vec::new(), Origin::Flag));
        if let Some((values, origin)) = of_flag.or(of_variable).or(of_file) {
            settings.push(Setting {
                key: key.name,
                is_switch: matches!(key.kind, Kind::Switch),
                values,
                origin,
            });
        }
    }
    problems.sort_by_key(|(start, _)| *start);
    all_or_ok(problems.into_iter().map(|(_, problem)| problem).collect())?;
    Ok(Merged { file, settings })
}

/// The file that is meant, and what it says; none where nobody has named one and the default is not there.
fn read_file(sources: &Sources<'_>) -> Result<(Option<PathBuf>, Option<Table>), Problems> {
    let named = flag(sources.flags, CONFIG)
        .flatten()
        .map(|path| (path, "--config".to_owned()));
    let named = named.or_else(|| {
        let variable = format!("{}CONFIG", sources.prefix);
        let path = (sources.environment)(&variable).filter(|path| !path.is_empty())?;
        Some((path, variable))
    });
    let (path, is_named) = match &named {
        Some((path, _)) => (Path::new(path), true),
        None => (sources.default_file, false),
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_named => return Ok((None, None)),
        Err(error) => {
            let hint = match (&named, error.kind()) {
                (Some((_, by)), std::io::ErrorKind::NotFound) => {
                    format!("there is no such file; expected one, since {by} names it")
                }
                (Some(_), _) => format!("failed to read it: {error}"),
                (None, _) => format!("failed to read it: {error}; --config names another file, and /dev/null none"),
            };
            return Err(Problem::of_file(path.display().to_string(), hint).into());
        }
    };
    let table = Table::parse(Layer::of_file(path.display().to_string(), text))?;
    Ok((Some(path.to_owned()), Some(table)))
}

/// What a variable says of a key.
fn variable(key: &Key, sources: &Sources<'_>) -> Result<Option<(Vec<String>, Origin)>, Problem> {
    let name = key.variable(sources.prefix);
    let Some(value) = (sources.environment)(&name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let text = value.to_string_lossy();
    match key.of_variable(&text) {
        Ok(values) => Ok(Some((values, Origin::Variable(name)))),
        Err(expected) => Err(Problem::of_file(&*name, format!("= {text:?} — {expected}"))),
    }
}

/// Whether the command line has this flag, and the value of the last one, where it has a value. Values do not begin with two dashes.
fn flag(flags: &[OsString], name: &str) -> Option<Option<OsString>> {
    let is_flag = |flag: &OsStr| -> Option<Option<OsString>> {
        let text = flag.to_str()?.strip_prefix("--")?.strip_prefix(name)?;
        match text.strip_prefix('=') {
            Some(value) => Some(Some(value.into())),
            None => text.is_empty().then_some(None),
        }
    };
    let last = flags.iter().rposition(|flag| is_flag(flag).is_some())?;
    Some(is_flag(&flags[last])?.or_else(|| flags.get(last + 1).cloned()))
}

fn names(keys: &[Key]) -> String {
    keys.iter().map(|key| key.name).collect::<Vec<_>>().join(", ")
}

pub(crate) fn all_or_ok(problems: Vec<Problem>) -> Result<(), Problems> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(Problems { problems })
}

/// The flag that names the file.
const CONFIG: &str = "config";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Text;

    const SHORT: Text = Text {
        expected: "a word of at most three letters, such as \"abc\"",
        is_right: |text| text.len() <= 3,
    };
    const KEYS: [Key; 5] = [
        Key::new("folder", Kind::Text(SHORT)),
        Key::new(
            "keep",
            Kind::Number {
                min: 0,
                max: 9,
                unit: "builds",
            },
        )
        .needs("folder"),
        Key::new("keep-size", Kind::Quantity(SHORT)),
        Key::new("listen", Kind::Texts(SHORT)),
        Key::new("quiet", Kind::Switch),
    ];

    fn merged(flags: &[&str], environment: &[(&str, &str)], text: Option<&str>) -> Result<Merged, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("host.toml");
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let flags: Vec<OsString> = flags.iter().map(OsString::from).collect();
        let find = |name: &str| {
            environment
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.into())
        };
        let sources = Sources {
            flags: &flags,
            prefix: "TEST_",
            environment: &find,
            default_file: &file,
        };
        let merged = merge(&KEYS, &sources).and_then(|merged| merged.check_needs(&KEYS).map(|()| merged));
        merged.map_err(|problems| {
            problems
                .to_string()
                .replace(&format!("{}/", folder.path().display()), "")
        })
    }

    fn line(flags: &[&str], environment: &[(&str, &str)], text: &str) -> String {
        let merged = merged(flags, environment, Some(text)).unwrap();
        let flags: Vec<OsString> = flags.iter().map(OsString::from).collect();
        let line = merged.command_line("p", &flags);
        line.iter()
            .map(|word| word.to_str().unwrap())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn flags_come_before_the_environment_before_the_file_and_lists_are_not_mixed() {
        assert_eq!(line(&[], &[], "keep-size = 12\n"), "p --keep-size=12");
        assert_eq!(line(&[], &[], "keep-size = \"1 B\"\n"), "p --keep-size=1 B");
        let text = "folder = \"f\"\nkeep = 1\nlisten = [\"a\", \"b\"]\nquiet = true\n";
        assert_eq!(
            line(&[], &[], text),
            "p --folder=f --keep=1 --listen=a --listen=b --quiet"
        );
        let variables = [
            ("TEST_KEEP", "2"),
            ("TEST_LISTEN", "c, d"),
            ("TEST_QUIET", "false"),
            ("TEST_FOLDER", ""),
        ];
        assert_eq!(
            line(&[], &variables, text),
            "p --folder=f --keep=2 --listen=c --listen=d"
        );
        let flags = ["--keep", "3", "--listen=e"];
        assert_eq!(line(&flags, &variables, text), "p --keep 3 --listen=e --folder=f");
        assert_eq!(merged(&[], &[], None).unwrap().settings.len(), 0);
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_its_place_with_what_was_expected() {
        let text = "kep = 3\nkeep = 10\nlisten = [\"a\", \"abcd\"]\nquiet = \"yes\"\n[folder]\nx = 1\n";
        let told = merged(&[], &[], Some(text)).unwrap_err();
        let expected = "\
host.toml:1: kep is not a key of this file — did you mean keep?
1 | kep = 3
  | ^^^
host.toml:2: keep = 10 — expected 0 to 9 (builds)
2 | keep = 10
  | ^^^^
host.toml:3: listen = […] — \"abcd\": expected a list in brackets, each a word of at most three letters, such as \"abc\"
3 | listen = [\"a\", \"abcd\"]
  | ^^^^^^
host.toml:4: quiet = \"yes\" — expected true or false
4 | quiet = \"yes\"
  | ^^^^^
host.toml:5: folder — expected a word of at most three letters, such as \"abc\"
5 | [folder]
  |  ^^^^^^";
        assert_eq!(told, expected);
        let far = merged(&[], &[], Some("zzzzzzzzz = 1")).unwrap_err();
        assert!(
            far.contains("expected one of folder, keep, keep-size, listen, quiet"),
            "{far}"
        );
        let variable = merged(&[], &[("TEST_KEEP", "many")], None).unwrap_err();
        assert_eq!(variable, "TEST_KEEP: = \"many\" — expected 0 to 9 (builds)");
        let broken = merged(&[], &[], Some("keep = \n")).unwrap_err();
        assert!(broken.starts_with("host.toml:1: not valid TOML at column"), "{broken}");
    }

    #[test]
    fn a_key_that_means_nothing_alone_says_what_it_lacks() {
        let told = merged(&[], &[], Some("keep = 1")).unwrap_err();
        assert!(
            told.starts_with("host.toml:1: keep — expected folder with it, which is missing"),
            "{told}"
        );
        assert!(merged(&["--folder=f"], &[], Some("keep = 1")).is_ok());
        // Whoever parses the flags says it of flags.
        assert!(merged(&["--keep=1"], &[], None).is_ok());
    }

    #[test]
    fn a_file_that_was_named_has_to_be_there_and_one_that_nobody_named_need_not() {
        let told = merged(&["--config", "/nowhere/host.toml"], &[], None).unwrap_err();
        assert_eq!(
            told,
            "/nowhere/host.toml: there is no such file; expected one, since --config names it"
        );
        let told = merged(&[], &[("TEST_CONFIG", "/nowhere/a.toml")], None).unwrap_err();
        assert!(told.contains("since TEST_CONFIG names it"), "{told}");
        assert!(merged(&["--config=/dev/null"], &[], Some("kep = 1")).is_ok());
    }
}
