//! The command `status` of an agent: who is asked, and in which form the answer is shown.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, ValueEnum};
use settings::Merged;

use super::asking::ask_agent;
use super::http::HttpAddress;

/// Say how the agent of this machine is: its builds, what it moves, and why it waits.
#[derive(Debug, Parser)]
pub struct StatusArguments {
    /// The agent's configuration, which says where it answers. Where nobody names one that in /etc/fleetcast, if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the agent answers, if that is not to be found in its configuration.
    #[arg(long, value_name = "ADDRESS")]
    http: Option<HttpAddress>,
    /// For people, or the object that /status answers.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: OutputFormat,
}

/// How something is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

impl StatusArguments {
    /// Those of `flags`; `program` is what the command is called.
    ///
    /// # Errors
    /// Where they are wrong, or somebody has asked for help.
    pub fn read(program: &'static str, flags: &[OsString]) -> Result<Self, clap::Error> {
        let line = std::iter::once(OsString::from(program)).chain(flags.iter().cloned());
        let matches = Self::command().name(program).try_get_matches_from(line)?;
        Self::from_arg_matches(&matches)
    }

    /// The flags of the agent's own that say which configuration is meant.
    pub fn configuration(&self) -> Vec<OsString> {
        let config = self.config.iter();
        config
            .flat_map(|file| ["--config".into(), file.clone().into_os_string()])
            .collect()
    }

    /// Where the agent answers, by flag or by what its configuration says.
    ///
    /// # Errors
    /// A sentence where nobody says it.
    pub fn address(&self, said: &Merged) -> Result<HttpAddress, String> {
        if let Some(address) = &self.http {
            return Ok(address.clone());
        }
        let first = said.get("http").and_then(|http| http.values.first());
        first.and_then(|first| first.parse().ok()).ok_or_else(|| {
            let file = said.file.as_ref();
            let file = file.map_or_else(|| "the configuration".to_owned(), |file| file.display().to_string());
            format!("{file} does not say where the agent answers; expected a key http there, or --http ADDRESS")
        })
    }

    /// What is printed of the agent at `address`: its answer, or what `shown` makes of two of them, a second apart, since a rate is what was
    /// moved between two looks.
    ///
    /// # Errors
    /// A sentence where it does not answer.
    pub fn answer(
        &self,
        address: &HttpAddress,
        shown: impl FnOnce(&str, &str) -> Result<String, serde_json::Error>,
    ) -> Result<String, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("failed to start the runtime: {error}"))?;
        let asked = runtime.block_on(async {
            let first = ask_agent(address, "/status").await?;
            if self.format == OutputFormat::Json {
                return Ok(first);
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
            let second = ask_agent(address, "/status").await?;
            shown(&first, &second).map_err(|error| format!("the answer is none of this release's agent: {error}"))
        });
        asked.map_err(|why: String| format!("{address}: {why}; is the agent running there?"))
    }
}

/// Between two looks at what was moved.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
