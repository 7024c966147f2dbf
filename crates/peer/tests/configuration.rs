//! The agent's configuration as an operator meets it: one file, flags and variables above it, and mistakes told where they are.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod region;

use std::path::Path;
use std::process::Command;

use region::{Host, Region, Seeder, data};

/// What `peer check` prints and says, and its exit code.
fn check(flags: &[&str], environment: &[(&str, &str)]) -> (String, String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peer"));
    command.arg("check").args(flags).envs(environment.iter().copied());
    let ended = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(ended.stdout), text(ended.stderr), ended.status.code())
}

fn write(folder: &Path, text: &str) -> String {
    let file = folder.join("host.toml");
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

const DIRECTORY: &str = "/ip4/10.0.0.1/tcp/4001/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

/// The line of a key, its spaces made one.
fn line(printed: &str, key: &str) -> String {
    let is_of_key = |line: &&str| line.starts_with(&format!("{key} =")) || line.starts_with(&format!("# {key} is"));
    let line = printed
        .lines()
        .find(is_of_key)
        .unwrap_or_else(|| panic!("{key}: {printed}"));
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn check_says_what_holds_and_who_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("directory = \"{DIRECTORY}\"\nfolder = \"/srv/builds\"\nkeep = 5\ntimeout = 60\nquiet = true\n");
    let file = write(folder.path(), &text);
    let flags = ["--config", &file, "--timeout", "70"];
    let (printed, said, code) = check(
        &flags,
        &[
            ("FLEETCAST_KEEP", "4"),
            ("FLEETCAST_LISTEN", "/ip4/0.0.0.0/tcp/1,/ip6/::/tcp/1"),
        ],
    );
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert_eq!(
        line(&printed, "directory"),
        format!("directory = \"{DIRECTORY}\" # {file}:1")
    );
    assert_eq!(line(&printed, "keep"), "keep = 4 # FLEETCAST_KEEP");
    assert_eq!(line(&printed, "timeout"), "timeout = 70 # flag");
    assert_eq!(line(&printed, "quiet"), format!("quiet = true # {file}:5"));
    assert_eq!(line(&printed, "serve-idle"), "serve-idle = 30 # default");
    assert_eq!(line(&printed, "zone"), "# zone is not said");
    assert_eq!(
        line(&printed, "listen"),
        "listen = [\"/ip4/0.0.0.0/tcp/1\", \"/ip6/::/tcp/1\"] # FLEETCAST_LISTEN"
    );
    // What it prints is a configuration file that says the same.
    let again = write(folder.path(), &printed);
    let (same, said, code) = check(&["--config", &again], &[]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let values = |printed: &str| -> Vec<String> {
        let lines = printed.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.split('#').next().unwrap().trim().to_owned())
            .collect()
    };
    assert_eq!(values(&same), values(&printed));
}

#[test]
fn what_is_wrong_is_told_with_file_line_key_and_what_was_expected() {
    let folder = tempfile::tempdir().unwrap();
    for (text, expected) in [
        (
            "kep = 3",
            "host.toml:1: kep is not a key of this file — did you mean keep?",
        ),
        (
            "timeout = \"1h\"",
            "host.toml:1: timeout = \"1h\" — expected 1 to 31622400 (seconds)",
        ),
        (
            "directory = \"10.0.0.1\"",
            "host.toml:1: directory = \"10.0.0.1\" — expected an address in quotes with its peer id",
        ),
        (
            "keep = 3",
            "host.toml:1: keep — expected directory with it, which is missing",
        ),
        (
            "mode = \"0999\"",
            "host.toml:1: mode = \"0999\" — expected permission bits in octal",
        ),
        ("keep = ", "host.toml:1: not valid TOML at column"),
    ] {
        let file = write(folder.path(), text);
        for ended in [
            check(&["--config", &file], &[]),
            check(&[], &[("FLEETCAST_CONFIG", &file)]),
        ] {
            let (printed, said, code) = ended;
            assert_eq!((code, printed.as_str()), (Some(2), ""), "{text}");
            assert!(said.contains(expected), "{text}: {said}");
        }
    }
    // As the agent itself says it.
    let file = write(folder.path(), "kep = 3");
    let ended = Command::new(env!("CARGO_BIN_EXE_peer"))
        .args(["--config", &file])
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(2));
    assert!(String::from_utf8(ended.stderr).unwrap().contains("did you mean keep?"));
    // Files that it would have to read.
    let text = format!("directory = \"{DIRECTORY}\"\nfolder = \"f\"\ntrust = \"/nowhere/keys\"\n");
    let file = write(folder.path(), &text);
    let (_, said, code) = check(&["--config", &file], &[]);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("host.toml:3: trust = \"/nowhere/keys\" — it cannot be read"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_enough_and_flags_of_one_build_need_none_of_it() {
    let region = Region::start().await;
    let seeder = Seeder::start("app.zip", "v1", &data(1, 300_000)).await;
    region.publish(&[&seeder]);
    let text = format!(
        "directory = \"{}\"\nfolder = {:?}\nkeep = 1\nlog-format = \"json\"\n",
        region.address(),
        region.builds()
    );
    let file = write(region.home.path(), &text);
    let mut host = Host::start(&["--config", &file]);
    host.prints(&["app.zip"]).await;
    host.stops().await;
    // Every line is an object, those for people too.
    let said = host.said();
    let lines: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let in_place = lines
        .iter()
        .find(|line| line["message"].as_str().unwrap().contains("in place"));
    assert_eq!(in_place.unwrap_or_else(|| panic!("{said}"))["level"], "INFO");
    let only = Seeder::only("one.zip", &data(2, 300_000), 1 << 30).await;
    let out = region.home.path().join("one.zip");
    let mut host = Host::single(&[&only], &out, &["--config", &file]);
    assert_eq!(host.ends().await.0, Some(0), "{}", host.said());
    assert!(std::fs::read(&out).unwrap() == data(2, 300_000));
}
