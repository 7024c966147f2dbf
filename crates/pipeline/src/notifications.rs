//! Which functions a bucket calls. A bucket has one configuration for all that it tells, of ours and of others.

use aws_sdk_s3::operation::get_bucket_notification_configuration::GetBucketNotificationConfigurationOutput;
use aws_sdk_s3::types::{Event, FilterRuleName, LambdaFunctionConfiguration, NotificationConfiguration};
use cloud::CloudError;

use crate::provision::Pipeline;

impl Pipeline {
    /// Has a bucket call a function when an object is made in it. What it tells others stays; how many they are is the result.
    pub(crate) async fn notify(&self, bucket: &str, id: &str, function_arn: &str) -> Result<usize, CloudError> {
        let there = self.told_by(bucket).await?;
        let call = LambdaFunctionConfiguration::builder()
            .id(id)
            .lambda_function_arn(function_arn)
            .events(Event::from(CREATED))
            .build()
            .map_err(|error| CloudError::Invalid {
                action: format!("have bucket {bucket} call {id}"),
                message: error.to_string(),
            })?;
        let is_ours =
            |other: &LambdaFunctionConfiguration| other.id() == Some(id) || other.lambda_function_arn() == function_arn;
        let mut calls: Vec<_> = there.lambda_function_configurations.unwrap_or_default();
        calls.retain(|other| !is_ours(other));
        let queues = there.queue_configurations.unwrap_or_default();
        let topics = there.topic_configurations.unwrap_or_default();
        let others = calls.len() + queues.len() + topics.len();
        calls.push(call);
        let configuration = NotificationConfiguration::builder()
            .set_lambda_function_configurations(Some(calls))
            .set_queue_configurations((!queues.is_empty()).then_some(queues))
            .set_topic_configurations((!topics.is_empty()).then_some(topics))
            .set_event_bridge_configuration(there.event_bridge_configuration)
            .build();
        let request = self.cloud.s3().put_bucket_notification_configuration().bucket(bucket);
        let sent = request.notification_configuration(configuration).send().await;
        sent.map(|_| others)
            .map_err(|error| CloudError::service(format!("have bucket {bucket} call {id}"), &error))
    }

    async fn told_by(&self, bucket: &str) -> Result<GetBucketNotificationConfigurationOutput, CloudError> {
        let request = self.cloud.s3().get_bucket_notification_configuration().bucket(bucket);
        let got = request.send().await;
        got.map_err(|error| CloudError::service(format!("look whom bucket {bucket} tells"), &error))
    }

    /// Why an object that is made in a bucket does not call the function of this name, if it does not.
    pub(crate) async fn not_notified(&self, bucket: &str, function: &str) -> Result<Option<String>, CloudError> {
        let there = self.told_by(bucket).await?;
        let calls = there.lambda_function_configurations();
        let ending = format!(":function:{function}");
        let is_of = |call: &&LambdaFunctionConfiguration| call.lambda_function_arn().ends_with(&ending);
        let Some(call) = calls.iter().find(is_of) else {
            let others: Vec<&str> = calls
                .iter()
                .map(LambdaFunctionConfiguration::lambda_function_arn)
                .collect();
            return Ok(Some(if others.is_empty() {
                "it calls no function".to_owned()
            } else {
                format!("it calls {} instead", others.join(", "))
            }));
        };
        if !call.events().iter().any(|event| event.as_str() == CREATED) {
            let events: Vec<&str> = call.events().iter().map(Event::as_str).collect();
            return Ok(Some(format!(
                "it calls it at {} only; expected {CREATED}",
                events.join(", ")
            )));
        }
        let rules = call
            .filter()
            .and_then(|filter| filter.key())
            .map(|key| key.filter_rules());
        let rules = rules
            .unwrap_or_default()
            .iter()
            .filter(|rule| rule.value().is_some_and(|value| !value.is_empty()));
        let rules: Vec<String> = rules
            .map(|rule| {
                let name = rule.name().map_or("", FilterRuleName::as_str);
                format!("{name} {}", rule.value().unwrap_or_default())
            })
            .collect();
        Ok((!rules.is_empty()).then(|| format!("it calls it for keys with {} only", rules.join(" and "))))
    }
}

/// Uploads at once, in parts, and copies.
const CREATED: &str = "s3:ObjectCreated:*";
