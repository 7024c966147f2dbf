//! What a user can get wrong, and what each is told: where it is, what was expected, what to do. Aim: each has an exit code that scripts can tell apart and
//! a sentence that needs no source to be understood. `INSTA_UPDATE=always cargo test -p harness --test bad_inputs`, then read the difference.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

/// Folders and files that the inputs name, as they are below the folder in which they are typed.
fn files(folder: &Path) {
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    std::fs::create_dir(folder.join("folder")).unwrap();
    std::fs::create_dir(folder.join("full")).unwrap();
    write("full/precious.txt", b"data");
    write("empty.toml", b"");
    write("picture.toml", b"\x89PNG\xff\xfe\x00");
    write("syntax.toml", b"seed = 1\n[regions\nhosts = 1\n");
    write("not-json.json", b"fleetcast");
    write(
        "good.toml",
        b"[regions.region-a]\nhosts = 5\n[build]\nsize = \"256 KiB\"\n",
    );
    write(
        "typos.toml",
        b"[regions.region-a]\nhosts = 0\n[build]\nsize = 4\n[network.host]\nuplnk = \"100 Mbps\"\ndownlink = \"1 Gbit/s\"\n\
          [faults.x]\nkind = \"explode\"\nhosts = \"200%\"\n",
    );
    write("child.toml", b"extends = \"no-base.toml\"\n");
    write(
        "late.toml",
        b"deadline = \"30s\"\n[regions.region-a]\nhosts = 5\n[build]\nsize = \"256 KiB\"\n[faults.late]\nkind = \"join-late\"\n\
          hosts = 2\nat = \"120s\"\n",
    );
    write(
        "threshold.toml",
        b"[regions.region-a]\nhosts = 5\n[build]\nsize = \"256 KiB\"\n[thresholds]\nin-time = \"fanout_latency.p99 <= 60s\"\n",
    );
    write(
        "zones.toml",
        b"[regions.region-a]\nhosts = 6\nzones = 2\n[build]\nsize = \"256 KiB\"\n[network.zones]\nlatency = \"2ms\"\n",
    );
    write("key", b"secret\n");
}

/// What is typed, and the exit code that it has to end with.
const INPUTS: [(u8, &[&str]); 55] = [
    // What there is to run.
    (2, &["frobnicate"]),
    (2, &["run"]),
    (2, &["run", "good.toml", "--frob"]),
    (2, &["run", "nothere.toml"]),
    (2, &["run", "folder"]),
    (2, &["scenarios", "nope"]),
    // Files of scenarios.
    (2, &["check", "empty.toml"]),
    (2, &["check", "picture.toml"]),
    (2, &["check", "syntax.toml"]),
    (2, &["check", "typos.toml"]),
    (2, &["check", "child.toml"]),
    (2, &["check", "late.toml"]),
    (2, &["check", "threshold.toml"]),
    (2, &["run", "zones.toml"]),
    // Values on the command line.
    (2, &["plan", "good.toml", "--set", "deadline"]),
    (2, &["plan", "good.toml", "--set", "swarm.degre=4"]),
    (2, &["plan", "good.toml", "--set", "swarm.degree=many"]),
    (2, &["plan", "good.toml", "--set", "network.host.uplink=5"]),
    (2, &["plan", "good.toml", "--set", "thresholds.x=stretch.p99 =< 3"]),
    (2, &["plan", "good.toml", "--seed", "-1"]),
    (2, &["plan", "good.toml", "--seeds", "5..1"]),
    (2, &["plan", "good.toml", "--threads", "none"]),
    (2, &["plan", "good.toml", "--seeds", "1..3", "--junit", "j.xml"]),
    (2, &["run", "good.toml", "--repeat", "1"]),
    (2, &["run", "good.toml", "--build", "nothere.zip"]),
    (2, &["run", "good.toml", "--otlp", "collector:4317"]),
    (2, &["run", "good.toml", "--workers", "3"]),
    (4, &["run", "good.toml", "--out", "full"]),
    (4, &["plan", "good.toml", "--out", "/dev/null/x"]),
    // Grids and searches.
    (2, &["sweep", "good.toml", "--vary", "swarm.degree"]),
    (2, &["sweep", "good.toml", "--vary", "swarm.degre=1,2"]),
    (
        2,
        &[
            "sweep",
            "good.toml",
            "--vary",
            "swarm.degree=2,3",
            "--metric",
            "foo.bar",
        ],
    ),
    (
        2,
        &[
            "sweep",
            "good.toml",
            "--vary",
            "swarm.degree=2,3",
            "--set",
            "swarm.degree=4",
        ],
    ),
    (2, &["solve", "good.toml", "swarm.degree"]),
    (2, &["solve", "good.toml", "swarm.degre=2..4"]),
    (2, &["solve", "threshold.toml", "swarm.degree=2..4"]),
    (2, &["torture", "--seeds", "9..3"]),
    // What was run before.
    (2, &["compare", "nothere", "folder"]),
    (2, &["compare", "not-json.json", "not-json.json"]),
    (2, &["explain", "excusd"]),
    (2, &["explain", "folder"]),
    (2, &["runs", "show", "nope"]),
    (2, &["baseline", "rm", "nope"]),
    (2, &["count", "--build-id", "x", "--run", "folder"]),
    // A scenario of one's own, and what it costs.
    (2, &["init", "--hosts", "0"]),
    (2, &["init", "--size", "5"]),
    (2, &["cost", "--hosts", "x"]),
    (2, &["render", "nomad", "good.toml", "--workers", "2"]),
    // Endpoints, credentials and keys.
    (
        2,
        &["watch", "good.toml", "--build-id", "x", "--endpoint-url", "notaurl"],
    ),
    (
        4,
        &[
            "watch",
            "good.toml",
            "--build-id",
            "x",
            "--endpoint-url",
            "http://127.0.0.1:CLOSED",
        ],
    ),
    (2, &["upload", "nothere.zip"]),
    (2, &["verify", "key", "--trust", "nothere.pub", "--signature", "x"]),
    (2, &["verify", "key", "--trust", "key", "--signature", "x"]),
    (4, &["keygen", "/dev/null/key"]),
    (2, &["sign", "key", "--key", "nothere.key"]),
];

#[test]
fn each_bad_input_has_its_exit_code_place_expectation_and_next_step() {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
        .to_string();
    let (mut told, mut wrong) = (String::new(), Vec::new());
    for (code, words) in INPUTS {
        let typed: Vec<String> = words.iter().map(|word| word.replace("CLOSED", &closed)).collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_") || name.starts_with("OTEL_")) {
            command.env_remove(name);
        }
        let output = command
            .args(&typed)
            .env("HOME", folder.path())
            .current_dir(folder.path())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let stderr = stderr.replace(&folder.path().canonicalize().unwrap().display().to_string(), "HERE");
        let stderr = stderr
            .replace(&folder.path().display().to_string(), "HERE")
            .replace(&closed, "CLOSED");
        let input = words.join(" ");
        // Whoever reads it knows what to do.
        let is_told = ["expected", "did you mean", "set AWS_", "--help", "is it "]
            .iter()
            .any(|word| stderr.contains(word));
        let is_ours = !stderr.contains("panicked") && !stderr.contains("Error {");
        if output.status.code() != Some(code.into()) || !output.stdout.is_empty() || !is_told || !is_ours {
            wrong.push(format!("{input}: {:?} {stderr}", output.status.code()));
        }
        let _ = writeln!(told, "$ harness {input}\n{}\n{code}\n", stderr.trim_end());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    insta::assert_snapshot!(told);
}
