//! `harness status`: the last executions of the workflow, of all builds or of one version of one.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::SystemTime;

use cloud::{Cloud, CloudError, Standing, WORKFLOW};
use pipeline::{Execution, PipelineClients};
use serde_json::{Value, json};

use super::{print, reach};
use crate::cli::{Format, StatusArguments};
use crate::exit::{Exit, print_error};

pub(crate) async fn status(arguments: &StatusArguments) -> Exit {
    let cloud = match reach::connect(&arguments.place).await {
        Ok(cloud) => cloud,
        Err(exit) => return exit,
    };
    let name = cloud.name(WORKFLOW);
    let shown = match cloud.workflow().find(&name).await {
        Ok(Some(arn)) => match &arguments.build_id {
            None => last(&cloud, &arn, arguments.count).await,
            Some(build_id) => of_build(&cloud, &arn, (build_id, arguments)).await,
        },
        Ok(None) => {
            say!("harness: there is no state machine {name}; `harness doctor` says what else is missing");
            return Exit::Failed;
        }
        Err(error) => Err(error),
    };
    let shown = match shown {
        Ok(shown) => shown,
        Err(error) => {
            print_error("the executions cannot be read", &error);
            return Exit::Failed;
        }
    };
    match arguments.format {
        Format::Text if shown.is_empty() => print(&nothing(arguments)),
        Format::Text => print(&table(&shown)),
        Format::Json => {
            let all: Vec<Value> = shown.iter().map(as_json).collect();
            print(&format!("{:#}\n", Value::from(all)));
        }
    }
    Exit::Success
}

/// An execution, and which version of its build it is of.
struct Shown {
    execution: Execution,
    /// As the bucket names it; `None` where nobody has said it and nothing was copied yet.
    version_id: Option<String>,
    /// As rows name it, where that was looked at.
    version: Option<String>,
}

impl Shown {
    fn new(execution: Execution) -> Self {
        let said = text_at(execution.input.as_deref(), "/sourceVersionId");
        // Who does not say it means the newest, which the copies have then found.
        let found = || text_at(execution.output.as_deref(), "/results/0/version");
        Self {
            version_id: said.or_else(found),
            version: None,
            execution,
        }
    }

    fn build_id(&self) -> Option<String> {
        text_at(self.execution.input.as_deref(), "/sourceKey")
    }

    /// Whether it is of the version that somebody has named, as rows or the bucket do. S3 puts ETags in quotes.
    fn is_of(&self, version: &str) -> bool {
        let bare = |text: &str| text.trim_matches('"').to_owned();
        [&self.version, &self.version_id]
            .into_iter()
            .flatten()
            .any(|own| bare(own) == bare(version))
    }

    /// Whether it is of what the bucket has now.
    fn is_newest(&self, standing: &Standing) -> bool {
        match (&self.version_id, &standing.version_id) {
            (Some(own), Some(newest)) => own == newest,
            // It has copied nothing yet, or the bucket keeps no versions.
            _ => self.execution.started_at.is_none_or(|at| at >= standing.since),
        }
    }
}

async fn last(cloud: &Cloud, arn: &str, count: u16) -> Result<Vec<Shown>, CloudError> {
    let workflow = cloud.workflow();
    let mut described = Vec::new();
    for execution in workflow.list(arn, count).await? {
        described.push(Shown::new(workflow.describe(&execution.arn).await?));
    }
    Ok(described)
}

/// Those of one version of a build: of the one that is named, or of what the bucket has now. Of all where that is nothing.
async fn of_build(
    cloud: &Cloud,
    arn: &str,
    (build_id, arguments): (&str, &StatusArguments),
) -> Result<Vec<Shown>, CloudError> {
    let (workflow, bucket) = (cloud.workflow(), cloud.global_bucket());
    let standing = match arguments.version {
        Some(_) => None,
        None => cloud.buckets().standing(&bucket, build_id).await?,
    };
    let mut etags: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut shown = Vec::new();
    for execution in workflow.list(arn, LOOKED_THROUGH).await? {
        let mut one = Shown::new(workflow.describe(&execution.arn).await?);
        if one.build_id().as_deref() != Some(build_id) {
            continue;
        }
        if let Some(id) = &one.version_id {
            if !etags.contains_key(id) {
                let etag = match cloud.buckets().head_version(&bucket, build_id, Some(id)).await {
                    Ok(object) => Some(object.etag),
                    // The bucket has it no more.
                    Err(CloudError::ObjectMissing { .. }) => None,
                    Err(error) => return Err(error),
                };
                etags.insert(id.clone(), etag);
            }
            one.version = etags.get(id).cloned().flatten();
        }
        let is_meant = match (&arguments.version, &standing) {
            (Some(version), _) => one.is_of(version),
            (None, Some(standing)) => one.is_newest(standing),
            (None, None) => true,
        };
        if is_meant {
            shown.push(one);
        }
        if shown.len() >= usize::from(arguments.count) {
            break;
        }
    }
    Ok(shown)
}

fn nothing(arguments: &StatusArguments) -> String {
    match (&arguments.build_id, &arguments.version) {
        (None, _) => "no executions yet; `harness upload` starts one\n".to_owned(),
        (Some(build_id), None) => {
            format!("none of the last {LOOKED_THROUGH} executions is of what the bucket has as {build_id}\n")
        }
        (Some(build_id), Some(version)) => {
            format!("none of the last {LOOKED_THROUGH} executions is of version {version} of {build_id}\n")
        }
    }
}

fn table(shown: &[Shown]) -> String {
    let mut text = String::new();
    for one in shown {
        let execution = &one.execution;
        let started = execution.started_at.map(cloud::timestamp).unwrap_or_default();
        let took = seconds(execution).map_or_else(|| "going on".to_owned(), |seconds| format!("{seconds:.1} s"));
        let build = one.build_id().unwrap_or_else(|| NO_BUILD.to_owned());
        let version = one.version.as_ref().map(|version| format!("  {version}"));
        let version = version.unwrap_or_default();
        let _ = writeln!(text, "{:<10} {started} {took:>9}  {build}{version}", execution.status);
        if let Some((error, cause)) = &execution.error {
            let _ = writeln!(text, "           {error}: {cause}");
        }
    }
    text
}

fn as_json(shown: &Shown) -> Value {
    let execution = &shown.execution;
    json!({
        "name": execution.name,
        "arn": execution.arn,
        "status": execution.status,
        "build_id": shown.build_id().unwrap_or_else(|| NO_BUILD.to_owned()),
        "version": shown.version,
        "version_id": shown.version_id,
        "started_at": execution.started_at.map(cloud::timestamp),
        "seconds": seconds(execution),
        "error": execution.error.as_ref().map(|(error, _)| error),
        "cause": execution.error.as_ref().map(|(_, cause)| cause),
    })
}

/// What stands at a place of a text of JSON.
fn text_at(json: Option<&str>, place: &str) -> Option<String> {
    let value: Value = serde_json::from_str(json?).ok()?;
    value.pointer(place).and_then(Value::as_str).map(str::to_owned)
}

fn seconds(execution: &Execution) -> Option<f64> {
    let took: Result<_, _> = execution
        .stopped_at
        .unwrap_or(SystemTime::UNIX_EPOCH)
        .duration_since(execution.started_at?);
    took.ok().map(|took| took.as_secs_f64())
}

const NO_BUILD: &str = "(no build)";
/// Executions that are looked at for those of a build, each with a call: Step Functions does not look for inputs.
const LOOKED_THROUGH: u16 = 300;
