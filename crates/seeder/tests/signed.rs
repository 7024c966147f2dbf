//! A seeder that seeds only what is signed: before it pulls, when it has pulled, and when it is started again.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "rig/region.rs"]
mod region;
mod rig;

use std::sync::Arc;
use std::time::{Duration, Instant};

use peer::ChunkPool;
use region::{Host, Start, until};
use rig::limit::within;
use rig::{S3, bucket, data};
use seeder::{BuildNotice, GetTurns, PullError, PullOptions, Pulled, Spool, SpoolFolder, SpoolLimits, adopt, pull};
use signing::{Claim, Moment, SecretKey, Terms, TrustedKeys};
use swarm::Manifest;

const LONG: Duration = Duration::from_secs(20);
const KEY: &str = "app/build-1.zip";
/// Not what would be chosen.
const CHUNK: u32 = 100_000;

fn key(number: u8) -> SecretKey {
    SecretKey::from_bytes(&[number; 32])
}

fn keys(numbers: &[u8]) -> TrustedKeys {
    TrustedKeys::of(numbers.iter().map(|number| key(*number).public()))
}

fn terms(sequence: u64) -> Terms {
    Terms {
        sequence,
        signed: Moment::now(),
        expires: Some(Moment::now().plus(Duration::from_secs(3600))),
    }
}

fn signature(id: &str, build: &[u8], by: u8) -> String {
    key(by)
        .sign(&Manifest::of(id, build, CHUNK).unwrap(), terms(1))
        .to_string()
}

fn options(spool: Spool, trust: Option<TrustedKeys>) -> PullOptions {
    PullOptions {
        chunk_size: None,
        turns: GetTurns::new(4),
        spool,
        trust: trust.map(Arc::new),
    }
}

async fn pulled(s3: &S3, spool: Spool, trust: Option<TrustedKeys>) -> Result<Pulled, PullError> {
    let notice = BuildNotice {
        bucket: bucket(),
        key: KEY.to_owned(),
    };
    let (buckets, options) = (s3.buckets().await, options(spool, trust));
    within(LONG, "the pull has ended", pull(&buckets, &notice, &options)).await
}

fn memory() -> Spool {
    Spool::Memory(ChunkPool::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_signed_as_it_is_is_refused_before_a_byte_of_it_is_asked_for() {
    let s3 = S3::start().await;
    let build = data(1_000_000, 1);
    let manifest = Manifest::of(KEY, &build, CHUNK).unwrap();
    let claim = Claim::of(&manifest, terms(1));
    let expired = Terms {
        expires: Moment::from_millis(1),
        signed: Moment::from_millis(0).unwrap(),
        ..terms(1)
    };
    let with = |claim: Claim<'_>| key(1).sign_claim(&claim).to_string();
    for (text, why) in [
        ("no signature".to_owned(), "is no signature"),
        (key(2).sign(&manifest, terms(1)).to_string(), "not trusted here"),
        (key(1).sign(&manifest, expired).to_string(), "expired"),
        (
            with(Claim {
                build_id: "other.zip",
                ..claim.clone()
            }),
            "not of this build id",
        ),
        (
            with(Claim {
                size: 1_000_001,
                ..claim.clone()
            }),
            "1000001 bytes of it were signed, and the object has 1000000",
        ),
    ] {
        s3.put_signed(KEY, &build, &text).await;
        let refused = pulled(&s3, memory(), Some(keys(&[1]))).await.map(|_| ()).unwrap_err();
        assert!(
            matches!(refused, PullError::Refused { .. }) && refused.to_string().contains(why),
            "{refused}"
        );
    }
    s3.put(KEY, &build).await;
    let refused = pulled(&s3, memory(), Some(keys(&[1]))).await.map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("it is not signed"), "{refused}");
    assert_eq!(s3.front.gets(KEY), 0, "bytes of it were asked for");
    // That other bytes were signed is seen when these are here.
    s3.put_signed(KEY, &build, &signature(KEY, &data(1_000_000, 2), 1))
        .await;
    let refused = pulled(&s3, memory(), Some(keys(&[1]))).await.map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("of another build"), "{refused}");
    // Who trusts nobody in particular seeds it all the same.
    assert!(pulled(&s3, memory(), None).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_build_is_cut_as_it_was_signed_and_its_signature_stays_with_it() {
    let s3 = S3::start().await;
    let build = data(3_000_000, 1);
    let first = signature(KEY, &build, 1);
    s3.put_signed(KEY, &build, &first).await;
    let in_memory = pulled(&s3, memory(), Some(keys(&[1, 2]))).await.unwrap();
    assert_eq!(
        (in_memory.manifest.chunk_size(), in_memory.signature.as_ref()),
        (CHUNK, Some(&first))
    );
    let open = || SpoolFolder::open(&s3.spool(), SpoolLimits::default()).unwrap();
    let folder = open();
    let in_folder = pulled(&s3, Spool::Folder(Arc::clone(&folder)), Some(keys(&[1])))
        .await
        .unwrap();
    assert_eq!(
        (in_folder.manifest.chunk_size(), in_folder.signature.as_ref()),
        (CHUNK, Some(&first))
    );
    let gets = s3.front.gets(KEY);
    // Signed anew, with another key: nothing of it is read again.
    let second = signature(KEY, &build, 2);
    s3.put_signed(KEY, &build, &second).await;
    let again = pulled(&s3, Spool::Folder(Arc::clone(&folder)), Some(keys(&[2])))
        .await
        .unwrap();
    assert_eq!(again.signature.as_ref(), Some(&second));
    assert_eq!(s3.front.gets(KEY), gets);
    drop((in_folder, again, folder));
    // After a restart the spool knows, and who trusts another key does not take its word.
    let folder = open();
    let kept = adopt(&s3.buckets().await, folder.newest(&bucket(), KEY).unwrap());
    assert_eq!(kept.signature.as_ref(), Some(&second));
    assert!(kept.check(Some(&keys(&[2]))).is_ok() && kept.check(None).is_ok());
    assert!(matches!(kept.check(Some(&keys(&[1]))), Err(PullError::Refused { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_lists_what_is_signed_and_its_hosts_can_tell() {
    let s3 = S3::start().await;
    let (build, forged) = (data(400_000, 1), data(400_000, 2));
    s3.put(KEY, &forged).await;
    let mut start = Start::new(4);
    start.trust = Some(keys(&[1]));
    let host = Host::trusting(&start.listed, start.trust.clone());
    let agent = start.agent(&s3).await;
    agent.tell(KEY).await;
    s3.put_signed("signed.zip", &build, &signature("signed.zip", &build, 1))
        .await;
    agent.tell("signed.zip").await;
    until("the signed one is there", LONG, || host.has_key("signed.zip")).await;
    assert!(start.listed.borrow().iter().all(|build| build.key != KEY));
    // It is told of again when it is uploaded as it should have been.
    s3.put_signed(KEY, &build, &signature(KEY, &build, 1)).await;
    agent.tell(KEY).await;
    until("that one is there too", LONG, || host.has_key(KEY)).await;
    agent.stop().await;
    // Started again it believes others, so what it has in its spool it does not seed.
    start.trust = Some(keys(&[2]));
    let agent = start.agent(&s3).await;
    until("nothing is listed", LONG, || start.listed.borrow().is_empty()).await;
    // Signed anew, the same bytes are taken up as they are.
    let gets = s3.front.gets(KEY);
    s3.put_signed(KEY, &build, &signature(KEY, &build, 2)).await;
    agent.tell(KEY).await;
    let later = Host::trusting(&start.listed, start.trust.clone());
    until("it is there again", LONG, || later.has_key(KEY)).await;
    assert_eq!(s3.front.gets(KEY), gets);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_signed_anew_while_it_is_seeded_reaches_hosts_that_believe_only_the_new_key() {
    let s3 = S3::start().await;
    let build = data(300_000, 1);
    s3.put_signed(KEY, &build, &signature(KEY, &build, 1)).await;
    let mut start = Start::new(4);
    start.trust = Some(keys(&[1, 2]));
    let agent = start.agent(&s3).await;
    agent.tell(KEY).await;
    let old = Host::trusting(&start.listed, Some(keys(&[1])));
    until("it is seeded", LONG, || old.has_key(KEY)).await;
    s3.put_signed(KEY, &build, &signature(KEY, &build, 2)).await;
    agent.tell(KEY).await;
    // The agent has looked when it has nothing to do any more; hosts that come earlier would be told of the old one first.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let new = Host::trusting(&start.listed, Some(keys(&[2])));
    until("the new key's hosts have it", LONG, || new.has_key(KEY)).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_says_whom_it_believes_and_refuses_with_a_sentence() {
    let s3 = S3::start().await;
    let build = data(300_000, 1);
    s3.put(KEY, &build).await;
    let trust = s3.spool().with_file_name("trusted");
    std::fs::write(&trust, format!("{} # releases\n", key(1).public())).unwrap();
    let trust = trust.to_str().unwrap().to_owned();
    let mut refuses = s3.seeder(KEY, &["--trust", &trust]);
    assert_eq!(refuses.exit(LONG), Some(4), "{}", refuses.log());
    assert!(refuses.log().contains("it is not signed"), "{}", refuses.log());
    s3.put_signed(KEY, &build, &signature(KEY, &build, 1)).await;
    let seeds = s3.seeder(KEY, &["--trust", &trust]);
    let began = Instant::now();
    while !seeds.log().contains("seeding") {
        assert!(began.elapsed() < LONG, "{}", seeds.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!seeds.log().contains("is believed"), "{}", seeds.log());
    seeds.kill();
    let believes = s3.seeder(KEY, &[]);
    let began = Instant::now();
    while !believes.log().contains("whatever is in the bucket is believed") {
        assert!(began.elapsed() < LONG, "{}", believes.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    believes.kill();
    std::fs::write(&trust, "nonsense\n").unwrap();
    let mut broken = s3.seeder(KEY, &["--trust", &trust]);
    assert_eq!(broken.exit(LONG), Some(2), "{}", broken.log());
    assert!(broken.log().contains("trusted:1: "), "{}", broken.log());
}
