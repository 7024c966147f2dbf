//! Whom the agent believes, as its command line says, and the sentence where that is everybody.

use std::path::PathBuf;
use std::sync::Arc;

use peer::Trust;

use super::{Arguments, Failure};
use program::Exit;

/// Whose builds are believed, what was had being remembered in the file at `memory`; every seeder's where nobody has said, which is
/// told.
///
/// # Errors
/// Exit code and sentence where the keys, or what is remembered, cannot be read.
pub(crate) fn trust(arguments: &Arguments, memory: impl FnOnce() -> PathBuf) -> Result<Option<Arc<Trust>>, Failure> {
    let Some(keys) = &arguments.trust else {
        arguments.say("whatever the seeder says is believed; with --trust only what is signed with a key of that file");
        return Ok(None);
    };
    let keys = signing::TrustedKeys::read(keys)
        .map_err(|error| (Exit::Usage, format!("--trust {}", program::chain(&error))))?;
    let trust = Trust::remembering(keys, memory()).map_err(|error| (Exit::Failed, program::chain(&error)))?;
    Ok(Some(Arc::new(trust)))
}
