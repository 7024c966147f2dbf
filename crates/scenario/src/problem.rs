//! What is wrong with a scenario, said so that it can be mended: file, line, key, what is there, what was expected.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A file, or an override of the command line, that a value came from.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) name: String,
    pub(crate) text: String,
    /// Whether lines mean something: not on the command line.
    pub(crate) is_file: bool,
}

/// Where a key stands.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) layer: Arc<Layer>,
    pub(crate) span: Range<usize>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// File and line, or the option, that it is in.
    pub place: String,
    /// The key, what it holds and what was expected.
    pub message: String,
    /// The line with the key underlined, where there is one.
    pub excerpt: Option<String>,
}

/// Everything that is wrong with a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    /// At least one, in the order of the file.
    pub problems: Vec<Problem>,
}

impl Problem {
    /// A problem with the file as a whole.
    pub(crate) fn of_file(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            message: message.into(),
            excerpt: None,
        }
    }

    pub(crate) fn at(place: &Place, message: impl Into<String>) -> Self {
        let Layer { name, text, is_file } = place.layer.as_ref();
        let message = message.into();
        if !is_file {
            return Self::of_file(name.clone(), message);
        }
        let start = place.span.start.min(text.len());
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = text[line_start..].lines().next().unwrap_or_default();
        let number = text[..line_start].matches('\n').count() + 1;
        let column = text[line_start..start].chars().count();
        let end = place.span.end.clamp(start, line_start + line.len());
        let width = text.get(start..end).map_or(1, |marked| marked.chars().count()).max(1);
        let gutter = " ".repeat(number.to_string().len());
        let excerpt = format!(
            "{number} | {line}\n{gutter} | {}{}",
            " ".repeat(column),
            "^".repeat(width)
        );
        Self {
            place: format!("{name}:{number}"),
            message,
            excerpt: Some(excerpt),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        match &self.excerpt {
            Some(excerpt) => write!(f, "\n{excerpt}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ScenarioError {}

impl From<Problem> for ScenarioError {
    fn from(problem: Problem) -> Self {
        Self {
            problems: vec![problem],
        }
    }
}
