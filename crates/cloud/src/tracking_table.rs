//! `FileCopyTracking`: one row per build and source bucket, of its last replication.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
};

use crate::deployment_log::timestamp;
use crate::error::CloudError;
use crate::names::fnv1a;
use crate::retry::Backoff;

/// What a replication has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracking {
    /// The build's key.
    pub file_key: String,
    /// Where it comes from.
    pub source_bucket: String,
    /// The execution that the row speaks of.
    pub execution_id: String,
    /// `IN_PROGRESS`, `COMPLETED`, `PARTIAL_FAILURE`, `FAILED` (no copy went well), `SUPERSEDED` (a newer version is on its way) or
    /// `REFUSED` (it can be no build).
    pub status: String,
    /// The version that it is of, where the row says.
    pub version_id: Option<String>,
    /// Root of the build's manifest as its signature says it, in hexadecimal; `None` where it has none. Nobody has verified that here.
    pub root: Option<String>,
    /// Buckets that have it.
    pub successful_buckets: Vec<String>,
    /// Buckets that do not.
    pub failed_buckets: Vec<String>,
}

/// The table.
#[derive(Clone, Debug)]
pub struct TrackingTable {
    client: Client,
    table: String,
}

impl TrackingTable {
    pub(crate) fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Whether the table is there and can be used.
    pub async fn is_there(&self) -> Result<(), CloudError> {
        let described = self.client.describe_table().table_name(&self.table).send().await;
        described
            .map(|_| ())
            .map_err(|error| CloudError::service(format!("describe table {}", self.table), &error))
    }

    /// Makes the table if it is not there.
    pub async fn create_if_missing(&self) -> Result<(), CloudError> {
        create_table(&self.client, &self.table, "fileKey", "sourceBucket").await
    }

    /// Notes that an execution has begun; the row of an earlier one is replaced.
    pub async fn start(&self, file_key: &str, source_bucket: &str, execution_id: &str) -> Result<(), CloudError> {
        let request = self
            .client
            .put_item()
            .table_name(&self.table)
            .item("fileKey", text(file_key))
            .item("sourceBucket", text(source_bucket))
            .item("executionId", text(execution_id))
            .item("status", text("IN_PROGRESS"))
            .item("startTime", text(&timestamp(SystemTime::now())));
        let start = || async {
            let sent = request.clone().send().await;
            sent.map_err(|e| CloudError::service(format!("write the start of {file_key} to {}", self.table), &e))
        };
        retries(file_key).run(start).await.map(|_| ())
    }

    /// Notes how an execution has ended, unless the row is by now that of another one.
    pub async fn finish(&self, tracking: &Tracking) -> Result<(), CloudError> {
        let root = match &tracking.root {
            Some(root) => text(root),
            None => AttributeValue::Null(true),
        };
        let list = |buckets: &[String]| AttributeValue::L(buckets.iter().map(|bucket| text(bucket)).collect());
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("fileKey", text(&tracking.file_key))
            .key("sourceBucket", text(&tracking.source_bucket))
            .condition_expression("executionId = :execution")
            .update_expression(
                "SET #status = :status, #root = :root, successfulBuckets = :good, failedBuckets = :bad, endTime = :end",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#root", "root")
            .expression_attribute_values(":root", root)
            .expression_attribute_values(":execution", text(&tracking.execution_id))
            .expression_attribute_values(":status", text(&tracking.status))
            .expression_attribute_values(":good", list(&tracking.successful_buckets))
            .expression_attribute_values(":bad", list(&tracking.failed_buckets))
            .expression_attribute_values(":end", text(&timestamp(SystemTime::now())));
        let failed = |error| {
            let error: aws_sdk_dynamodb::error::SdkError<UpdateItemError> = error;
            if error
                .as_service_error()
                .is_some_and(|e| e.is_conditional_check_failed_exception())
            {
                return CloudError::ConditionFailed {
                    table: self.table.clone(),
                    key: tracking.file_key.clone(),
                };
            }
            CloudError::service(
                format!("write the end of {} to {}", tracking.file_key, self.table),
                &error,
            )
        };
        let finish = || async { request.clone().send().await.map_err(failed) };
        retries(&tracking.file_key).run(finish).await.map(|_| ())
    }

    /// The row of a build, if there is one.
    pub async fn get(&self, file_key: &str, source_bucket: &str) -> Result<Option<Tracking>, CloudError> {
        let request = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("fileKey", text(file_key))
            .key("sourceBucket", text(source_bucket))
            .consistent_read(true);
        let get = || async {
            let got = request.clone().send().await;
            got.map_err(|e| CloudError::service(format!("read {file_key} from {}", self.table), &e))
        };
        let got = retries(file_key).run(get).await?;
        Ok(got.item.map(|item| Tracking {
            file_key: file_key.to_owned(),
            source_bucket: source_bucket.to_owned(),
            execution_id: string(&item, "executionId"),
            status: string(&item, "status"),
            version_id: Some(string(&item, "sourceVersionId")).filter(|id| !id.is_empty() && id != "newest"),
            root: Some(string(&item, "root")).filter(|root| !root.is_empty()),
            successful_buckets: strings(&item, "successfulBuckets"),
            failed_buckets: strings(&item, "failedBuckets"),
        }))
    }
}

fn retries(file_key: &str) -> Backoff {
    Backoff::READ.seeded(fnv1a(file_key).into())
}

/// Makes an on-demand table with two string keys if it is not there, and waits until it can be written to.
pub(crate) async fn create_table(client: &Client, table: &str, hash: &str, range: &str) -> Result<(), CloudError> {
    let failed = |error| CloudError::Service {
        action: format!("describe table {table}"),
        message: format!("{error}"),
        retryable: false,
    };
    let attribute = |name: &str| {
        AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .map_err(failed)
    };
    let key = |name: &str, kind| {
        KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(kind)
            .build()
            .map_err(failed)
    };
    let request = client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute(hash)?)
        .attribute_definitions(attribute(range)?)
        .key_schema(key(hash, KeyType::Hash)?)
        .key_schema(key(range, KeyType::Range)?);
    let create = || async {
        match request.clone().send().await {
            Ok(_) => Ok(()),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|e| e.is_resource_in_use_exception()) =>
            {
                Ok(())
            }
            Err(error) => Err(CloudError::service(format!("create table {table}"), &error)),
        }
    };
    retries(table).run(create).await?;
    // DynamoDB answers before the table is there.
    let is_active = || async {
        let described = client.describe_table().table_name(table).send().await;
        let described = described.map_err(|e| CloudError::service(format!("describe table {table}"), &e))?;
        match described.table.and_then(|table| table.table_status) {
            Some(TableStatus::Active | TableStatus::Updating) => Ok(()),
            status => Err(CloudError::Service {
                action: format!("wait for table {table}"),
                message: format!("its status is {status:?}"),
                retryable: true,
            }),
        }
    };
    TABLE_CREATION.run(is_active).await
}

pub(crate) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

pub(crate) fn string(item: &HashMap<String, AttributeValue>, name: &str) -> String {
    item.get(name)
        .and_then(|value| value.as_s().ok())
        .cloned()
        .unwrap_or_default()
}

fn strings(item: &HashMap<String, AttributeValue>, name: &str) -> Vec<String> {
    let list = item
        .get(name)
        .and_then(|value| value.as_l().ok())
        .map_or(&[][..], Vec::as_slice);
    list.iter().filter_map(|value| value.as_s().ok()).cloned().collect()
}

/// A table takes seconds to be made, and some have been seen to take a minute.
const TABLE_CREATION: Backoff = Backoff {
    first: Duration::from_millis(200),
    factor: 2,
    max: Duration::from_secs(5),
    attempts: 24,
    seed: 0,
};
