//! Writes what can be serialized as YAML: maps and lists as blocks, text as JSON's strings, which YAML reads alike.

use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;

/// As one document.
pub(super) fn document(of: &impl Serialize) -> String {
    let value = serde_json::to_value(of).expect("manifests have only keys that are text");
    let mut text = "---\n".to_owned();
    write(&mut text, &value, 0, true);
    text
}

/// `fresh` says that a line has begun, at the depth at which the value is to stand.
fn write(text: &mut String, value: &Value, depth: usize, fresh: bool) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (index, (key, value)) in map.iter().enumerate() {
                if index > 0 || !fresh {
                    indent(text, depth);
                }
                let _ = write!(text, "{}:", scalar(&Value::String(key.clone())));
                below(text, value, depth + 1);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for (index, value) in list.iter().enumerate() {
                if index > 0 || !fresh {
                    indent(text, depth);
                }
                text.push_str("- ");
                write(text, value, depth + 1, true);
            }
        }
        plain => {
            let _ = writeln!(text, "{}", scalar(plain));
        }
    }
}

/// What stands behind a key.
fn below(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            text.push('\n');
            write(text, value, depth, false);
        }
        Value::Array(list) if !list.is_empty() => {
            text.push('\n');
            write(text, value, depth, false);
        }
        Value::String(lines) if is_block(lines) => {
            text.push_str(" |\n");
            for line in lines.lines() {
                if !line.is_empty() {
                    indent(text, depth);
                }
                let _ = writeln!(text, "{line}");
            }
        }
        plain => {
            text.push(' ');
            write(text, plain, depth, true);
        }
    }
}

/// Whether a text can stand line by line: it ends with one end of a line, begins with no space, and has nothing that YAML does not print.
fn is_block(text: &str) -> bool {
    let is_printed = |c: char| c == '\n' || (' '..='~').contains(&c);
    text.ends_with('\n') && !text.ends_with("\n\n") && !text.starts_with([' ', '\n']) && text.chars().all(is_printed)
}

/// A word stands as it is where nothing else can be meant by it.
fn scalar(value: &Value) -> String {
    let is_word = |text: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '/' | '_');
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(is_plain)
            && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str())
    };
    match value {
        Value::String(text) if is_word(text) => text.clone(),
        other => other.to_string(),
    }
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n("  ", depth));
}
