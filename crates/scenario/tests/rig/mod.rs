//! Loads scenarios as the harness does: from files, with `--set` values on top.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![expect(unreachable_pub, reason = "every test file has the rig as a private module")]

use std::path::Path;

use scenario::{LoadOptions, Override, Scenario};

/// The least that is a scenario.
pub const GOOD: &str = "[regions.region-a]\nhosts = 3\n[build]\nsize = \"1 MiB\"\n";

/// Loads `text` as `scenarios/x.toml`.
pub fn load_text(text: &str, sets: &[&str]) -> Result<Scenario, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.toml");
    std::fs::write(&path, text).unwrap();
    load(&path, sets).map_err(|error| error.replace(&folder.path().display().to_string(), "scenarios"))
}

pub fn load(path: &Path, sets: &[&str]) -> Result<Scenario, String> {
    let overrides = sets.iter().map(|set| set.parse::<Override>().unwrap()).collect();
    let options = LoadOptions {
        overrides,
        ..LoadOptions::default()
    };
    Scenario::load(path, &options).map_err(|error| error.to_string())
}
