//! Hosts that believe only what is signed, and seeders that have been taken over: they have the key by which hosts know them, and serve a
//! build that no publisher wants there.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod region;

use std::path::{Path, PathBuf};
use std::time::Duration;

use cloud::DeploymentStatus;
use peer::SeededBuild;
use region::limit::Limit;
use region::{CHUNK, Host, Region, Seeder, Seeding, data};
use signing::{Claim, Moment, SecretKey, Terms};
use swarm::{Manifest, SwarmId};
use tempfile::TempDir;

const HOUR: Duration = Duration::from_secs(3600);
const YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const ID: &str = "app.zip";

fn key(number: u8) -> SecretKey {
    SecretKey::from_bytes(&[number; 32])
}

/// A file of trusted keys.
fn trust(folder: &TempDir, keys: &[u8]) -> PathBuf {
    let path = folder.path().join("trusted");
    let lines: Vec<String> = keys
        .iter()
        .map(|number| format!("{} key {number}", key(*number).public()))
        .collect();
    std::fs::write(&path, format!("# publishers\n{}\n", lines.join("\n"))).unwrap();
    path
}

fn manifest(id: &str, build: &[u8]) -> Manifest {
    Manifest::of(id, build, CHUNK as u32).unwrap()
}

fn before(duration: Duration) -> Moment {
    Moment::from_millis(Moment::now().as_millis() - duration.as_millis() as u64).unwrap()
}

/// Signed now, for a day.
fn terms(sequence: u64) -> Terms {
    Terms {
        sequence,
        signed: Moment::now(),
        expires: Some(Moment::now().plus(24 * HOUR)),
    }
}

/// A seeder of one build that says this of it.
async fn seeder(id: &str, build: &[u8], signature: Option<String>) -> Seeder {
    let seeding = Seeding {
        swarm: Some(SwarmId::ONLY),
        signature,
        ..Seeding::default()
    };
    Seeder::with(id, "only", build, seeding).await
}

/// The seeder of a build that this key has signed.
async fn signed(id: &str, build: &[u8], key: &SecretKey, terms: Terms) -> Seeder {
    let signature = key.sign(&manifest(id, build), terms);
    seeder(id, build, Some(signature.to_string())).await
}

fn fetch(seeders: &[&Seeder], out: &Path, trust: &Path) -> Host {
    Host::single(seeders, out, &["--trust", trust.to_str().unwrap(), "--timeout", "20"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_trusted_key_has_signed_comes_and_nothing_else_does() {
    let _limit = Limit::start(None);
    let folder = tempfile::tempdir().unwrap();
    let (build, trust) = (data(1, 300_000), trust(&folder, &[1]));
    let of_build = manifest(ID, &build);
    let claim = Claim::of(&of_build, terms(1));
    let with = |claim: Claim<'_>| Some(key(1).sign_claim(&claim).to_string());
    let expired = Terms {
        signed: before(2 * HOUR),
        expires: Some(before(HOUR)),
        ..terms(1)
    };
    let from_now = |duration| Terms {
        signed: Moment::now().plus(duration),
        expires: None,
        ..terms(1)
    };
    let other = manifest(ID, &data(2, 300_000));
    let cases: [(&str, Option<String>, &str); 10] = [
        ("unsigned", None, "it is not signed"),
        ("no signature", Some("trust me".to_owned()), "is no signature"),
        (
            "another key",
            Some(key(2).sign(&of_build, terms(1)).to_string()),
            "which is not trusted here",
        ),
        (
            "another root",
            Some(key(1).sign(&other, terms(1)).to_string()),
            "of another build",
        ),
        (
            "another id",
            with(Claim {
                build_id: "other.zip",
                ..claim.clone()
            }),
            "not of this build id",
        ),
        (
            "another size",
            with(Claim {
                size: 299_999,
                ..claim.clone()
            }),
            "another size",
        ),
        (
            "other chunks",
            with(Claim {
                chunk_size: 1 << 20,
                ..claim.clone()
            }),
            "other chunks",
        ),
        (
            "expired",
            Some(key(1).sign(&of_build, expired).to_string()),
            "1 h ago by this machine's clock",
        ),
        (
            "a clock an hour behind",
            Some(key(1).sign(&of_build, from_now(HOUR)).to_string()),
            "from now by this machine's clock",
        ),
        (
            "a clock ten years behind",
            Some(key(1).sign(&of_build, from_now(YEARS)).to_string()),
            "9 years 36",
        ),
    ];
    for (name, signature, why) in cases {
        let out = folder.path().join(name);
        let seeder = seeder(ID, &build, signature).await;
        let mut host = fetch(&[&seeder], &out, &trust);
        assert_eq!(host.ends().await.0, Some(4), "{name}: {}", host.said());
        let said = host.said();
        assert!(
            said.contains("\"app.zip\"") && said.contains("is refused: ") && said.contains(why),
            "{name}: {said}"
        );
        assert!(
            !out.exists() && !folder.path().join(format!("{name}.part")).exists(),
            "{name}"
        );
    }
    let out = folder.path().join(ID);
    let seeder = signed(ID, &build, &key(1), terms(1)).await;
    let mut host = fetch(&[&seeder], &out, &trust);
    assert_eq!(host.ends().await.0, Some(0), "{}", host.said());
    assert!(std::fs::read(&out).unwrap() == build);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_build_does_not_come_over_a_newer_one_whatever_it_is_called() {
    let _limit = Limit::start(None);
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (data(1, 200_000), data(2, 300_000));
    let (out, trust) = (folder.path().join("app"), trust(&folder, &[1]));
    let newest = signed(ID, &new, &key(1), terms(5)).await;
    assert_eq!(fetch(&[&newest], &out, &trust).ends().await.0, Some(0));
    for id in [ID, "app-1.zip"] {
        let replayed = signed(id, &old, &key(1), terms(4)).await;
        let mut host = fetch(&[&replayed], &out, &trust);
        assert_eq!(host.ends().await.0, Some(4), "{}", host.said());
        assert!(
            host.said().contains("its sequence is 4, and 5 has come"),
            "{}",
            host.said()
        );
        assert!(std::fs::read(&out).unwrap() == new);
    }
    // The newest comes again, and whoever means to go back signs anew.
    assert_eq!(fetch(&[&newest], &out, &trust).ends().await.0, Some(0));
    let back = signed(ID, &old, &key(1), terms(6)).await;
    assert_eq!(fetch(&[&back], &out, &trust).ends().await.0, Some(0));
    assert!(std::fs::read(&out).unwrap() == old);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_key_takes_the_place_of_another_builds_of_both_come_and_then_only_of_the_new_one() {
    let _limit = Limit::start(None);
    let folder = tempfile::tempdir().unwrap();
    let build = data(1, 100_000);
    let (old, new) = (
        signed(ID, &build, &key(1), terms(1)).await,
        signed(ID, &build, &key(2), terms(2)).await,
    );
    for (case, keys, seeder, code) in [
        ("before", &[1][..], &old, 0),
        ("both, the old", &[1, 2], &old, 0),
        ("both, the new", &[1, 2], &new, 0),
        ("after, the new", &[2], &new, 0),
        ("after, the old", &[2], &old, 4),
    ] {
        let out = folder.path().join(case);
        let mut host = fetch(&[seeder], &out, &trust(&folder, keys));
        assert_eq!(host.ends().await.0, Some(code), "{case}: {}", host.said());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seeder_that_is_not_believed_keeps_nobody_from_one_that_is() {
    let _limit = Limit::start(None);
    let folder = tempfile::tempdir().unwrap();
    let (build, forged) = (data(1, 500_000), data(2, 500_000));
    let (out, trust) = (folder.path().join(ID), trust(&folder, &[1]));
    let taken_over = signed(ID, &forged, &key(2), terms(9)).await;
    let honest = signed(ID, &build, &key(1), terms(1)).await;
    for seeders in [[&taken_over, &honest], [&honest, &taken_over]] {
        let mut host = fetch(&seeders, &out, &trust);
        assert_eq!(host.ends().await.0, Some(0), "{}", host.said());
        assert!(std::fs::read(&out).unwrap() == build);
        std::fs::remove_file(&out).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_of_a_directory_keeps_what_it_has_when_an_older_or_a_forged_version_is_listed() {
    let region = Region::start().await;
    let trust = trust(&region.home, &[1]);
    let host = region.host(&["--trust", trust.to_str().unwrap()]);
    let builds = [data(1, 200_000), data(2, 300_000), data(3, 100_000)];
    let [old, new, forged] = &builds;
    let version = |version: &'static str, build: &'static str, content: Vec<u8>, by: u8, sequence| async move {
        let signature = key(by).sign(&manifest(build, &content), terms(sequence)).to_string();
        let seeding = Seeding {
            signature: Some(signature),
            ..Seeding::default()
        };
        Seeder::with(build, version, &content, seeding).await
    };
    let newest = version("2", ID, new.clone(), 1, 5).await;
    region.publish(&[&newest]);
    host.prints(&[ID]).await;
    let replayed = version("1", ID, old.clone(), 1, 4).await;
    region.publish(&[&replayed]);
    host.until("the replay is refused", |host| {
        host.said().contains("its sequence is 4, and 5 has come")
    })
    .await;
    let of_stranger = version("3", ID, forged.clone(), 2, 9).await;
    region.publish(&[&of_stranger]);
    host.until("the forgery is refused", |host| {
        host.said().contains("which is not trusted here")
    })
    .await;
    // Signed as it is, and listed as another.
    let other = version("1", "other.zip", old.clone(), 1, 9).await;
    let swarm_of_app = Seeding {
        swarm: Some(SwarmId::of_build(ID, "4")),
        signature: Some(key(1).sign(&manifest("other.zip", old), terms(9)).to_string()),
        ..Seeding::default()
    };
    let listed_as_app = Seeder::with("other.zip", "4", old, swarm_of_app).await;
    region.directory.publish(vec![
        other.listed(),
        SeededBuild {
            key: ID.to_owned(),
            ..listed_as_app.listed()
        },
    ]);
    host.prints(&["other.zip"]).await;
    host.until("it is refused under another's name", |host| {
        host.said().contains("it is not the build that is listed")
    })
    .await;
    assert!(std::fs::read(region.file(ID)).unwrap() == *new);
    assert_eq!(
        host.keys().iter().filter(|key| *key == ID).count(),
        1,
        "{:?}",
        host.lines()
    );
    host.until("the refusal is written down", |host| {
        host.said().contains("not the build")
    })
    .await;
    let row = loop {
        let row = region.row(ID).await;
        if row.status == DeploymentStatus::Failed {
            break row;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(row.error.as_ref().unwrap().contains("is refused: "), "{row:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_says_whom_it_believes_and_what_is_wrong_with_its_keys() {
    let _limit = Limit::start(None);
    let folder = tempfile::tempdir().unwrap();
    let build = data(1, 100_000);
    let seeder = seeder(ID, &build, None).await;
    let out = folder.path().join(ID);
    let mut host = Host::single(&[&seeder], &out, &[]);
    assert_eq!(host.ends().await.0, Some(0), "{}", host.said());
    let told = host.said();
    assert_eq!(
        told.matches("whatever the seeder says is believed").count(),
        1,
        "{told}"
    );
    let trust = folder.path().join("trusted");
    std::fs::write(&trust, "# keys\nnonsense\n").unwrap();
    let mut host = fetch(&[&seeder], &out, &trust);
    assert_eq!(host.ends().await.0, Some(2), "{}", host.said());
    assert!(
        host.said().contains(&format!("{}:2: ", trust.display())),
        "{}",
        host.said()
    );
    let missing = folder.path().join("none");
    let mut host = fetch(&[&seeder], &out, &missing);
    assert_eq!(host.ends().await.0, Some(2), "{}", host.said());
    assert!(host.said().contains("none"), "{}", host.said());
    // What it had cannot be known: it does not take the risk.
    std::fs::write(folder.path().join("app.zip.sequences"), "{").unwrap();
    let mut host = fetch(&[&seeder], &out, &self::trust(&folder, &[1]));
    assert_eq!(host.ends().await.0, Some(4), "{}", host.said());
    assert!(host.said().contains("app.zip.sequences"), "{}", host.said());
}
