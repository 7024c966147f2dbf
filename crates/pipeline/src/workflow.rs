//! Executions of `file-copy-workflow` in Step Functions.

use std::time::{Duration, SystemTime};

use aws_sdk_sfn::Client;
use aws_sdk_sfn::operation::describe_execution::{DescribeExecutionError, DescribeExecutionOutput};
use serde_json::Value;

use cloud::{Backoff, CloudError, fnv1a};

/// An execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// `RUNNING`, `SUCCEEDED`, `FAILED`, `TIMED_OUT` or `ABORTED`.
    pub status: String,
    /// When it began.
    pub started_at: Option<SystemTime>,
    /// When it ended.
    pub stopped_at: Option<SystemTime>,
    /// What it was given; only where it was described.
    pub input: Option<String>,
    /// What came of it; only where it was described and has succeeded.
    pub output: Option<String>,
    /// The end that it failed in and why; only where it was described.
    pub error: Option<(String, String)>,
}

/// What became of a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Started {
    /// It runs.
    New {
        /// Its ARN.
        arn: String,
    },
    /// There is, or was, an execution of that name already.
    Already,
}

/// The state machines of a cloud.
#[derive(Clone, Debug)]
pub struct Workflow {
    client: Client,
}

impl Workflow {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Starts an execution of `state_machine` called `name`. A name is used once in 90 days, which is how an event that
    /// comes twice starts one execution.
    pub async fn start(&self, state_machine: &str, name: &str, input: &Value) -> Result<Started, CloudError> {
        let start = || async {
            let request = self.client.start_execution().state_machine_arn(state_machine);
            match request.name(name).input(input.to_string()).send().await {
                Ok(started) => Ok(Started::New {
                    arn: started.execution_arn,
                }),
                Err(error)
                    if error
                        .as_service_error()
                        .is_some_and(|e| e.is_execution_already_exists()) =>
                {
                    Ok(Started::Already)
                }
                Err(error) => Err(CloudError::service(
                    format!("start execution {name} of {state_machine}"),
                    &error,
                )),
            }
        };
        Backoff::READ.seeded(fnv1a(name).into()).run(start).await
    }

    /// Looks at an execution.
    pub async fn describe(&self, arn: &str) -> Result<Execution, CloudError> {
        let describe = || async {
            let described = self.client.describe_execution().execution_arn(arn).send().await;
            described.map_err(|error| CloudError::service(format!("describe execution {arn}"), &error))
        };
        Ok(Self::execution(
            Backoff::READ.seeded(fnv1a(arn).into()).run(describe).await?,
        ))
    }

    /// Looks for an execution that may not be there.
    ///
    /// # Errors
    /// Step Functions does not answer, or refuses to.
    pub async fn describe_if_there(&self, arn: &str) -> Result<Option<Execution>, CloudError> {
        let find = || async {
            match self.client.describe_execution().execution_arn(arn).send().await {
                Ok(described) => Ok(Some(described)),
                Err(error)
                    if error
                        .as_service_error()
                        .is_some_and(DescribeExecutionError::is_execution_does_not_exist) =>
                {
                    Ok(None)
                }
                Err(error) => Err(CloudError::service(format!("look for execution {arn}"), &error)),
            }
        };
        let found = Backoff::READ.seeded(fnv1a(arn).into()).run(find).await?;
        Ok(found.map(Self::execution))
    }

    fn execution(described: DescribeExecutionOutput) -> Execution {
        Execution {
            arn: described.execution_arn,
            name: described.name.unwrap_or_default(),
            status: described.status.as_str().to_owned(),
            started_at: time(&described.start_date),
            stopped_at: described.stop_date.as_ref().and_then(time),
            input: described.input,
            output: described.output,
            error: described
                .error
                .map(|error| (error, described.cause.unwrap_or_default())),
        }
    }

    /// The newest executions, at most `count`.
    pub async fn list(&self, state_machine: &str, count: u16) -> Result<Vec<Execution>, CloudError> {
        let mut all = Vec::new();
        let mut token = None;
        loop {
            let left = usize::from(count) - all.len();
            let list = || async {
                let request = self.client.list_executions().state_machine_arn(state_machine);
                let request = request.max_results(i32::try_from(left.min(PAGE_MAX)).unwrap_or(1));
                let listed = request.set_next_token(token.clone()).send().await;
                listed.map_err(|error| CloudError::service(format!("list executions of {state_machine}"), &error))
            };
            let listed = Backoff::READ.run(list).await?;
            all.extend(listed.executions.into_iter().map(|item| Execution {
                arn: item.execution_arn,
                name: item.name,
                status: item.status.as_str().to_owned(),
                started_at: time(&item.start_date),
                stopped_at: item.stop_date.as_ref().and_then(time),
                input: None,
                output: None,
                error: None,
            }));
            token = listed.next_token;
            if token.is_none() || all.len() >= usize::from(count) {
                all.truncate(usize::from(count));
                return Ok(all);
            }
        }
    }

    /// The ARN of the state machine called `name`, where there is one.
    pub async fn find(&self, name: &str) -> Result<Option<String>, CloudError> {
        let mut token = None;
        loop {
            let list = || async {
                let listed = self
                    .client
                    .list_state_machines()
                    .set_next_token(token.clone())
                    .send()
                    .await;
                listed.map_err(|error| CloudError::service("list state machines", &error))
            };
            let listed = Backoff::READ.run(list).await?;
            let found = listed.state_machines.into_iter().find(|machine| machine.name == name);
            token = listed.next_token;
            if found.is_some() || token.is_none() {
                return Ok(found.map(|machine| machine.state_machine_arn));
            }
        }
    }
}

fn time(at: &aws_sdk_sfn::primitives::DateTime) -> Option<SystemTime> {
    let millis = u64::try_from(at.to_millis().ok()?).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_millis(millis))
}

/// Executions of one answer.
const PAGE_MAX: usize = 100;
