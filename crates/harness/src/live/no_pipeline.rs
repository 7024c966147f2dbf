//! In place of `by_pipeline` where the program is built without the pipeline's clients: such a run is refused before it begins.

use std::time::SystemTime;

use cloud::Cloud;
use swarm::Time;

use super::{Run, RunError};
use crate::progress::Progress;

/// There are none.
pub(super) enum Feeds {}

impl Feeds {
    pub(super) async fn find(_cloud: &Cloud, _regions: &[String]) -> Result<Self, RunError> {
        Err(RunError::NotBuilt)
    }
}

impl Run<'_> {
    pub(super) async fn go_by_events(
        &mut self,
        _progress: &mut Progress,
        feeds: &mut Feeds,
        _upload_began: Time,
        _began_at: SystemTime,
    ) -> Result<(), RunError> {
        match *feeds {}
    }
}
