//! Keys and signatures as a publisher has them: made, used, checked, and on their way with a build.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use cloud::{Cloud, EmbeddedCloud, regional_bucket, replicate};
use peer::ChunkPool;
use seeder::{BuildNotice, GetTurns, PullError, PullOptions, Pulled, Spool, pull};
use signing::TrustedKeys;
use tempfile::TempDir;

fn harness(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(arguments)
        .current_dir(folder)
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_REGION", "us-east-1")
        .output()
        .unwrap()
}

fn well(folder: &Path, arguments: &[&str]) -> String {
    let output = harness(folder, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder with a build and two pairs of keys.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let build: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(folder.path().join("app.zip"), build).unwrap();
    well(folder.path(), &["keygen", "release.key"]);
    well(folder.path(), &["keygen", "other.key"]);
    folder
}

#[test]
fn a_build_is_signed_and_verified_and_whatever_is_changed_is_told() {
    let folder = folder();
    let at = folder.path();
    let mode = std::fs::metadata(at.join("release.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = harness(at, &["keygen", "release.key"]);
    assert_eq!(again.status.code(), Some(4));
    assert!(stderr(&again).contains("release.key"), "{}", stderr(&again));
    let signature = well(
        at,
        &[
            "sign",
            "app.zip",
            "--key",
            "release.key",
            "--sequence",
            "7",
            "--expires",
            "never",
        ],
    );
    assert_eq!(signature.lines().count(), 1);
    assert!(signature.len() < 1024, "{signature}");
    let signature = signature.trim();
    let verify = |more: &[&str]| {
        let arguments = [
            "verify",
            "app.zip",
            "--trust",
            "release.key.pub",
            "--signature",
            signature,
        ];
        harness(at, &[&arguments, more].concat())
    };
    let verified = verify(&[]);
    assert_eq!(verified.status.code(), Some(0), "{}", stderr(&verified));
    let said = String::from_utf8(verified.stdout).unwrap();
    assert!(said.contains("sequence 7") && said.contains("expires never"), "{said}");
    let no = |output: Output, why: &str| {
        assert_eq!(output.status.code(), Some(1), "{why}: {}", stderr(&output));
        assert!(stderr(&output).contains(why), "{}", stderr(&output));
    };
    no(verify(&["--build-id", "other.zip"]), "not of this build id");
    let by_other = [
        "verify",
        "app.zip",
        "--trust",
        "other.key.pub",
        "--signature",
        signature,
    ];
    no(harness(at, &by_other), "not trusted here");
    std::fs::write(at.join("app.zip"), vec![7; 300_000]).unwrap();
    no(verify(&[]), "of another build");
    std::fs::write(at.join("app.zip"), vec![7; 300_001]).unwrap();
    no(verify(&[]), "300000 bytes of it were signed");
}

#[test]
fn what_is_wrong_with_keys_and_files_is_said_by_name() {
    let folder = folder();
    let at = folder.path();
    std::fs::write(at.join("trusted"), "# keys\n\nnonsense\n").unwrap();
    std::fs::write(at.join("empty.zip"), "").unwrap();
    for (arguments, why) in [
        (&["sign", "app.zip", "--key", "none.key"][..], "none.key"),
        (&["sign", "app.zip", "--key", "release.key.pub"][..], "is a public key"),
        (&["sign", "none.zip", "--key", "release.key"][..], "none.zip"),
        (&["sign", "empty.zip", "--key", "release.key"][..], "empty.zip is empty"),
        (
            &["sign", "app.zip", "--key", "release.key", "--expires", "soon"][..],
            "90d",
        ),
        (
            &["verify", "app.zip", "--trust", "trusted", "--signature", "x"][..],
            "trusted:3: ",
        ),
        (
            &["verify", "app.zip", "--trust", "release.key.pub", "--signature", "none"][..],
            "none",
        ),
        (
            &[
                "upload",
                "app.zip",
                "--sign",
                "none.key",
                "--endpoint-url",
                "http://127.0.0.1:1",
            ][..],
            "none.key",
        ),
        (
            &[
                "upload",
                "app.zip",
                "--sequence",
                "7",
                "--endpoint-url",
                "http://127.0.0.1:1",
            ][..],
            "--sign",
        ),
    ] {
        let output = harness(at, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(why), "{arguments:?}: {}", stderr(&output));
    }
}

/// What a seeder of the region makes of the build there.
async fn pulled(cloud: &Cloud, key: &str, trusted: PathBuf) -> Result<Pulled, PullError> {
    let notice = BuildNotice {
        bucket: regional_bucket("region-a"),
        key: key.to_owned(),
    };
    let options = PullOptions {
        chunk_size: None,
        turns: GetTurns::new(4),
        spool: Spool::Memory(ChunkPool::default()),
        trust: Some(Arc::new(TrustedKeys::read(&trusted).unwrap())),
    };
    pull(&cloud.buckets(), &notice, &options).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_uploaded_with_a_key_is_believed_in_the_regions_and_what_is_not_is_refused() {
    let (folder, regions) = (folder(), ["region-a".to_owned()]);
    let embedded = EmbeddedCloud::start(&folder.path().join("cloud")).await.unwrap();
    let cloud = Cloud::connect(embedded.config()).await;
    cloud.bootstrap(&regions).await.unwrap();
    let config = embedded.config().clone();
    let upload = |more: &'static [&'static str]| {
        let (at, config) = (folder.path().to_owned(), config.clone());
        let run = move || {
            let credentials = config.credentials.unwrap();
            let endpoint = config.s3_endpoint.unwrap();
            let output = Command::new(env!("CARGO_BIN_EXE_harness"))
                .args([&["upload"], more, &["--endpoint-url", &endpoint]].concat())
                .current_dir(&at)
                .env("AWS_ACCESS_KEY_ID", credentials.access_key_id)
                .env("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key)
                .env("AWS_REGION", "us-east-1")
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
            String::from_utf8(output.stdout).unwrap()
        };
        tokio::task::spawn_blocking(run)
    };
    let said = upload(&["app.zip", "--sign", "release.key"]).await.unwrap();
    assert!(said.contains("signed"), "{said}");
    upload(&["--size", "20MiB", "--build-id", "large.zip", "--sign", "release.key"])
        .await
        .unwrap();
    upload(&["app.zip", "--build-id", "unsigned.zip"]).await.unwrap();
    for key in ["app.zip", "large.zip", "unsigned.zip"] {
        let copies = replicate(&cloud, key, &regions, (key, None)).await.unwrap();
        assert!(copies.iter().all(|copy| copy.result.is_ok()));
    }
    let (ours, theirs) = (
        folder.path().join("release.key.pub"),
        folder.path().join("other.key.pub"),
    );
    for key in ["app.zip", "large.zip"] {
        assert!(
            pulled(&cloud, key, ours.clone()).await.unwrap().signature.is_some(),
            "{key}"
        );
        let refused = pulled(&cloud, key, theirs.clone()).await.map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains("not trusted here"), "{refused}");
    }
    let refused = pulled(&cloud, "unsigned.zip", ours).await.map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("not signed"), "{refused}");
    embedded.stop().await;
}
