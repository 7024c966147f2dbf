//! The embedded cloud of a run, as slow as its scenario has it.

use std::path::Path;

use cloud::{EmbeddedCloud, EmbeddedError, Faults, HOST_DEPLOYMENT_LOGS, regional_bucket};
use scenario::Scenario;

/// Starts it with its data under `folder`.
pub(super) async fn start(scenario: &Scenario, folder: &Path) -> Result<EmbeddedCloud, EmbeddedError> {
    let folder = folder.join("cloud");
    if scenario.only_with_own_cloud().is_empty() {
        return EmbeddedCloud::start(&folder).await;
    }
    let (network, faults) = (&scenario.network, Faults::default());
    if let Some(rate) = network.bucket_rate {
        for region in &scenario.regions {
            // The rate is a seeder's, and the bucket that of all.
            let of_all = rate.saturating_mul(region.seeders.into());
            faults.slow_gets(&regional_bucket(&region.name), of_all);
        }
    }
    if network.logs.is_limited() {
        faults.slow_rows(HOST_DEPLOYMENT_LOGS, network.logs.rows_per_second);
    }
    EmbeddedCloud::start_with_faults(&folder, &faults).await
}
