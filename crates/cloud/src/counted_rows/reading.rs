//! Reads what writers have counted, and looks at a few rows for those of writers that do not count.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::tally::{Mark, Of, Published, Tally, counts_key, time_of};
use crate::deployment_log::{Item, completed_at};
use crate::deployment_log_table::DeploymentLogTable;
use crate::error::CloudError;
use crate::names::{DEPLOYMENT_LOG_SHARDS, shard_key};
use crate::tracking_table::string;

/// What all writers that count have counted of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// By version and region.
    pub regions: Vec<RegionCounts>,
    /// Tallies of writers that have put rows which are not in them yet, or that have died before.
    pub unsettled: u64,
    /// Rows of which their writer does not know whether they are in the table.
    pub uncertain: u64,
    /// Items that were read for it.
    pub items_read: u64,
}

/// The rows of a build, a version and a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionCounts {
    /// The version; `None` where rows do not say it.
    pub version: Option<String>,
    /// The region.
    pub region: String,
    /// Rows that are SUCCEEDED.
    pub succeeded: u64,
    /// Rows that are FAILED.
    pub failed: u64,
    /// When its rows were written, on average, by their writers' clocks.
    pub written_at: Option<SystemTime>,
    /// How long hosts took that succeeded, and how many took as long: at most an eleventh longer than it was.
    pub durations: Vec<(Duration, u64)>,
}

/// A row that was looked at for whether it is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampledRow {
    /// The version, where the row says it.
    pub version: Option<String>,
    /// When its host was done.
    pub completed_at: SystemTime,
    /// Whether its writer counts.
    pub is_counted: bool,
}

impl RowCounts {
    /// Whether the counts are those of all rows that are counted.
    pub const fn is_certain(&self) -> bool {
        self.unsettled == 0 && self.uncertain == 0
    }

    fn new(items: &[Item]) -> Self {
        let mut counts = Self {
            items_read: items.len() as u64,
            ..Self::default()
        };
        let mut sums: BTreeMap<Of, Tally> = BTreeMap::new();
        for published in items.iter().map(Published::from_item) {
            counts.unsettled += u64::from(!published.is_settled);
            counts.uncertain += published.uncertain;
            sums.entry(published.of).or_default().join(&published.tally);
        }
        let whole = |rows: i64| u64::try_from(rows).unwrap_or_default();
        let sums = sums.into_iter().filter(|(_, sum)| sum.succeeded > 0 || sum.failed > 0);
        counts.regions = sums
            .map(|(of, sum)| RegionCounts {
                version: Some(of.version).filter(|version| !version.is_empty()),
                region: of.region,
                succeeded: whole(sum.succeeded),
                failed: whole(sum.failed),
                written_at: sum.mean_written_at(),
                durations: sum
                    .durations
                    .into_iter()
                    .filter(|(_, rows)| *rows > 0)
                    .map(|(step, rows)| (time_of(step), whole(rows)))
                    .collect(),
            })
            .collect();
        counts
    }
}

impl DeploymentLogTable {
    /// What writers have counted of a build: an item for each writer, version and region, and no rows.
    ///
    /// Writers that do not count are not in it. [`DeploymentLogTable::sample`] finds their rows.
    pub async fn counts(&self, build_id: &str) -> Result<RowCounts, CloudError> {
        let items = self.read_partition(build_id, &counts_key(build_id)).await?;
        Ok(RowCounts::new(&items))
    }

    /// Eight rows at most of a shard of a build, from both of its ends: of the hosts whose names come first and last. Shards go round:
    /// that after the last is the first.
    pub async fn sample(&self, build_id: &str, shard: u32) -> Result<Vec<SampledRow>, CloudError> {
        let key = shard_key(build_id, shard % DEPLOYMENT_LOG_SHARDS);
        let (mut rows, last) = futures::future::try_join(
            self.read_end(build_id, &key, true, ROWS_OF_AN_END),
            self.read_end(build_id, &key, false, ROWS_OF_AN_END),
        )
        .await?;
        let names: Vec<String> = rows.iter().map(|item| string(item, "host_id")).collect();
        rows.extend(
            last.into_iter()
                .filter(|item| !names.contains(&string(item, "host_id"))),
        );
        let sampled = rows.iter().map(|item| SampledRow {
            version: Some(string(item, "version")).filter(|version| !version.is_empty()),
            completed_at: completed_at(item),
            is_counted: Mark::of(item).is_some(),
        });
        Ok(sampled.collect())
    }
}

/// Rows that are read of each end of a shard.
const ROWS_OF_AN_END: i32 = 4;
