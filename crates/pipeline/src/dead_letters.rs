//! Dead letters: messages and events that nobody could take up. Which queues a deployment has of them, what each is about and why it
//! is there, and the two things to do with it: back to where it came from, or away.
//!
//! A message is looked at by taking it up, since SQS knows no other way. It is let go when it has been looked at, and comes back by
//! itself where whoever looked has died.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use cloud::{
    Cloud, CloudError, FUNCTION_DEAD_LETTER_QUEUE, ObjectCreated, builds_told, check_key, region_dead_letter_queue,
    region_of_bucket,
};
use serde_json::Value;

use crate::provision::{Pipeline, TAKEN_UP_MAX};
use crate::{PipelineClients as _, Queue, QueueMessage};

/// A queue of dead letters.
#[derive(Clone, Debug)]
pub struct DeadLetterQueue {
    queue: Queue,
    source: Source,
    /// Asked in the AWS region of the queue.
    pipeline: Pipeline,
}

/// Who could not take up what is in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// The seeders of a region.
    Seeders { region: String },
    /// The functions that buckets call.
    Functions,
}

/// A queue of the deployment, whether it answers or not.
#[derive(Debug)]
pub struct NamedDeadLetters {
    /// The queue's name.
    pub name: String,
    /// The queue, or why it cannot be looked at.
    pub queue: Result<DeadLetterQueue, CloudError>,
}

/// A message that nobody could take up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The message.
    pub message: QueueMessage,
    /// What it tells of; none where it is nonsense.
    pub builds: Vec<ObjectCreated>,
    /// The function that refused it; `None` where a seeder did, or where that is not told.
    pub function: Option<String>,
    /// Why it is here, in plain words.
    pub reason: String,
    /// What the function was called with, or what the seeder was sent.
    payload: String,
}

impl Pipeline {
    /// All queues of dead letters: one for the seeders of each region, and one in each AWS region that has functions which buckets call.
    pub async fn dead_letter_queues(&self) -> Vec<NamedDeadLetters> {
        let mut named = Vec::new();
        let mut places = BTreeMap::from([(self.aws_region().to_owned(), self.clone())]);
        for region in &self.regions {
            let name = self.cloud.name(&region_dead_letter_queue(region));
            let source = Source::Seeders { region: region.clone() };
            let queue = match self.place_of(&self.cloud.regional_bucket(region)).await {
                Ok(place) => {
                    places.insert(place.aws_region().to_owned(), place.clone());
                    place.dead_letters(&name, source).await
                }
                Err(error) => Err(error),
            };
            named.push(NamedDeadLetters { name, queue });
        }
        for place in places.into_values() {
            let name = self.cloud.name(FUNCTION_DEAD_LETTER_QUEUE);
            let queue = place.dead_letters(&name, Source::Functions).await;
            let name = place.shown(&name, self);
            named.push(NamedDeadLetters { name, queue });
        }
        named
    }

    /// The pipeline as seen from the AWS region of a bucket.
    async fn place_of(&self, bucket: &str) -> Result<Self, CloudError> {
        let region = self.cloud.buckets().region_of(bucket).await?;
        Ok(region.map_or_else(|| self.clone(), |region| self.in_region(&region)))
    }

    async fn dead_letters(&self, name: &str, source: Source) -> Result<DeadLetterQueue, CloudError> {
        let queue = self.cloud.queues().named(name).await?;
        let pipeline = self.clone();
        Ok(DeadLetterQueue {
            queue,
            source,
            pipeline,
        })
    }
}

impl DeadLetterQueue {
    /// Its name.
    pub fn name(&self) -> &str {
        self.queue.name()
    }

    /// The AWS region that it is in.
    pub fn aws_region(&self) -> &str {
        self.pipeline.aws_region()
    }

    /// The region whose seeders could not take up what is in it.
    pub fn region(&self) -> Option<&str> {
        match &self.source {
            Source::Seeders { region } => Some(region),
            Source::Functions => None,
        }
    }

    /// Whose dead letters these are, in words.
    pub fn whose(&self) -> String {
        match &self.source {
            Source::Seeders { region } => format!("what no seeder of {region} could take up"),
            Source::Functions => "events of buckets that replication-worker or regional-sync refused".to_owned(),
        }
    }

    /// Messages, about: those that somebody is looking at included.
    pub async fn count(&self) -> Result<u64, CloudError> {
        let (waiting, taken_up) = self.queue.depth().await?;
        Ok(waiting + taken_up)
    }

    /// Takes up all messages, `count_max` at most, and says of each why it is here. They are nobody else's until
    /// [`DeadLetterQueue::let_go`], and for two minutes at most.
    pub async fn take_up(&self, count_max: usize) -> Result<Vec<DeadLetter>, CloudError> {
        let mut messages: Vec<QueueMessage> = Vec::new();
        let mut seen = BTreeSet::new();
        while messages.len() < count_max {
            let some = self.queue.take_some(count_max - messages.len(), LOOK, KEPT).await?;
            let before = messages.len();
            messages.extend(some.into_iter().filter(|message| seen.insert(message.id.clone())));
            // None, or one that has come back: all have been here.
            if messages.len() == before {
                break;
            }
        }
        let mut letters = Vec::new();
        for message in messages {
            letters.push(self.read(message).await);
        }
        letters.sort_by(|a, b| (a.message.sent_at, &a.message.id).cmp(&(b.message.sent_at, &b.message.id)));
        Ok(letters)
    }

    /// They have been looked at, and stay.
    pub async fn let_go<'a>(&self, letters: impl IntoIterator<Item = &'a DeadLetter>) -> Result<(), CloudError> {
        for letter in letters {
            self.queue.extend(&letter.message, Duration::ZERO).await?;
        }
        Ok(())
    }

    /// Sends a letter back to where it came from, and takes it away here; returns where it went. It is there twice where this breaks off in
    /// between, which does no harm: a build that is there is neither copied nor seeded again.
    ///
    /// # Errors
    /// Also where it does not say where it came from.
    pub async fn retry(&self, letter: &DeadLetter) -> Result<String, CloudError> {
        let to = match &self.source {
            Source::Seeders { region } => {
                // Which of them could not take it up is not told; the others have it by now.
                let seeders = 1..=self.pipeline.seeders_told().await;
                let names: Vec<String> = seeders
                    .map(|seeder| self.pipeline.cloud.seeder_queue(region, seeder))
                    .collect();
                for name in &names {
                    let queue = self.pipeline.cloud.queues().named(name).await?;
                    queue.send(&letter.payload).await?;
                }
                format!("queue {}", names.join(" and "))
            }
            Source::Functions => {
                let name = self.function_of(letter)?;
                self.call(&name, &letter.payload).await?;
                format!("function {name}")
            }
        };
        self.queue.delete(&letter.message).await?;
        Ok(to)
    }

    /// Takes a letter away for good.
    pub async fn drop(&self, letter: &DeadLetter) -> Result<(), CloudError> {
        self.queue.delete(&letter.message).await
    }

    /// The function that a letter was for: which it says itself, or its buckets do.
    fn function_of(&self, letter: &DeadLetter) -> Result<String, CloudError> {
        let cloud = &self.pipeline.cloud;
        if let Some(function) = &letter.function {
            return Ok(function.clone());
        }
        let of_bucket = |build: &ObjectCreated| {
            let is_global = build.bucket == cloud.global_bucket();
            let is_regional = region_of_bucket(&build.bucket, cloud.stage()).is_some();
            match (is_global, is_regional) {
                (true, _) => Some("replication-worker"),
                (false, true) => Some("regional-sync"),
                (false, false) => None,
            }
        };
        let functions: BTreeSet<Option<&str>> = letter.builds.iter().map(of_bucket).collect();
        match Vec::from_iter(functions)[..] {
            [Some(function)] => Ok(cloud.name(function)),
            _ => Err(CloudError::Invalid {
                action: format!("send message {} back", letter.message.id),
                message: "it names no bucket of the pipeline, and so not the function that it was for; it can only be dropped".to_owned(),
            }),
        }
    }

    async fn call(&self, function: &str, payload: &str) -> Result<(), CloudError> {
        let request = self.pipeline.lambda.invoke().function_name(function);
        let request = request.invocation_type(InvocationType::Event);
        let sent = request.payload(Blob::new(payload.to_owned())).send().await;
        sent.map(|_| ())
            .map_err(|error| CloudError::service(format!("call function {function}"), &error))
    }

    async fn read(&self, message: QueueMessage) -> DeadLetter {
        let content = Content::of(&message);
        let reason = match &self.source {
            Source::Functions => content.refusal(),
            Source::Seeders { region } => self.why_no_seeder(region, &content).await,
        };
        DeadLetter {
            message,
            builds: content.builds.unwrap_or_default(),
            function: content.function,
            reason,
            payload: content.payload,
        }
    }

    /// A seeder says only to its log why it has given a message back. What can be seen is whether there is anything to seed.
    async fn why_no_seeder(&self, region: &str, content: &Content) -> String {
        let builds = match &content.builds {
            Ok(builds) => builds,
            Err(problem) => return format!("it is no notice of a build: {problem}"),
        };
        let mut reasons = Vec::new();
        for build in builds {
            let reason = why_not_seeded(&self.pipeline.cloud, region, build).await;
            reasons.push(match builds.len() {
                1 => reason,
                _ => format!("{}: {reason}", build.key),
            });
        }
        if reasons.is_empty() {
            return "it tells of no build".to_owned();
        }
        reasons.join("; ")
    }
}

async fn why_not_seeded(cloud: &Cloud, region: &str, build: &ObjectCreated) -> String {
    let (bucket, key) = (&build.bucket, &build.key);
    let own = cloud.regional_bucket(region);
    if let Err(problem) = check_key(key) {
        return problem.to_string();
    }
    let elsewhere = if *bucket == own {
        String::new()
    } else {
        format!("; seeders of {region} are expected to hear of {own}")
    };
    match cloud.buckets().head_version(bucket, key, None).await {
        Err(CloudError::ObjectMissing { .. }) => {
            format!("there is no {key} in bucket {bucket}, or it has been deleted{elsewhere}")
        }
        Err(error) => format!("whether {key} is in bucket {bucket} cannot be seen: {error}{elsewhere}"),
        Ok(there) if !build.version.is_empty() && there.version() != build.version => format!(
            "another version of {key} is in bucket {bucket} by now, {}: nothing is lost by dropping this{elsewhere}",
            there.version()
        ),
        Ok(there) => {
            let unsigned = match there.signature() {
                Some(_) => "",
                None => ", and it is not signed, which seeders with --trust refuse",
            };
            format!(
                "{key} is in bucket {bucket}{unsigned}; a seeder gave it back {TAKEN_UP_MAX} times, and its log says why{elsewhere}"
            )
        }
    }
}

/// What a dead letter has in it.
struct Content {
    builds: Result<Vec<ObjectCreated>, String>,
    function: Option<String>,
    error: Option<String>,
    payload: String,
}

impl Content {
    /// Lambda puts the event itself into a dead-letter queue, with attributes that say what was wrong; into a destination, and on local
    /// stacks into both, an envelope with event, function and answer.
    fn of(message: &QueueMessage) -> Self {
        let envelope: Value = serde_json::from_str(&message.body).unwrap_or_default();
        let Some(event) = envelope.get("requestPayload") else {
            return Self {
                builds: builds_told(&message.body).map_err(|error| error.to_string()),
                function: None,
                error: message.error.clone(),
                payload: message.body.clone(),
            };
        };
        let text = |pointer: &str| envelope.pointer(pointer).and_then(Value::as_str);
        let arn = text("/requestContext/functionArn").unwrap_or_default();
        // arn:aws:lambda:REGION:ACCOUNT:function:NAME, and a version perhaps.
        let function = arn.split(':').nth(6).map(str::to_owned);
        let told = [
            text("/responsePayload/errorType"),
            text("/responsePayload/errorMessage"),
        ];
        let told: Vec<&str> = told.into_iter().flatten().collect();
        let error = (!told.is_empty()).then(|| told.join(": "));
        let payload = event.to_string();
        Self {
            builds: builds_told(&payload).map_err(|error| error.to_string()),
            function,
            error: error.or_else(|| message.error.clone()),
            payload,
        }
    }

    /// Why a function did not take it.
    fn refusal(&self) -> String {
        let who = self.function.as_deref().unwrap_or("the function");
        match (&self.error, &self.builds) {
            (Some(error), _) => format!("{who} refused it each time: {error}"),
            (None, Err(problem)) => format!("{who} refused it each time: {problem}"),
            (None, Ok(_)) => format!("{who} failed each time and did not say why; its log does"),
        }
    }
}

/// Waiting for more messages: with any wait SQS asks all of its servers, and not some of them.
const LOOK: Duration = Duration::from_secs(1);
/// For which a message that is looked at is nobody else's.
const KEPT: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &str, error: Option<&str>) -> QueueMessage {
        QueueMessage {
            id: "1".to_owned(),
            body: body.to_owned(),
            receipt: String::new(),
            taken_up: 6,
            sent_at: None,
            error: error.map(str::to_owned),
        }
    }

    const EVENT: &str =
        r#"{"Records":[{"s3":{"bucket":{"name":"global-builds"},"object":{"key":"a+b.zip","versionId":"v1"}}}]}"#;

    #[test]
    fn an_event_is_read_as_lambda_leaves_it() {
        let content = Content::of(&message(EVENT, Some("no such state machine (status 200)")));
        let builds = content.builds.as_ref().unwrap();
        assert_eq!(
            (&*builds[0].key, &*builds[0].version, &*content.payload),
            ("a b.zip", "v1", EVENT)
        );
        assert_eq!(
            content.refusal(),
            "the function refused it each time: no such state machine (status 200)"
        );
    }

    #[test]
    fn an_event_in_an_envelope_names_its_function() {
        let envelope = serde_json::json!({
            "requestContext": {"functionArn": "arn:aws:lambda:us-east-1:1:function:regional-sync-prod:7"},
            "requestPayload": serde_json::from_str::<Value>(EVENT).unwrap(),
            "responsePayload": {"errorType": "InvalidEvent", "errorMessage": "bucket x"},
        });
        let content = Content::of(&message(&envelope.to_string(), None));
        assert_eq!(content.function.as_deref(), Some("regional-sync-prod"));
        assert_eq!(content.builds.as_ref().unwrap()[0].key, "a b.zip");
        assert_eq!(
            content.refusal(),
            "regional-sync-prod refused it each time: InvalidEvent: bucket x"
        );
    }

    #[test]
    fn nonsense_is_told_for_what_it_is() {
        for body in [
            "",
            "{",
            "[]",
            "null",
            "7",
            r#"{"requestPayload": null}"#,
            r#"{"requestPayload": {"Records": 3}}"#,
        ] {
            let content = Content::of(&message(body, None));
            assert!(content.builds.is_err(), "{body}");
            assert!(content.refusal().contains("refused it each time"), "{body}");
        }
    }
}
