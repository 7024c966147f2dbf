//! The seeder's configuration: one file, with flags and variables above it, and the one that its package brings.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::path::Path;
use std::process::Command;

/// What `seeder check` prints and says, and its exit code.
fn check(flags: &[&str], environment: &[(&str, &str)]) -> (String, String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seeder"));
    command.arg("check").args(flags).envs(environment.iter().copied());
    let ended = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(ended.stdout), text(ended.stderr), ended.status.code())
}

fn line(printed: &str, key: &str) -> String {
    let line = printed.lines().find(|line| line.starts_with(&format!("{key} =")));
    let line = line.unwrap_or_else(|| panic!("{key}: {printed}"));
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_shipped_configuration_wants_one_line_and_flags_come_before_it() {
    let home = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/seeder.toml");
    let shipped = std::fs::read_to_string(shipped).unwrap();
    let file = home.path().join("seeder.toml");
    let path = file.to_str().unwrap();
    std::fs::write(&file, &shipped).unwrap();
    assert_eq!(
        check(&["--config", path], &[]).2,
        Some(2),
        "neither a queue nor a build"
    );
    std::fs::write(&file, format!("queue = \"region-a-builds-events\"\n{shipped}")).unwrap();
    let flags = ["--config", path, "--builds-max", "3", "--upload-rate", "10 Gbit/s"];
    let (printed, said, code) = check(&flags, &[("FLEETCAST_SEEDER_HOSTS_MAX", "7")]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert_eq!(
        line(&printed, "queue"),
        format!("queue = \"region-a-builds-events\" # {path}:1")
    );
    assert_eq!(line(&printed, "builds-max"), "builds-max = 3 # flag");
    assert_eq!(
        line(&printed, "hosts-max"),
        "hosts-max = 7 # FLEETCAST_SEEDER_HOSTS_MAX"
    );
    assert_eq!(line(&printed, "seed-at-least"), "seed-at-least = 5 # default");
    // A build by flags needs no queue of the file.
    let (printed, said, code) = check(&["--config", path, "--bucket", "b", "--key", "k"], &[]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(!printed.contains("queue ="), "{printed}");
}

#[test]
fn what_is_wrong_is_told_at_its_place() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("seeder.toml");
    for (text, expected) in [
        (
            "que = \"a\"",
            "seeder.toml:1: que is not a key of this file — did you mean queue?",
        ),
        (
            "queue = \"a\"\nbuilds-max = 65",
            "seeder.toml:2: builds-max = 65 — expected 1 to 64 (builds)",
        ),
        (
            "queue = \"a\"\npart = \"3/2\"",
            "seeder.toml:2: part = \"3/2\" — expected a part of how many",
        ),
        (
            "queue = \"a\"\ntrust = \"/nowhere\"",
            "seeder.toml:2: trust = \"/nowhere\" — it cannot be read",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        let (_, said, code) = check(&["--config", file.to_str().unwrap()], &[]);
        assert_eq!(code, Some(2), "{text}");
        assert!(said.contains(expected), "{text}: {said}");
    }
}

#[test]
fn the_kubernetes_base_has_a_right_configuration() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kubernetes/base/seeder.toml");
    let flags = ["--config", base.to_str().unwrap()];
    let (printed, said, code) = check(&flags, &[("FLEETCAST_SEEDER_QUEUE", "region-a-builds-events")]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(
        line(&printed, "advertise").contains("/dns4/fleetcast-seeder.fleetcast.svc/tcp/4001"),
        "{printed}"
    );
}
