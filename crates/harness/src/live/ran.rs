//! What a live run hands to who asked for it.

use explain::Records;
use scenario::RunOutcome;

use super::timeline::Timeline;

/// What a run has come to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) outcome: RunOutcome,
    pub(crate) records: Option<Records>,
    /// None where nothing was uploaded.
    pub(crate) timeline: Option<Timeline>,
}

impl Ran {
    /// No host was started.
    pub(super) const fn nothing(outcome: RunOutcome) -> Self {
        Self {
            outcome,
            records: None,
            timeline: None,
        }
    }
}
