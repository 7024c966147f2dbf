//! How the embedded cloud is made to misbehave: a list of faults that are to happen, told from outside and used up by the
//! servers as requests come. Whoever holds a clone can add to it while the servers run.
//!
//! Services that are slow are told of in the same way, and stay so. Knows nothing of protocols: what a fault looks like on the wire is the
//! servers' part.

mod pace;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use self::pace::{BytePace, RowPace};

/// Faults that are to happen. Cheap to clone; clones are of the same list. The default is none.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    plan: Arc<Mutex<Plan>>,
}

/// How often something has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultsHappened {
    /// GETs that were answered with 503.
    pub gets_failed: u64,
    /// Objects that were overwritten between GETs.
    pub objects_overwritten: u64,
    /// BatchWriteItem requests of which items were left unprocessed.
    pub batches_left_unprocessed: u64,
    /// DynamoDB requests that were throttled.
    pub requests_throttled: u64,
    /// Rows that a table did not take because it takes no more a second.
    pub rows_left: u64,
}

#[derive(Debug, Default)]
struct Plan {
    failing_gets: BTreeMap<String, u32>,
    overwrites: BTreeMap<String, Overwrite>,
    unprocessed: u32,
    throttled: u32,
    /// By bucket.
    slow_buckets: BTreeMap<String, BytePace>,
    /// By table.
    slow_tables: BTreeMap<String, RowPace>,
    happened: FaultsHappened,
}

#[derive(Debug)]
struct Overwrite {
    gets_left: u32,
    bytes: Bytes,
}

/// What is to happen to a GET.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum GetFault {
    None,
    /// 503.
    Unavailable,
    /// The object is another one from now on.
    Overwrite(Bytes),
}

/// What is to happen to a request to DynamoDB.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RequestFault {
    None,
    /// `ProvisionedThroughputExceededException`.
    Throttle,
    /// Half of the items come back.
    LeaveUnprocessed,
}

impl Faults {
    /// The next `times` GETs of `key`, in whatever bucket, are answered with 503 `SlowDown`.
    pub fn fail_gets(&self, key: &str, times: u32) {
        *self.plan().failing_gets.entry(key.to_owned()).or_default() += times;
    }

    /// After `gets` GETs of `key`, those that fail not counted, the object is overwritten with `bytes` in the bucket that
    /// the next one asks.
    pub fn overwrite_after_gets(&self, key: &str, gets: u32, bytes: Bytes) {
        let overwrite = Overwrite { gets_left: gets, bytes };
        self.plan().overwrites.insert(key.to_owned(), overwrite);
    }

    /// Of the next `requests` BatchWriteItem requests the second half of the items, and at least one, is left
    /// unprocessed.
    pub fn leave_unprocessed(&self, requests: u32) {
        self.plan().unprocessed += requests;
    }

    /// The next `requests` requests that read or write items of a table are throttled.
    pub fn throttle(&self, requests: u32) {
        self.plan().throttled += requests;
    }

    /// From now on what GETs bring of `bucket` comes at this rate, all together.
    pub fn slow_gets(&self, bucket: &str, bytes_per_second: u64) {
        let pace = BytePace::new(bytes_per_second);
        self.plan().slow_buckets.insert(bucket.to_owned(), pace);
    }

    /// From now on BatchWriteItem and PutItem put so many rows a second into `table`. What is more is left unprocessed, and a request of
    /// which no row can be taken is throttled.
    pub fn slow_rows(&self, table: &str, rows_per_second: u32) {
        let pace = RowPace::new(rows_per_second);
        self.plan().slow_tables.insert(table.to_owned(), pace);
    }

    /// What has happened so far.
    pub fn happened(&self) -> FaultsHappened {
        self.plan().happened
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        // A plan is whole between any two lines that change it.
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn on_get(&self, key: &str) -> GetFault {
        let plan = &mut *self.plan();
        if let Some(times) = plan.failing_gets.get_mut(key).filter(|times| **times > 0) {
            *times -= 1;
            plan.happened.gets_failed += 1;
            return GetFault::Unavailable;
        }
        match plan.overwrites.get_mut(key) {
            Some(overwrite) if overwrite.gets_left > 0 => {
                overwrite.gets_left -= 1;
                GetFault::None
            }
            Some(_) => {
                plan.happened.objects_overwritten += 1;
                let due = plan.overwrites.remove(key);
                due.map_or(GetFault::None, |overwrite| GetFault::Overwrite(overwrite.bytes))
            }
            None => GetFault::None,
        }
    }

    /// Whether GETs of `bucket` come at a rate.
    pub(super) fn is_slow(&self, bucket: &str) -> bool {
        self.plan().slow_buckets.contains_key(bucket)
    }

    /// When so many bytes that a GET brings of `bucket` have come; none where it is as fast as it can.
    pub(super) fn on_bytes(&self, bucket: &str, bytes: u64) -> Option<Instant> {
        let pace = &mut self.plan().slow_buckets;
        Some(pace.get_mut(bucket)?.pass(Instant::now(), bytes))
    }

    /// Whether any table takes so many rows a second.
    pub(super) fn has_slow_tables(&self) -> bool {
        !self.plan().slow_tables.is_empty()
    }

    /// How many of so many rows `table` takes now.
    pub(super) fn on_rows(&self, table: &str, rows: usize) -> usize {
        let plan = &mut *self.plan();
        let Some(pace) = plan.slow_tables.get_mut(table) else {
            return rows;
        };
        let taken = pace.take(Instant::now(), rows);
        plan.happened.rows_left += (rows - taken) as u64;
        taken
    }

    pub(super) fn on_request(&self, operation: &str) -> RequestFault {
        let plan = &mut *self.plan();
        // Tables are made, described and deleted by a control plane of their own limits.
        if plan.throttled > 0 && !operation.contains("Table") {
            plan.throttled -= 1;
            plan.happened.requests_throttled += 1;
            return RequestFault::Throttle;
        }
        if plan.unprocessed > 0 && operation == "BatchWriteItem" {
            plan.unprocessed -= 1;
            plan.happened.batches_left_unprocessed += 1;
            return RequestFault::LeaveUnprocessed;
        }
        RequestFault::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_happen_as_often_as_told_and_only_to_what_they_were_told_of() {
        let faults = Faults::default();
        faults.fail_gets("a", 1);
        faults.overwrite_after_gets("a", 1, Bytes::from_static(b"new"));
        assert_eq!(faults.on_get("b"), GetFault::None);
        assert_eq!(faults.on_get("a"), GetFault::Unavailable);
        assert_eq!(faults.on_get("a"), GetFault::None);
        assert_eq!(faults.on_get("a"), GetFault::Overwrite(Bytes::from_static(b"new")));
        assert_eq!(faults.on_get("a"), GetFault::None);
        faults.throttle(1);
        faults.leave_unprocessed(1);
        assert_eq!(faults.on_request("DescribeTable"), RequestFault::None);
        assert_eq!(faults.on_request("Query"), RequestFault::Throttle);
        assert_eq!(faults.on_request("Query"), RequestFault::None);
        assert_eq!(faults.on_request("BatchWriteItem"), RequestFault::LeaveUnprocessed);
        assert_eq!(faults.on_request("BatchWriteItem"), RequestFault::None);
        let expected = FaultsHappened {
            gets_failed: 1,
            objects_overwritten: 1,
            batches_left_unprocessed: 1,
            requests_throttled: 1,
            rows_left: 0,
        };
        assert_eq!(faults.happened(), expected);
    }
}
