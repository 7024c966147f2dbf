//! What scripts fetch of npm comes by one way, which holds it against the hash that is pinned.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts")
}

/// An npm that gives the same archive whatever is asked for.
const NPM: &str = r#"#!/usr/bin/env bash
cp "$(dirname "$0")/archive.tgz" "$4/scope-name-1.0.tgz"
"#;

fn archive(folder: &Path) {
    let bin = folder.join("bin");
    std::fs::create_dir_all(folder.join("package")).unwrap();
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::write(folder.join("package/file"), "content\n").unwrap();
    std::fs::write(bin.join("npm"), NPM).unwrap();
    std::fs::set_permissions(bin.join("npm"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let tar = Command::new("tar")
        .args(["-czf", "bin/archive.tgz", "package"])
        .current_dir(folder)
        .status();
    assert!(tar.unwrap().success());
}

/// What comes of a package under a hash.
fn unpacked(folder: &Path, hash: &str) -> Output {
    let script = r#"
        set -euo pipefail
        fail() { echo "here: $*" >&2; exit 1; }
        . "$1/npm-package.sh"
        unpack_npm_package @scope/name 1.0 "$2" into/a/folder
        cat "$new/package/file"
        test ! -e "$new/scope-name-1.0.tgz""#;
    let path = format!("{}:{}", folder.join("bin").display(), std::env::var("PATH").unwrap());
    let bash = Command::new("bash")
        .args(["-c", script, "test"])
        .args([scripts().as_os_str(), hash.as_ref()])
        .current_dir(folder)
        .env("PATH", path)
        .output();
    bash.unwrap()
}

#[test]
fn what_is_not_as_it_was_pinned_is_not_unpacked_and_nothing_stays() {
    let folder = tempfile::tempdir().unwrap();
    archive(folder.path());
    let refused = unpacked(folder.path(), &"0".repeat(128));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("here: what npm gave for @scope/name@1.0 is not what was pinned"),
        "{said}"
    );
    let sum = Command::new("sha512sum")
        .arg(folder.path().join("bin/archive.tgz"))
        .output();
    let sum = String::from_utf8(sum.unwrap().stdout).unwrap();
    let well = unpacked(folder.path(), sum.split(' ').next().unwrap());
    assert!(well.status.success(), "{}", String::from_utf8_lossy(&well.stderr));
    assert_eq!(String::from_utf8_lossy(&well.stdout), "content\n");
    let left = std::fs::read_dir(folder.path().join("into/a/folder")).unwrap().count();
    assert_eq!(left, 0, "what was begun is gone when the script ends");
}

#[test]
fn no_other_script_fetches_from_npm() {
    let fetching = std::fs::read_dir(scripts()).unwrap().map(|entry| entry.unwrap().path());
    let fetching: Vec<PathBuf> = fetching
        .filter(|path| std::fs::read_to_string(path).is_ok_and(|text| text.contains("npm pack")))
        .collect();
    assert_eq!(fetching, [scripts().join("npm-package.sh")]);
}
