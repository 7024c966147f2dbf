//! What was counted of the rows of one build, version and region: how it is added up, and how it stands in an item.
//!
//! A tally of one writer may be below zero: it takes away what another one has counted. Their sum is right.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::types::AttributeValue;

use crate::deployment_log::{DeploymentLog, DeploymentStatus, Item, KEPT_FOR};
use crate::tracking_table::{string, text};

/// Whose rows a tally is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Of {
    pub(crate) build_id: String,
    /// Empty where rows do not say it.
    pub(crate) version: String,
    pub(crate) region: String,
}

impl Of {
    pub(crate) fn row(row: &DeploymentLog) -> Self {
        Self {
            build_id: row.build_id.clone(),
            version: row.version.clone().unwrap_or_default(),
            region: row.region.clone(),
        }
    }
}

/// By whom a row is counted, and when, in microseconds since 1970: no two rows of a writer have the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) by: String,
    pub(crate) at: u64,
}

impl Mark {
    pub(crate) fn set(&self, item: &mut Item) {
        item.insert("counted_by".to_owned(), text(&self.by));
        item.insert("counted_at".to_owned(), AttributeValue::N(self.at.to_string()));
    }

    pub(crate) fn of(item: &Item) -> Option<Self> {
        let by = string(item, "counted_by");
        (!by.is_empty()).then(|| Self {
            by,
            at: whole(item, "counted_at").try_into().unwrap_or_default(),
        })
    }
}

/// What a row adds to a tally.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) of: Of,
    pub(crate) mark: Mark,
    has_succeeded: bool,
    step: u16,
}

impl Counted {
    pub(crate) fn row(row: &DeploymentLog, mark: Mark) -> Self {
        Self {
            of: Of::row(row),
            mark,
            has_succeeded: row.status == DeploymentStatus::Succeeded,
            step: step_of(row.duration),
        }
    }

    /// What a row of the table was counted as; `None` where its writer does not count.
    pub(crate) fn item(item: &Item) -> Option<Self> {
        let milliseconds = u64::try_from(whole(item, "duration_ms")).unwrap_or_default();
        Some(Self {
            mark: Mark::of(item)?,
            of: Of {
                build_id: string(item, "build_id"),
                version: string(item, "version"),
                region: string(item, "region"),
            },
            has_succeeded: string(item, "status") == DeploymentStatus::Succeeded.as_str(),
            step: step_of(Duration::from_millis(milliseconds)),
        })
    }
}

/// The rows of one build, version and region, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) succeeded: i64,
    pub(crate) failed: i64,
    /// When each was written, in microseconds since 1970, all together: what their mean is made of.
    pub(crate) written_at: i128,
    /// How long those took that succeeded, by step.
    pub(crate) durations: BTreeMap<u16, i64>,
}

impl Tally {
    pub(crate) fn add(&mut self, row: &Counted, times: i64) {
        self.written_at += i128::from(row.mark.at) * i128::from(times);
        if row.has_succeeded {
            self.succeeded += times;
            *self.durations.entry(row.step).or_default() += times;
        } else {
            self.failed += times;
        }
    }

    pub(crate) fn join(&mut self, other: &Self) {
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.written_at += other.written_at;
        for (step, rows) in &other.durations {
            *self.durations.entry(*step).or_default() += rows;
        }
    }

    /// When its rows were written, on average.
    pub(crate) fn mean_written_at(&self) -> Option<SystemTime> {
        let rows = i128::from(self.succeeded + self.failed);
        let mean = (rows > 0).then(|| self.written_at / rows)?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(u64::try_from(mean).ok()?))
    }
}

/// What a writer has published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) of: Of,
    pub(crate) tally: Tally,
    /// All rows that the writer has put are in it. One that died in between never says so.
    pub(crate) is_settled: bool,
    /// Rows of which the writer does not know whether they are in the table.
    pub(crate) uncertain: u64,
}

impl Published {
    /// The item of the writer of this id.
    pub(crate) fn to_item(&self, id: &str, now: SystemTime) -> Item {
        let mut item = Item::new();
        let mut set = |name: &str, value| item.insert(name.to_owned(), value);
        let number = |value: i128| AttributeValue::N(value.to_string());
        set("build_shard", text(&counts_key(&self.of.build_id)));
        set("host_id", text(&format!("{}#{}#{id}", self.of.version, self.of.region)));
        // No `build_id`, by which rows are found: it is none.
        set("counts_of", text(&self.of.build_id));
        if !self.of.version.is_empty() {
            set("version", text(&self.of.version));
        }
        set("region", text(&self.of.region));
        set("succeeded", number(self.tally.succeeded.into()));
        set("failed", number(self.tally.failed.into()));
        set("written_at_sum", number(self.tally.written_at));
        let durations = self.tally.durations.iter().filter(|(_, rows)| **rows != 0);
        let durations: HashMap<_, _> = durations
            .map(|(step, rows)| (step.to_string(), number((*rows).into())))
            .collect();
        set("durations", AttributeValue::M(durations));
        set("settled", AttributeValue::Bool(self.is_settled));
        set("uncertain", number(self.uncertain.into()));
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        set("expires_at", number((since + KEPT_FOR).as_secs().into()));
        item
    }

    pub(crate) fn from_item(item: &Item) -> Self {
        let durations = item.get("durations").and_then(|value| value.as_m().ok());
        let durations = durations.into_iter().flatten().filter_map(|(step, rows)| {
            let rows = rows.as_n().ok()?.parse().ok()?;
            Some((step.parse().ok()?, rows))
        });
        let small = |name: &str| i64::try_from(whole(item, name)).unwrap_or_default();
        Self {
            of: Of {
                build_id: string(item, "counts_of"),
                version: string(item, "version"),
                region: string(item, "region"),
            },
            tally: Tally {
                succeeded: small("succeeded"),
                failed: small("failed"),
                written_at: whole(item, "written_at_sum"),
                durations: durations.collect(),
            },
            is_settled: item.get("settled").and_then(|value| value.as_bool().ok()) == Some(&true),
            uncertain: whole(item, "uncertain").try_into().unwrap_or_default(),
        }
    }
}

/// The partition of what was counted of a build. No shard of a build has such a key: those end in two digits.
pub(crate) fn counts_key(build_id: &str) -> String {
    format!("{build_id}#counts")
}

fn whole(item: &Item, name: &str) -> i128 {
    let number = item.get(name).and_then(|value| value.as_n().ok());
    number.and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// The step that a time is in: eight of them to each doubling, from a millisecond on.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is between 0 and STEP_MAX"
)]
fn step_of(duration: Duration) -> u16 {
    let milliseconds = (duration.as_secs_f64() * 1000.0).max(1.0);
    (milliseconds.log2() * STEPS_PER_DOUBLING).ceil().clamp(0.0, STEP_MAX) as u16
}

/// The longest time of a step: no time is told shorter than it was, and none by more than an eleventh longer.
pub(crate) fn time_of(step: u16) -> Duration {
    Duration::from_secs_f64((f64::from(step) / STEPS_PER_DOUBLING).exp2() / 1000.0)
}

const STEPS_PER_DOUBLING: f64 = 8.0;
/// 49 days. A tally that has rows in all steps fits 4 KB, which is one unit of a read.
const STEP_MAX: f64 = 256.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_published_comes_back_as_it_was() {
        let published = Published {
            of: Of {
                build_id: "b.zip".to_owned(),
                version: "v1".to_owned(),
                region: "region-a".to_owned(),
            },
            tally: Tally {
                succeeded: 100_000,
                failed: -3,
                written_at: i128::from(u64::MAX) * 100_000,
                durations: [(0, 7), (200, -2)].into(),
            },
            is_settled: true,
            uncertain: 4,
        };
        let item = published.to_item("w.1", SystemTime::now());
        assert_eq!(Published::from_item(&item), published);
        assert!(!item.contains_key("build_id"), "it would be counted as a row");
    }

    #[test]
    fn a_time_is_told_a_little_longer_and_never_shorter() {
        for milliseconds in [1, 2, 3, 999, 1_000, 61_234, 86_400_000] {
            let time = Duration::from_millis(milliseconds);
            let told = time_of(step_of(time));
            let over = told.as_secs_f64() / time.as_secs_f64();
            assert!((0.999_999..1.0906).contains(&over), "{time:?}: {told:?}");
        }
        assert_eq!(time_of(step_of(Duration::ZERO)), Duration::from_millis(1));
        assert_eq!(step_of(Duration::MAX), 256);
    }

    #[test]
    fn what_is_added_and_taken_away_leaves_nothing() {
        let mark = |at| Mark { by: "w".to_owned(), at };
        let row = |at, has_succeeded| Counted {
            of: Of {
                build_id: "b".to_owned(),
                version: String::new(),
                region: "r".to_owned(),
            },
            mark: mark(at),
            has_succeeded,
            step: 80,
        };
        let (mut mine, mut yours) = (Tally::default(), Tally::default());
        mine.add(&row(10, true), 1);
        mine.add(&row(30, true), 1);
        yours.add(&row(50, false), 1);
        yours.add(&row(10, true), -1);
        mine.join(&yours);
        assert_eq!((mine.succeeded, mine.failed, mine.durations[&80]), (1, 1, 1));
        assert_eq!(
            mine.mean_written_at(),
            Some(SystemTime::UNIX_EPOCH + Duration::from_micros(40))
        );
    }
}
