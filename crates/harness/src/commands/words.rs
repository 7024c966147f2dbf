//! What a word means: one that is printed, a field of a report, or a key of a scenario.

use std::fmt::Write as _;

use explain::WORDS;
use scenario::{REPORT_FIELDS, ReportField, ReportsOf};
use serde_json::Value;

use super::print;
use crate::exit::Exit;

/// `harness explain WORD`.
pub(super) fn of_word(word: &str) -> Exit {
    let mut told = String::new();
    if let Some(meaning) = explain::meaning(word) {
        let _ = writeln!(told, "{word}: {meaning}");
    }
    for (path, meaning) in keys().iter().filter(|(path, _)| is_named(path, word)) {
        let _ = writeln!(told, "{path} of a scenario: {meaning}");
    }
    for field in fields(word) {
        let when = match field.of {
            ReportsOf::Both => "",
            ReportsOf::LiveRuns(_) => ", of live runs",
            ReportsOf::Forecasts => ", of forecasts",
        };
        let _ = writeln!(
            told,
            "{} of a report{when}, {}: {}",
            field.pattern,
            field.unit.name(),
            field.doc
        );
    }
    if told.is_empty() {
        refuse(word);
        return Exit::Usage;
    }
    print(&told);
    Exit::Success
}

fn refuse(word: &str) {
    let near: Vec<&str> = WORDS
        .iter()
        .map(|of| of.word)
        .filter(|known| is_near(known, word))
        .take(NEAR_SHOWN)
        .collect();
    let hint = match near.is_empty() {
        true => "`harness explain --words` lists the words".to_owned(),
        false => format!("is it {}?", near.join(", ")),
    };
    say!(
        "harness: there is neither a folder nor a word {word}; expected a run's folder, a word such as stretch, a field of a report such as \
         hosts.verified, or a key of a scenario such as swarm.degree; {hint}"
    );
}

/// Fields of a report of this path, of whichever region; else those whose path ends so.
fn fields(word: &str) -> Vec<&'static ReportField> {
    if let Some(field) = ReportField::at(word) {
        return vec![field];
    }
    REPORT_FIELDS
        .iter()
        .filter(|field| is_named(field.pattern, word))
        .collect()
}

/// The keys of a scenario by the schema, with what they mean.
fn keys() -> Vec<(String, String)> {
    let mut keys = Vec::new();
    below("", &scenario::schema(), &mut keys);
    keys
}

fn below(path: &str, schema: &Value, keys: &mut Vec<(String, String)>) {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let named = properties.map(|(name, inner)| (name.as_str(), inner));
    // A table whose keys are names.
    let any = Some(("NAME", &schema["additionalProperties"])).filter(|(_, inner)| inner.is_object());
    for (name, inner) in named.chain(any) {
        let path = if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        };
        if let Some(meaning) = inner["description"].as_str() {
            keys.push((path.clone(), meaning.to_owned()));
        }
        below(&path, inner, keys);
    }
}

/// Whether a word is a path, the last part of it, or a part at which it is a group.
fn is_named(path: &str, word: &str) -> bool {
    let word = word.trim_end_matches(".*");
    path == word
        || path.strip_suffix(word).is_some_and(|before| before.ends_with('.'))
        || path.strip_prefix(word).is_some_and(|rest| rest.starts_with('.'))
}

/// Whether one of them begins as the other does, or has it in it.
fn is_near(known: &str, word: &str) -> bool {
    let word = word.to_lowercase();
    let begins = known.chars().zip(word.chars()).take_while(|(a, b)| a == b).count();
    known.contains(&word) || word.contains(known) || begins >= 4
}

/// Words that are shown where one is none.
const NEAR_SHOWN: usize = 5;
