//! What a deploy costs on AWS: how much of what it takes, which is this program's own business, times what AWS asks for it, which is a
//! file's. Machines are not in it: hosts are there anyway.

mod prices;

use std::time::Duration;

use serde::Serialize;

pub(crate) use prices::{Prices, PricesError};

/// A deploy of one build, as the pipeline makes it.
#[derive(Clone, Debug)]
pub(crate) struct Deploy {
    /// The AWS region of the global bucket, the workflow and the tables.
    pub(crate) home: String,
    pub(crate) regions: Vec<OfRegion>,
    /// Bytes of the build.
    pub(crate) build: u64,
    /// For how long somebody runs `harness watch`.
    pub(crate) watched: Duration,
}

/// A region of hosts.
#[derive(Clone, Debug)]
pub(crate) struct OfRegion {
    /// Its name in the scenario.
    pub(crate) name: String,
    pub(crate) aws_region: String,
    pub(crate) hosts: u32,
    pub(crate) zones: u32,
    pub(crate) seeders: u32,
    /// Bytes that go from one zone to another.
    pub(crate) cross_zone: u64,
}

/// One line of a bill.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Line {
    pub(crate) what: &'static str,
    /// Whose: a region's name, or `home`.
    pub(crate) place: String,
    pub(crate) aws_region: String,
    pub(crate) quantity: f64,
    pub(crate) unit: &'static str,
    /// Dollars for `per` of them.
    pub(crate) price: f64,
    pub(crate) per: f64,
    pub(crate) usd: f64,
}

/// What a deploy costs, and what stays of it for a month.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Bill {
    pub(crate) deploy: Vec<Line>,
    pub(crate) month: Vec<Line>,
}

impl Bill {
    pub(crate) fn of(deploy: &Deploy, prices: &Prices) -> Result<Self, PricesError> {
        let mut lines = Lines {
            prices,
            made: Vec::new(),
        };
        lines.of_deploy(deploy)?;
        let of_deploy = std::mem::take(&mut lines.made);
        lines.of_month(deploy)?;
        Ok(Self {
            deploy: of_deploy,
            month: lines.made,
        })
    }
}

/// Dollars of all of these.
pub(crate) fn sum(lines: &[Line]) -> f64 {
    lines.iter().map(|line| line.usd).sum()
}

/// What bytes between zones cost where hosts take each chunk from whoever has it, in whichever zone that is.
pub(crate) fn usd_without_zones(deploy: &Deploy, prices: &Prices) -> f64 {
    let bytes = deploy.regions.iter().map(|region| {
        let zones = f64::from(region.zones.max(1));
        f64::from(region.hosts) * deploy.build as f64 * (zones - 1.0) / zones
    });
    let price = &prices.everywhere.cross_zone;
    bytes.sum::<f64>() / GB * price.price / price.per
}

struct Lines<'a> {
    prices: &'a Prices,
    made: Vec<Line>,
}

impl Lines<'_> {
    fn add(
        &mut self,
        what: &'static str,
        (place, aws_region): (&str, &str),
        (quantity, unit): (f64, &'static str),
        (price, per): (f64, f64),
    ) {
        if quantity <= 0.0 {
            return;
        }
        self.made.push(Line {
            what,
            place: place.to_owned(),
            aws_region: aws_region.to_owned(),
            quantity,
            unit,
            price,
            per,
            usd: quantity * price / per,
        });
    }

    fn of_deploy(&mut self, deploy: &Deploy) -> Result<(), PricesError> {
        let (prices, at_home) = (self.prices, (HOME, &*deploy.home));
        let home = prices.of(&deploy.home)?;
        let hosts: f64 = deploy.regions.iter().map(|region| f64::from(region.hosts)).sum();
        let uploaded = requests(deploy.build, UPLOAD_ABOVE, UPLOAD_PART);
        self.add("upload", at_home, (uploaded, "PUT"), (home.put, 1000.0));
        for region in &deploy.regions {
            let place = (&*region.name, &*region.aws_region);
            let there = prices.of(&region.aws_region)?;
            let copied = requests(deploy.build, COPY_ABOVE, COPY_PART);
            self.add("copy", place, (copied, "COPY"), (there.put, 1000.0));
            let bytes = deploy.build as f64 / GB;
            let crossing = if region.aws_region == deploy.home { 0.0 } else { bytes };
            let out = home.out_to(&deploy.home, &region.aws_region);
            self.add("cross-region bytes", place, (crossing, "GB"), (out, 1.0));
            let pulled = deploy.build.div_ceil(PULL_PART).max(1) as f64 * f64::from(region.seeders);
            self.add("pull", place, (pulled, "GET"), (there.get, 1000.0));
            let everywhere = &prices.everywhere;
            let price = &everywhere.messages;
            self.add("queue", place, (MESSAGE_REQUESTS, "requests"), (price.price, price.per));
            let price = &everywhere.cross_zone;
            let bytes = region.cross_zone as f64 / GB;
            self.add("cross-zone bytes", place, (bytes, "GB"), (price.price, price.per));
        }
        let regions = deploy.regions.len() as f64;
        let price = &prices.everywhere.transitions;
        let transitions = TRANSITIONS + regions;
        self.add(
            "workflow",
            at_home,
            (transitions, "transitions"),
            (price.price, price.per),
        );
        // replication-worker; region-copier and regional-sync for each region.
        let price = &prices.everywhere.calls;
        self.add(
            "functions",
            at_home,
            (1.0 + 2.0 * regions, "calls"),
            (price.price, price.per),
        );
        let price = &prices.everywhere.gb_seconds;
        let seconds = regions * deploy.build as f64 / COPIED_PER_SECOND + (1.0 + 2.0 * regions) * CALL_SECONDS;
        self.add(
            "functions' time",
            at_home,
            (seconds * FUNCTION_GB, "GB s"),
            (price.price, price.per),
        );
        // And the start and the end of the replication.
        self.add("rows", at_home, (hosts + 2.0, "writes"), (home.write, 1e6));
        self.add("watch", at_home, (watched(deploy), "reads"), (home.read, 1e6));
        Ok(())
    }

    fn of_month(&mut self, deploy: &Deploy) -> Result<(), PricesError> {
        let (prices, at_home) = (self.prices, (HOME, &*deploy.home));
        let home = prices.of(&deploy.home)?;
        let bytes = deploy.build as f64 / GB;
        self.add("storage", at_home, (bytes, "GB months"), (home.storage, 1.0));
        for region in &deploy.regions {
            let place = (&*region.name, &*region.aws_region);
            let there = prices.of(&region.aws_region)?;
            self.add("storage", place, (bytes, "GB months"), (there.storage, 1.0));
            let price = &prices.everywhere.messages;
            let polls = f64::from(region.seeders) * MONTH_SECONDS / POLL_SECONDS;
            self.add("listening", place, (polls, "requests"), (price.price, price.per));
        }
        let hosts: f64 = deploy.regions.iter().map(|region| f64::from(region.hosts)).sum();
        self.add(
            "rows kept",
            at_home,
            (hosts * ROW_BYTES / GB, "GB months"),
            (home.rows, 1.0),
        );
        Ok(())
    }
}

/// Requests that an object takes: one, or above a size one for each part, one before and one after them.
fn requests(bytes: u64, one_up_to: u64, part: u64) -> f64 {
    if bytes <= one_up_to {
        return 1.0;
    }
    let part = part.max(bytes.div_ceil(PARTS_MAX));
    bytes.div_ceil(part) as f64 + 2.0
}

/// Read units that `harness watch` takes where seeders write the rows: each look reads what every seeder has counted, a few rows and the row of
/// the replication, consistently, which is a unit for each at most.
fn watched(deploy: &Deploy) -> f64 {
    let seeders = deploy
        .regions
        .iter()
        .map(|region| u64::from(region.seeders.max(1)))
        .sum();
    let items = crate::commands::items_of_a_look(seeders);
    let interval = crate::commands::interval_of_looks(items);
    let looks = (deploy.watched.as_secs_f64() / interval.as_secs_f64()).ceil();
    looks * items as f64
}

const HOME: &str = "home";
/// As AWS bills it.
pub(crate) const GB: f64 = (1_u64 << 30) as f64;
/// `cloud/src/uploads.rs`: in parts above so many bytes, each of so many.
const UPLOAD_ABOVE: u64 = 16 << 20;
const UPLOAD_PART: u64 = 16 << 20;
/// `cloud/src/copies.rs`, likewise.
const COPY_ABOVE: u64 = 512 << 20;
const COPY_PART: u64 = 128 << 20;
/// S3's.
const PARTS_MAX: u64 = 10_000;
/// `seeder/src/s3_pull.rs`: bytes of a request.
const PULL_PART: u64 = 8 << 20;
/// States of the workflow that every replication goes through, but for the one of each copy.
const TRANSITIONS: f64 = 7.0;
/// A build's message is sent, taken up, kept once and deleted.
const MESSAGE_REQUESTS: f64 = 4.0;
/// Of the workflow's copier: 10 GB in a minute and a half. Assumed, not measured: S3's own copies in sixteen parts at a time.
const COPIED_PER_SECOND: f64 = 110e6;
/// Of a call that moves no bytes. Assumed.
const CALL_SECONDS: f64 = 0.5;
/// 256 MiB.
const FUNCTION_GB: f64 = 0.25;
/// Of a host's row, with the names of its attributes (`cloud/src/deployment_log.rs`): below the 1 KB that one write takes.
const ROW_BYTES: f64 = 450.0;
const MONTH_SECONDS: f64 = 730.0 * 3600.0;
/// A seeder that hears of nothing asks again (`seeder/src/queue_feed.rs`).
const POLL_SECONDS: f64 = 20.0;

#[cfg(test)]
mod tests;
