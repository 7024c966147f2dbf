//! `scripts/verify-on-aws.sh` with stand-ins for the programs that it calls: what it says of a pipeline that works, and of one that does not.
//! That its calls of `harness` are what there is, `cli/scripts.rs` sees.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// A pipeline whose copies are there at once. `BROKEN` is what does not work of it.
const HARNESS: &str = r#"#!/usr/bin/env bash
all=" $* "
case $1 in
doctor) ;;
upload)
    id=$(sed 's/.*--build-id \([^ ]*\).*/\1/' <<<"$all") mib=$(sed 's/.*--size \([0-9]*\)MiB.*/\1/' <<<"$all")
    if [ -e "$STATE/$id" ] && [[ $all != *--replace* ]] && [ "$BROKEN" != conditions ]; then
        echo "harness: $id is in the bucket already" >&2
        exit 1
    fi
    echo $((mib << 20)) >"$STATE/$id"
    ;;
status)
    cd "$STATE"
    first='['
    for each in *; do
        size=$(cat "$each")
        printf '%s{"build_id": "%s", "status": "%s"}' "$first" "$each" "$([ "$size" -gt 0 ] && echo SUCCEEDED || echo FAILED)"
        first=,
    done
    echo ]
    ;;
count) if [ "$BROKEN" = counts ] && [[ $all == *--exact* ]]; then echo 4; else echo 3; fi ;;
dead-letters) if [ "$BROKEN" = letters ]; then echo '[{"messages": 2}]'; else echo '[{"messages": 0}]'; fi ;;
*) exit 2 ;;
esac
"#;

const AWS: &str = r#"#!/usr/bin/env bash
case "$1 $2" in
"sts get-caller-identity") ;;
"s3 cp") echo 0 >"$STATE/${5##*/}" ;;
"s3 rm") rm -f "$STATE/${4##*/}" ;;
"s3api head-object") if [ "$BROKEN $4" = "copies region-b-builds-dev" ]; then echo 7; else cat "$STATE/$6"; fi ;;
"cloudwatch describe-alarms") printf 'fleetcast-%s-dev\tOK\n' no-rows workflow-ExecutionsFailed deployment-log-throttles ;;
"cloudwatch get-dashboard") ;;
*) exit 2 ;;
esac
"#;

fn verify(broken: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let (bin, state) = (folder.path().join("bin"), folder.path().join("state"));
    for folder in [&bin, &state] {
        std::fs::create_dir(folder).unwrap();
    }
    for (name, text) in [("harness", HARNESS), ("aws", AWS)] {
        std::fs::write(bin.join(name), text).unwrap();
        std::fs::set_permissions(bin.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/verify-on-aws.sh");
    let ended = Command::new("bash")
        .arg(script)
        .args(["--stage", "dev", "--hosts", "3"])
        .env("PATH", path)
        .env("STATE", &state)
        .env("BROKEN", broken)
        .env("VERIFY_PATIENCE", "1")
        .output()
        .unwrap();
    let left = std::fs::read_dir(&state).unwrap().count();
    assert_eq!(left, 0, "what it has uploaded is removed");
    (ended.status.code(), String::from_utf8(ended.stdout).unwrap())
}

#[test]
fn it_says_of_each_thing_whether_it_is_as_it_should_be() {
    let (code, said) = verify("");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with("16 as it should be, 0 not, 2 not checked\n"), "{said}");
    for (broken, line) in [
        (
            "conditions",
            "FAILED       S3 refuses another build under an id that is taken (If-None-Match): it was not refused",
        ),
        (
            "copies",
            "FAILED       each region has the newer version: region-b has 7 bytes and not 20971520",
        ),
        (
            "counts",
            "FAILED       what seeders have counted is what is there, row by row: counted 3, exactly 4",
        ),
        (
            "letters",
            "FAILED       no message is in a queue of dead letters: [{'messages': 2}]",
        ),
    ] {
        let (code, said) = verify(broken);
        assert_eq!(code, Some(1), "{broken}: {said}");
        assert!(said.lines().any(|said| said == line), "{broken}: {said}");
    }
}
