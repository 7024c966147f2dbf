//! The scripts that CodeBuild runs (`terraform/pipeline`), with the shipped `harness` and a stand-in for the AWS CLI that keeps objects as files:
//! what is made is signed, goes to each stage with its signature, and is never another build under an id that is there.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

/// What the scripts ask of the AWS CLI, on files: `FOLDER/BUCKET/KEY`, and beside it the signature that is its metadata. Uploads in parts are as
/// S3 has them: nothing is there before the end, and `--if-none-match` is decided then.
const AWS: &str = r#"#!/usr/bin/env bash
set -euo pipefail
at() { case $1 in s3://*) echo "$OBJECTS/${1#s3://}" ;; *) echo "$1" ;; esac; }
call="$1 $2"
shift 2
if [ "$call" = "s3 cp" ]; then
    paths=() signature=
    while [ $# -gt 0 ]; do
        case $1 in
        --only-show-errors) ;;
        --metadata) signature=${2#fleetcast-signature=}; shift ;;
        *) paths+=("$(at "$1")") ;;
        esac
        shift
    done
    mkdir -p "$(dirname "${paths[1]}")"
    cp "${paths[0]}" "${paths[1]}"
    if [ -n "$signature" ]; then echo "$signature" >"${paths[1]}.signature"; fi
    exit
fi
declare -A given
while [ $# -gt 0 ]; do given[${1#--}]=$2; shift 2; done
object="$OBJECTS/${given[bucket]}/${given[key]}"
upload="$OBJECTS/uploads/${given[upload-id]:-}"
echo "$call" >>"$OBJECTS/calls"
case $call in
"s3api head-object")
    if [ ! -e "$object" ]; then echo "An error occurred (404): Not Found" >&2; exit 254; fi
    case ${given[query]} in
    VersionId) echo "version-of-$(cksum <"$object" | cut -d' ' -f1)" ;;
    ContentLength) wc -c <"$object" ;;
    *) if [ -e "$object.signature" ]; then cat "$object.signature"; else echo None; fi ;;
    esac
    ;;
"s3api create-multipart-upload")
    mkdir -p "$OBJECTS/uploads"
    made=$(mktemp -d "$OBJECTS/uploads/XXXXXX")
    echo "${given[metadata]#fleetcast-signature=}" >"$made/signature"
    basename "$made"
    ;;
"s3api upload-part-copy")
    [[ ${given[copy-source-range]} =~ ^bytes=([0-9]+)-([0-9]+)$ ]]
    from=${BASH_REMATCH[1]} to=${BASH_REMATCH[2]}
    part="$upload/$(printf %05d "${given[part-number]}")"
    tail -c "+$((from + 1))" "$OBJECTS/${given[copy-source]}" | head -c "$((to - from + 1))" >"$part"
    echo "\"$(cksum <"$part" | cut -d' ' -f1)\""
    ;;
"s3api complete-multipart-upload")
    if [ -n "${SOMEBODY:-}" ]; then mkdir -p "$(dirname "$object")"; echo "$SOMEBODY" >"$object"; fi
    if [ -e "$object" ] && [ "${given[if-none-match]:-}" = '*' ]; then
        echo "An error occurred (PreconditionFailed) when calling CompleteMultipartUpload" >&2
        exit 254
    fi
    listed=$(grep -o '"ETag": "\\"[0-9]*\\""' <<<"${given[multipart-upload]}" | tr -dc '0-9\n')
    have=$(for part in "$upload"/0*; do cksum <"$part" | cut -d' ' -f1; done)
    if [ "$listed" != "$have" ]; then echo "An error occurred (InvalidPart): $listed is not $have" >&2; exit 254; fi
    mkdir -p "$(dirname "$object")"
    cat "$upload"/0* >"$object"
    cp "$upload/signature" "$object.signature"
    rm -r "$upload"
    ;;
"s3api abort-multipart-upload") rm -r "$upload" ;;
*) echo "no such command: $call" >&2; exit 2 ;;
esac
"#;

struct Account {
    folder: tempfile::TempDir,
    environment: Vec<(&'static str, String)>,
}

impl Account {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("bin")).unwrap();
        std::fs::write(at("bin/aws"), AWS).unwrap();
        std::fs::set_permissions(at("bin/aws"), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::create_dir_all(at("objects/packages")).unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_harness"), at("objects/packages/harness")).unwrap();
        let key = at("release.key");
        let made = Command::new(env!("CARGO_BIN_EXE_harness"))
            .arg("keygen")
            .arg(&key)
            .output()
            .unwrap();
        assert!(made.status.success());
        let path = std::env::var("PATH").unwrap();
        let environment = vec![
            ("PATH", format!("{}:{path}", at("bin").display())),
            ("OBJECTS", at("objects").display().to_string()),
            ("ARTIFACT_BUCKET", "artifacts".to_owned()),
            ("HARNESS_URL", "s3://packages/harness".to_owned()),
            (
                "SIGNING_KEY",
                std::fs::read_to_string(&key).unwrap().trim_end().to_owned(),
            ),
            ("BUILD_PREFIX", "build-".to_owned()),
            ("BUILD_FILE", "build.tar.gz".to_owned()),
            (
                "BUILD_COMMAND",
                r#"test -z "${NEVER:-}" && cat source >"$BUILD_FILE""#.to_owned(),
            ),
            ("GLOBAL_BUCKET", "global-builds-dev".to_owned()),
            ("PART_BYTES", "1000".to_owned()),
            ("DESTINATION_BUCKETS", r#"["region-a-builds-dev"]"#.to_owned()),
        ];
        Self { folder, environment }
    }

    fn object(&self, name: &str) -> PathBuf {
        self.folder.path().join("objects").join(name)
    }

    fn text(&self, object: &str) -> String {
        std::fs::read_to_string(self.object(object)).unwrap()
    }

    /// A script in a folder of its own, as an action of the pipeline has it, with what the one before has passed on.
    fn run(&self, script: &str, passed_on: &[(&str, &str)], more: &[(&str, &str)]) -> (Output, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in passed_on {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../terraform/pipeline")
            .join(script);
        let mut command = Command::new("bash");
        command
            .arg(source)
            .current_dir(folder.path())
            .env_clear()
            .env("TMPDIR", folder.path())
            .envs(self.environment.iter().map(|(name, value)| (*name, value)))
            .envs(more.iter().copied());
        (command.output().unwrap(), folder)
    }

    fn make(&self, source: &str, revision: &str) -> String {
        let revision = [("CODEBUILD_RESOLVED_SOURCE_VERSION", revision)];
        let (ended, folder) = self.run("make.sh", &[("source", source)], &revision);
        assert!(ended.status.success(), "{}", said(&ended));
        std::fs::read_to_string(folder.path().join("build-id")).unwrap()
    }
}

fn said(ended: &Output) -> String {
    String::from_utf8_lossy(&ended.stderr).into_owned()
}

#[test]
fn a_build_is_made_signed_and_published_once_and_the_stage_is_told_which_version() {
    let account = Account::new();
    let build_id = account.make("of the first revision", "abc/1 23");
    assert_eq!(build_id, "build-abc-1-23.tar.gz\n");
    let id = build_id.trim_end();
    let (ended, folder) = account.run("sign.sh", &[("build-id", &build_id)], &[]);
    assert!(ended.status.success(), "{}", said(&ended));
    // The key is gone with the folder that it was in.
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["build-id"]);

    for stage in ["dev", "prod"] {
        let bucket = format!("global-builds-{stage}");
        // In one part and in several, of which the last is shorter.
        let part_bytes = if stage == "dev" { "1000" } else { "6" };
        let publish = || {
            let more = [("GLOBAL_BUCKET", bucket.as_str()), ("PART_BYTES", part_bytes)];
            account.run("publish.sh", &[("build-id", &build_id)], &more)
        };
        let (ended, folder) = publish();
        assert!(ended.status.success(), "{}", said(&ended));
        assert_eq!(account.text(&format!("{bucket}/{id}")), "of the first revision");
        let signature = account.text(&format!("{bucket}/{id}.signature"));
        let verified = Command::new(env!("CARGO_BIN_EXE_harness"))
            .arg("verify")
            .arg(account.object(&format!("{bucket}/{id}")))
            .args(["--build-id", id, "--signature", signature.trim_end(), "--trust"])
            .arg(account.folder.path().join("release.key.pub"))
            .output()
            .unwrap();
        assert!(verified.status.success(), "{}", said(&verified));
        let told: Value =
            serde_json::from_str(&std::fs::read_to_string(folder.path().join("deploy.json")).unwrap()).unwrap();
        let version = told["sourceVersionId"].as_str().unwrap();
        assert!(version.starts_with("version-of-"), "{told}");
        let expected = json!({"sourceBucket": bucket, "sourceKey": id, "sourceVersionId": version, "destinationBuckets": ["region-a-builds-dev"]});
        assert_eq!(told, expected);
        // An action that is tried again finds what it has done.
        assert!(publish().0.status.success());
        let left = std::fs::read_dir(account.object("uploads")).unwrap();
        assert_eq!(left.count(), 0, "parts that nobody ended are paid for");
    }
}

#[test]
fn an_id_that_is_there_is_not_another_build_and_what_makes_no_sense_is_said() {
    let account = Account::new();
    let build_id = account.make("mine", "r1");
    let (ended, _) = account.run("sign.sh", &[("build-id", &build_id)], &[]);
    assert!(ended.status.success(), "{}", said(&ended));
    let there = account.object("global-builds-dev/build-r1.tar.gz");
    std::fs::create_dir_all(there.parent().unwrap()).unwrap();
    // Somebody has uploaded another one, signed or not.
    for signature in [None, Some("another signature\n")] {
        std::fs::write(&there, "somebody's").unwrap();
        if let Some(signature) = signature {
            std::fs::write(account.object("global-builds-dev/build-r1.tar.gz.signature"), signature).unwrap();
        }
        let (ended, folder) = account.run("publish.sh", &[("build-id", &build_id)], &[]);
        assert_eq!(ended.status.code(), Some(1));
        assert!(
            said(&ended).contains("another build-r1.tar.gz in global-builds-dev"),
            "{}",
            said(&ended)
        );
        assert!(!folder.path().join("deploy.json").exists());
        assert_eq!(std::fs::read_to_string(&there).unwrap(), "somebody's");
    }
    // Somebody puts one while the parts are copied: whoever looks before sees nothing.
    for file in [&there, &account.object("global-builds-dev/build-r1.tar.gz.signature")] {
        std::fs::remove_file(file).unwrap();
    }
    let (ended, folder) = account.run("publish.sh", &[("build-id", &build_id)], &[("SOMEBODY", "was faster")]);
    assert_eq!(ended.status.code(), Some(1), "{}", said(&ended));
    assert!(said(&ended).contains("another build-r1.tar.gz"), "{}", said(&ended));
    assert!(!folder.path().join("deploy.json").exists());
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "was faster\n");
    for key in ["../x.zip", "/x.zip", "a b", ""] {
        let (ended, _) = account.run("sign.sh", &[("build-id", key)], &[]);
        assert_eq!(ended.status.code(), Some(1), "{key:?}");
        assert!(said(&ended).contains("can be no build's key"), "{}", said(&ended));
    }
    let (ended, _) = account.run(
        "make.sh",
        &[],
        &[("CODEBUILD_BUILD_NUMBER", "7"), ("BUILD_COMMAND", "true")],
    );
    assert_eq!(ended.status.code(), Some(1));
    assert!(said(&ended).contains("has made no build.tar.gz"), "{}", said(&ended));
}
