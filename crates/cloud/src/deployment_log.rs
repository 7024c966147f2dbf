//! What a host reports about a build, and how that stands in a row of `host-deployment-logs`. Knows nothing of writing or
//! counting.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};
use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use crate::error::CloudError;
use crate::names::{HOST_DEPLOYMENT_LOGS, build_shard};
use crate::tracking_table::{string, text};

/// Whether a host has the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DeploymentStatus {
    /// Verified and in place.
    Succeeded,
    /// Not.
    Failed,
}

impl DeploymentStatus {
    /// As it stands in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
        }
    }
}

/// What a host reports about a build. As JSON it waits on a host's disk until the table can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentLog {
    /// The build.
    pub build_id: String,
    /// Which version of the build, where the host knows: equal builds have equal ones.
    #[serde(default)]
    pub version: Option<String>,
    /// Root of the build's manifest, where the host has come to know it: which bytes it is. In hexadecimal.
    #[serde(default)]
    pub root: Option<String>,
    /// The host.
    pub host_id: String,
    /// Its region.
    pub region: String,
    /// Its zone within the region.
    pub zone: String,
    /// Whether it has the build.
    pub status: DeploymentStatus,
    /// Why not. The table keeps its first 1,000 characters.
    pub error: Option<String>,
    /// When it learned of the build. The table keeps milliseconds.
    #[serde(with = "milliseconds")]
    pub started_at: SystemTime,
    /// When it had verified it, or gave up. The table keeps milliseconds.
    #[serde(with = "milliseconds")]
    pub completed_at: SystemTime,
    /// Time between the two. The table keeps milliseconds.
    pub duration: Duration,
    /// Payload bytes that came from the seeder.
    pub bytes_from_seeder: u64,
    /// Payload bytes that came from other hosts.
    pub bytes_from_peers: u64,
    /// Payload bytes that were thrown away.
    pub bytes_wasted: u64,
    /// Chunks of the build that it holds.
    pub chunks_held: u32,
    /// Chunks of the build.
    pub chunks_total: u32,
}

pub(crate) type Item = HashMap<String, AttributeValue>;

pub(crate) fn to_item(row: &DeploymentLog) -> Item {
    let mut item = Item::new();
    let mut set = |name: &str, value| item.insert(name.to_owned(), value);
    let number = |value: u128| AttributeValue::N(value.to_string());
    set("build_shard", text(&build_shard(&row.build_id, &row.host_id)));
    set("host_id", text(&row.host_id));
    set("build_id", text(&row.build_id));
    set("region", text(&row.region));
    set("zone", text(&row.zone));
    set("status", text(row.status.as_str()));
    set("started_at", text(&timestamp(row.started_at)));
    set("completed_at", text(&timestamp(row.completed_at)));
    set("duration_ms", number(row.duration.as_millis()));
    set("bytes_from_seeder", number(row.bytes_from_seeder.into()));
    set("bytes_from_peers", number(row.bytes_from_peers.into()));
    set("bytes_wasted", number(row.bytes_wasted.into()));
    set("chunks_held", number(row.chunks_held.into()));
    set("chunks_total", number(row.chunks_total.into()));
    // In seconds, as DynamoDB's time to live has it.
    let completed = row
        .completed_at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    set("expires_at", number((completed + KEPT_FOR).as_secs().into()));
    set("agent_version", text(env!("CARGO_PKG_VERSION")));
    for (name, value) in [("version", &row.version), ("root", &row.root)] {
        if let Some(value) = value {
            set(name, text(value));
        }
    }
    if let Some(error) = &row.error {
        set("error", text(&error.chars().take(ERROR_LENGTH_MAX).collect::<String>()));
    }
    item
}

pub(crate) fn from_item(item: &Item) -> Result<DeploymentLog, CloudError> {
    let invalid = |name: &str, expected: &str| CloudError::Invalid {
        action: format!(
            "read the row of host {:?} from {HOST_DEPLOYMENT_LOGS}",
            string(item, "host_id")
        ),
        message: format!("attribute {name} is not {expected}"),
    };
    let number = |name: &str| {
        let value = item
            .get(name)
            .and_then(|value| value.as_n().ok())
            .and_then(|number| number.parse::<u64>().ok());
        value.ok_or_else(|| invalid(name, "a whole number"))
    };
    let count = |name: &str| number(name).and_then(|n| u32::try_from(n).map_err(|_e| invalid(name, "a chunk count")));
    let time = |name: &str| {
        let time = DateTime::from_str(&string(item, name), DateTimeFormat::DateTime).ok();
        time.and_then(|time| SystemTime::try_from(time).ok())
            .ok_or_else(|| invalid(name, "an RFC 3339 time in UTC"))
    };
    let status = match string(item, "status").as_str() {
        "SUCCEEDED" => DeploymentStatus::Succeeded,
        "FAILED" => DeploymentStatus::Failed,
        _ => return Err(invalid("status", "SUCCEEDED or FAILED")),
    };
    Ok(DeploymentLog {
        build_id: string(item, "build_id"),
        version: item.get("version").and_then(|version| version.as_s().ok()).cloned(),
        root: item.get("root").and_then(|root| root.as_s().ok()).cloned(),
        host_id: string(item, "host_id"),
        region: string(item, "region"),
        zone: string(item, "zone"),
        status,
        error: item.get("error").and_then(|error| error.as_s().ok()).cloned(),
        started_at: time("started_at")?,
        completed_at: time("completed_at")?,
        duration: Duration::from_millis(number("duration_ms")?),
        bytes_from_seeder: number("bytes_from_seeder")?,
        bytes_from_peers: number("bytes_from_peers")?,
        bytes_wasted: number("bytes_wasted")?,
        chunks_held: count("chunks_held")?,
        chunks_total: count("chunks_total")?,
    })
}

/// When the host of a row was done; 1970 where the row does not say it.
pub(crate) fn completed_at(item: &Item) -> SystemTime {
    let time = DateTime::from_str(&string(item, "completed_at"), DateTimeFormat::DateTime).ok();
    time.and_then(|time| SystemTime::try_from(time).ok())
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A time as RFC 3339 in UTC with three digits of a second, so that times sort as text; empty for one that has no such
/// form, which is one beyond the year 9999.
pub fn timestamp(time: SystemTime) -> String {
    let time = DateTime::from(time);
    let milliseconds = time.subsec_nanos() / 1_000_000;
    let seconds = DateTime::from_secs(time.secs()).fmt(DateTimeFormat::DateTime);
    seconds
        .map(|text| format!("{}.{milliseconds:03}Z", text.trim_end_matches('Z')))
        .unwrap_or_default()
}

/// A time in JSON: milliseconds since 1970. One before that, of a clock that was never set, is 0.
mod milliseconds {
    use std::time::{Duration, SystemTime};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis())
            .unwrap_or(u64::MAX)
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let since = Duration::from_millis(u64::deserialize(deserializer)?);
        let time = SystemTime::UNIX_EPOCH.checked_add(since);
        time.ok_or_else(|| {
            serde::de::Error::custom("expected a time that this system knows, in milliseconds since 1970")
        })
    }
}

/// A row may go so long after its host was done, where the table has a time to live.
pub(crate) const KEPT_FOR: Duration = Duration::from_secs(90 * 24 * 3600);
/// Characters of an error that a row keeps: a row that is too large would be refused as a whole.
const ERROR_LENGTH_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> DeploymentLog {
        let started_at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_007);
        DeploymentLog {
            build_id: "b.zip".to_owned(),
            version: Some("v1".to_owned()),
            root: Some("ab".repeat(32)),
            host_id: "region-a-00001".to_owned(),
            region: "region-a".to_owned(),
            zone: "zone-0".to_owned(),
            status: DeploymentStatus::Failed,
            error: Some("no".to_owned()),
            started_at,
            completed_at: started_at + Duration::from_millis(1_500),
            duration: Duration::from_millis(1_500),
            bytes_from_seeder: 1,
            bytes_from_peers: u64::MAX,
            bytes_wasted: 3,
            chunks_held: 4,
            chunks_total: 5,
        }
    }

    #[test]
    fn a_row_comes_back_as_it_was() {
        assert_eq!(from_item(&to_item(&row())).unwrap(), row());
    }

    #[test]
    fn a_row_of_a_release_that_wrote_no_root_is_read_as_it_is() {
        let mut item = to_item(&row());
        assert_eq!(item["root"].as_s().unwrap(), &"ab".repeat(32));
        item.remove("root");
        let old = DeploymentLog { root: None, ..row() };
        assert_eq!(from_item(&item).unwrap(), old);
        let mut waiting = serde_json::to_value(row()).unwrap();
        waiting.as_object_mut().unwrap().remove("root");
        assert_eq!(serde_json::from_value::<DeploymentLog>(waiting).unwrap(), old);
    }

    #[test]
    fn a_row_says_when_it_may_go() {
        let item = to_item(&row());
        let expires: u64 = item["expires_at"].as_n().unwrap().parse().unwrap();
        assert_eq!(expires, 1_700_000_001 + 90 * 86_400);
    }

    #[test]
    fn a_row_that_waits_on_a_disk_comes_back_as_it_was() {
        let text = serde_json::to_string(&row()).unwrap();
        assert_eq!(serde_json::from_str::<DeploymentLog>(&text).unwrap(), row());
        assert!(text.contains("\"started_at\":1700000000007"), "{text}");
        let endless = text.replace("1700000000007", "18446744073709551615");
        // Refused or taken, but no panic.
        let _ = serde_json::from_str::<DeploymentLog>(&endless);
    }

    #[test]
    fn a_row_that_somebody_else_has_spoilt_is_named_with_its_attribute() {
        for (name, value) in [
            ("status", "MAYBE"),
            ("started_at", "yesterday"),
            ("chunks_held", "1"),
            ("zone", ""),
        ] {
            let mut item = to_item(&row());
            item.insert(name.to_owned(), text(value));
            match from_item(&item) {
                Err(error) => {
                    let message = error.to_string();
                    assert!(
                        message.contains("region-a-00001") && message.contains(name),
                        "{message}"
                    );
                }
                Ok(_) => assert_eq!(name, "zone", "an empty zone is no fault"),
            }
        }
    }

    #[test]
    fn an_endless_error_does_not_make_a_row_too_large() {
        let row = DeploymentLog {
            error: Some("ü".repeat(1 << 20)),
            ..row()
        };
        assert_eq!(
            from_item(&to_item(&row)).unwrap().error.unwrap().chars().count(),
            ERROR_LENGTH_MAX
        );
    }

    #[test]
    fn times_have_milliseconds_and_sort_as_text() {
        let at = |milliseconds| timestamp(SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds));
        assert_eq!(at(1_700_000_000_000), "2023-11-14T22:13:20.000Z");
        assert_eq!(at(1_700_000_000_007), "2023-11-14T22:13:20.007Z");
        assert!(at(1_700_000_000_000) < at(1_700_000_000_007));
    }
}
