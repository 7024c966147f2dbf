//! Whether the pipeline is there and as it should be: each part is looked at, and nothing is made.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_lambda::error::ProvideErrorMetadata as _;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_s3::types::BucketVersioningStatus;
use aws_sdk_sqs::types::QueueAttributeName;
use cloud::{
    CloudError, FAILURE_TOPIC, FUNCTION_DEAD_LETTER_QUEUE, FUNCTIONS, HOST_DEPLOYMENT_LOGS, SEEDERS_MAX,
    TRACKING_TABLE, WORKFLOW, check_regions, region_dead_letter_queue,
};
use serde_json::{Value, json};

use crate::PipelineClients as _;
use crate::provision::{COPIER, Pipeline, SEEDERS, variables_of};

/// How a part of the pipeline was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// What it is: a bucket, a queue …
    pub kind: &'static str,
    /// What it is called.
    pub name: String,
    /// How it stands.
    pub state: PartState,
}

/// How a part stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartState {
    /// It is as it should be.
    Healthy,
    /// It is not there.
    Missing,
    /// It is there, and this is wrong with it.
    Wrong(String),
    /// It could not be looked at, and this is why.
    Unseen(String),
}

impl PartState {
    /// A word for it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Healthy => "ok",
            Self::Missing => "missing",
            Self::Wrong(_) => "wrong",
            Self::Unseen(_) => "unseen",
        }
    }

    /// What is wrong.
    pub fn problem(&self) -> Option<&str> {
        match self {
            Self::Healthy => None,
            Self::Missing => Some("it is not there"),
            Self::Wrong(problem) | Self::Unseen(problem) => Some(problem),
        }
    }

    fn of(looked: Result<Option<String>, CloudError>) -> Self {
        match looked {
            Ok(None) => Self::Healthy,
            Ok(Some(problem)) => Self::Wrong(problem),
            Err(error) => Self::failed(&error),
        }
    }

    fn failed(error: &CloudError) -> Self {
        let text = program::chain(error);
        let is_missing = matches!(
            error,
            CloudError::BucketMissing { .. } | CloudError::ObjectMissing { .. }
        ) || [
            "NotFound",
            "NonExistentQueue",
            "DoesNotExist",
            "NoSuchBucket",
            "status 404",
        ]
        .iter()
        .any(|word| text.contains(word));
        if is_missing { Self::Missing } else { Self::Unseen(text) }
    }
}

impl Pipeline {
    /// Looks at every part and makes nothing. Functions are called with what makes them do nothing.
    pub async fn inspect(&self) -> Vec<Inspection> {
        let mut found = Vec::new();
        let mut note = |kind, name: String, state| found.push(Inspection { kind, name, state });
        if let Err(error) = check_regions(&self.regions, self.cloud.stage()) {
            note("names", self.regions.join(","), PartState::Wrong(error.to_string()));
        }
        // Buckets may be in other AWS regions, and then so are their queues and who tells those.
        let mut places = HashMap::new();
        for bucket in self.buckets() {
            let (state, place) = self.bucket_state(&bucket).await;
            places.insert(bucket.clone(), place);
            note("bucket", bucket, state);
        }
        for (table, looked) in [
            (TRACKING_TABLE, self.cloud.tracking().is_there().await),
            (HOST_DEPLOYMENT_LOGS, self.cloud.deployment_logs().is_there().await),
        ] {
            note("table", self.cloud.name(table), PartState::of(looked.map(|()| None)));
        }
        for region in &self.regions {
            let there = &places[&self.cloud.regional_bucket(region)];
            let dead_letters = self.cloud.name(&region_dead_letter_queue(region));
            for seeder in 1..=there.seeders_told().await {
                let queue = self.cloud.seeder_queue(region, seeder);
                let state = there.queue_state(&queue, Some(&dead_letters)).await;
                note("queue", queue, state);
            }
            let state = there.queue_state(&dead_letters, None).await;
            note("queue", dead_letters, state);
        }
        let topic = self.cloud.name(FAILURE_TOPIC);
        let topic_arn = self.find_topic(&topic).await;
        let state = match &topic_arn {
            Ok(Some(_)) => PartState::Healthy,
            Ok(None) => PartState::Missing,
            Err(error) => PartState::failed(error),
        };
        note("topic", topic, state);
        let state = self.workflow_state(topic_arn.ok().flatten().as_deref()).await;
        note("state machine", self.cloud.name(WORKFLOW), state);
        for (place, function) in self.functions(&places) {
            let state = place.function_state(function).await;
            note("function", place.shown(&self.cloud.name(function), self), state);
        }
        let dead_letters = self.cloud.name(FUNCTION_DEAD_LETTER_QUEUE);
        for place in self.with_events(&places) {
            let state = place.queue_state(&dead_letters, None).await;
            note("queue", place.shown(&dead_letters, self), state);
        }
        for (bucket, function) in self.notifications() {
            let function = self.cloud.name(function);
            let state = PartState::of(places[&bucket].not_notified(&bucket, &function).await);
            note("notification", format!("{bucket} -> {function}"), state);
        }
        let api = self.api_name();
        let state = match self.find_api(&api).await {
            Ok(Some(_)) => PartState::Healthy,
            Ok(None) => PartState::Missing,
            Err(error) => PartState::failed(&error),
        };
        note("API", api, state);
        found
    }

    /// The pipeline as seen from another AWS region.
    pub(crate) fn in_region(&self, region: &str) -> Self {
        Self::new(&self.cloud.in_region(region), &self.regions)
    }

    pub(crate) fn aws_region(&self) -> &str {
        self.cloud.shared().region().map_or("", |region| region.as_ref())
    }

    /// A name, with the AWS region where that is another one than the pipeline's own.
    pub(crate) fn shown(&self, name: &str, home: &Self) -> String {
        if self.aws_region() == home.aws_region() {
            return name.to_owned();
        }
        format!("{name} in {}", self.aws_region())
    }

    /// The AWS regions that have functions which events call.
    fn with_events<'a>(&'a self, places: &'a HashMap<String, Self>) -> Vec<&'a Self> {
        let mut seen = BTreeSet::from([self.aws_region()]);
        let buckets = self.regions.iter().map(|region| self.cloud.regional_bucket(region));
        let others = buckets.filter_map(|bucket| places.get(&bucket));
        std::iter::once(self)
            .chain(others.filter(|place| seen.insert(place.aws_region())))
            .collect()
    }

    /// All functions, each where it is.
    fn functions<'a>(&'a self, places: &'a HashMap<String, Self>) -> Vec<(&'a Self, &'static str)> {
        let at_home = FUNCTIONS.into_iter().filter(|function| *function != "regional-sync");
        let of_buckets: BTreeSet<&str> = self
            .regions
            .iter()
            .filter_map(|region| places.get(&self.cloud.regional_bucket(region)))
            .map(Self::aws_region)
            .collect();
        let synced = self.with_events(places).into_iter();
        let synced = synced.filter(|place| of_buckets.contains(place.aws_region()));
        at_home
            .map(|function| (self, function))
            .chain(synced.map(|place| (place, "regional-sync")))
            .collect()
    }

    async fn bucket_state(&self, bucket: &str) -> (PartState, Self) {
        let place = match self.cloud.buckets().region_of(bucket).await {
            Ok(Some(region)) => self.in_region(&region),
            Ok(None) => self.clone(),
            Err(error) => return (PartState::failed(&error), self.clone()),
        };
        let got = place.cloud.s3().get_bucket_versioning().bucket(bucket).send().await;
        let state = match got {
            Ok(versioning) if versioning.status() == Some(&BucketVersioningStatus::Enabled) => PartState::Healthy,
            Ok(_) => PartState::Wrong(
                "it keeps no versions: an overwritten build is not told from a repeated event".to_owned(),
            ),
            Err(error) => PartState::failed(&CloudError::service(format!("look at bucket {bucket}"), &error)),
        };
        (state, place)
    }

    /// How many seeders of a region are told of each build, as the function that tells them says; one where that cannot be seen.
    pub(crate) async fn seeders_told(&self) -> u32 {
        let name = self.cloud.name("regional-sync");
        let got = self
            .lambda
            .get_function_configuration()
            .function_name(name)
            .send()
            .await;
        let environment = got.ok().and_then(|function| function.environment?.variables);
        let told = environment
            .as_ref()
            .and_then(|variables| variables.get(SEEDERS)?.parse().ok());
        told.map_or(1, |seeders: u32| seeders.clamp(1, SEEDERS_MAX))
    }

    async fn queue_state(&self, name: &str, dead_letters: Option<&str>) -> PartState {
        let failed = |error: CloudError| PartState::failed(&error);
        let url = match self.sqs.get_queue_url().queue_name(name).send().await {
            Ok(found) => found.queue_url.unwrap_or_default(),
            Err(error) => return failed(CloudError::service(format!("look at queue {name}"), &error)),
        };
        let Some(dead_letters) = dead_letters else {
            return PartState::Healthy;
        };
        let request = self.sqs.get_queue_attributes().queue_url(url);
        let got = request.attribute_names(QueueAttributeName::RedrivePolicy).send().await;
        let attributes = match got {
            Ok(got) => got.attributes.unwrap_or_default(),
            Err(error) => return failed(CloudError::service(format!("look at queue {name}"), &error)),
        };
        let policy = attributes.get(&QueueAttributeName::RedrivePolicy);
        let policy: Value = policy
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let target = policy["deadLetterTargetArn"].as_str().unwrap_or_default();
        if target.ends_with(&format!(":{dead_letters}")) {
            PartState::Healthy
        } else {
            PartState::Wrong(format!("what nobody can take up does not go to {dead_letters}"))
        }
    }

    async fn find_topic(&self, name: &str) -> Result<Option<String>, CloudError> {
        let mut pages = self.sns.list_topics().into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| CloudError::service("list the topics", &error))?;
            let arns = page.topics().iter().filter_map(|topic| topic.topic_arn());
            let found = arns.into_iter().find(|arn| arn.ends_with(&format!(":{name}")));
            if let Some(arn) = found {
                return Ok(Some(arn.to_owned()));
            }
        }
        Ok(None)
    }

    async fn workflow_state(&self, topic_arn: Option<&str>) -> PartState {
        let looked = async {
            let name = self.cloud.name(WORKFLOW);
            let Some(arn) = self.cloud.workflow().find(&name).await? else {
                return Ok(None);
            };
            let request = self.sfn.describe_state_machine().state_machine_arn(arn);
            let described = request.send().await;
            let described = described.map_err(|e| CloudError::service(format!("describe {name}"), &e))?;
            Ok::<_, CloudError>(Some(described.definition))
        };
        let (definition, topic_arn) = match (looked.await, topic_arn) {
            (Ok(Some(definition)), Some(topic_arn)) => (definition, topic_arn),
            (Ok(Some(_)), None) => return PartState::Wrong("there is no topic for its failures".to_owned()),
            (Ok(None), _) => return PartState::Missing,
            (Err(error), _) => return PartState::failed(&error),
        };
        let copier = self.cloud.name(COPIER);
        let of = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
        let is = of(&definition);
        let copier_arn = is
            .pointer("/States/CopyToMultipleBuckets/ItemProcessor/States/CopyToBucket/Arguments/FunctionName")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !copier_arn
            .split(":function:")
            .any(|part| part.split(':').next() == Some(copier.as_str()))
        {
            return PartState::Wrong(format!("it does not copy by {copier}: it is of another release"));
        }
        if is == of(&self.definition(topic_arn, copier_arn)) {
            PartState::Healthy
        } else {
            PartState::Wrong("its definition is of another release".to_owned())
        }
    }

    async fn function_state(&self, function: &str) -> PartState {
        let name = self.cloud.name(function);
        let got = self
            .lambda
            .get_function_configuration()
            .function_name(&name)
            .send()
            .await;
        let configuration = match got {
            Ok(configuration) => configuration,
            Err(error) => return PartState::failed(&CloudError::service(format!("look at function {name}"), &error)),
        };
        let environment = configuration.environment.and_then(|environment| environment.variables);
        let environment = environment.unwrap_or_default();
        let needed = variables_of(function)
            .iter()
            .filter(|variable| !MAY_BE_MISSING.contains(variable));
        let unset: Vec<&str> = needed
            .copied()
            .filter(|variable| !environment.contains_key(*variable))
            .collect();
        if !unset.is_empty() {
            return PartState::Wrong(format!("it is not told {}", unset.join(", ")));
        }
        let by_events = matches!(function, "replication-worker" | "regional-sync");
        if by_events
            && configuration
                .dead_letter_config
                .and_then(|config| config.target_arn)
                .is_none()
        {
            return PartState::Wrong("what it cannot take up goes nowhere: it has no dead-letter queue".to_owned());
        }
        self.tried(&name, by_events).await
    }

    /// Calls a function with what makes it do nothing: a package of another architecture, or one that ends at once, is seen.
    async fn tried(&self, name: &str, by_events: bool) -> PartState {
        let event = if by_events {
            json!({"Event": "s3:TestEvent"})
        } else {
            json!({"resource": "/step-function", "body": "{}"})
        };
        let request = self.lambda.invoke().function_name(name);
        let answer = match request.payload(Blob::new(event.to_string())).send().await {
            Ok(answer) => answer,
            // Whoever may look but not call has seen what can be seen.
            Err(error) if error.code() == Some("AccessDeniedException") => return PartState::Healthy,
            Err(error) => return PartState::failed(&CloudError::service(format!("call function {name}"), &error)),
        };
        let payload = answer.payload.map(Blob::into_inner).unwrap_or_default();
        let payload: Value = serde_json::from_slice(&payload).unwrap_or_default();
        let kind = payload["errorType"].as_str().unwrap_or_default();
        if answer.function_error.is_none() || kind == "InvalidEvent" {
            return PartState::Healthy;
        }
        let message = payload["errorMessage"].as_str().unwrap_or_default();
        PartState::Wrong(format!(
            "it does not work: {kind} {message}; was it built for this architecture, and by scripts/package-lambdas.sh or cargo \
             lambda?"
        ))
    }
}

/// Variables that have a default.
const MAY_BE_MISSING: [&str; 3] = ["STAGE", "BUILD_SUFFIXES", SEEDERS];
