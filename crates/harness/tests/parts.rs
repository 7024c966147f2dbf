//! A sweep in parts, as an array of jobs makes it, and what `check` says of a run over several machines.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod program;

use std::path::{Path, PathBuf};
use std::process::Output;

use program::{harness, scenario, text};
use serde_json::Value;

const GRID: [&str; 6] = [
    "--vary",
    "swarm.degree=4,6,8",
    "--vary",
    "seed=1,2",
    "--set",
    "thresholds.soon=stretch.max < 3",
];
const SMALL: [&str; 4] = [
    "--set",
    "regions.region-a.hosts=30",
    "--set",
    "regions.region-b.hosts=20",
];

fn sweep(file: &str, more: &[&str]) -> Output {
    let mut arguments = vec!["sweep", file];
    arguments.extend(GRID);
    arguments.extend(SMALL);
    arguments.extend(more);
    harness(&arguments)
}

fn part(file: &str, part: &str, folder: &Path) {
    let output = sweep(file, &["--cell", part, "--out", &folder.display().to_string()]);
    assert_eq!(output.status.code(), Some(0), "{part}: {}", text(&output.stderr));
}

fn collect(folder: &Path) -> Output {
    harness(&["sweep", "--collect", &folder.display().to_string(), "--format", "json"])
}

#[test]
fn a_sweep_in_parts_is_the_sweep_byte_for_byte_and_missing_cells_are_named_with_their_command() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let file = scenario("smoke.toml");
    let output = sweep(&file, &["--out", &whole.display().to_string(), "--format", "json"]);
    let code = output.status.code();
    assert!(code == Some(0) || code == Some(1), "{}", text(&output.stderr));
    part(&file, "0/4", &parts);
    part(&file, "3/4", &parts);
    // Twice is as good as once: engines try again.
    part(&file, "3/4", &parts);
    let missing = collect(&parts);
    let said = text(&missing.stderr);
    assert_eq!(missing.status.code(), Some(4), "{said}");
    // Of six cells 0 and 4, and 3, are there.
    assert!(said.contains("3 of 6 cells are missing; make them with\n"), "{said}");
    let commands: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("  harness sweep "))
        .collect();
    assert_eq!(commands.len(), 2, "{said}");
    assert!(!parts.join("sweep.json").exists());
    for command in commands {
        let program = env!("CARGO_BIN_EXE_harness");
        let line = command.trim().replacen("harness", program, 1);
        let made = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
        assert!(made.status.success(), "{line}: {}", text(&made.stderr));
    }
    let collected = collect(&parts);
    assert_eq!(collected.status.code(), code, "{}", text(&collected.stderr));
    let read = |folder: &Path| std::fs::read(folder.join("sweep.json")).unwrap();
    assert_eq!(text(&read(&parts)), text(&read(&whole)));
    assert_eq!(text(&collected.stdout), text(&output.stdout));
}

#[test]
fn cells_of_two_sweeps_are_not_put_together_and_what_is_no_cell_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = scenario("smoke.toml");
    let nothing = collect(folder.path());
    assert_eq!(nothing.status.code(), Some(4));
    assert!(
        text(&nothing.stderr).contains("has no cells"),
        "{}",
        text(&nothing.stderr)
    );
    part(&file, "0/6", folder.path());
    let out = folder.path().display().to_string();
    let other = sweep(
        &file,
        &["--set", "swarm.seeder_slots=3", "--cell", "1/6", "--out", &out],
    );
    if other.status.code() == Some(0) {
        let said = text(&collect(folder.path()).stderr);
        assert!(said.contains("cell-000001.json is of another sweep than "), "{said}");
    }
    std::fs::write(folder.path().join("cell-000001.json"), "{}").unwrap();
    let said = text(&collect(folder.path()).stderr);
    assert!(
        said.contains("cell-000001.json is no cell of a sweep: missing field"),
        "{said}"
    );
    for wrong in ["1", "4/4", "-1/4", "a/b", "0/0"] {
        let cell = format!("--cell={wrong}");
        let refused = sweep(&file, &[&cell, "--out", &out]);
        assert_eq!(refused.status.code(), Some(2), "{wrong}");
        assert!(
            text(&refused.stderr).contains("expected K/N"),
            "{wrong}: {}",
            text(&refused.stderr)
        );
    }
    assert_eq!(sweep(&file, &["--cell", "0/4"]).status.code(), Some(2));
    assert_eq!(
        harness(&["sweep", "--collect", &out, "--seed", "1"]).status.code(),
        Some(2)
    );
    assert_eq!(harness(&["sweep"]).status.code(), Some(2));
}

/// What `check` says of 20,000 hosts over so many nodes.
fn check(workers: &str, more: &[&str]) -> (Option<i32>, Value) {
    let file: PathBuf = scenario("smoke.toml").into();
    let file = file.display().to_string();
    let mut arguments = vec!["check", &file, "--format", "json", "--workers", workers];
    arguments.extend([
        "--set",
        "network.transport=tcp",
        "--set",
        "regions.region-a.hosts=19000",
    ]);
    arguments.extend(["--set", "regions.region-b.hosts=1000"]);
    let files = more.contains(&"--node-files");
    arguments.extend(["--node-memory", "4GiB"]);
    arguments.extend(["--node-files", "100000"].into_iter().filter(|_| !files));
    arguments.extend(more);
    let output = harness(&arguments);
    let said = serde_json::from_slice(&output.stdout);
    (
        output.status.code(),
        said.unwrap_or_else(|_| panic!("{}", text(&output.stderr))),
    )
}

#[test]
fn what_each_node_of_a_run_takes_is_said_and_refused_where_it_does_not_fit() {
    let (code, few) = check("2", &[]);
    let refusals = few["spread"]["does_not_fit"].as_array().unwrap();
    assert_eq!((code, refusals.len()), (Some(1), 2), "{few:#}");
    assert!(
        refusals[0]
            .as_str()
            .unwrap()
            .contains("of memory and a node has 4 GiB; expected --workers ")
    );
    assert!(
        refusals[1]
            .as_str()
            .unwrap()
            .contains("open files and 100000 are allowed; expected --workers ")
    );
    // What is advised is taken when it is followed.
    let advised = |refusal: &Value| {
        let words: Vec<&str> = refusal.as_str().unwrap().split(' ').collect();
        let at = words.iter().position(|word| *word == "--workers").unwrap();
        words[at + 1].trim_end_matches(',').parse::<u32>().unwrap()
    };
    let workers = refusals.iter().map(advised).max().unwrap().to_string();
    let (code, enough) = check(&workers, &[]);
    assert_eq!(
        (code, &enough["spread"]["does_not_fit"]),
        (Some(0), &serde_json::json!([])),
        "{enough:#}"
    );
    let hosts = enough["spread"]["hosts_of_worker"].as_u64().unwrap();
    assert!(hosts * workers.parse::<u64>().unwrap() >= 20_000, "{enough:#}");
    let (code, no_sockets) = check(&workers, &["--set", "network.transport=in-process"]);
    let refusal = no_sockets["spread"]["does_not_fit"][0].as_str().unwrap().to_owned();
    assert!(code == Some(1) && refusal.contains("need sockets"), "{no_sockets:#}");
    let (code, few_files) = check("100", &["--node-files", "5000"]);
    let refusals = few_files["spread"]["does_not_fit"].to_string();
    assert!(code == Some(1) && refusals.contains("the run takes"), "{refusals}");
}
