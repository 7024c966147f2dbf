//! Every bad scenario and the message it gets: file and line, key, what was expected. And: the files that we ship load.

use std::path::{Path, PathBuf};

use scenario::{BuildSource, LoadOptions, Override, Scenario, Transport};

fn load_text(text: &str, sets: &[&str]) -> Result<Scenario, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.toml");
    std::fs::write(&path, text).unwrap();
    load(&path, sets).map_err(|error| error.replace(&folder.path().display().to_string(), "scenarios"))
}

fn load(path: &Path, sets: &[&str]) -> Result<Scenario, String> {
    let overrides = sets.iter().map(|set| set.parse::<Override>().unwrap()).collect();
    let options = LoadOptions {
        overrides,
        ..LoadOptions::default()
    };
    Scenario::load(path, &options).map_err(|error| error.to_string())
}

const GOOD: &str = "[regions.region-a]\nhosts = 3\n[build]\nsize = \"1 MiB\"\n";

#[test]
fn every_problem_of_a_file_is_told_at_once_with_its_line() {
    let text = r#"
seed = -1
[regions.region-a]
hosts = 0
zoness = 2
[regions."Bad Name"]
[build]
size = 4
id = "a b"
chunk_size = "1 B"
[network]
transport = "carrier-pigeon"
[network.host]
uplink = "5 MiB"
[swarm]
degre = 12
upload_slots = 99
[faults.some]
kind = "explode"
hosts = "200%"
regions = ["region-z"]
[faults.leavers]
kind = "leave"
hosts = 1
[thresholds]
p99 = "fast please"
[nonsense]
a = 1
"#;
    insta::assert_snapshot!(load_text(text, &[]).unwrap_err());
}

#[test]
fn files_that_are_not_there_or_not_toml_are_named() {
    let missing = load(Path::new("scenarios/none.toml"), &[]).unwrap_err();
    insta::assert_snapshot!(missing, @"scenarios/none.toml: there is no such file; expected the path of a scenario, such as scenarios/smoke.toml");
    let broken = load_text("[regions\nhosts = 1", &[]).unwrap_err();
    assert!(broken.starts_with("scenarios/x.toml:1: not valid TOML"), "{broken}");
    let empty = load_text("", &[]).unwrap_err();
    assert!(
        empty.contains("regions — missing") && empty.contains("build.size — missing"),
        "{empty}"
    );
    let extends = load_text("extends = \"none.toml\"\n", &[]).unwrap_err();
    assert!(extends.contains("x.toml:1: extends — there is no file"), "{extends}");
    let itself = load_text("extends = \"x.toml\"\n", &[]).unwrap_err();
    assert!(itself.contains("is extended by that one already"), "{itself}");
    let build = load_text("[regions.a]\nhosts = 1\n[build]\npath = \"none.zip\"\n", &[]).unwrap_err();
    assert!(
        build.contains("x.toml:4: build.path = \"none.zip\"") && build.contains("cannot be read"),
        "{build}"
    );
}

#[test]
fn overrides_win_and_their_errors_name_the_option() {
    let scenario = load_text(GOOD, &["swarm.degree=7", "build.size=2 MiB", "network.transport=tcp"]).unwrap();
    assert_eq!((scenario.swarm.degree, scenario.build_size().get()), (7, 2 << 20));
    assert_eq!(scenario.network.transport, Transport::Tcp);
    let error = load_text(GOOD, &["swarm.degre=7"]).unwrap_err();
    insta::assert_snapshot!(error, @"--set swarm.degre=7: swarm.degre is not a key of a scenario — did you mean swarm.degree?");
    let error = load_text(GOOD, &["regions.region-a.hosts=0"]).unwrap_err();
    insta::assert_snapshot!(error, @"--set regions.region-a.hosts=0: regions.region-a.hosts = 0 — expected 1 to 1000000 (hosts of the region); try 100");
    assert!("novalue".parse::<Override>().is_err() && "a..b=1".parse::<Override>().is_err());
}

#[test]
fn a_file_extends_another_by_merging_tables() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "base.toml",
        "seed = 5\n[regions.region-a]\nhosts = 3\nzones = 2\n[build]\nsize = \"1 MiB\"\n",
    );
    write(
        "x.toml",
        "extends = \"base.toml\"\n[regions.region-a]\nhosts = 4\n[regions.region-b]\nhosts = 1\n",
    );
    let scenario = load(&folder.path().join("x.toml"), &["seed=6"]).unwrap();
    assert_eq!(
        (scenario.seed, scenario.host_count(), scenario.regions[0].zones),
        (6, 5, 2)
    );
    assert_eq!(scenario.name, "x");
}

#[test]
fn the_command_line_replaces_seed_and_build() {
    let folder = tempfile::tempdir().unwrap();
    let (path, build) = (folder.path().join("x.toml"), folder.path().join("app.zip"));
    std::fs::write(&path, GOOD).unwrap();
    std::fs::write(&build, b"bytes").unwrap();
    let options = LoadOptions {
        seed: Some(9),
        build: Some(build.clone()),
        ..LoadOptions::default()
    };
    let scenario = Scenario::load(&path, &options).unwrap();
    assert_eq!(scenario.seed, 9);
    assert_eq!(scenario.build.source, BuildSource::File { path: build, bytes: 5 });
}

#[test]
fn a_scenario_survives_its_way_to_a_worker() {
    let scenario = load_text(
        GOOD,
        &[
            "faults.late.kind=join-late",
            "faults.late.hosts=5%",
            "faults.late.at=3s",
        ],
    )
    .unwrap();
    let json = serde_json::to_string(&scenario).unwrap();
    assert_eq!(serde_json::from_str::<Scenario>(&json).unwrap(), scenario);
}

#[test]
fn every_scenario_that_we_ship_loads() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios"));
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            let scenario = load(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
            assert!(
                !scenario.description.is_empty() && !scenario.thresholds.is_empty(),
                "{}",
                path.display()
            );
            count += 1;
        }
    }
    assert!(count >= 5);
}

#[test]
fn the_schema_describes_what_the_reader_takes() {
    let schema = scenario::schema();
    assert_eq!(schema["additionalProperties"], false);
    let region = &schema["properties"]["regions"]["additionalProperties"];
    assert_eq!(region["properties"]["hosts"]["maximum"], 1_000_000);
    assert_eq!(
        schema["properties"]["network"]["properties"]["host"]["properties"]["uplink"]["type"],
        "string"
    );
}
