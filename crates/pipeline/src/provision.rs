//! The whole pipeline at an endpoint, made through the SDK: what `terraform/` declares, for local stacks that Terraform's
//! provider cannot be had for. Everything is made or brought up to date, so that it can be done again at any time.
//!
//! Roles are not made: local stacks do not look at them. On AWS use `terraform/`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use aws_sdk_apigateway::types::IntegrationType;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Architecture, DeadLetterConfig, Environment, FunctionCode, Runtime};
use aws_sdk_s3::types::{
    BucketVersioningStatus, Event, LambdaFunctionConfiguration, NotificationConfiguration, VersioningConfiguration,
};
use aws_sdk_sqs::types::QueueAttributeName;

use cloud::{
    Cloud, CloudError, FAILURE_TOPIC, FUNCTION_DEAD_LETTER_QUEUE, FUNCTIONS, HOST_DEPLOYMENT_LOGS, ROUTES,
    TRACKING_TABLE, WORKFLOW, region_dead_letter_queue,
};

use crate::PipelineClients;

/// Why the pipeline could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The endpoint said no.
    #[error("the pipeline could not be made")]
    Cloud(#[from] CloudError),
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

/// Whether a part of the pipeline is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// What it is: a bucket, a queue …
    pub kind: &'static str,
    /// What it is called.
    pub name: String,
    /// Why it does not do, where it does not.
    pub problem: Option<String>,
}

/// The pipeline of a cloud.
#[derive(Clone, Debug)]
pub struct Pipeline {
    cloud: Cloud,
    regions: Vec<String>,
    lambda: aws_sdk_lambda::Client,
    api: aws_sdk_apigateway::Client,
    sns: aws_sdk_sns::Client,
    sqs: aws_sdk_sqs::Client,
    sfn: aws_sdk_sfn::Client,
}

/// The definition of the workflow, as Terraform has it, with its placeholders.
const DEFINITION: &str = include_str!("../../../terraform/step_function_definition.json");

impl Pipeline {
    /// That of `cloud` for these regions. Sends nothing yet.
    pub fn new(cloud: &Cloud, regions: &[String]) -> Self {
        let shared = cloud.shared();
        Self {
            cloud: cloud.clone(),
            regions: regions.to_vec(),
            lambda: aws_sdk_lambda::Client::new(shared),
            api: aws_sdk_apigateway::Client::new(shared),
            sns: aws_sdk_sns::Client::new(shared),
            sqs: aws_sdk_sqs::Client::new(shared),
            sfn: aws_sdk_sfn::Client::new(shared),
        }
    }

    /// Makes all of it. `packages` has `<function>/bootstrap.zip` of each function; `function_endpoint` is how functions reach
    /// the stack. `tell` hears of each step.
    pub async fn provision(
        &self,
        packages: &Path,
        function_endpoint: Option<&str>,
        tell: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Provisioned, ProvisionError> {
        tell("buckets and tables");
        self.cloud.bootstrap(&self.regions).await?;
        for bucket in self.buckets() {
            self.keep_versions(&bucket).await?;
        }
        tell("queues");
        let dead_letters = self.queue(&self.cloud.name(FUNCTION_DEAD_LETTER_QUEUE), None).await?;
        let mut queue_urls = Vec::new();
        for region in &self.regions {
            let dead = self
                .queue(&self.cloud.name(&region_dead_letter_queue(region)), None)
                .await?;
            let queue = self.queue(&self.cloud.region_queue(region), Some(&dead.1)).await?;
            queue_urls.push(format!("{}={}", self.cloud.regional_bucket(region), queue.0));
        }
        tell("topic and workflow");
        let topic_arn = self.topic().await?;
        let state_machine_arn = self.state_machine(&topic_arn).await?;
        let buckets: Vec<String> = self
            .regions
            .iter()
            .map(|region| self.cloud.regional_bucket(region))
            .collect();
        let variables = [
            ("GLOBAL_BUCKET", self.cloud.global_bucket()),
            ("DESTINATION_BUCKETS", buckets.join(",")),
            ("STATE_MACHINE_ARN", state_machine_arn.clone()),
            ("QUEUE_URLS", queue_urls.join(",")),
        ];
        let mut arns = HashMap::new();
        for function in FUNCTIONS {
            tell(function);
            let zip = packages.join(function).join("bootstrap.zip");
            let code = tokio::fs::read(&zip).await;
            let code = code.map_err(|source| ProvisionError::Package { path: zip, source })?;
            let mut environment: HashMap<String, String> = variables
                .iter()
                .filter(|(name, _)| variables_of(function).contains(name))
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect();
            environment.insert("RUST_LOG".to_owned(), "info".to_owned());
            if let Some(endpoint) = function_endpoint {
                environment.insert("AWS_ENDPOINT_URL".to_owned(), endpoint.to_owned());
            }
            let arn = self.function(function, code, environment, &dead_letters.1).await?;
            arns.insert(function, arn);
        }
        tell("notifications");
        self.notify(
            &self.cloud.global_bucket(),
            "replication-worker",
            &arns["replication-worker"],
        )
        .await?;
        for bucket in &buckets {
            self.notify(bucket, "regional-sync", &arns["regional-sync"]).await?;
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

    /// Looks at every part and makes nothing.
    pub async fn inspect(&self) -> Vec<Inspection> {
        let mut found = Vec::new();
        let mut note = |kind, name: String, problem: Option<String>| found.push(Inspection { kind, name, problem });
        for bucket in self.buckets() {
            let looked = self.cloud.s3().head_bucket().bucket(&bucket).send().await;
            note(
                "bucket",
                bucket.clone(),
                looked.err().map(|e| CloudError::service("look", &e).to_string()),
            );
        }
        for (table, looked) in [
            (TRACKING_TABLE, self.cloud.tracking().is_there().await),
            (HOST_DEPLOYMENT_LOGS, self.cloud.deployment_logs().is_there().await),
        ] {
            note(
                "table",
                self.cloud.name(table),
                looked.err().map(|error| error.to_string()),
            );
        }
        for region in &self.regions {
            for name in [
                self.cloud.region_queue(region),
                self.cloud.name(&region_dead_letter_queue(region)),
            ] {
                let looked = self.sqs.get_queue_url().queue_name(&name).send().await;
                note(
                    "queue",
                    name,
                    looked.err().map(|e| CloudError::service("look", &e).to_string()),
                );
            }
        }
        let workflow = self.cloud.name(WORKFLOW);
        let problem = match self.cloud.workflow().find(&workflow).await {
            Ok(Some(_)) => None,
            Ok(None) => Some("it is not there".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        note("state machine", workflow, problem);
        for function in FUNCTIONS {
            let name = self.cloud.name(function);
            let looked = self.lambda.get_function().function_name(&name).send().await;
            note(
                "function",
                name,
                looked.err().map(|e| CloudError::service("look", &e).to_string()),
            );
        }
        for (bucket, function) in std::iter::once((self.cloud.global_bucket(), "replication-worker")).chain(
            self.regions
                .iter()
                .map(|region| (self.cloud.regional_bucket(region), "regional-sync")),
        ) {
            let looked = self
                .cloud
                .s3()
                .get_bucket_notification_configuration()
                .bucket(&bucket)
                .send()
                .await;
            let problem = match looked {
                Ok(set) if set.lambda_function_configurations().is_empty() => Some("it has none".to_owned()),
                Ok(_) => None,
                Err(error) => Some(CloudError::service("look", &error).to_string()),
            };
            note(
                "notification",
                format!("{bucket} -> {}", self.cloud.name(function)),
                problem,
            );
        }
        let api = self.api_name();
        let problem = match self.find_api(&api).await {
            Ok(Some(_)) => None,
            Ok(None) => Some("it is not there".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        note("API", api, problem);
        found
    }

    fn buckets(&self) -> Vec<String> {
        let regional = self.regions.iter().map(|region| self.cloud.regional_bucket(region));
        std::iter::once(self.cloud.global_bucket()).chain(regional).collect()
    }

    fn api_name(&self) -> String {
        self.cloud.name("fleetcast")
    }

    fn api_stage(&self) -> String {
        match self.cloud.name("").trim_start_matches('-') {
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
        Ok(made.topic_arn.unwrap_or_default())
    }

    async fn state_machine(&self, topic_arn: &str) -> Result<String, CloudError> {
        let name = self.cloud.name(WORKFLOW);
        let definition = DEFINITION
            .replace("${tracking_table}", &self.cloud.name(TRACKING_TABLE))
            .replace("${failure_topic_arn}", topic_arn);
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
        let there = self.lambda.get_function().function_name(&name).send().await.is_ok();
        if there {
            let request = self.lambda.update_function_code().function_name(&name).zip_file(code);
            let sent = request.send().await;
            sent.map_err(|error| CloudError::service(format!("bring function {name} up to date"), &error))?;
            let request = self.lambda.update_function_configuration().function_name(&name);
            let set = request.environment(environment).send().await;
            let set = set.map_err(|error| CloudError::service(format!("set up function {name}"), &error))?;
            return Ok(set.function_arn.unwrap_or_default());
        }
        let architecture = if cfg!(target_arch = "aarch64") {
            Architecture::Arm64
        } else {
            Architecture::X8664
        };
        let by_events = matches!(function, "replication-worker" | "regional-sync");
        let dead_letter_config = DeadLetterConfig::builder().target_arn(dead_letters).build();
        let made = self
            .lambda
            .create_function()
            .function_name(&name)
            .runtime(Runtime::Providedal2023)
            .handler("bootstrap")
            .role(role(dead_letters, &name))
            .architectures(architecture)
            .timeout(FUNCTION_SECONDS)
            .memory_size(FUNCTION_MIB)
            .code(FunctionCode::builder().zip_file(code).build())
            .environment(environment)
            .set_dead_letter_config(by_events.then_some(dead_letter_config))
            .send()
            .await
            .map_err(|error| CloudError::service(format!("make function {name}"), &error))?;
        for service in ["s3.amazonaws.com", "apigateway.amazonaws.com"] {
            let request = self.lambda.add_permission().function_name(&name).principal(service);
            let statement = service.split('.').next().unwrap_or(service);
            let request = request.statement_id(statement).action("lambda:InvokeFunction");
            let sent = request.send().await;
            sent.map_err(|error| CloudError::service(format!("let {service} call function {name}"), &error))?;
        }
        Ok(made.function_arn.unwrap_or_default())
    }

    async fn notify(&self, bucket: &str, id: &str, function_arn: &str) -> Result<(), CloudError> {
        let failed = |message: String| CloudError::Invalid {
            action: format!("have bucket {bucket} call {id}"),
            message,
        };
        let call = LambdaFunctionConfiguration::builder()
            .id(id)
            .lambda_function_arn(function_arn)
            .events(Event::from("s3:ObjectCreated:*"))
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let configuration = NotificationConfiguration::builder()
            .lambda_function_configurations(call)
            .build();
        let request = self.cloud.s3().put_bucket_notification_configuration().bucket(bucket);
        let sent = request.notification_configuration(configuration).send().await;
        sent.map(|_| ())
            .map_err(|error| CloudError::service(format!("have bucket {bucket} call {id}"), &error))
    }

    async fn find_api(&self, name: &str) -> Result<Option<String>, CloudError> {
        let listed = self.api.get_rest_apis().limit(500).send().await;
        let listed = listed.map_err(|error| CloudError::service("list the APIs", &error))?;
        let found = listed
            .items
            .unwrap_or_default()
            .into_iter()
            .find(|api| api.name() == Some(name));
        Ok(found.and_then(|api| api.id))
    }

    async fn rest_api(&self, arns: &HashMap<&str, String>) -> Result<String, CloudError> {
        let name = self.api_name();
        let id = match self.find_api(&name).await? {
            Some(id) => id,
            None => {
                let made = self.api.create_rest_api().name(&name).send().await;
                let made = made.map_err(|error| CloudError::service(format!("make API {name}"), &error))?;
                made.id.unwrap_or_default()
            }
        };
        let listed = self.api.get_resources().rest_api_id(&id).limit(500).send().await;
        let listed = listed.map_err(|error| CloudError::service(format!("look at API {name}"), &error))?;
        let there: HashMap<String, String> = listed
            .items
            .unwrap_or_default()
            .into_iter()
            .filter_map(|resource| Some((resource.path?, resource.id?)))
            .collect();
        let root = there.get("/").cloned().unwrap_or_default();
        let region = self
            .cloud
            .shared()
            .region()
            .map_or("us-east-1", |region| region.as_ref());
        for (path, function) in ROUTES {
            let failed = |what: &str| format!("{what} path /{path} of API {name}");
            let resource = match there.get(&format!("/{path}")) {
                Some(resource) => resource.clone(),
                None => {
                    let request = self.api.create_resource().rest_api_id(&id).parent_id(&root);
                    let made = request.path_part(path).send().await;
                    let made = made.map_err(|error| CloudError::service(failed("make"), &error))?;
                    made.id.unwrap_or_default()
                }
            };
            let request = self.api.put_method().rest_api_id(&id).resource_id(&resource);
            let method = request.http_method("POST").authorization_type("NONE").send().await;
            if let Err(error) = method
                && !error.as_service_error().is_some_and(|e| e.is_conflict_exception())
            {
                return Err(CloudError::service(failed("let callers post to"), &error));
            }
            let arn = &arns[function];
            let uri = format!("arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{arn}/invocations");
            let request = self.api.put_integration().rest_api_id(&id).resource_id(&resource);
            let request = request.http_method("POST").integration_http_method("POST");
            let sent = request.r#type(IntegrationType::AwsProxy).uri(uri).send().await;
            sent.map_err(|error| CloudError::service(failed("connect"), &error))?;
        }
        let request = self.api.create_deployment().rest_api_id(&id);
        let sent = request.stage_name(self.api_stage()).send().await;
        sent.map_err(|error| CloudError::service(format!("deploy API {name}"), &error))?;
        Ok(id)
    }
}

/// A role that nobody looks at, in the account of `arn`.
fn role(arn: &str, name: &str) -> String {
    let account = arn.split(':').nth(4).unwrap_or("000000000000");
    format!("arn:aws:iam::{account}:role/{name}")
}

/// The environment variables that a function reads.
fn variables_of(function: &str) -> &'static [&'static str] {
    match function {
        "build-worker" => &["GLOBAL_BUCKET"],
        "pipeline-action" => &["STATE_MACHINE_ARN"],
        "regional-sync" => &["QUEUE_URLS"],
        "replication-worker" => &["DESTINATION_BUCKETS", "STATE_MACHINE_ARN"],
        "step-function-invoker" => &["DESTINATION_BUCKETS", "GLOBAL_BUCKET", "STATE_MACHINE_ARN"],
        _ => &[],
    }
}

/// Times that a message of a region's queue is taken up before it goes to the dead-letter queue.
const TAKEN_UP_MAX: u32 = 5;
const FUNCTION_SECONDS: i32 = 60;
const FUNCTION_MIB: i32 = 256;
