//! Names of buckets, tables and keys, in one place.

use std::fmt;
use std::str::FromStr;

/// The bucket that builds are uploaded to.
pub const GLOBAL_BUCKET: &str = "global-builds";
/// The table of one row per host and build.
pub const HOST_DEPLOYMENT_LOGS: &str = "host-deployment-logs";
/// The table of one row per replicated build.
pub const TRACKING_TABLE: &str = "FileCopyTracking";
/// Partitions that the log of one build is spread over. One partition of DynamoDB takes 1,000 writes a second
/// (Amazon DynamoDB Developer Guide, "Best practices for designing partition keys"); with 16 a fleet of 100,000 hosts that
/// finish together is logged in some seven seconds.
pub const DEPLOYMENT_LOG_SHARDS: u32 = 16;

/// The state machine that copies a build to the regions.
pub const WORKFLOW: &str = "file-copy-workflow";
/// The topic that failures of it go to.
pub const FAILURE_TOPIC: &str = "file-copy-failures";
/// Where events end that a function has refused each time.
pub const FUNCTION_DEAD_LETTER_QUEUE: &str = "lambda-dead-letter";
/// The pipeline's functions.
pub const FUNCTIONS: [&str; 5] = [
    "build-worker",
    "pipeline-action",
    "regional-sync",
    "replication-worker",
    "step-function-invoker",
];
/// The paths of the API, all by POST, and the functions behind them.
pub const ROUTES: [(&str, &str); 3] = [
    ("builds", "build-worker"),
    ("deploy", "step-function-invoker"),
    ("step-function", "step-function-invoker"),
];

/// The queue by which a region's seeder hears of builds.
pub fn region_queue(region: &str) -> String {
    format!("{region}-builds-events")
}

/// Where its messages end that were taken up several times and never deleted.
pub fn region_dead_letter_queue(region: &str) -> String {
    format!("{region}-builds-events-dead-letter")
}

/// A name as it is in a stage such as `staging`; the same where there are no stages, which is the empty one.
pub fn staged(name: &str, stage: &str) -> String {
    match stage {
        "" => name.to_owned(),
        stage => format!("{name}-{stage}"),
    }
}

/// The bucket that a region's seeder pulls from.
pub fn regional_bucket(region: &str) -> String {
    format!("{region}-builds")
}

/// The partition of `host-deployment-logs` that the row of this host is in, such as `build-123.zip#07`. The shard is
/// 32-bit FNV-1a of the host id, which must never change: a row written twice has to meet itself.
pub fn build_shard(build_id: &str, host_id: &str) -> String {
    shard_key(build_id, fnv1a(host_id) % DEPLOYMENT_LOG_SHARDS)
}

/// 32-bit FNV-1a (Fowler, Noll, Vo).
pub fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// The partition key of one shard.
pub(crate) fn shard_key(build_id: &str, shard: u32) -> String {
    format!("{build_id}#{shard:02}")
}

/// The S3 key of a build, of characters that no service on its way encodes: `A-Z a-z 0-9 . _ / -`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildId(String);

/// A key that cannot be a build's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "build id {given:?} is not valid; expected 1 to 1024 characters of A-Z a-z 0-9 . _ / - that do not begin with /"
)]
pub struct BuildIdError {
    given: String,
}

impl BuildId {
    /// The id as a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BuildId {
    type Err = BuildIdError;

    fn from_str(given: &str) -> Result<Self, BuildIdError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '-');
        // A folder above its own is no key: the embedded S3 keeps objects as files.
        let climbs = given
            .split('/')
            .any(|part| part == ".." || part == "." || part.is_empty());
        if (1..=1024).contains(&given.len()) && given.chars().all(allowed) && !climbs {
            Ok(Self(given.to_owned()))
        } else {
            let given = given.chars().take(100).collect();
            Err(BuildIdError { given })
        }
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn hosts_spread_over_all_shards_and_always_the_same_one() {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for host in 0..10_000 {
            let id = format!("region-a-{host:05}");
            assert_eq!(build_shard("b", &id), build_shard("b", &id));
            *counts.entry(build_shard("b", &id)).or_default() += 1;
        }
        assert_eq!(counts.len() as u32, DEPLOYMENT_LOG_SHARDS);
        assert!(counts.values().all(|count| (400..900).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_shard_never_changes_because_rows_of_it_are_in_tables() {
        // Reference values of FNV-1a from its authors' test suite.
        assert_eq!(
            (fnv1a(""), fnv1a("a"), fnv1a("foobar")),
            (0x811c_9dc5, 0xe40c_292c, 0xbf9c_f968)
        );
        assert_eq!(build_shard("build-123.zip", "foobar"), "build-123.zip#08");
    }

    #[test]
    fn a_build_id_has_only_characters_that_nobody_encodes() {
        for good in ["build-123.zip", "team/app_1/build.zip"] {
            assert_eq!(good.parse::<BuildId>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a+b", "ü", "../up", "/root", "a//b", &"x".repeat(1025)] {
            assert!(bad.parse::<BuildId>().is_err(), "{bad}");
        }
    }
}
