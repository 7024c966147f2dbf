//! Whether a live run of a scenario can be made here, asked before anything is begun.

use std::path::Path;

use scenario::{Scenario, Transport};

use super::{CloudChoice, RunError, processes};
use crate::estimates;

/// Over how many worker processes this machine can run `scenario`, with an embedded cloud's data under `folder`; 0 for none.
///
/// # Errors
/// The first thing that is in the way.
pub(crate) fn fits(scenario: &Scenario, folder: &Path, choice: &CloudChoice) -> Result<u32, RunError> {
    fits_beside_hosts(scenario, folder, choice)?;
    let workers = processes::worker_count(scenario, peer::raise_file_limit())?;
    fits_over_processes(scenario, workers)?;
    processes::fits_into_memory(scenario)?;
    Ok(workers)
}

/// What does not depend on where the hosts are.
pub(super) fn fits_beside_hosts(scenario: &Scenario, folder: &Path, choice: &CloudChoice) -> Result<(), RunError> {
    let only_in_forecasts = scenario.only_in_forecasts();
    if !only_in_forecasts.is_empty() {
        return Err(RunError::OnlyInForecasts {
            keys: only_in_forecasts.join(", "),
        });
    }
    let only_with_own_cloud = scenario.only_with_own_cloud();
    if matches!(choice, CloudChoice::Pipeline(_)) && !only_with_own_cloud.is_empty() {
        return Err(RunError::OnlyWithOwnCloud {
            keys: only_with_own_cloud.join(", "),
        });
    }
    if scenario.network.transport == Transport::Quic && !cfg!(feature = "quic") {
        return Err(RunError::NoQuic);
    }
    if let CloudChoice::Embedded = choice
        && let Some(message) = estimates::lacks_disk(scenario, folder)
    {
        return Err(RunError::Disk { message });
    }
    Ok(())
}

/// What does not depend on more than whether there are workers, and how many.
pub(super) fn fits_over_processes(scenario: &Scenario, workers: u32) -> Result<(), RunError> {
    let keys = scenario.only_in_one_process();
    if workers > 0 && !keys.is_empty() {
        return Err(RunError::OnlyInOneProcess {
            keys: keys.join(", "),
            workers,
        });
    }
    Ok(())
}
