//! `host-deployment-logs`: one row per host and build. Made, counted and read here; written by `deployment_log_writer.rs`.
//!
//! Invariant: a count is exact. It follows every page of every shard.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{PutRequest, ReturnValue, ReturnValuesOnConditionCheckFailure, Select, WriteRequest};
use futures::{StreamExt, TryStreamExt, stream};

use crate::counted_rows::Mark;
use crate::deployment_log::{DeploymentLog, DeploymentStatus, Item, from_item, to_item};
use crate::error::CloudError;
use crate::names::{DEPLOYMENT_LOG_SHARDS, fnv1a, shard_key};
use crate::retry::Backoff;
use crate::tracking_table::{create_table, string, text};

/// The table.
#[derive(Clone, Debug)]
pub struct DeploymentLogTable {
    client: Client,
    table: String,
}

/// What became of a row that may only be the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstRow {
    /// It is in the table.
    Written,
    /// The table has a success of this version already, and keeps it.
    Kept,
}

/// What became of such a row, and what was there before, where somebody counts and wants to know.
pub(crate) enum Put {
    Written(Option<Item>),
    Kept(Option<Item>),
}

/// A row was not written, as far as is known.
pub(crate) struct PutError {
    pub(crate) error: CloudError,
    /// The table has said so, and it is not in the table.
    pub(crate) is_refused: bool,
}

/// Build and host: what a row is known by.
pub(crate) type RowKey = (String, String);

impl DeploymentLogTable {
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
        create_table(&self.client, &self.table, "build_shard", "host_id").await
    }

    /// How many rows a build has, exactly: the counts of its shards, page by page.
    pub async fn count(&self, build_id: &str) -> Result<u64, CloudError> {
        let counts = of_every_shard(|shard| retries(build_id).run(move || self.count_shard(build_id, shard)));
        Ok(counts.await?.into_iter().sum())
    }

    async fn count_shard(&self, build_id: &str, shard: u32) -> Result<u64, CloudError> {
        let request = self.of_partition(&shard_key(build_id, shard)).select(Select::Count);
        let mut pages = request.into_paginator().send();
        let mut count = 0;
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| CloudError::service(format!("count the rows of {build_id}"), &e))?;
            count += u64::try_from(page.count()).unwrap_or_default();
        }
        Ok(count)
    }

    /// The same number as `count`, from a scan of the whole table: what `aws dynamodb scan --select COUNT` with the
    /// filter `build_id = :build_id` answers. It reads the rows of every build; `count` reads those of one.
    pub async fn count_by_scan(&self, build_id: &str) -> Result<u64, CloudError> {
        retries(build_id).run(|| self.scan_once(build_id)).await
    }

    async fn scan_once(&self, build_id: &str) -> Result<u64, CloudError> {
        let request = self
            .client
            .scan()
            .table_name(&self.table)
            .filter_expression("build_id = :build_id")
            .expression_attribute_values(":build_id", text(build_id))
            .select(Select::Count)
            .consistent_read(true);
        let mut pages = request.into_paginator().send();
        let mut count = 0;
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| CloudError::service(format!("scan for the rows of {build_id}"), &e))?;
            count += u64::try_from(page.count()).unwrap_or_default();
        }
        Ok(count)
    }

    /// The rows of a build by region and status.
    pub async fn count_by_region(&self, build_id: &str) -> Result<BTreeMap<(String, String), u64>, CloudError> {
        let shards = of_every_shard(|shard| {
            let read = move || self.read_shard(build_id, shard, "#region, #status", &["region", "status"]);
            retries(build_id).run(read)
        });
        let mut counts = BTreeMap::new();
        for item in shards.await?.iter().flatten() {
            *counts
                .entry((string(item, "region"), string(item, "status")))
                .or_default() += 1;
        }
        Ok(counts)
    }

    /// The rows of a build by status.
    pub async fn count_by_status(&self, build_id: &str) -> Result<BTreeMap<String, u64>, CloudError> {
        let mut counts = BTreeMap::new();
        for ((_, status), rows) in self.count_by_region(build_id).await? {
            *counts.entry(status).or_default() += rows;
        }
        Ok(counts)
    }

    /// The rows of a build, by host id.
    ///
    /// # Errors
    /// `Invalid` with the host and the attribute where a row is not one of ours.
    pub async fn rows(&self, build_id: &str) -> Result<Vec<DeploymentLog>, CloudError> {
        let shards = of_every_shard(|shard| retries(build_id).run(move || self.read_shard(build_id, shard, "", &[])));
        let rows = shards
            .await?
            .iter()
            .flatten()
            .map(from_item)
            .collect::<Result<Vec<_>, _>>();
        let mut rows = rows?;
        rows.sort_by(|a, b| a.host_id.cmp(&b.host_id));
        Ok(rows)
    }

    /// The items of a shard: these attributes of them, or all where none is named.
    async fn read_shard(
        &self,
        build_id: &str,
        shard: u32,
        projection: &str,
        names: &[&str],
    ) -> Result<Vec<Item>, CloudError> {
        let mut request = self
            .of_partition(&shard_key(build_id, shard))
            .set_projection_expression((!projection.is_empty()).then(|| projection.to_owned()));
        for name in names {
            request = request.expression_attribute_names(format!("#{name}"), *name);
        }
        self.read_pages(build_id, request).await
    }

    /// Writes a row unless the table has a success of the same version of the build on this host, in one call, without trying
    /// again: a row says when a version came the first time. A failure gives way, and so does a row of another version.
    ///
    /// A row that does not say its version replaces nothing but a failure.
    ///
    /// # Errors
    /// `Invalid` where the table will never take the row; `Service` for all else, some of it retryable.
    pub async fn write_first(&self, row: &DeploymentLog) -> Result<FirstRow, CloudError> {
        match self.put_first(row, None).await {
            Ok(Put::Written(_)) => Ok(FirstRow::Written),
            Ok(Put::Kept(_)) => Ok(FirstRow::Kept),
            Err(PutError { error, .. }) => Err(error),
        }
    }

    /// What `write_first` does, with the mark of who counts the row, and what was there.
    pub(crate) async fn put_first(&self, row: &DeploymentLog, mark: Option<&Mark>) -> Result<Put, PutError> {
        let mut item = to_item(row);
        let mut condition = "attribute_not_exists(build_shard) OR #status = :failed".to_owned();
        let mut request = self
            .client
            .put_item()
            .table_name(&self.table)
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":failed", text(DeploymentStatus::Failed.as_str()));
        if let Some(mark) = mark {
            mark.set(&mut item);
            request = request
                .return_values(ReturnValue::AllOld)
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        }
        if let Some(version) = &row.version {
            condition.push_str(" OR attribute_not_exists(#version) OR #version <> :version");
            request = request
                .expression_attribute_names("#version", "version")
                .expression_attribute_values(":version", text(version));
        }
        let sent = request
            .set_item(Some(item))
            .condition_expression(condition)
            .send()
            .await;
        sent.map(|written| Put::Written(written.attributes)).or_else(|error| {
            if let Some(PutItemError::ConditionalCheckFailedException(failed)) = error.as_service_error() {
                return Ok(Put::Kept(failed.item.clone()));
            }
            let (build, host) = (&row.build_id, &row.host_id);
            let action = format!("write the row of build {build} and host {host} to {}", self.table);
            let status = error.raw_response().map(|response| response.status().as_u16());
            let is_refused = matches!(error, SdkError::ServiceError(_)) && matches!(status, Some(400..=499));
            let is_refused = is_refused || matches!(error, SdkError::ConstructionFailure(_));
            let error = CloudError::service(action, &error);
            Err(PutError { error, is_refused })
        })
    }

    /// Writes what somebody has counted of a build, in one call.
    pub(crate) async fn put_counts(&self, build_id: &str, item: Item) -> Result<(), CloudError> {
        let request = self.client.put_item().table_name(&self.table).set_item(Some(item));
        let sent = request.send().await;
        let action = || format!("write how many rows build {build_id} has to {}", self.table);
        sent.map(|_| ()).map_err(|error| CloudError::service(action(), &error))
    }

    /// All items of a partition.
    pub(crate) async fn read_partition(&self, build_id: &str, key: &str) -> Result<Vec<Item>, CloudError> {
        let read = || async move { self.read_pages(build_id, self.of_partition(key)).await };
        retries(build_id).run(read).await
    }

    /// So many items from one end of a partition: what tells whether they are counted.
    pub(crate) async fn read_end(
        &self,
        build_id: &str,
        key: &str,
        is_first: bool,
        items: i32,
    ) -> Result<Vec<Item>, CloudError> {
        let read = || async move {
            let request = self.of_partition(key).scan_index_forward(is_first).limit(items);
            let request = request
                .projection_expression("host_id, #version, completed_at, counted_by, counted_at")
                .expression_attribute_names("#version", "version");
            let page = request.send().await;
            let page = page.map_err(|e| CloudError::service(format!("look at rows of {build_id}"), &e))?;
            Ok(page.items.unwrap_or_default())
        };
        retries(build_id).run(read).await
    }

    fn of_partition(&self, key: &str) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.table)
            .key_condition_expression("build_shard = :shard")
            .expression_attribute_values(":shard", text(key))
            .consistent_read(true)
    }

    async fn read_pages(&self, build_id: &str, request: QueryFluentBuilder) -> Result<Vec<Item>, CloudError> {
        let mut pages = request.into_paginator().send();
        let mut items = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| CloudError::service(format!("read the rows of {build_id}"), &e))?;
            items.extend(page.items.unwrap_or_default());
        }
        Ok(items)
    }

    /// Writes rows in one call, without trying again.
    ///
    /// Returns those that the service has left unprocessed.
    pub(crate) async fn write_batch(
        &self,
        rows: impl Iterator<Item = &DeploymentLog> + Send,
    ) -> Result<BTreeSet<RowKey>, CloudError> {
        let requests = rows.map(|row| {
            let put = PutRequest::builder().set_item(Some(to_item(row))).build();
            WriteRequest::builder()
                .put_request(put.expect("an item is all that a put needs"))
                .build()
        });
        let request = self
            .client
            .batch_write_item()
            .request_items(&self.table, requests.collect());
        let sent = request.send().await;
        let sent = sent.map_err(|e| CloudError::service(format!("write rows to {}", self.table), &e))?;
        let left = sent
            .unprocessed_items
            .and_then(|mut items| items.remove(&self.table))
            .unwrap_or_default();
        let puts = left.iter().filter_map(|request| request.put_request.as_ref());
        Ok(puts
            .map(|put| (string(&put.item, "build_id"), string(&put.item, "host_id")))
            .collect())
    }
}

/// What `read` makes of each shard, some at a time: a shard is a partition of its own, with its own share of what the table does.
async fn of_every_shard<T, F>(read: impl Fn(u32) -> F) -> Result<Vec<T>, CloudError>
where
    F: Future<Output = Result<T, CloudError>>,
{
    let shards = stream::iter(0..DEPLOYMENT_LOG_SHARDS).map(read);
    shards.buffered(SHARDS_AT_A_TIME).try_collect().await
}

/// Shards read at a time.
const SHARDS_AT_A_TIME: usize = 8;

fn retries(build_id: &str) -> Backoff {
    Backoff::READ.seeded(fnv1a(build_id).into())
}
