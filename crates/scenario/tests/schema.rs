//! The schema and the reader agree, both ways. Aim: whoever adds a key to one and not to the other finds out here.
//!
//! Method: walk the schema to its keys, and load a scenario with each of them right and wrong.

mod rig;

use std::collections::BTreeMap;
use std::path::Path;

use rig::{GOOD, load, load_text};
use scenario::{Scenario, SwarmSettings, schema};
use serde_json::{Value, json};
use swarm::{PeerConfig, SeederConfig};

/// Every key that is not a table, with its schema. Names that the user chooses are `region-a` for a region, else `x`.
fn keys() -> Vec<(String, Value)> {
    let mut keys = Vec::new();
    walk("", &schema(), &mut keys);
    keys
}

fn walk(path: &str, schema: &Value, keys: &mut Vec<(String, Value)>) {
    // The other one leaves out what an extended file has.
    let schema = if schema["type"].is_null() && schema["anyOf"].is_array() {
        &schema["anyOf"][0]
    } else {
        schema
    };
    if schema["type"] != "object" {
        keys.push((path.to_owned(), schema.clone()));
        return;
    }
    let join = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        }
    };
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        walk(&join(name), inner, keys);
    }
    match &schema["additionalProperties"] {
        Value::Bool(open) => assert!(!open, "{path} takes any key"),
        named => walk(&join(if path == "regions" { "region-a" } else { "x" }), named, keys),
    }
}

/// `extends` is for files only.
fn settable() -> impl Iterator<Item = (String, Value)> {
    keys().into_iter().filter(|(key, _)| key != "extends")
}

/// What a fault of this kind needs.
fn fault(kind: &str) -> Vec<&'static str> {
    let mut sets = match kind {
        "corrupt" | "stall" | "trickle" | "claim" | "busy" => vec!["faults.x.hosts=1"],
        "seeder-restart" | "seeder-lost" => vec!["faults.x.at=1s"],
        _ => vec!["faults.x.hosts=1", "faults.x.at=1s"],
    };
    if ["pause", "crash", "partition", "silent-cut", "seeder-restart"].contains(&kind) {
        sets.push("faults.x.for=1s");
    }
    if kind == "slow-down" {
        sets.extend([
            "faults.x.to=10%",
            "network.host={uplink=\"1 MB/s\", downlink=\"1 MB/s\"}",
        ]);
    }
    let kinds = KINDS.iter().find(|(word, _)| *word == kind);
    sets.push(kinds.unwrap_or_else(|| panic!("no kind {kind}")).1);
    sets
}

const KINDS: [(&str, &str); 15] = [
    ("leave", "faults.x.kind=leave"),
    ("join-late", "faults.x.kind=join-late"),
    ("pause", "faults.x.kind=pause"),
    ("crash", "faults.x.kind=crash"),
    ("slow-down", "faults.x.kind=slow-down"),
    ("corrupt", "faults.x.kind=corrupt"),
    ("stall", "faults.x.kind=stall"),
    ("trickle", "faults.x.kind=trickle"),
    ("claim", "faults.x.kind=claim"),
    ("busy", "faults.x.kind=busy"),
    ("reset", "faults.x.kind=reset"),
    ("partition", "faults.x.kind=partition"),
    ("silent-cut", "faults.x.kind=silent-cut"),
    ("seeder-restart", "faults.x.kind=seeder-restart"),
    ("seeder-lost", "faults.x.kind=seeder-lost"),
];

/// What else a fault or a link needs where the key under test is one of them.
fn around(key: &str) -> Vec<&'static str> {
    let mut sets = Vec::new();
    if let Some(of_fault) = key.strip_prefix("faults.x.") {
        let kind = match of_fault {
            "for" | "store" => "crash",
            "to" | "worst" => "slow-down",
            "way" => "silent-cut",
            "from" | "connections" => "reset",
            "seeder" => "seeder-restart",
            _ => "leave",
        };
        sets.extend(fault(kind));
        if of_fault == "zone" {
            sets.extend(["regions.region-a.hosts=1000", "regions.region-a.zones=1000"]);
        }
        if of_fault == "seeder" {
            sets.push("regions.region-a.seeders=8");
        }
    }
    if ["network.host.", "network.seeder.", "network.classes."]
        .iter()
        .any(|links| key.starts_with(links))
    {
        sets.extend(["network.host.uplink=1 MB/s", "network.host.downlink=1 MB/s"]);
        sets.extend(["network.seeder.uplink=1 MB/s", "network.seeder.downlink=1 MB/s"]);
    }
    if key.starts_with("network.classes.") {
        sets.extend([
            "network.classes.x.hosts=1",
            "network.classes.x.uplink=1 MB/s",
            "network.classes.x.downlink=1 MB/s",
        ]);
    }
    if key.starts_with("network.racks.") {
        sets.extend(["network.racks.hosts=2", "network.racks.uplink=1 MB/s"]);
    }
    sets
}

#[test]
fn the_reader_looks_at_every_key_of_the_schema() {
    for (key, schema) in settable() {
        if schema["type"] == "string" && schema["pattern"].is_null() {
            // On the command line any word is a text.
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("base.toml"), GOOD).unwrap();
            let file = folder.path().join("x.toml");
            std::fs::write(&file, format!("extends = \"base.toml\"\n{key} = true\n")).unwrap();
            let error = load(&file, &[]).unwrap_err();
            assert!(error.contains(&format!("{key} = true — expected")), "{key}: {error}");
            continue;
        }
        // No key is a boolean, so a reader that accepts one has not looked.
        let error = load_text(GOOD, &[&format!("{key}=true")]).unwrap_err();
        assert!(
            error.contains(&format!("--set {key}=true: {key} = true — expected")),
            "{key}: {error}"
        );
    }
    let error = load_text("extends = true\n", &[]).unwrap_err();
    assert!(error.contains("expected the path of another scenario"), "{error}");
}

#[test]
fn a_key_that_the_schema_does_not_have_is_refused_in_every_table() {
    for (key, _) in settable().filter(|(key, _)| !key.starts_with("thresholds.")) {
        let wrong = match key.rsplit_once('.') {
            Some((table, _)) => format!("{table}.no_such_key=1"),
            None => "no_such_key=1".to_owned(),
        };
        let error = load_text(GOOD, &[&wrong]).unwrap_err();
        assert!(
            error.contains("no_such_key is not a key of a scenario"),
            "{wrong}: {error}"
        );
    }
}

#[test]
fn defaults_that_the_schema_tells_are_those_of_the_reader() {
    let plain = load_text(GOOD, &[]).unwrap();
    let mut told = 0;
    for (key, schema) in settable() {
        let Some(default) = schema.get("default") else { continue };
        let mut given = load_text(GOOD, &[&format!("{key}={default}")]).unwrap();
        let value = |of: &Scenario| of.values.iter().find(|of| of.key == *key).map(|of| of.value.clone());
        assert_eq!(value(&given), value(&plain), "{key}");
        given.values = plain.values.clone();
        assert_eq!(given, plain, "{key}");
        told += 1;
    }
    assert!(told >= 10, "{told}");
}

/// A default stands in the core; file, schema and what the two drivers are given all have it from there.
#[test]
fn defaults_of_the_swarm_are_those_of_the_core() {
    let scenario = load_text(GOOD, &[]).unwrap();
    let plan = scenario.plan(0);
    let (host, seeder) = (&plan.hosts[0], &plan.seeders[0]);
    let core = PeerConfig::with_seeders(host.id, Vec::new().into(), []);
    let given = scenario.swarm.peer_config(host, core.clone());
    assert_eq!(format!("{given:?}"), format!("{core:?}"));
    let core_seeder = SeederConfig::new(seeder.id);
    let given = scenario.swarm.seeder_config(seeder);
    assert_eq!(format!("{given:?}"), format!("{core_seeder:?}"));
    assert_eq!(
        (core.chunks_in_flight_max, core.upload_slots, core_seeder.upload_slots),
        (None, None, None),
        "what is measured has no default"
    );
    let told: BTreeMap<String, Value> = keys()
        .into_iter()
        .filter(|(key, _)| key.starts_with("swarm."))
        .filter_map(|(key, schema)| Some((key, schema.get("default")?.clone())))
        .collect();
    let expected = [
        ("swarm.degree", json!(core.degree)),
        ("swarm.have_interval", json!(format!("{:?}", core.have_interval))),
        ("swarm.locality", json!("zones")),
        ("swarm.patience", json!(format!("{:?}", core.patience_min))),
        ("swarm.policy", json!("latest-useful")),
        ("swarm.seeder_clients", json!(core_seeder.clients)),
    ];
    assert_eq!(told, expected.map(|(key, value)| (key.to_owned(), value)).into());
}

/// Worker processes get the scenario as JSON.
#[test]
fn every_policy_goes_to_a_worker_and_comes_back() {
    let (_, schema) = keys().into_iter().find(|(key, _)| key == "swarm.policy").unwrap();
    let words = schema["oneOf"].as_array().unwrap();
    assert!(words.len() >= 4);
    for word in words.iter().map(|one| &one["const"]) {
        let settings = load_text(GOOD, &[&format!("swarm.policy={word}")]).unwrap().swarm;
        let sent = serde_json::to_value(&settings).unwrap();
        assert_eq!(sent["policy"], *word);
        assert_eq!(serde_json::from_value::<SwarmSettings>(sent).unwrap(), settings);
    }
    let wrong = json!({"policy": "dearest-first"});
    assert!(
        serde_json::from_value::<SwarmSettings>(wrong)
            .unwrap_err()
            .to_string()
            .contains("latest-useful")
    );
}

#[test]
fn every_word_of_a_choice_says_what_it_means() {
    let mut choices = 0;
    for (key, schema) in keys() {
        let words = schema["oneOf"].as_array().into_iter().flatten();
        let words: Vec<_> = words.filter(|one| one.get("const").is_some()).collect();
        for word in &words {
            let meaning = word["description"].as_str();
            assert!(meaning.is_some_and(|text| text.ends_with('.')), "{key}: {word}");
        }
        choices += usize::from(!words.is_empty());
    }
    assert_eq!(choices, 8);
}

#[test]
fn numbers_are_taken_to_their_limits_and_not_beyond() {
    let mut limited = 0;
    for (key, schema) in settable() {
        let (Some(min), Some(max)) = (schema["minimum"].as_i64(), schema["maximum"].as_i64()) else {
            continue;
        };
        for (value, good) in [(min, true), (max, true), (min - 1, false), (max + 1, false)] {
            let own = format!("{key}={value}");
            let mut sets = around(&key);
            sets.push(&own);
            let loaded = load_text(GOOD, &sets);
            assert_eq!(loaded.is_ok(), good, "{key}={value}: {loaded:?}");
        }
        limited += 1;
    }
    assert!(limited >= 7, "{limited}");
}

#[test]
fn every_word_and_example_of_the_schema_is_taken() {
    for (key, schema) in settable() {
        let words = schema["oneOf"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one.get("const"));
        let examples = schema["examples"].as_array().into_iter().flatten();
        for value in words.chain(examples) {
            let own = format!("{key}={value}");
            let mut sets = match value.as_str() {
                Some(kind) if key == "faults.x.kind" => fault(kind),
                _ => around(&key),
            };
            sets.push(&own);
            load_text(GOOD, &sets).unwrap_or_else(|error| panic!("{own}: {error}"));
        }
    }
}

#[test]
fn every_key_says_what_it_is() {
    for (key, schema) in keys() {
        assert!(
            schema["description"].as_str().is_some_and(|text| text.ends_with('.')),
            "{key}"
        );
    }
}

#[test]
fn every_scenario_that_we_ship_loads() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios"));
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
