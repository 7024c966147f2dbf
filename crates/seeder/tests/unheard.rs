//! Two seeders on one queue: each is told which builds it does not hear of.

mod rig;

use std::time::{Duration, Instant};

use bytes::Bytes;
use rig::{REGION, S3};
use seeder::{Hearing, Looks};

const LOOKS: Looks = Looks {
    every: Duration::from_millis(20),
    patience: Duration::ZERO,
};
const PATIENCE: Duration = Duration::from_secs(60);

async fn eventually(what: &str, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(
            begun.elapsed() < PATIENCE,
            "not within {} s: {what}",
            PATIENCE.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn each_of_two_seeders_of_a_queue_says_which_builds_it_does_not_hear_of() {
    let s3 = S3::start().await;
    let bucket = cloud::regional_bucket(REGION);
    let put = async |key: &str| {
        s3.direct
            .put_bytes(&bucket, key, Bytes::from(key.to_owned()))
            .await
            .unwrap();
    };
    put("there-before.zip").await;
    let seeders = [Hearing::default(), Hearing::default()];
    let watching = seeders.clone().map(|hearing| {
        let names = (bucket.clone(), "region-a-builds-events".to_owned());
        tokio::spawn(hearing.watch(s3.direct.clone(), names, LOOKS, || true))
    });
    // What has come before they first look is not missed: builds come until both have looked before one.
    let begun = Instant::now();
    for number in 0.. {
        assert!(begun.elapsed() < PATIENCE, "no build is missed that no message told of");
        if seeders.iter().all(|hearing| !hearing.unheard().is_empty()) {
            break;
        }
        put(&format!("build-{number}.zip")).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let missed = seeders[1].unheard();
    assert!(missed.iter().all(|key| key.starts_with("build-")), "{missed:?}");
    // One hears of them, and the other one of none.
    eventually("who has heard of all has nothing to say", || {
        seeders[0].unheard().iter().for_each(|key| seeders[0].heard(key));
        seeders[0].unheard().is_empty()
    })
    .await;
    assert!(seeders[1].unheard().starts_with(&missed), "{missed:?}");
    // What belongs to a build is no build, though it is newer than the last that is one.
    put("build-0.zip.sha256").await;
    put("last.zip").await;
    eventually("the last build is missed", || {
        seeders[1].unheard().iter().any(|key| key == "last.zip")
    })
    .await;
    assert!(!seeders[1].unheard().iter().any(|key| key.ends_with("sha256")));
    watching.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_bucket_that_is_not_there_ends_the_watch() {
    let s3 = S3::start().await;
    let names = ("no-such-bucket".to_owned(), "no-such-builds-events".to_owned());
    let watch = Hearing::default().watch(s3.direct.clone(), names, LOOKS, || true);
    tokio::time::timeout(PATIENCE, watch).await.unwrap();
}
