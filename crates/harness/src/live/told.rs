//! What a worker tells of its hosts, as it happens and many at a time, and what the run knows by that.
//!
//! Of each host the last word counts. A host is told of when it has the build, or has it not any more, and all are told of once more at the end:
//! whatever becomes of a worker, what its hosts had come to by then is known, and no message grows with the fleet but for what failed.

use std::collections::BTreeMap;

use scenario::HostOutcome;
use serde::{Deserialize, Serialize};

use super::fleet::FleetResult;
use super::protocol::FromWorker;
use super::recorded::RecordedHost;

/// A host, by its region and its index there.
pub(super) type HostPlace = (usize, u32);

/// When what happened to a host, nanoseconds of the fleet's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostTimes {
    pub(crate) started: Option<u64>,
    /// Since then it has the build.
    pub(crate) complete: Option<u64>,
}

/// What a host has come to so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HostTold {
    pub(crate) outcome: HostOutcome,
    pub(crate) times: HostTimes,
}

/// What is known of the hosts of a worker.
#[derive(Debug, Default)]
pub(super) struct Told {
    hosts: BTreeMap<HostPlace, HostTold>,
    records: Vec<RecordedHost>,
}

impl Told {
    pub(super) fn note(&mut self, hosts: Vec<HostTold>) {
        let placed = |host: HostTold| ((host.outcome.region, host.outcome.host), host);
        self.hosts.extend(hosts.into_iter().map(placed));
    }

    pub(super) fn note_records(&mut self, records: Vec<RecordedHost>) {
        self.records.extend(records);
    }

    /// Those that have the build.
    pub(super) fn done(&self) -> impl Iterator<Item = (HostPlace, &HostTold)> {
        let done = self.hosts.iter().filter(|(_, host)| host.times.complete.is_some());
        done.map(|(place, host)| (*place, host))
    }

    /// The whole of a result whose hosts came before it.
    pub(super) fn complete(self, result: &mut FleetResult) {
        for host in self.hosts.into_values() {
            result.outcomes.push(host.outcome);
            result.times.push(host.times);
        }
        result.records.extend(self.records);
    }
}

/// What is to be said of these hosts.
pub(super) fn of_hosts(hosts: Vec<HostTold>) -> impl Iterator<Item = FromWorker> {
    batches(hosts).map(FromWorker::Hosts)
}

/// A result as it is said: hosts and what was recorded of them go before.
pub(super) fn of_result(mut result: FleetResult) -> impl Iterator<Item = FromWorker> {
    let outcomes = std::mem::take(&mut result.outcomes).into_iter();
    let times = std::mem::take(&mut result.times);
    let hosts = outcomes.zip(times).map(|(outcome, times)| HostTold { outcome, times });
    let records = batches(std::mem::take(&mut result.records)).map(FromWorker::Records);
    let hosts = of_hosts(hosts.collect());
    hosts.chain(records).chain([FromWorker::Result(Box::new(result))])
}

/// As many in each as one message has.
pub(super) fn batches<T>(all: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    let mut all = all.into_iter();
    std::iter::from_fn(move || {
        let batch: Vec<T> = all.by_ref().take(TOLD_AT_ONCE).collect();
        (!batch.is_empty()).then_some(batch)
    })
}

/// Hosts in a message at most: a quarter of a megabyte, or a few megabytes with what was recorded of them. A thousand hosts that are done within a fifth of
/// a second are one message, and no reader waits long for its end.
pub(super) const TOLD_AT_ONCE: usize = 1000;

#[cfg(test)]
mod tests;
