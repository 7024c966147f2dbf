//! `harness count`: the rows of a build in `host-deployment-logs`, from a run's folder or an endpoint.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cloud::{Cloud, CloudError, DeploymentStatus, EmbeddedCloud};

use super::folder::CopiedTables;
use super::{print, reach};
use crate::cli::{CountArguments, Format};
use crate::exit::{Exit, complain};

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
                    complain(&format!("the tables of {} cannot be read", folder.display()), &error);
                    return Exit::Failed;
                }
            };
            let started = EmbeddedCloud::start(copied.folder()).await;
            tables = Some(copied);
            match started {
                Ok(embedded) => (Cloud::connect(embedded.config()).await, Some(embedded)),
                Err(error) => {
                    complain("the run's tables cannot be opened", &error);
                    return Exit::Failed;
                }
            }
        }
    };
    let counted = count_rows(&cloud, &arguments.build_id).await;
    if let Some(embedded) = embedded {
        embedded.stop().await;
    }
    drop(tables);
    let by_region = match counted {
        Ok(counted) => counted,
        Err(error) => {
            complain("the rows cannot be counted", &error);
            return Exit::Failed;
        }
    };
    let total: u64 = by_region.values().sum();
    let is_success = |(_, status): &(String, String)| status == DeploymentStatus::Succeeded.as_str();
    let succeeded: u64 = by_region
        .iter()
        .filter(|(of, _)| is_success(of))
        .map(|(_, rows)| rows)
        .sum();
    tell(&arguments, &by_region, total, succeeded)
}

fn tell(arguments: &CountArguments, by_region: &Counts, total: u64, succeeded: u64) -> Exit {
    match arguments.format {
        Format::Text => {
            let line = |((region, status), rows): (&(String, String), &u64)| format!("  {region} {status} {rows}\n");
            let lines: String = by_region.iter().map(line).collect();
            print(&format!("{succeeded}\n{lines}"));
        }
        Format::Json => {
            let regions: Vec<_> = by_region
                .iter()
                .map(|((region, status), rows)| serde_json::json!({"region": region, "status": status, "rows": rows}))
                .collect();
            let json = serde_json::json!({"build_id": arguments.build_id, "rows": total, "succeeded": succeeded, "regions": regions});
            print(&format!("{json:#}\n"));
        }
    }
    match arguments.expect {
        Some(expected) if expected != succeeded => {
            let failed = total - succeeded;
            say!(
                "harness: {succeeded} hosts have {}, by rows that are SUCCEEDED ({failed} are FAILED); expected {expected}",
                arguments.build_id
            );
            Exit::No
        }
        _ => Exit::Well,
    }
}

/// By region and status.
type Counts = BTreeMap<(String, String), u64>;

async fn count_rows(cloud: &Cloud, build_id: &str) -> Result<Counts, CloudError> {
    cloud.deployment_logs().count_by_region(build_id).await
}

/// Their names begin with their time.
fn newest_run() -> Option<PathBuf> {
    let entries = std::fs::read_dir(Path::new("runs")).ok()?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("cloud").is_dir())
        .max()
}
