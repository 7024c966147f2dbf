//! What is changed of a scenario: declared once, for each command that takes one.

use clap::Args;
use scenario::{LoadOptions, Override};

use super::values::seed;

/// Values of a scenario.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SetArguments {
    /// Change a value of the scenario; can be given several times. The value is TOML or a plain word.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<Override>,
}

/// Values of a scenario, and its seed.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ChangeArguments {
    #[command(flatten)]
    pub(crate) set: SetArguments,
    /// Seed of everything random, instead of the scenario's.
    #[arg(long, allow_hyphen_values = true, value_parser = seed)]
    pub(crate) seed: Option<u64>,
}

impl SetArguments {
    /// As a scenario is loaded with them.
    pub(crate) fn options(&self) -> LoadOptions {
        LoadOptions {
            overrides: self.overrides.clone(),
            ..LoadOptions::default()
        }
    }
}

impl ChangeArguments {
    /// As a scenario is loaded with them.
    pub(crate) fn options(&self) -> LoadOptions {
        LoadOptions {
            seed: self.seed,
            ..self.set.options()
        }
    }
}
