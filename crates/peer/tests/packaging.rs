//! What the packages bring: units that systemd takes and that leave little open, and a configuration that is right but for its one line.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The exposure that a unit may have at most, by `systemd-analyze security`, in tenths.
const EXPOSURE_MAX: &str = "30";

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging")
}

fn read(file: &str) -> String {
    std::fs::read_to_string(packaging().join(file)).unwrap()
}

fn check(file: &Path) -> (Option<i32>, String) {
    let ended = Command::new(env!("CARGO_BIN_EXE_peer"))
        .args(["check", "--config"])
        .arg(file)
        .output()
        .unwrap();
    let text = [ended.stdout, ended.stderr].concat();
    (ended.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn the_shipped_configuration_wants_one_line_and_names_every_key() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("host.toml");
    let shipped = read("host.toml");
    std::fs::write(&file, &shipped).unwrap();
    let (code, said) = check(&file);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("folder — expected directory with it, which is missing"),
        "{said}"
    );
    let peer = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    let edited = format!("directory = \"/ip4/10.0.0.1/tcp/4001/p2p/{peer}\"\n{shipped}");
    std::fs::write(&file, &edited).unwrap();
    let (code, printed) = check(&file);
    assert_eq!(code, Some(0), "{printed}");
    // What is commented out is right as well, but for files that are not there.
    let names_no_file = |line: &str| {
        !["trust", "members", "certificate", "deny", "group"]
            .iter()
            .any(|key| line.starts_with(&format!("#{key} ")))
    };
    let is_key = |line: &str| {
        line.strip_prefix('#').is_some_and(|rest| {
            rest.split_once(" = ")
                .is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
        })
    };
    let mut all: Vec<String> = edited
        .lines()
        .filter(|line| !line.starts_with("#directory") && !line.ends_with("\"\"") && names_no_file(line))
        .map(|line| {
            if is_key(line) {
                line[1..].to_owned()
            } else {
                line.to_owned()
            }
        })
        .map(|line| {
            if line == "log = false" {
                "log = true".to_owned()
            } else {
                line
            }
        })
        .collect();
    all.push(String::new());
    std::fs::write(&file, all.join("\n")).unwrap();
    let (code, said) = check(&file);
    assert_eq!(code, Some(0), "{said}");
    for line in printed.lines().skip(1) {
        let key = line.trim_start_matches("# ").split(' ').next().unwrap();
        let of_one_build = ["seeder", "out", "linger"].contains(&key);
        let names = |line: &str| line.trim_start_matches('#').starts_with(&format!("{key} = "));
        assert!(of_one_build || shipped.lines().any(names), "{key} is not in host.toml");
    }
}

#[test]
fn units_start_what_the_packages_bring_and_stop_in_time() {
    for (name, package) in [("host", "peer"), ("seeder", "seeder")] {
        let unit = read(&format!("fleetcast-{name}.service"));
        let has = |line: &str| unit.lines().any(|there| there == line);
        assert!(
            has(&format!(
                "ExecStart=/usr/bin/fleetcast-{name} --config /etc/fleetcast/{name}.toml"
            )),
            "{unit}"
        );
        assert!(
            has("User=fleetcast") && has("StateDirectory=fleetcast") && has("RestartPreventExitStatus=2"),
            "{unit}"
        );
        let manifest = packaging().join(format!("../crates/{package}/Cargo.toml"));
        let manifest = std::fs::read_to_string(manifest).unwrap();
        assert!(
            manifest.contains(&format!("\"usr/bin/fleetcast-{name}\"")),
            "{manifest}"
        );
        assert!(
            manifest.contains(&format!("conf-files = [\"/etc/fleetcast/{name}.toml\"]")),
            "{manifest}"
        );
    }
}

#[test]
fn systemd_takes_the_units_and_finds_little_open() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("systemd-analyze is not installed: units stay unverified here");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    for name in ["host", "seeder"] {
        let unit = read(&format!("fleetcast-{name}.service"));
        // The program is not installed where this is tested.
        let unit = unit.replace(&format!("/usr/bin/fleetcast-{name}"), "/bin/true");
        let file = home.path().join(format!("fleetcast-{name}.service"));
        std::fs::write(&file, unit).unwrap();
        let verified = Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8(verified.stderr).unwrap();
        let about_it: Vec<&str> = said.lines().filter(|line| line.contains("fleetcast")).collect();
        assert!(verified.status.success() && about_it.is_empty(), "{said}");
        let looked = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_MAX])
            .arg(&file)
            .output()
            .unwrap();
        assert!(looked.status.success(), "{}", String::from_utf8_lossy(&looked.stdout));
    }
}
