//! Who may depend on whom. The graph in ARCHITECTURE.md is this one.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// Our crates and what of ours each may depend on.
const ALLOWED: [(&str, &[&str]); 14] = [
    ("swarm", &[]),
    ("program", &[]),
    ("cloud", &["program"]),
    ("settings", &[]),
    ("scenario", &["settings", "swarm"]),
    ("explain", &["scenario", "swarm"]),
    ("signing", &["swarm"]),
    ("peer", &["swarm", "cloud", "program", "settings", "signing"]),
    ("pipeline", &["cloud", "program"]),
    (
        "seeder",
        &["peer", "pipeline", "cloud", "program", "settings", "signing", "swarm"],
    ),
    ("simulator", &["explain", "scenario", "swarm"]),
    ("lambdas", &["pipeline", "cloud", "program", "signing"]),
    ("torture", &["swarm"]),
    (
        "harness",
        &[
            "explain",
            "simulator",
            "seeder",
            "peer",
            "pipeline",
            "cloud",
            "program",
            "scenario",
            "signing",
            "swarm",
            "torture",
        ],
    ),
];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"))
        .exec()
        .unwrap()
}

fn normal_dependencies(metadata: &Metadata) -> BTreeMap<String, BTreeSet<String>> {
    let normal = |package: &cargo_metadata::Package| {
        let kinds = package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal);
        kinds.map(|d| d.name.clone()).collect()
    };
    metadata
        .workspace_packages()
        .iter()
        .map(|package| (package.name.to_string(), normal(package)))
        .collect()
}

#[test]
fn our_crates_depend_on_each_other_only_in_the_allowed_direction() {
    let metadata = metadata();
    let dependencies = normal_dependencies(&metadata);
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    for (name, of_it) in &dependencies {
        if name == "fleetcast-benches" || name == "fleetcast-fuzz" {
            continue;
        }
        let allowed = allowed
            .get(name.as_str())
            .unwrap_or_else(|| panic!("{name} is not in the picture"));
        for other in of_it.iter().filter(|other| dependencies.contains_key(*other)) {
            assert!(allowed.contains(&other.as_str()), "{name} depends on {other}");
        }
    }
}

#[test]
fn only_cloud_and_pipeline_name_aws_and_only_peer_names_libp2p() {
    for (name, of_it) in normal_dependencies(&metadata()) {
        for other in of_it {
            let is_aws = other.starts_with("aws-") || other.starts_with("s3s") || other.starts_with("dynoxide");
            assert!(
                !is_aws || name == "cloud" || name == "pipeline",
                "{name} depends on {other}"
            );
            assert!(
                !other.starts_with("libp2p") || name == "peer",
                "{name} depends on {other}"
            );
        }
    }
}

#[test]
fn the_core_has_no_runtime_no_network_and_no_clock_in_its_tree() {
    let metadata = metadata();
    let resolve = metadata.resolve.as_ref().unwrap();
    let names: BTreeMap<_, _> = metadata.packages.iter().map(|p| (&p.id, p.name.to_string())).collect();
    let swarm = metadata.packages.iter().find(|p| p.name.as_str() == "swarm").unwrap();
    let mut waiting = vec![&swarm.id];
    let mut seen = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !seen.insert(names[id].clone()) {
            continue;
        }
        let node = resolve.nodes.iter().find(|node| node.id == *id).unwrap();
        for dependency in &node.deps {
            if dependency
                .dep_kinds
                .iter()
                .any(|kind| kind.kind == DependencyKind::Normal)
            {
                waiting.push(&dependency.pkg);
            }
        }
    }
    for forbidden in ["tokio", "mio", "libp2p", "socket2", "aws-config"] {
        assert!(!seen.contains(forbidden), "swarm has {forbidden} in its tree: {seen:?}");
    }
}

/// Crates that `cargo build -p harness` compiles: a newcomer waits for each of them before the first run.
fn crates_of_the_main_job() -> BTreeSet<String> {
    let listed = Command::new(env!("CARGO"))
        .args(["tree", "-p", "harness", "--edges", "normal,build", "--prefix", "none"])
        .args(["--locked", "--offline"])
        .args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"),
        ])
        .output()
        .unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let version_of = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    String::from_utf8(listed.stdout)
        .unwrap()
        .lines()
        .map(version_of)
        .collect()
}

#[test]
fn the_main_job_compiles_no_more_crates_than_it_did() {
    let crates = crates_of_the_main_job();
    assert!(
        crates.len() <= MAIN_JOB_CRATES_MAX,
        "the main job compiles {} crates; a cold build is to stay within four minutes on two cores, so look at what came \
         with the new ones (`cargo tree -p harness`) before you raise MAIN_JOB_CRATES_MAX",
        crates.len()
    );
    for client in ["sfn", "sqs", "sns", "lambda", "apigateway", "codepipeline"] {
        let name = format!("aws-sdk-{client} ");
        assert!(
            !crates.iter().any(|of_it| of_it.starts_with(&name)),
            "the main job compiles {name}, which only the commands of the pipeline call"
        );
    }
}

/// What it compiled when the build was last made shorter, `torture`, which brings nothing else, and `futures-rustls`, a thousand lines around the
/// rustls that S3 has needed all along; and `signing`, `explain`, `settings` and `program`, which bring nothing else either.
const MAIN_JOB_CRATES_MAX: usize = 351;
