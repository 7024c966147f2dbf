//! What is legal and hardly meant is told, and what is usual is not.

mod rig;

use std::path::Path;

use rig::{GOOD, load, load_text};

const FLEET: &str = "[regions.region-a]\nhosts = 100\n[build]\nsize = \"1 MiB\"\n[network.host]\nuplink = \"2 Mbit/s\"\n\
                     downlink = \"4 Mbit/s\"\n";

#[test]
fn each_setting_that_is_hardly_meant_has_its_warning() {
    for (sets, told) in [
        (&["swarm.degree=1"][..], "swarm.degree = 1 is few neighbours"),
        (&["swarm.degree=2"], "swarm.degree = 2 is few neighbours"),
        (&["swarm.seeder_clients=1"], "swarm.seeder_clients = 1 is few"),
        (&["build.chunk_size=16 B"], "65536 chunks that cost more in messages"),
        (
            &["network.latency=1s", "swarm.chunks_in_flight=3"],
            "links wait for requests",
        ),
        (
            &["swarm.degree=4", "swarm.degree=5"],
            "--set swarm.degree=4 does not hold, since --set swarm.degree=5",
        ),
        (
            &["swarm={degree=4}", "swarm.degree=5"],
            "--set swarm={degree=4} does not hold",
        ),
        (
            &["build.size=2MiB", "build.size=3MiB"],
            "--set build.size=2MiB does not hold",
        ),
    ] {
        let warnings = load_text(FLEET, sets).unwrap().warnings();
        assert!(
            warnings.iter().any(|warning| warning.contains(told)),
            "{sets:?}: {warnings:?}"
        );
    }
}

#[test]
fn what_is_usual_has_none() {
    assert_eq!(load_text(GOOD, &[]).unwrap().warnings(), Vec::<String>::new());
    for sets in [
        &[][..],
        &["swarm.degree=3"],
        &["swarm.seeder_clients=8"],
        &["swarm.degree=4", "swarm.seeder_clients=9"],
        // Everybody is everybody's neighbour, and client.
        &["regions.region-a.hosts=2", "swarm.degree=1", "swarm.seeder_clients=2"],
        &["build.size=64 B", "build.chunk_size=16 B"],
    ] {
        assert_eq!(
            load_text(FLEET, sets).unwrap().warnings(),
            Vec::<String>::new(),
            "{sets:?}"
        );
    }
}

#[test]
fn an_option_that_overrules_another_is_told() {
    use scenario::{LoadOptions, Scenario};
    let folder = tempfile::tempdir().unwrap();
    let (path, build) = (folder.path().join("x.toml"), folder.path().join("app.zip"));
    std::fs::write(&path, FLEET).unwrap();
    std::fs::write(&build, "bytes").unwrap();
    let options = LoadOptions {
        overrides: vec!["seed=3".parse().unwrap(), "build.size=3 MiB".parse().unwrap()],
        seed: Some(9),
        build: Some(build),
    };
    let warnings = Scenario::load(&path, &options).unwrap().warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].contains("--set seed=3 does not hold, since --seed 9"),
        "{warnings:?}"
    );
    assert!(
        warnings[1].contains("--set build.size=3 MiB does not hold, since --build "),
        "{warnings:?}"
    );
}

#[test]
fn no_scenario_that_we_ship_has_one() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios"));
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            let warnings = load(&path, &[]).unwrap().warnings();
            assert_eq!(warnings, Vec::<String>::new(), "{}", path.display());
        }
    }
}
