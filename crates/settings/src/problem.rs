//! What is wrong with a file, said so that it can be mended: file, line, key, what is there, what was expected.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// A file, or an override of the command line, that a value came from.
#[derive(Debug)]
pub struct Layer {
    /// What it is called.
    pub name: String,
    /// All of it.
    pub text: String,
    /// Whether lines mean something: not on the command line.
    pub is_file: bool,
}

/// Where a key stands.
#[derive(Clone, Debug)]
pub struct Place {
    /// In which layer.
    pub layer: Arc<Layer>,
    /// The bytes of its text.
    pub span: Range<usize>,
}

impl Layer {
    /// What is in a file of this name.
    pub fn of_file(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
            is_file: true,
        }
    }

    /// What an option of the command line says.
    pub fn of_option(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            is_file: false,
            ..Self::of_file(name, text)
        }
    }

    /// The folder that relative paths in this layer start from; the command line has none.
    pub fn folder(&self) -> Option<&Path> {
        if self.is_file {
            Path::new(&self.name).parent()
        } else {
            None
        }
    }
}

impl Place {
    /// File and line, or the option.
    pub fn told(&self) -> String {
        let Layer { name, text, is_file } = self.layer.as_ref();
        if !is_file {
            return name.clone();
        }
        let start = text.floor_char_boundary(self.span.start);
        format!("{name}:{}", text[..start].matches('\n').count() + 1)
    }

    /// Characters from the start of the line, from 1.
    pub fn column(&self) -> usize {
        let before = &self.layer.text[..self.layer.text.floor_char_boundary(self.span.start)];
        before.chars().rev().take_while(|c| *c != '\n').count() + 1
    }
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

/// Everything that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// At least one, in the order of the file.
    pub problems: Vec<Problem>,
}

impl Problem {
    /// A problem with the file as a whole.
    pub fn of_file(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            message: message.into(),
            excerpt: None,
        }
    }

    /// A problem with the key that stands there.
    pub fn at(place: &Place, message: impl Into<String>) -> Self {
        let Layer { name, text, is_file } = place.layer.as_ref();
        let message = message.into();
        if !is_file {
            return Self::of_file(name.clone(), message);
        }
        let start = text.floor_char_boundary(place.span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = text[line_start..].lines().next().unwrap_or_default();
        // What a parser marks can be the end of the line itself, of which \r\n has two.
        let line_end = line_start + line.len();
        let start = start.min(line_end);
        let number = text[..line_start].matches('\n').count() + 1;
        let end = place.span.end.clamp(start, line_end);
        let width = text.get(start..end).map_or(1, |marked| marked.chars().count()).max(1);
        let gutter = " ".repeat(number.to_string().len());
        // Tabs stay tabs, so that the mark stands below what it marks.
        let before = text[line_start..start].chars();
        let indent: String = before.map(|c| if c == '\t' { c } else { ' ' }).collect();
        let excerpt = format!("{number} | {line}\n{gutter} | {indent}{}", "^".repeat(width));
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

impl fmt::Display for Problems {
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

impl std::error::Error for Problems {}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self {
            problems: vec![problem],
        }
    }
}
