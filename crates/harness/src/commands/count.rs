//! `harness count`: the rows of a build in `host-deployment-logs`, from a run's folder or an endpoint.

use std::path::{Path, PathBuf};

use cloud::{Cloud, CloudError, DeploymentStatus, EmbeddedCloud};

use super::folder::CopiedTables;
use super::rows_seen::{self, Meant, RowsSeen};
use super::{print, reach};
use crate::cli::{CountArguments, Format};
use crate::exit::{Exit, print_error};

pub(crate) async fn count(arguments: CountArguments) -> Exit {
    let mut tables = None;
    let at_endpoint = arguments.place.endpoint_url.is_some() || std::env::var_os("AWS_ENDPOINT_URL").is_some();
    let (cloud, embedded) = match arguments.run.is_none() && at_endpoint {
        true => match reach::connect(&arguments.place).await {
            Ok(cloud) => (cloud, None),
            Err(exit) => return exit,
        },
        false => {
            let Some(folder) = arguments.run.clone().or_else(newest_run) else {
                say!("harness: there is no run under runs/; expected --run FOLDER or --endpoint-url URL");
                return Exit::Usage;
            };
            let data = folder.join("cloud");
            if !data.join("dynamodb.sqlite").is_file() {
                say!(
                    "harness: {} is not the folder of a run; expected one with cloud/dynamodb.sqlite",
                    folder.display()
                );
                return Exit::Usage;
            }
            let copied = match CopiedTables::of(&data) {
                Ok(copied) => copied,
                Err(error) => {
                    print_error(&format!("the tables of {} cannot be read", folder.display()), &error);
                    return Exit::Failed;
                }
            };
            let started = EmbeddedCloud::start(copied.folder()).await;
            tables = Some(copied);
            match started {
                Ok(embedded) => (Cloud::connect(embedded.config()).await, Some(embedded)),
                Err(error) => {
                    print_error("the run's tables cannot be opened", &error);
                    return Exit::Failed;
                }
            }
        }
    };
    let seen = see(&cloud, &arguments, embedded.is_some()).await;
    if let Some(embedded) = embedded {
        embedded.stop().await;
    }
    drop(tables);
    match seen {
        Ok(seen) => tell(&arguments, &seen),
        Err(error) => {
            print_error("the rows cannot be counted", &error);
            Exit::Failed
        }
    }
}

/// The rows of the version that is meant. Those of a run's folder are of one, and nobody counts them.
async fn see(cloud: &Cloud, arguments: &CountArguments, is_of_run: bool) -> Result<RowsSeen, CloudError> {
    let mut meant = Meant {
        build_id: arguments.build_id.clone(),
        version: arguments.version.clone(),
        since: None,
    };
    if !is_of_run && meant.version.is_none() {
        let standing = cloud
            .buckets()
            .standing(&cloud.global_bucket(), &meant.build_id)
            .await?;
        meant.since = standing.map(|standing| standing.since);
    }
    let logs = cloud.deployment_logs();
    if is_of_run || arguments.exact {
        return rows_seen::exactly(&logs, &meant).await;
    }
    let (seen, because) = rows_seen::once(&logs, &meant).await?;
    if let Some(because) = because {
        tracing::debug!("all rows were read: {}", because.as_str());
    }
    Ok(seen)
}

fn tell(arguments: &CountArguments, seen: &RowsSeen) -> Exit {
    let (succeeded, failed) = (seen.succeeded(), seen.failed());
    let (good, bad) = (DeploymentStatus::Succeeded.as_str(), DeploymentStatus::Failed.as_str());
    let by_region = seen
        .regions
        .iter()
        .flat_map(|(name, region)| [(name, bad, region.failed), (name, good, region.succeeded)]);
    let by_region: Vec<_> = by_region.filter(|(_, _, rows)| *rows > 0).collect();
    match arguments.format {
        Format::Text => {
            let line = |(region, status, rows): &(&String, &str, u64)| format!("  {region} {status} {rows}\n");
            let lines: String = by_region.iter().map(line).collect();
            print(&format!("{succeeded}\n{lines}"));
            if seen.others > 0 {
                let versions = seen.versions.iter().map(|(version, rows)| match version.as_str() {
                    "" => format!("{rows} that do not say theirs"),
                    version => format!("{version} has {rows}"),
                });
                let versions: Vec<_> = versions.collect();
                say!(
                    "harness: {} rows are of other versions, which --version counts: {}",
                    seen.others,
                    versions.join(", ")
                );
            }
        }
        Format::Json => {
            let regions: Vec<_> = by_region
                .iter()
                .map(|(region, status, rows)| serde_json::json!({"region": region, "status": status, "rows": rows}))
                .collect();
            let json = serde_json::json!({
                "build_id": arguments.build_id, "rows": succeeded + failed, "succeeded": succeeded, "regions": regions,
                "versions": seen.versions, "of_other_versions": seen.others, "items_read": seen.items_read,
            });
            print(&format!("{json:#}\n"));
        }
    }
    match arguments.expect {
        Some(expected) if expected != succeeded => {
            say!(
                "harness: {succeeded} hosts have {}, by rows that are SUCCEEDED ({failed} are FAILED); expected {expected}",
                arguments.build_id
            );
            Exit::No
        }
        _ => Exit::Success,
    }
}

/// Their names begin with their time.
fn newest_run() -> Option<PathBuf> {
    let entries = std::fs::read_dir(Path::new("runs")).ok()?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("cloud").is_dir())
        .max()
}
