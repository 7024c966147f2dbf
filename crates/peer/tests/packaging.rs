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

/// Runs packaging/image.py for a host; what it prints and says, and its exit code.
fn image(binary: &str, out: &Path) -> (String, String, Option<i32>) {
    let script = packaging().join("image.py");
    let mut command = Command::new("python3");
    command.arg(script).args(["host", "--binary", binary, "--out"]).arg(out);
    let ended = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(ended.stdout), text(ended.stderr), ended.status.code())
}

/// What is written to is replaced: as root /dev/stdout itself was once.
#[test]
fn strip_writes_to_no_device_and_the_seeder_has_the_folder_of_its_socket() {
    for tool in ["python3", "ldd"] {
        if Command::new(tool).arg("--version").output().is_err() {
            eprintln!("{tool} is not installed: no image is made here");
            return;
        }
    }
    let home = tempfile::tempdir().unwrap();
    let (tools, told) = (home.path().join("tools"), home.path().join("told"));
    std::fs::create_dir(&tools).unwrap();
    // In the place of strip: it says what it is asked for, and writes nothing.
    let strip = tools.join("strip");
    std::fs::write(
        &strip,
        format!("#!/bin/sh\necho \"$@\" >'{}'\nexit 1\n", told.display()),
    )
    .unwrap();
    std::fs::set_permissions(&strip, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let out = home.path().join("image");
    let make = |binary: &Path| {
        let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("python3");
        command.arg(packaging().join("image.py")).args(["seeder", "--binary"]);
        command.arg(binary).arg("--out").arg(&out).env("PATH", path);
        command.output().unwrap()
    };
    // Of another machine, whose libraries are not here.
    let mut other = std::fs::read("/bin/echo").unwrap();
    other[18] = if other[18] == 62 { 183 } else { 62 };
    let foreign = home.path().join("foreign");
    std::fs::write(&foreign, other).unwrap();
    let made = make(&foreign);
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(
        made.status.code() == Some(2) && said.contains("wants libraries"),
        "{said}"
    );
    let made = make(Path::new("/bin/echo"));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let told = std::fs::read_to_string(told).unwrap();
    assert!(told.starts_with("-o ") && !told.contains("/dev/"), "{told}");
    let manifest = json(&blob(&out, &json(&out.join("index.json"))["manifests"][0]));
    let layer = blob(&out, &manifest["layers"][0]);
    let list = Command::new("tar")
        .args(["tzv", "--numeric-owner", "-f"])
        .arg(layer)
        .output()
        .unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let folder = list
        .lines()
        .find(|line| line.trim_end_matches('/').ends_with(" run/fleetcast-seeder"));
    assert!(folder.is_some_and(|line| line.contains(" 65532/65532 ")), "{list}");
}

fn blob(layout: &Path, of: &serde_json::Value) -> PathBuf {
    let digest = of["digest"].as_str().unwrap();
    layout.join("blobs").join(digest.replace(':', "/"))
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// With a small program in the place of the agent, which takes seconds to compress; packaging/verify.sh has the agents themselves.
#[test]
fn an_image_is_the_same_each_time_and_has_no_shell_and_no_root() {
    for tool in ["python3", "ldd"] {
        if Command::new(tool).arg("--version").output().is_err() {
            eprintln!("{tool} is not installed: no image is made here");
            return;
        }
    }
    let home = tempfile::tempdir().unwrap();
    let (layout, tar) = (home.path().join("image"), home.path().join("image.tar"));
    let (first, said, code) = image("/bin/echo", &layout);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(image("/bin/echo", &tar).0, first);
    let index = json(&layout.join("index.json"));
    let manifest = &index["manifests"][0];
    assert!(
        first.starts_with(manifest["digest"].as_str().unwrap()),
        "{first} {index}"
    );
    let manifest = json(&blob(&layout, manifest));
    let config = &json(&blob(&layout, &manifest["config"]))["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"][0], "/usr/bin/fleetcast-host");
    let root = home.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let unpacked = Command::new("tar")
        .arg("xzf")
        .arg(blob(&layout, &manifest["layers"][0]))
        .arg("-C")
        .arg(&root)
        .status();
    assert!(unpacked.unwrap().success());
    for there in [
        "etc/fleetcast/host.toml",
        "etc/ssl/certs/ca-certificates.crt",
        "etc/passwd",
        "var/lib/fleetcast",
    ] {
        assert!(root.join(there).exists(), "{there}");
    }
    for absent in ["bin", "usr/bin/sh", "usr/bin/bash"] {
        assert!(!root.join(absent).exists(), "{absent}");
    }
    if rustix::process::geteuid().is_root() {
        let ran = Command::new("chroot")
            .arg(&root)
            .args(["/usr/bin/fleetcast-host", "it runs"])
            .output();
        assert_eq!(ran.unwrap().stdout, b"it runs\n", "its libraries are there");
    }
    let (_, said, code) = image("/bin/echo", &layout);
    assert!(code == Some(2) && said.contains("is there already"), "{said}");
    let text = home.path().join("text");
    std::fs::write(&text, "#!/bin/sh\n").unwrap();
    let (_, said, code) = image(text.to_str().unwrap(), &home.path().join("other"));
    assert!(code == Some(2) && said.contains("is no program of Linux"), "{said}");
    assert_eq!(
        std::fs::read_dir(home.path()).unwrap().count(),
        4,
        "nothing half-written is left"
    );
}

#[test]
fn the_kubernetes_base_names_files_that_are_there_and_a_right_configuration() {
    let base = packaging().join("../deploy/kubernetes/base");
    let kustomization = std::fs::read_to_string(base.join("kustomization.yaml")).unwrap();
    let named: Vec<&str> = kustomization
        .split(|c: char| c.is_whitespace() || "[],".contains(c))
        .filter(|word| word.ends_with(".yaml") || word.ends_with(".toml"))
        .collect();
    for name in &named {
        assert!(base.join(name).exists(), "{name}");
    }
    let is_named = |name: &str| name == "kustomization.yaml" || named.contains(&name);
    for entry in std::fs::read_dir(&base).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(is_named(&name), "{name} is in nobody's list");
    }
    let ended = Command::new(env!("CARGO_BIN_EXE_peer"))
        .args(["check", "--config"])
        .arg(base.join("host.toml"))
        .env(
            "FLEETCAST_DIRECTORY",
            "/dns4/seeder/tcp/4001/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
        )
        .env("FLEETCAST_HOST_ID", "node-1")
        .output()
        .unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    // Everything that runs has an unprivileged user, a file system that it cannot write, and a probe that asks its loop.
    for workload in ["host.yaml", "seeder.yaml"] {
        let text = std::fs::read_to_string(base.join(workload)).unwrap();
        for line in [
            "runAsNonRoot: true",
            "runAsUser: 65532",
            "readOnlyRootFilesystem: true",
            "allowPrivilegeEscalation: false",
            "automountServiceAccountToken: false",
            "path: /healthz",
            "path: /readyz",
        ] {
            assert!(text.contains(line), "{workload}: {line}");
        }
    }
}
