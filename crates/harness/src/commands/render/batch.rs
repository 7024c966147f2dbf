//! Workers on AWS Batch: a job definition, and the submission of an array job of it. Batch tells the jobs of an array nothing of each other, so
//! the run is somewhere else where they can reach it, and its address is a parameter.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{PORT, Rendered, WITHIN};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Documents {
    /// The run itself, on a machine that the workers reach.
    run: String,
    register_job_definition: JobDefinition,
    submit_job: Submission,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JobDefinition {
    job_definition_name: String,
    r#type: &'static str,
    platform_capabilities: Vec<&'static str>,
    parameters: BTreeMap<&'static str, String>,
    container_properties: ContainerProperties,
    retry_strategy: RetryStrategy,
    timeout: Timeout,
    propagate_tags: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerProperties {
    image: String,
    command: Vec<&'static str>,
    resource_requirements: Vec<ResourceRequirement>,
    user: &'static str,
    readonly_root_filesystem: bool,
    privileged: bool,
    ulimits: Vec<Ulimit>,
    secrets: Vec<Secret>,
}

#[derive(Serialize)]
struct ResourceRequirement {
    r#type: &'static str,
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ulimit {
    name: &'static str,
    soft_limit: u32,
    hard_limit: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Secret {
    name: &'static str,
    value_from: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RetryStrategy {
    attempts: u32,
    evaluate_on_exit: Vec<OnExit>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OnExit {
    on_exit_code: &'static str,
    action: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Timeout {
    attempt_duration_seconds: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Submission {
    job_name: String,
    job_queue: &'static str,
    job_definition: String,
    array_properties: ArrayProperties,
    parameters: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct ArrayProperties {
    size: u32,
}

pub(super) fn render(of: &Rendered) -> Result<String, String> {
    if of.workers < ARRAY_SIZE_MIN {
        return Err(format!(
            "an array job of AWS Batch has {ARRAY_SIZE_MIN} jobs or more; expected --workers {ARRAY_SIZE_MIN}"
        ));
    }
    let [memory, _] = of.memory;
    let run = of.run_arguments(&of.file, &format!("0.0.0.0:{PORT}")).join(" ");
    let parameters = || BTreeMap::from([("run", format!("ADDRESS-OF-THE-RUN:{PORT}"))]);
    let documents = Documents {
        run: format!("harness {run} --key-file run.key"),
        register_job_definition: JobDefinition {
            job_definition_name: of.name.clone(),
            r#type: "container",
            platform_capabilities: vec!["EC2"],
            parameters: parameters(),
            container_properties: container(of, memory)?,
            retry_strategy: RetryStrategy {
                attempts: 3,
                evaluate_on_exit: vec![
                    // Bad usage will be no better the next time.
                    OnExit {
                        on_exit_code: "2",
                        action: "EXIT",
                    },
                    OnExit {
                        on_exit_code: "*",
                        action: "RETRY",
                    },
                ],
            },
            timeout: Timeout {
                attempt_duration_seconds: of.limit.as_secs(),
            },
            propagate_tags: true,
        },
        submit_job: Submission {
            job_name: of.name.clone(),
            job_queue: "NAME-OF-THE-QUEUE",
            job_definition: of.name.clone(),
            array_properties: ArrayProperties { size: of.workers },
            parameters: parameters(),
        },
    };
    let text = serde_json::to_string_pretty(&documents).expect("documents have only keys that are text");
    Ok(text + "\n")
}

fn container(of: &Rendered, memory: u64) -> Result<ContainerProperties, String> {
    Ok(ContainerProperties {
        image: of.image()?.to_owned(),
        command: vec!["worker", "--connect", "Ref::run", "--within", WITHIN],
        resource_requirements: vec![
            ResourceRequirement {
                r#type: "VCPU",
                value: "2".to_owned(),
            },
            ResourceRequirement {
                r#type: "MEMORY",
                value: memory.div_ceil(1 << 20).to_string(),
            },
        ],
        user: "65532:65532",
        readonly_root_filesystem: true,
        privileged: false,
        ulimits: vec![Ulimit {
            name: "nofile",
            soft_limit: FILES,
            hard_limit: FILES,
        }],
        secrets: vec![Secret {
            name: "FLEETCAST_RUN_KEY",
            value_from: format!("ARN-OF-THE-SECRET-{}", of.name),
        }],
    })
}

/// What AWS allows.
const ARRAY_SIZE_MIN: u32 = 2;
/// Open files of a worker: more than any part of hosts that its memory has room for.
const FILES: u32 = 1_048_576;
