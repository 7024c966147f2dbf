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
/// (Amazon DynamoDB Developer Guide, "Best practices for designing partition keys"), so a build's log can take 16,000. A new
/// on-demand table takes 4,000 altogether (same guide, "Initial throughput for on-demand capacity mode"): 100,000 hosts that
/// finish together need 25 s of it, and seven where `terraform/` has warmed the table.
pub const DEPLOYMENT_LOG_SHARDS: u32 = 16;

/// The state machine that copies a build to the regions.
pub const WORKFLOW: &str = "file-copy-workflow";
/// The topic that failures of it go to.
pub const FAILURE_TOPIC: &str = "file-copy-failures";
/// Where events end that a function has refused each time.
pub const FUNCTION_DEAD_LETTER_QUEUE: &str = "lambda-dead-letter";
/// The pipeline's functions.
pub const FUNCTIONS: [&str; 6] = [
    "build-worker",
    "pipeline-action",
    "region-copier",
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

/// How the keys of builds end where nobody has said otherwise: the archives and images that people deploy. What ends in another
/// way, such as `.sha256` or `.sbom.json`, is copied to the regions too, and no seeder is told of it.
pub const BUILD_SUFFIXES: &str =
    ".zip,.tar,.tar.gz,.tgz,.tar.bz2,.tar.xz,.txz,.tar.zst,.tzst,.jar,.war,.ear,.whl,.deb,.rpm,.apk,.img,.iso,.bin";

/// Whether an object of this key is a build, and not something that belongs to one. `suffixes` has commas between them; `*` is
/// every key.
pub fn is_build(key: &str, suffixes: &str) -> bool {
    let mut suffixes = suffixes.split(',').map(str::trim).filter(|suffix| !suffix.is_empty());
    suffixes.any(|suffix| suffix == "*" || (key.ends_with(suffix) && key.len() > suffix.len()))
}

/// A name that cannot be a region's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("region {given:?} is not valid: {problem}")]
pub struct RegionNameError {
    given: String,
    problem: String,
}

/// Checks the names of a fleet's regions, which become parts of the names of buckets and queues in this stage.
///
/// # Errors
/// With the first name that is not 1 to 40 characters a-z 0-9 -, is named twice, would have the global bucket's name (an upload
/// would start nothing, or itself again and again), or makes a bucket or queue whose name is longer than AWS allows.
pub fn check_regions(regions: &[String], stage: &str) -> Result<(), RegionNameError> {
    for (index, region) in regions.iter().enumerate() {
        let wrong = |problem: String| {
            let given = region.clone();
            Err(RegionNameError { given, problem })
        };
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !(1..=REGION_LENGTH_MAX).contains(&region.len()) || !region.chars().all(allowed) || region.starts_with('-') {
            return wrong(format!("expected 1 to {REGION_LENGTH_MAX} characters a-z 0-9 -"));
        }
        if regions[..index].contains(region) {
            return wrong("it is named twice".to_owned());
        }
        let bucket = staged(&regional_bucket(region), stage);
        if bucket == staged(GLOBAL_BUCKET, stage) {
            return wrong(format!(
                "its bucket would be {bucket}, which is the one that builds are uploaded to"
            ));
        }
        let queue = staged(&region_dead_letter_queue(region), stage);
        for (name, length_max) in [(bucket, BUCKET_LENGTH_MAX), (queue, QUEUE_LENGTH_MAX)] {
            if name.len() > length_max {
                return wrong(format!(
                    "{name} would have {} characters; expected at most {length_max}: a shorter region or stage",
                    name.len()
                ));
            }
        }
    }
    Ok(())
}

const REGION_LENGTH_MAX: usize = 40;
/// Characters of a bucket's name (Amazon S3 user guide, bucket naming rules).
const BUCKET_LENGTH_MAX: usize = 63;
/// Characters of a queue's name (Amazon SQS API reference, CreateQueue).
const QUEUE_LENGTH_MAX: usize = 80;

/// The queues of the seeders of the region whose bucket this is, each of which is to hear of every build; `None` where no region of this
/// stage has such a bucket.
pub fn queues_of_bucket(bucket: &str, stage: &str, seeders: u32) -> Option<Vec<String>> {
    let region = region_of_bucket(bucket, stage).filter(|region| *region != "global")?;
    let queue = |seeder| staged(&seeder_queue(region, seeder), stage);
    Some((1..=seeders.clamp(1, SEEDERS_MAX)).map(queue).collect())
}

/// The region whose bucket this is.
pub fn region_of_bucket<'a>(bucket: &'a str, stage: &str) -> Option<&'a str> {
    staged_off(bucket, stage)?
        .strip_suffix("-builds")
        .filter(|region| !region.is_empty())
}

fn staged_off<'a>(name: &'a str, stage: &str) -> Option<&'a str> {
    match stage {
        "" => Some(name),
        stage => name.strip_suffix(stage)?.strip_suffix('-'),
    }
}

/// The queue by which a region's first seeder hears of builds.
pub fn region_queue(region: &str) -> String {
    format!("{region}{REGION_QUEUE}")
}

/// The queue by which the seeder of this number of a region, from 1, hears of builds. A queue gives a message to one listener: each seeder
/// has its own.
pub fn seeder_queue(region: &str, seeder: u32) -> String {
    match seeder {
        0 | 1 => region_queue(region),
        _ => format!("{region}{REGION_QUEUE}{OF_SEEDER}{seeder}"),
    }
}

/// The region whose seeder's queue this is; `None` where it has another name.
pub fn region_of_queue<'a>(queue: &'a str, stage: &str) -> Option<&'a str> {
    let (region, rest) = staged_off(queue, stage)?.rsplit_once(REGION_QUEUE)?;
    (!region.is_empty() && off_seeder(rest).is_empty()).then_some(region)
}

/// The bucket of the region that a seeder's queue is of, in whichever stage the queue is; `None` where it has another name.
pub fn bucket_of_queue(queue: &str) -> Option<String> {
    let (region, rest) = queue.rsplit_once(REGION_QUEUE)?;
    Some(regional_bucket(region) + off_seeder(rest))
}

/// What is left behind the number of a seeder, where there is one.
fn off_seeder(rest: &str) -> &str {
    let numbered = rest
        .strip_prefix(OF_SEEDER)
        .filter(|more| more.starts_with(|c: char| c.is_ascii_digit()));
    numbered.map_or(rest, |more| more.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// Where its messages end that were taken up several times and never deleted.
pub fn region_dead_letter_queue(region: &str) -> String {
    format!("{region}{REGION_QUEUE}-dead-letter")
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

/// Checks the key of an object that somebody has uploaded by whatever means: hosts put it at that path below a folder. More keys
/// than those of [`BuildId`], which is for ids that are given to us: S3's own tools take spaces and umlauts.
///
/// # Errors
/// Where it is no such path: a folder's marker, absolute, with empty parts, `.` or `..`, or with control characters.
pub fn check_key(key: &str) -> Result<(), BuildKeyError> {
    let wrong = |problem| {
        let given = key.chars().take(100).collect();
        Err(BuildKeyError { given, problem })
    };
    if !(1..=1024).contains(&key.len()) {
        return wrong("expected 1 to 1024 bytes");
    }
    if key.ends_with('/') {
        return wrong("it is the marker of a folder");
    }
    if key.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return wrong("expected a path without empty parts, . and ..");
    }
    if key.chars().any(char::is_control) {
        return wrong("it has control characters");
    }
    Ok(())
}

/// A key at which no host can have a build.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key {given:?} is no path of a build: {problem}")]
pub struct BuildKeyError {
    given: String,
    problem: &'static str,
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the name of a region's queue has behind the region.
const REGION_QUEUE: &str = "-builds-events";
/// What follows there from the second seeder of a region on, before its number.
const OF_SEEDER: &str = "-seeder-";
/// Seeders of a region at most: a dead-letter queue takes ten queues that lead to it (Amazon SQS developer guide, redrive allow policy), and a
/// host is linked with eight.
pub const SEEDERS_MAX: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn regions_whose_names_meet_or_are_too_long_are_refused() {
        let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for stage in ["", "dev", "prod-acme"] {
            assert_eq!(check_regions(&named(&["region-a", "region-b"]), stage), Ok(()));
            for (names, message) in [
                (&["global"][..], "uploaded to"),
                (&["a", "a"], "twice"),
                (&["Region"], "a-z"),
                (&["-a"], "a-z"),
                (&["a.b"], "a-z"),
                (&[""], "1 to 40"),
            ] {
                let error = check_regions(&named(names), stage).unwrap_err().to_string();
                assert!(error.contains(message), "{stage} {names:?}: {error}");
            }
        }
        let long = named(&[&"r".repeat(40)]);
        assert_eq!(check_regions(&long, "dev"), Ok(()));
        let error = check_regions(&long, "staging-acmeacmeacme").unwrap_err().to_string();
        assert!(error.contains("at most 63"), "{error}");
    }

    #[test]
    fn what_belongs_to_a_build_is_no_build() {
        for (key, is) in [
            ("build-7.zip", true),
            ("dir/app.tar.gz", true),
            ("build-7.zip.sha256", false),
            ("build-7.zip.sbom.json", false),
            (".zip", false),
        ] {
            assert_eq!(is_build(key, BUILD_SUFFIXES), is, "{key}");
        }
        assert!(is_build("app", "*") && is_build("a.x", ".y, .x") && !is_build("a", ""));
    }

    #[test]
    fn keys_that_are_no_path_are_refused() {
        for key in ["a.zip", "dir/my build+1.zip", "\u{fc}.zip", "..a/b"] {
            assert_eq!(check_key(key), Ok(()), "{key}");
        }
        for key in ["", "folder/", "/abs", "a//b", "../x", "a/./b", "a\nb"] {
            assert!(check_key(key).is_err(), "{key:?}");
        }
        assert!(check_key(&"k".repeat(1025)).is_err());
    }

    #[test]
    fn the_queue_of_a_bucket_is_that_of_its_region() {
        for stage in ["", "dev", "prod-acme"] {
            let bucket = staged(&regional_bucket("region-a"), stage);
            assert_eq!(
                queues_of_bucket(&bucket, stage, 1),
                Some(vec![staged(&region_queue("region-a"), stage)])
            );
            assert_eq!(region_of_bucket(&bucket, stage), Some("region-a"));
            assert_eq!(queues_of_bucket(&staged(GLOBAL_BUCKET, stage), stage, 1), None);
        }
        assert_eq!(queues_of_bucket("region-a-builds", "dev", 1), None);
        assert_eq!(queues_of_bucket("-builds", "", 1), None);
    }

    #[test]
    fn each_seeder_of_a_region_has_a_queue_of_its_own_and_all_are_of_one_bucket() {
        for stage in ["", "dev", "prod-acme"] {
            let bucket = staged(&regional_bucket("region-a"), stage);
            let queues = queues_of_bucket(&bucket, stage, 3).unwrap();
            let names =
                ["", "-seeder-2", "-seeder-3"].map(|seeder| staged(&format!("region-a-builds-events{seeder}"), stage));
            assert_eq!(queues, names);
            for queue in &queues {
                assert_eq!(region_of_queue(queue, stage), Some("region-a"), "{queue}");
                assert_eq!(bucket_of_queue(queue).as_ref(), Some(&bucket), "{queue}");
                assert!(queue.len() <= staged(&region_dead_letter_queue("region-a"), stage).len());
            }
        }
        assert_eq!(
            queues_of_bucket("a-builds", "", 100).unwrap().len(),
            SEEDERS_MAX as usize
        );
        assert_eq!(region_of_queue("region-a-builds-events-dead-letter", ""), None);
        assert_eq!(region_of_queue("region-a-builds-events-seeder-", ""), None);
    }

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

    #[test]
    fn a_queue_is_of_the_bucket_of_its_region_and_stage() {
        assert_eq!(bucket_of_queue("region-a-builds-events").unwrap(), "region-a-builds");
        assert_eq!(
            bucket_of_queue("region-a-builds-events-prod").unwrap(),
            "region-a-builds-prod"
        );
        assert_eq!(bucket_of_queue("mine"), None);
    }
}
