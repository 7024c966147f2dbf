//! Versions of one key, on a stack that keeps versions: whatever is asked for in whichever order, the newest ends in every bucket,
//! whole, and no row says anything else.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod rig;

use std::path::Path;

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use bytes::Bytes;
use cloud::{Cloud, CopyLimits, Landed};
use futures::future::join_all;
use pipeline::{Execution, PipelineClients, Started};
use rig::{Stack, eventually};
use serde_json::{Value, json};

async fn stack() -> &'static Stack {
    rig::stack(Path::new(env!("CARGO_BIN_EXE_build-worker")).parent().unwrap()).await
}

const SOURCE: &str = "versions-of-tests";
/// S3's own limits are 5 GiB and parts of at least 5 MiB.
const IN_PARTS: CopyLimits = CopyLimits {
    single_bytes_max: 5 << 20,
    part_bytes: 5 << 20,
};

async fn buckets(cloud: &Cloud, names: &[&str]) {
    for name in [&[SOURCE], names].concat() {
        cloud.buckets().create_if_missing(name).await.unwrap();
        let enabled = VersioningConfiguration::builder()
            .status(BucketVersioningStatus::Enabled)
            .build();
        let request = cloud.s3().put_bucket_versioning().bucket(name);
        request.versioning_configuration(enabled).send().await.unwrap();
    }
}

/// Uploads, and the id of the version that it becomes.
async fn upload(cloud: &Cloud, key: &str, bytes: Bytes) -> String {
    let put = cloud.s3().put_object().bucket(SOURCE).key(key).body(bytes.into());
    let put = put
        .content_type("application/zip")
        .metadata("commit", "abc")
        .metadata("fleetcast-signature", SIGNATURE)
        .tagging("team=a%26b&kind=zip");
    put.send().await.unwrap().version_id.unwrap()
}

async fn delete(cloud: &Cloud, key: &str) {
    cloud.s3().delete_object().bucket(SOURCE).key(key).send().await.unwrap();
}

async fn content(cloud: &Cloud, bucket: &str, key: &str) -> Bytes {
    let object = cloud.buckets().head(bucket, key).await.unwrap();
    cloud.buckets().get_range(&object, 0..object.size).await.unwrap()
}

fn build(seed: u8, size: usize) -> Bytes {
    (0..size).map(|n| (n % 251) as u8 ^ seed).collect()
}

async fn start(stack: &Stack, cloud: &Cloud, name: &str, input: &Value) -> String {
    let machine = &stack.provisioned.state_machine_arn;
    let Started::New { arn } = cloud.workflow().start(machine, name, input).await.unwrap() else {
        panic!("{name} was there already");
    };
    arn
}

async fn ended(cloud: &Cloud, arn: &str) -> Execution {
    eventually(arn, || async {
        let execution = cloud.workflow().describe(arn).await.unwrap();
        (execution.status != "RUNNING").then_some(execution)
    })
    .await
}

fn input(key: &str, version: &str, sequencer: &str, buckets: &[&str]) -> Value {
    json!({
        "sourceBucket": SOURCE, "sourceKey": key, "sourceVersionId": version, "sourceSequencer": sequencer,
        "destinationBuckets": buckets, "singleCopyBytesMax": 5 << 20, "partBytes": 5 << 20,
    })
}

async fn status(cloud: &Cloud, key: &str) -> String {
    cloud.tracking().get(key, SOURCE).await.unwrap().unwrap().status
}

/// The case of a build that was cut off: the size of what came later, and the bytes of what the event told of.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_an_older_version_copies_nothing_of_it_and_the_newer_one_is_whole() {
    let (stack, key) = (stack().await, "overtaken.zip");
    let cloud = stack.cloud().await;
    buckets(&cloud, &["overtaken-one"]).await;
    let first = upload(&cloud, key, build(1, 12_000_000)).await;
    let second = upload(&cloud, key, build(2, 7_000_000)).await;
    let older = start(
        stack,
        &cloud,
        "overtaken-1",
        &input(key, &first, "01", &["overtaken-one"]),
    )
    .await;
    assert_eq!(ended(&cloud, &older).await.status, "SUCCEEDED");
    assert_eq!(status(&cloud, key).await, "SUPERSEDED");
    assert!(cloud.buckets().head("overtaken-one", key).await.is_err());
    let newer = start(
        stack,
        &cloud,
        "overtaken-2",
        &input(key, &second, "02", &["overtaken-one"]),
    )
    .await;
    assert_eq!(ended(&cloud, &newer).await.status, "SUCCEEDED");
    assert_eq!(status(&cloud, key).await, "COMPLETED");
    assert!(content(&cloud, "overtaken-one", key).await == build(2, 7_000_000));
    // And once more, late: the row stays that of the newer one.
    let late = start(
        stack,
        &cloud,
        "overtaken-3",
        &input(key, &first, "01", &["overtaken-one"]),
    )
    .await;
    assert_eq!(ended(&cloud, &late).await.status, "SUCCEEDED");
    let row = cloud.tracking().get(key, SOURCE).await.unwrap().unwrap();
    assert_eq!((row.status.as_str(), row.execution_id), ("COMPLETED", newer));
    assert_eq!((row.version_id, row.root), (Some(second), Some(ROOT.to_owned())));
    assert!(content(&cloud, "overtaken-one", key).await == build(2, 7_000_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_was_deleted_since_is_copied_all_the_same() {
    let (stack, key) = (stack().await, "deleted-since.zip");
    let cloud = stack.cloud().await;
    buckets(&cloud, &["deleted-since"]).await;
    let version = upload(&cloud, key, build(1, 6_000_000)).await;
    delete(&cloud, key).await;
    let execution = start(
        stack,
        &cloud,
        "deleted-since",
        &input(key, &version, "01", &["deleted-since"]),
    )
    .await;
    let execution = ended(&cloud, &execution).await;
    assert_eq!(execution.status, "SUCCEEDED", "{:?}", execution.error);
    assert!(content(&cloud, "deleted-since", key).await == build(1, 6_000_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_says_of_itself_what_its_source_says_at_once_or_in_parts() {
    let stack = stack().await;
    let cloud = stack.cloud().await;
    buckets(&cloud, &["says-the-same"]).await;
    for (key, size, parts) in [("small.zip", 1000, 1), ("large.zip", 12 << 20, 3)] {
        let version = upload(&cloud, key, build(1, size)).await;
        let buckets = cloud.buckets();
        let copied = buckets.copy_version((SOURCE, key), Some(&version), &buckets, "says-the-same", IN_PARTS);
        let bytes = size as u64;
        assert_eq!(
            copied.await.unwrap(),
            Landed::Copied {
                version: version.clone(),
                bytes,
                parts,
                signature: Some(SIGNATURE.to_owned()),
            }
        );
        let head = cloud
            .s3()
            .head_object()
            .bucket("says-the-same")
            .key(key)
            .send()
            .await
            .unwrap();
        assert_eq!(head.content_type(), Some("application/zip"), "{key}");
        let metadata = head.metadata().unwrap();
        assert_eq!(metadata["commit"], "abc", "{key}");
        assert_eq!(metadata["fleetcast-signature"], SIGNATURE, "{key}");
        assert_eq!(metadata["fleetcast-source-version"], version, "{key}");
        let tags = cloud
            .s3()
            .get_object_tagging()
            .bucket("says-the-same")
            .key(key)
            .send()
            .await
            .unwrap();
        let mut tags: Vec<_> = tags.tag_set().iter().map(|tag| (tag.key(), tag.value())).collect();
        tags.sort_unstable();
        assert_eq!(tags, [("kind", "zip"), ("team", "a&b")], "{key}");
        assert!(content(&cloud, "says-the-same", key).await == build(1, size));
    }
}

/// Two or three versions and sometimes a mark of a deletion, some of equal bytes; their copies are asked for in every order, some
/// twice, all at once, and some while a version is still on its way. At the end the newest is there.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_order_copies_are_asked_for_in_the_newest_version_ends_there() {
    let stack = stack().await;
    let cloud = stack.cloud().await;
    buckets(&cloud, &["any-order-a", "any-order-b"]).await;
    for seed in 0..SEEDS {
        let chance = |what: u64, below: u64| mix(seed * 1000 + what) % below;
        let key = format!("any-order-{seed}.zip");
        let count = 2 + chance(0, 2);
        // In every second case few different contents, so that an older one comes back.
        let differ = seed % 2 == 0;
        let content_of = |n: u64| if differ { n as u8 } else { chance(10 + n, 2) as u8 };
        let builds: Vec<Bytes> = (0..count).map(|n| build(content_of(n), 300)).collect();
        let mut versions = Vec::new();
        let mut asked = Vec::new();
        for (n, build) in (0..).zip(&builds) {
            versions.push(upload(&cloud, &key, build.clone()).await);
            // Begin now, and go on while others are uploaded and copied.
            for _ in 0..3 {
                let version = versions[chance(20 + n, n + 1) as usize].clone();
                asked.push(tokio::spawn(copy(cloud.clone(), key.clone(), version, "any-order-a")));
            }
            tokio::time::sleep(std::time::Duration::from_millis(chance(30 + n, 12))).await;
        }
        if chance(2, 3) == 0 {
            delete(&cloud, &key).await;
        }
        let mut order: Vec<(String, &'static str)> = versions
            .iter()
            .flat_map(|version| ["any-order-a", "any-order-b", "any-order-b"].map(|bucket| (version.clone(), bucket)))
            .collect();
        order.sort_by_key(|(version, bucket)| {
            mix(seed ^ mix(version.bytes().chain(bucket.bytes()).map(u64::from).sum()))
        });
        let at_once = order
            .drain(..)
            .map(|(version, bucket)| tokio::spawn(copy(cloud.clone(), key.clone(), version, bucket)));
        asked.extend(at_once);
        let landed: Vec<Landed> = join_all(asked).await.into_iter().map(Result::unwrap).collect();
        let newest = versions.last().unwrap();
        for landed in landed {
            if let Landed::Superseded { by } = landed {
                assert!(versions[1..].contains(&by), "seed {seed}");
            }
        }
        for bucket in ["any-order-a", "any-order-b"] {
            assert!(
                content(&cloud, bucket, &key).await == builds[builds.len() - 1],
                "seed {seed}, {bucket}"
            );
            let head = cloud.s3().head_object().bucket(bucket).key(&key).send().await.unwrap();
            assert_eq!(
                head.metadata().unwrap()["fleetcast-source-version"],
                *newest,
                "seed {seed}, {bucket}"
            );
            if differ {
                assert_order(&cloud, bucket, &key, &versions).await;
            }
        }
    }
}

/// Of what has ever landed, nothing has landed on what is newer.
async fn assert_order(cloud: &Cloud, bucket: &str, key: &str, versions: &[String]) {
    let listed = cloud
        .s3()
        .list_object_versions()
        .bucket(bucket)
        .prefix(key)
        .send()
        .await
        .unwrap();
    let mut places = Vec::new();
    for version in listed
        .versions()
        .iter()
        .rev()
        .filter(|version| version.key() == Some(key))
    {
        let head = cloud.s3().head_object().bucket(bucket).key(key);
        let head = head.version_id(version.version_id().unwrap()).send().await.unwrap();
        let of = &head.metadata().unwrap()["fleetcast-source-version"];
        places.push(versions.iter().position(|version| version == of).unwrap());
    }
    assert!(places.is_sorted(), "{key} in {bucket}: {places:?}");
}

async fn copy(cloud: Cloud, key: String, version: String, to: &'static str) -> Landed {
    let buckets = cloud.buckets();
    // Whoever is overtaken too often is asked again, as the workflow does it.
    loop {
        match buckets
            .copy_version((SOURCE, &key), Some(&version), &buckets, to, IN_PARTS)
            .await
        {
            Err(error) if error.is_retryable() => {}
            landed => return landed.unwrap(),
        }
    }
}

/// SplitMix64.
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const SEEDS: u64 = 200;

/// Of the length of one; what is in it only seeders and hosts read.
const SIGNATURE: &str = concat!(
    "fleetcast-signature-1;key=ed25519:YcMNc60qv3DeSPkbx3gF0Ig5uG1k1LaUMeVSwoMHw5k;size=3000000;chunk=65536;root=56bb47b92ed8de0c",
    "a8b7e7b64ef3c266abfa7697cdd9b5280c63532af7f164b9;sequence=1795981633067;signed=1795981633067;expires=1803757633067;proof=c29U",
    "JEwWGQ5yfn5FFOGS902nkJlIWJKEDCt2NMGVjoKnV0HAU67DqDrvKV7pWzTntk71lPKLbmPDkN3NLR9KCA"
);
/// What stands in it of the build.
const ROOT: &str = "56bb47b92ed8de0ca8b7e7b64ef3c266abfa7697cdd9b5280c63532af7f164b9";
