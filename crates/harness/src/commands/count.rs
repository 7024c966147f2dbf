//! `harness count`: the rows of a build in `host-deployment-logs`, from a run's folder or an endpoint.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cloud::{Cloud, CloudError, EmbeddedCloud};

use super::print;
use crate::cli::{CountArguments, Format};
use crate::exit::{Exit, complain};

pub(crate) async fn count(arguments: CountArguments) -> Exit {
    let at_endpoint = arguments.place.endpoint_url.is_some() || std::env::var_os("AWS_ENDPOINT_URL").is_some();
    let (cloud, embedded) = match arguments.run.is_none() && at_endpoint {
        true => (Cloud::connect(&arguments.place.config()).await, None),
        false => {
            let Some(folder) = arguments.run.clone().or_else(newest_run) else {
                eprintln!("harness: there is no run under runs/; expected --run FOLDER or --endpoint-url URL");
                return Exit::Usage;
            };
            let data = folder.join("cloud");
            if !data.join("dynamodb.sqlite").is_file() {
                eprintln!(
                    "harness: {} is not the folder of a run; expected one with cloud/dynamodb.sqlite",
                    folder.display()
                );
                return Exit::Usage;
            }
            match EmbeddedCloud::start(&data).await {
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
    let (total, by_region) = match counted {
        Ok(counted) => counted,
        Err(error) => {
            complain("the rows cannot be counted", &error);
            return Exit::Failed;
        }
    };
    match arguments.format {
        Format::Text => {
            let line = |((region, status), rows): (&(String, String), &u64)| format!("  {region} {status} {rows}\n");
            let lines: String = by_region.iter().map(line).collect();
            print(&format!("{total}\n{lines}"));
        }
        Format::Json => {
            let regions: Vec<_> = by_region
                .iter()
                .map(|((region, status), rows)| serde_json::json!({"region": region, "status": status, "rows": rows}))
                .collect();
            let json = serde_json::json!({"build_id": arguments.build_id, "rows": total, "regions": regions});
            print(&format!("{json:#}\n"));
        }
    }
    match arguments.expect {
        Some(expected) if expected != total => {
            eprintln!("harness: {total} rows; expected {expected}");
            Exit::No
        }
        _ => Exit::Well,
    }
}

type Counts = (u64, BTreeMap<(String, String), u64>);

async fn count_rows(cloud: &Cloud, build_id: &str) -> Result<Counts, CloudError> {
    let by_region = cloud.deployment_logs().count_by_region(build_id).await?;
    Ok((by_region.values().sum(), by_region))
}

/// Their names begin with their time.
fn newest_run() -> Option<PathBuf> {
    let entries = std::fs::read_dir(Path::new("runs")).ok()?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("cloud").is_dir())
        .max()
}
