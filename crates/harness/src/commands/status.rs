//! `harness status`: the last executions of the workflow.

use std::fmt::Write;
use std::time::SystemTime;

use cloud::{Cloud, CloudError, WORKFLOW};
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
    let executions = match cloud.workflow().find(&name).await {
        Ok(Some(arn)) => last(&cloud, &arn, arguments.count).await,
        Ok(None) => {
            say!("harness: there is no state machine {name}; `harness doctor` says what else is missing");
            return Exit::Failed;
        }
        Err(error) => Err(error),
    };
    let executions = match executions {
        Ok(executions) => executions,
        Err(error) => {
            print_error("the executions cannot be read", &error);
            return Exit::Failed;
        }
    };
    match arguments.format {
        Format::Text => print(&table(&executions)),
        Format::Json => {
            let all: Vec<Value> = executions
                .iter()
                .map(|execution| {
                    json!({
                        "name": execution.name,
                        "arn": execution.arn,
                        "status": execution.status,
                        "build_id": build_of(execution),
                        "started_at": execution.started_at.map(cloud::timestamp),
                        "seconds": seconds(execution),
                        "error": execution.error.as_ref().map(|(error, _)| error),
                        "cause": execution.error.as_ref().map(|(_, cause)| cause),
                    })
                })
                .collect();
            print(&format!("{:#}\n", Value::from(all)));
        }
    }
    Exit::Success
}

async fn last(cloud: &Cloud, arn: &str, count: u16) -> Result<Vec<Execution>, CloudError> {
    let workflow = cloud.workflow();
    let mut described = Vec::new();
    for execution in workflow.list(arn, count).await? {
        described.push(workflow.describe(&execution.arn).await?);
    }
    Ok(described)
}

fn table(executions: &[Execution]) -> String {
    if executions.is_empty() {
        return "no executions yet; `harness upload` starts one\n".to_owned();
    }
    let mut text = String::new();
    for execution in executions {
        let started = execution.started_at.map(cloud::timestamp).unwrap_or_default();
        let took = seconds(execution).map_or_else(|| "going on".to_owned(), |seconds| format!("{seconds:.1} s"));
        let _ = writeln!(
            text,
            "{:<10} {started} {took:>9}  {}",
            execution.status,
            build_of(execution)
        );
        if let Some((error, cause)) = &execution.error {
            let _ = writeln!(text, "           {error}: {cause}");
        }
    }
    text
}

fn build_of(execution: &Execution) -> String {
    let input: Option<Value> = execution
        .input
        .as_deref()
        .and_then(|input| serde_json::from_str(input).ok());
    let key = input
        .as_ref()
        .and_then(|input| input.get("sourceKey"))
        .and_then(Value::as_str);
    key.unwrap_or("(no build)").to_owned()
}

fn seconds(execution: &Execution) -> Option<f64> {
    let took: Result<_, _> = execution
        .stopped_at
        .unwrap_or(SystemTime::UNIX_EPOCH)
        .duration_since(execution.started_at?);
    took.ok().map(|took| took.as_secs_f64())
}
