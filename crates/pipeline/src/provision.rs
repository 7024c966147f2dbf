//! The whole pipeline at an endpoint, made through the SDK: what `terraform/` declares, for local stacks that Terraform's
//! provider cannot be had for. Everything is made or brought up to date, so that it can be done again at any time.
//!
//! Roles are not made: local stacks do not look at them. On AWS use `terraform/`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Architecture, DeadLetterConfig, Environment, FunctionCode, Runtime};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use aws_sdk_sqs::types::QueueAttributeName;

use cloud::{
    BUILD_SUFFIXES, Cloud, CloudError, FAILURE_TOPIC, FUNCTION_DEAD_LETTER_QUEUE, FUNCTIONS, RegionNameError,
    SEEDERS_MAX, TRACKING_TABLE, WORKFLOW, check_regions, region_dead_letter_queue,
};

use crate::PipelineClients;

/// Why the pipeline could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The endpoint said no.
    #[error("the pipeline could not be made")]
    Cloud(#[from] CloudError),
    /// The regions cannot be called so.
    #[error("the pipeline cannot be made")]
    Regions(#[from] RegionNameError),
    /// A function has not been built.
    #[error("{} cannot be read; expected the zip of a function, which scripts/package-lambdas.sh makes", path.display())]
    Package {
        /// Where it was expected.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Provisioned {
    /// The workflow.
    pub state_machine_arn: String,
    /// The topic of failures.
    pub topic_arn: String,
    /// The API's id; its URL depends on the stack.
    pub api_id: String,
    /// The stage of the API, the last part of that URL.
    pub api_stage: String,
}

/// The pipeline of a cloud.
#[derive(Clone, Debug)]
pub struct Pipeline {
    pub(crate) cloud: Cloud,
    pub(crate) regions: Vec<String>,
    seeders: u32,
    pub(crate) lambda: aws_sdk_lambda::Client,
    pub(crate) api: aws_sdk_apigateway::Client,
    pub(crate) sns: aws_sdk_sns::Client,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) sfn: aws_sdk_sfn::Client,
}

/// The definition of the workflow, as Terraform has it, with its placeholders.
const DEFINITION: &str = include_str!("../../../terraform/step_function_definition.json");

impl Pipeline {
    /// That of `cloud` for these regions, with one seeder in each. Sends nothing yet.
    pub fn new(cloud: &Cloud, regions: &[String]) -> Self {
        let shared = cloud.shared();
        Self {
            cloud: cloud.clone(),
            regions: regions.to_vec(),
            seeders: 1,
            lambda: aws_sdk_lambda::Client::new(shared),
            api: aws_sdk_apigateway::Client::new(shared),
            sns: aws_sdk_sns::Client::new(shared),
            sqs: aws_sdk_sqs::Client::new(shared),
            sfn: aws_sdk_sfn::Client::new(shared),
        }
    }

    /// The same with so many seeders in each region, each of which has a queue of its own; 1 to [`SEEDERS_MAX`].
    #[must_use]
    pub fn with_seeders(self, seeders: u32) -> Self {
        let seeders = seeders.clamp(1, SEEDERS_MAX);
        Self { seeders, ..self }
    }

    /// Makes all of it. `packages` has `<function>/bootstrap.zip` of each function; `function_endpoint` is how functions reach
    /// the stack. `tell` hears of each step.
    pub async fn provision(
        &self,
        packages: &Path,
        function_endpoint: Option<&str>,
        tell: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Provisioned, ProvisionError> {
        check_regions(&self.regions, self.cloud.stage())?;
        tell("buckets and tables");
        self.cloud.bootstrap(&self.regions).await?;
        for bucket in self.buckets() {
            self.keep_versions(&bucket).await?;
        }
        tell("queues");
        let dead_letters = self.queue(&self.cloud.name(FUNCTION_DEAD_LETTER_QUEUE), None).await?;
        for region in &self.regions {
            let dead = self
                .queue(&self.cloud.name(&region_dead_letter_queue(region)), None)
                .await?;
            for seeder in 1..=self.seeders {
                self.queue(&self.cloud.seeder_queue(region, seeder), Some(&dead.1))
                    .await?;
            }
        }
        let buckets: Vec<String> = self
            .regions
            .iter()
            .map(|region| self.cloud.regional_bucket(region))
            .collect();
        let mut variables = vec![
            ("GLOBAL_BUCKET", self.cloud.global_bucket()),
            ("DESTINATION_BUCKETS", buckets.join(",")),
            ("STAGE", self.cloud.stage().to_owned()),
            ("BUILD_SUFFIXES", BUILD_SUFFIXES.to_owned()),
            (SEEDERS, self.seeders.to_string()),
        ];
        let mut arns = HashMap::new();
        let make = async |function: &'static str, variables: &[(&str, String)]| {
            tell(function);
            let zip = packages.join(function).join("bootstrap.zip");
            let code = tokio::fs::read(&zip).await;
            let code = code.map_err(|source| ProvisionError::Package { path: zip, source })?;
            let environment = environment_of(function, variables, function_endpoint);
            let made = self.function(function, code, environment, &dead_letters.1).await;
            made.map_err(ProvisionError::from)
        };
        // The workflow calls this one, and others start the workflow.
        arns.insert(COPIER, make(COPIER, &variables).await?);
        tell("topic and workflow");
        let topic_arn = self.topic().await?;
        let state_machine_arn = self.state_machine(&topic_arn, &arns[COPIER]).await?;
        variables.push(("STATE_MACHINE_ARN", state_machine_arn.clone()));
        for function in FUNCTIONS.into_iter().filter(|function| *function != COPIER) {
            arns.insert(function, make(function, &variables).await?);
        }
        tell("notifications");
        for (bucket, function) in self.notifications() {
            let kept = self.notify(&bucket, function, &arns[function]).await?;
            if kept > 0 {
                tell(&format!("bucket {bucket} tells {kept} others too; that stays"));
            }
        }
        tell("API");
        let api_id = self.rest_api(&arns).await?;
        Ok(Provisioned {
            state_machine_arn,
            topic_arn,
            api_id,
            api_stage: self.api_stage(),
        })
    }

    pub(crate) fn buckets(&self) -> Vec<String> {
        let regional = self.regions.iter().map(|region| self.cloud.regional_bucket(region));
        std::iter::once(self.cloud.global_bucket()).chain(regional).collect()
    }

    /// Which bucket calls which function.
    pub(crate) fn notifications(&self) -> Vec<(String, &'static str)> {
        let regional = self.regions.iter().map(|region| self.cloud.regional_bucket(region));
        std::iter::once((self.cloud.global_bucket(), "replication-worker"))
            .chain(regional.map(|bucket| (bucket, "regional-sync")))
            .collect()
    }

    pub(crate) fn api_name(&self) -> String {
        self.cloud.name(API)
    }

    pub(crate) fn api_stage(&self) -> String {
        match self.cloud.stage() {
            "" => "dev".to_owned(),
            stage => stage.to_owned(),
        }
    }

    async fn keep_versions(&self, bucket: &str) -> Result<(), CloudError> {
        let enabled = VersioningConfiguration::builder()
            .status(BucketVersioningStatus::Enabled)
            .build();
        let request = self.cloud.s3().put_bucket_versioning().bucket(bucket);
        let sent = request.versioning_configuration(enabled).send().await;
        let failed = |error| CloudError::service(format!("keep versions in bucket {bucket}"), &error);
        sent.map(|_| ()).map_err(failed)
    }

    /// Its URL and ARN.
    async fn queue(&self, name: &str, dead_letters: Option<&str>) -> Result<(String, String), CloudError> {
        let failed = |e: String| CloudError::Service {
            action: format!("make queue {name}"),
            message: e,
            retryable: false,
        };
        let mut attributes = HashMap::from([
            (QueueAttributeName::VisibilityTimeout, "60".to_owned()),
            (QueueAttributeName::ReceiveMessageWaitTimeSeconds, "20".to_owned()),
            (QueueAttributeName::MessageRetentionPeriod, "1209600".to_owned()),
        ]);
        if let Some(arn) = dead_letters {
            let policy = serde_json::json!({"deadLetterTargetArn": arn, "maxReceiveCount": TAKEN_UP_MAX.to_string()});
            attributes.insert(QueueAttributeName::RedrivePolicy, policy.to_string());
        }
        let existing = self.sqs.get_queue_url().queue_name(name).send().await;
        let url = match existing.ok().and_then(|found| found.queue_url) {
            Some(url) => {
                let request = self.sqs.set_queue_attributes().queue_url(&url);
                let sent = request.set_attributes(Some(attributes)).send().await;
                sent.map_err(|error| CloudError::service(format!("set up queue {name}"), &error))?;
                url
            }
            None => {
                let request = self.sqs.create_queue().queue_name(name);
                let made = request.set_attributes(Some(attributes)).send().await;
                let made = made.map_err(|error| CloudError::service(format!("make queue {name}"), &error))?;
                made.queue_url
                    .ok_or_else(|| failed("the answer has no URL".to_owned()))?
            }
        };
        let request = self.sqs.get_queue_attributes().queue_url(&url);
        let got = request.attribute_names(QueueAttributeName::QueueArn).send().await;
        let got = got.map_err(|error| CloudError::service(format!("look at queue {name}"), &error))?;
        let arn = got
            .attributes
            .and_then(|mut all| all.remove(&QueueAttributeName::QueueArn));
        Ok((url, arn.ok_or_else(|| failed("it has no ARN".to_owned()))?))
    }

    async fn topic(&self) -> Result<String, CloudError> {
        let name = self.cloud.name(FAILURE_TOPIC);
        let made = self.sns.create_topic().name(&name).send().await;
        let made = made.map_err(|error| CloudError::service(format!("make topic {name}"), &error))?;
        told(made.topic_arn, "make topic", &name)
    }

    /// The definition of the workflow in this stage.
    pub(crate) fn definition(&self, topic_arn: &str, copier_arn: &str) -> String {
        let partition = topic_arn.split(':').nth(1).unwrap_or("aws");
        DEFINITION
            .replace("${partition}", partition)
            .replace("${tracking_table}", &self.cloud.name(TRACKING_TABLE))
            .replace("${region_copier_arn}", copier_arn)
            .replace("${failure_topic_arn}", topic_arn)
    }

    async fn state_machine(&self, topic_arn: &str, copier_arn: &str) -> Result<String, CloudError> {
        let name = self.cloud.name(WORKFLOW);
        let definition = self.definition(topic_arn, copier_arn);
        if let Some(arn) = self.cloud.workflow().find(&name).await? {
            let request = self.sfn.update_state_machine().state_machine_arn(&arn);
            let sent = request.definition(definition).send().await;
            sent.map_err(|error| CloudError::service(format!("bring state machine {name} up to date"), &error))?;
            return Ok(arn);
        }
        let request = self.sfn.create_state_machine().name(&name).definition(definition);
        let made = request.role_arn(role(topic_arn, &name)).send().await;
        let made = made.map_err(|error| CloudError::service(format!("make state machine {name}"), &error))?;
        Ok(made.state_machine_arn)
    }

    async fn function(
        &self,
        function: &str,
        code: Vec<u8>,
        environment: HashMap<String, String>,
        dead_letters: &str,
    ) -> Result<String, CloudError> {
        let name = self.cloud.name(function);
        let (code, environment) = (
            Blob::new(code),
            Environment::builder().set_variables(Some(environment)).build(),
        );
        let arn = match self.lambda.get_function().function_name(&name).send().await {
            Ok(_) => self.update_function(&name, code, environment).await?,
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|e| e.is_resource_not_found_exception()) =>
            {
                let by_events = matches!(function, "replication-worker" | "regional-sync");
                let dead_letters = by_events.then_some(dead_letters);
                self.make_function(&name, code, environment, dead_letters).await?
            }
            // What does not answer is not what is not there.
            Err(error) => return Err(CloudError::service(format!("look at function {name}"), &error)),
        };
        for service in CALLERS {
            let request = self.lambda.add_permission().function_name(&name).principal(service);
            let statement = service.split('.').next().unwrap_or(service);
            let request = request.statement_id(statement).action("lambda:InvokeFunction");
            if let Err(error) = request.send().await
                && !error
                    .as_service_error()
                    .is_some_and(|e| e.is_resource_conflict_exception())
            {
                return Err(CloudError::service(
                    format!("let {service} call function {name}"),
                    &error,
                ));
            }
        }
        Ok(arn)
    }

    async fn update_function(&self, name: &str, code: Blob, environment: Environment) -> Result<String, CloudError> {
        let request = self.lambda.update_function_code().function_name(name).zip_file(code);
        let sent = request.send().await;
        sent.map_err(|error| CloudError::service(format!("bring function {name} up to date"), &error))?;
        let request = self.lambda.update_function_configuration().function_name(name);
        let set = request.environment(environment).send().await;
        let set = set.map_err(|error| CloudError::service(format!("set up function {name}"), &error))?;
        told(set.function_arn, "set up function", name)
    }

    async fn make_function(
        &self,
        name: &str,
        code: Blob,
        environment: Environment,
        dead_letters: Option<&str>,
    ) -> Result<String, CloudError> {
        let architecture = if cfg!(target_arch = "aarch64") {
            Architecture::Arm64
        } else {
            Architecture::X8664
        };
        let dead_letter_config = dead_letters.map(|arn| DeadLetterConfig::builder().target_arn(arn).build());
        let made = self
            .lambda
            .create_function()
            .function_name(name)
            .runtime(Runtime::Providedal2023)
            .handler("bootstrap")
            .role(role(dead_letters.unwrap_or_default(), name))
            .architectures(architecture)
            .timeout(FUNCTION_SECONDS)
            .memory_size(FUNCTION_MIB)
            .code(FunctionCode::builder().zip_file(code).build())
            .environment(environment)
            .set_dead_letter_config(dead_letter_config)
            .send()
            .await
            .map_err(|error| CloudError::service(format!("make function {name}"), &error))?;
        told(made.function_arn, "make function", name)
    }
}

/// What an answer has to tell: an empty id would be found out much later.
pub(crate) fn told(id: Option<String>, action: &str, name: &str) -> Result<String, CloudError> {
    id.filter(|id| !id.is_empty()).ok_or_else(|| CloudError::Invalid {
        action: format!("{action} {name}"),
        message: "the answer does not say what it is called".to_owned(),
    })
}

/// The environment of a function.
fn environment_of(function: &str, variables: &[(&str, String)], endpoint: Option<&str>) -> HashMap<String, String> {
    let read = variables
        .iter()
        .filter(|(name, value)| variables_of(function).contains(name) && !value.is_empty());
    let mut environment: HashMap<String, String> =
        read.map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    environment.insert("RUST_LOG".to_owned(), "info".to_owned());
    if let Some(endpoint) = endpoint {
        environment.insert("AWS_ENDPOINT_URL".to_owned(), endpoint.to_owned());
    }
    environment
}

/// A role that nobody looks at, in the account of `arn`.
fn role(arn: &str, name: &str) -> String {
    let account = arn.split(':').nth(4).filter(|account| !account.is_empty());
    let account = account.unwrap_or("000000000000");
    format!("arn:aws:iam::{account}:role/{name}")
}

/// The environment variables that a function reads.
pub(crate) fn variables_of(function: &str) -> &'static [&'static str] {
    match function {
        "build-worker" => &["GLOBAL_BUCKET"],
        "pipeline-action" => &["STATE_MACHINE_ARN"],
        "regional-sync" => &["BUILD_SUFFIXES", SEEDERS, "STAGE"],
        "replication-worker" => &["DESTINATION_BUCKETS", "STATE_MACHINE_ARN"],
        "step-function-invoker" => &[
            "BUILD_SUFFIXES",
            "DESTINATION_BUCKETS",
            "GLOBAL_BUCKET",
            "STAGE",
            "STATE_MACHINE_ARN",
        ],
        _ => &[],
    }
}

/// By which `regional-sync` is told how many seeders a region has.
pub(crate) const SEEDERS: &str = "SEEDERS_PER_REGION";
/// The function that the workflow calls.
pub(crate) const COPIER: &str = "region-copier";
/// The API, before the stage is appended.
const API: &str = "code-deploy-api";
/// Who may call the functions.
pub(crate) const CALLERS: [&str; 2] = ["s3.amazonaws.com", "apigateway.amazonaws.com"];
/// Times that a message of a region's queue is taken up before it goes to the dead-letter queue.
pub(crate) const TAKEN_UP_MAX: u32 = 5;
const FUNCTION_SECONDS: i32 = 900;
const FUNCTION_MIB: i32 = 256;
