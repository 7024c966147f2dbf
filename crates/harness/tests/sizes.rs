//! How long functions and files of the core and of its drivers may be: a function is read as a whole, a file is looked through. Tests
//! are lists, and may be longer.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::path::{Path, PathBuf};

/// The crates that are held to it, in `src` and `tests`.
const CRATES: [&str; 7] = [
    "swarm",
    "simulator",
    "peer",
    "harness",
    "scenario",
    "explain",
    "settings",
];
const SOURCES: Limits = Limits {
    function: 70,
    file: 500,
};
const TESTS: Limits = Limits {
    function: 100,
    file: 700,
};

/// Files that are longer, or have a longer function, and how many lines they have. None may be added, and none may grow.
const LONGER: [(&str, usize); 3] = [
    ("harness/src/commands/upload.rs", 179),
    ("harness/src/live/mod.rs", 622),
    ("harness/src/live/region.rs", 131),
];

/// Lines at most.
struct Limits {
    function: usize,
    file: usize,
}

#[test]
fn functions_and_files_are_short() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut long = Vec::new();
    for path in CRATES.iter().flat_map(|name| sources(&crates.join(name))) {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(crates).unwrap().display().to_string();
        let lines = text.lines().count();
        let known = LONGER.iter().find(|(longer, _)| *longer == name);
        if known.is_some_and(|(_, known)| lines <= *known) {
            continue;
        }
        let limits = if name.contains("tests") { TESTS } else { SOURCES };
        if lines > limits.file {
            let max = limits.file;
            long.push(format!(
                "{name} has {lines} lines; expected at most {max}: look for the second idea"
            ));
        }
        for (function, lines) in functions(&text) {
            if lines > limits.function {
                let max = limits.function;
                long.push(format!(
                    "{function} in {name} has {lines} lines; expected at most {max}"
                ));
            }
        }
    }
    assert!(long.is_empty(), "\n{}", long.join("\n"));
}

/// All sources below `src` and `tests` of a crate, in order.
fn sources(of_crate: &Path) -> Vec<PathBuf> {
    let mut folders = ["src", "tests"].map(|folder| of_crate.join(folder)).to_vec();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(path);
            }
        }
    }
    sources.sort();
    assert!(!sources.is_empty(), "{} has no sources", of_crate.display());
    sources
}

/// The functions of a source and how many lines each has. Goes by the indentation that rustfmt gives: a function ends with the brace that
/// stands as far from the left as it begins.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut functions = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let indent = &line[..line.len() - line.trim_start().len()];
        let end = format!("{indent}}}");
        let is_end = |line: &&str| {
            **line == end || (line.starts_with(indent) && line[indent.len()..].starts_with(')') && line.ends_with(';'))
        };
        let is_one_line = line.ends_with('}') || line.ends_with(';');
        let after = if is_one_line {
            Some(0)
        } else {
            lines[first..].iter().position(is_end)
        };
        functions.push((name, after.unwrap() + 1));
    }
    functions
}

/// What a line begins to define, where it is a function.
fn function_name(line: &str) -> Option<String> {
    let (before, after) = line.split_once("fn ")?;
    let is_qualifier = |word: &str| word.starts_with("pub") || matches!(word, "const" | "async" | "unsafe" | "default");
    if !before.split_whitespace().all(is_qualifier) {
        return None;
    }
    Some(after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
}

#[test]
fn functions_are_found_with_their_lengths() {
    let text = "\
impl A {
    pub(crate) const fn short(&self) {}

    async fn long(
        &self,
    ) {
        if true {
        }
    }

    // A word on fn something(.
    fn declared(
        &self,
    );
}

fn last() {
    let inner = |x: u32| {
        x
    };
}
";
    let found = functions(text);
    let expected = [("short", 1), ("long", 6), ("declared", 3), ("last", 5)];
    assert_eq!(found, expected.map(|(name, lines)| (name.to_owned(), lines)));
}
