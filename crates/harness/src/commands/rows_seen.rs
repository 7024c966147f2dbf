//! The rows of one version of a build, as cheaply as they can be had: what their writers have counted where all of them count, else row by
//! row. A number that may be too small is never told as if it were right.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use cloud::{
    CloudError, DEPLOYMENT_LOG_SHARDS, DeploymentLog, DeploymentLogTable, DeploymentStatus, RowCounts, SampledRow,
};

/// Which rows are meant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meant {
    /// The build.
    pub(crate) build_id: String,
    /// This version, as rows name it; the newest where absent.
    pub(crate) version: Option<String>,
    /// Since when the bucket has had what is the newest; not known where the build is not there.
    pub(crate) since: Option<SystemTime>,
}

/// What a region has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RegionRows {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    /// How long hosts took that succeeded, and how many took as long.
    pub(crate) durations: Vec<(Duration, u64)>,
}

/// The rows that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RowsSeen {
    pub(crate) regions: BTreeMap<String, RegionRows>,
    /// The versions that rows are of, and how many each has.
    pub(crate) versions: BTreeMap<String, u64>,
    /// Rows of other versions.
    pub(crate) others: u64,
    /// Items that were read for it.
    pub(crate) items_read: u64,
    /// Whether a number may be too small, as a writer has not told all that it knows, or has died before.
    pub(crate) is_certain: bool,
}

impl RowsSeen {
    pub(crate) fn succeeded(&self) -> u64 {
        self.regions.values().map(|region| region.succeeded).sum()
    }

    pub(crate) fn failed(&self) -> u64 {
        self.regions.values().map(|region| region.failed).sum()
    }
}

/// Why all rows are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Because {
    /// Somebody wants it.
    Asked,
    /// There are rows, and nobody has counted any.
    NobodyCounts,
    /// Some rows are not counted.
    SomeDoNotCount,
    /// A writer has died, or does not know whether a row is there.
    Uncertain,
}

impl Because {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "as --exact says",
            Self::NobodyCounts => "their writers do not count them",
            Self::SomeDoNotCount => {
                "some of their writers do not count, being of an older release or hosts that write themselves"
            }
            Self::Uncertain => "a seeder ended, or lost an answer, before it had counted all of them",
        }
    }
}

/// All rows, one by one.
pub(crate) async fn exactly(logs: &DeploymentLogTable, meant: &Meant) -> Result<RowsSeen, CloudError> {
    let rows = logs.rows(&meant.build_id).await?;
    Ok(of_rows(rows, meant))
}

/// The rows as a single look has them: from what their writers have counted, or row by row, and then why.
pub(crate) async fn once(logs: &DeploymentLogTable, meant: &Meant) -> Result<(RowsSeen, Option<Because>), CloudError> {
    let because = match counted(logs, meant, 0..DEPLOYMENT_LOG_SHARDS).await? {
        Ok(seen) if seen.is_certain => return Ok((seen, None)),
        Ok(_) => Because::Uncertain,
        Err(because) => because,
    };
    Ok((exactly(logs, meant).await?, Some(because)))
}

/// What their writers have counted; why that does not do, where rows of these shards are of writers that do not count.
async fn counted(
    logs: &DeploymentLogTable,
    meant: &Meant,
    shards: std::ops::Range<u32>,
) -> Result<Result<RowsSeen, Because>, CloudError> {
    let counts = logs.counts(&meant.build_id).await?;
    let mut sampled = Vec::new();
    for shard in shards {
        sampled.extend(logs.sample(&meant.build_id, shard).await?);
    }
    Ok(of_counts(&counts, &sampled, meant))
}

/// Looks at a build that is on its way: cheap ones, and at all rows where these do not do.
#[derive(Debug)]
pub(crate) struct Looks {
    because: Option<Because>,
    looks: u32,
    last: Option<(RowsSeen, Instant)>,
    /// All rows were read since the counts have changed.
    was_checked: bool,
}

impl Looks {
    pub(crate) const fn new(is_exact: bool) -> Self {
        Self {
            because: if is_exact { Some(Because::Asked) } else { None },
            looks: 0,
            last: None,
            was_checked: false,
        }
    }

    /// Why all rows are read, where they are.
    pub(crate) const fn because(&self) -> Option<Because> {
        self.because
    }

    pub(crate) async fn look(
        &mut self,
        logs: &DeploymentLogTable,
        meant: &Meant,
        now: Instant,
    ) -> Result<RowsSeen, CloudError> {
        if self.because.is_some() {
            return exactly(logs, meant).await;
        }
        let shard = self.looks % DEPLOYMENT_LOG_SHARDS;
        self.looks = self.looks.wrapping_add(1);
        let seen = match counted(logs, meant, shard..shard + 1).await? {
            Ok(seen) => seen,
            Err(because) => {
                self.because = Some(because);
                return exactly(logs, meant).await;
            }
        };
        if !self.stands_still(&seen, now) || self.was_checked {
            return Ok(seen);
        }
        // Once, and again when something has changed since.
        self.was_checked = true;
        let exact = exactly(logs, meant).await?;
        if (exact.succeeded(), exact.failed()) != (seen.succeeded(), seen.failed()) {
            let is_certain = seen.is_certain;
            self.because = Some(if is_certain {
                Because::SomeDoNotCount
            } else {
                Because::Uncertain
            });
        }
        Ok(exact)
    }

    /// Whether nothing has changed for a while.
    fn stands_still(&mut self, seen: &RowsSeen, now: Instant) -> bool {
        match &self.last {
            Some((last, since)) if last.regions == seen.regions => {
                now.saturating_duration_since(*since) >= STANDS_STILL_AFTER
            }
            _ => {
                self.last = Some((seen.clone(), now));
                self.was_checked = false;
                false
            }
        }
    }
}

fn of_counts(counts: &RowCounts, sampled: &[SampledRow], meant: &Meant) -> Result<RowsSeen, Because> {
    let is_meant = |version: Option<&String>, at: Option<SystemTime>| match (&meant.version, meant.since) {
        (Some(meant), _) => version == Some(meant),
        (None, Some(since)) => at.is_some_and(|at| at >= since),
        (None, None) => true,
    };
    let uncounted = sampled
        .iter()
        .any(|row| !row.is_counted && is_meant(row.version.as_ref(), Some(row.completed_at)));
    if uncounted {
        let nobody = counts.regions.is_empty();
        return Err(if nobody {
            Because::NobodyCounts
        } else {
            Because::SomeDoNotCount
        });
    }
    let mut seen = RowsSeen {
        items_read: counts.items_read + sampled.len() as u64,
        is_certain: counts.is_certain(),
        ..RowsSeen::default()
    };
    for of in &counts.regions {
        let rows = of.succeeded + of.failed;
        *seen.versions.entry(of.version.clone().unwrap_or_default()).or_default() += rows;
        if !is_meant(of.version.as_ref(), of.written_at) {
            seen.others += rows;
            continue;
        }
        let region = seen.regions.entry(of.region.clone()).or_default();
        region.succeeded += of.succeeded;
        region.failed += of.failed;
        region.durations.extend(&of.durations);
    }
    Ok(seen)
}

fn of_rows(rows: Vec<DeploymentLog>, meant: &Meant) -> RowsSeen {
    let mut seen = RowsSeen {
        items_read: rows.len() as u64,
        is_certain: true,
        ..RowsSeen::default()
    };
    for row in &rows {
        *seen
            .versions
            .entry(row.version.clone().unwrap_or_default())
            .or_default() += 1;
    }
    let all = rows.len();
    let rows = match &meant.version {
        Some(version) => rows
            .into_iter()
            .filter(|row| row.version.as_ref() == Some(version))
            .collect(),
        None => of_this_version(rows, meant.since),
    };
    seen.others = (all - rows.len()) as u64;
    for row in rows {
        let region = seen.regions.entry(row.region).or_default();
        match row.status {
            DeploymentStatus::Succeeded => {
                region.succeeded += 1;
                region.durations.push((row.duration, 1));
            }
            DeploymentStatus::Failed => region.failed += 1,
        }
    }
    seen
}

/// The rows of hosts that have what the bucket has had `since` then. Rows of one version stand and fall together: by the clock of
/// one host a row may be older than it is.
fn of_this_version(rows: Vec<DeploymentLog>, since: Option<SystemTime>) -> Vec<DeploymentLog> {
    let Some(since) = since else {
        return rows;
    };
    let is_newer = |row: &DeploymentLog| row.completed_at >= since;
    let mut votes: BTreeMap<String, i64> = BTreeMap::new();
    for row in &rows {
        if let Some(version) = &row.version {
            *votes.entry(version.clone()).or_default() += if is_newer(row) { 1 } else { -1 };
        }
    }
    let mut rows = rows;
    rows.retain(|row| match &row.version {
        Some(version) => votes.get(version).is_some_and(|votes| *votes > 0),
        None => is_newer(row),
    });
    rows
}

/// Counts that have not changed for so long are held against all rows, once: a seeder of an older release counts nothing.
const STANDS_STILL_AFTER: Duration = Duration::from_secs(60);

/// Between two looks, of so many items each: less than 1,000 items a minute, and two looks a second at most.
pub(crate) fn interval_of_looks(items: u64) -> Duration {
    SHORTEST.max(Duration::from_millis(items * 60_000 / ITEMS_A_MINUTE))
}

/// Between two looks that read all rows of so many hosts, and are paid by the row: a large fleet is looked at less often. 100,000 hosts are
/// looked at every ten seconds.
pub(crate) fn interval_of_exact_looks(hosts: u64) -> Duration {
    SHORTEST.max(Duration::from_millis(hosts / 10))
}

/// Items that a look reads: what each seeder has counted of a region, rows that are looked at for whether they are counted, and the row of the
/// replication.
pub(crate) const fn items_of_a_look(seeders: u64) -> u64 {
    seeders + 8 + 1
}

const SHORTEST: Duration = Duration::from_millis(500);
const ITEMS_A_MINUTE: u64 = 900;

#[cfg(test)]
mod tests;
