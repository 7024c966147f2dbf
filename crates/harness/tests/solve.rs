//! `harness solve`: the least value that meets the thresholds, over seeds, and what is said where there is none.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::process::Command;

use serde_json::Value;

const TEXT: &str = "[regions.region-a]\nhosts = 20\n[build]\nsize = \"4 MiB\"\nchunk_size = \"128 KiB\"\n\
                    [network]\nlatency = \"1ms\"\n[network.host]\nuplink = \"4 MB/s\"\ndownlink = \"8 MB/s\"\n\
                    [network.seeder]\nuplink = \"4 MB/s\"\ndownlink = \"4 MB/s\"\n\
                    [thresholds]\nsoon = \"fanout_latency_ms.max <= 4000\"\n";

fn solved(more: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.toml");
    std::fs::write(&file, TEXT).unwrap();
    let mut harness = Command::new(env!("CARGO_BIN_EXE_harness"));
    let output = harness.arg("solve").arg(file).args(more).output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    (output.status.code(), stdout, stderr)
}

#[test]
fn the_least_value_that_meets_the_thresholds_is_found_by_halving() {
    let (code, told, stderr) = solved(&["network.seeder.uplink=100..8000 kB/s", "--format", "json"]);
    assert_eq!(code, Some(0), "{stderr}");
    let told: Value = serde_json::from_str(&told).unwrap();
    let tried = told["tried"].as_array().unwrap();
    // 4 MiB in 4 s are about 1 MB/s, and some more until the last chunk has been passed on.
    let answer: f64 = told["answer"]
        .as_str()
        .unwrap()
        .trim_end_matches(" kB/s")
        .parse()
        .unwrap();
    assert!((1_050.0..1_500.0).contains(&answer), "{told:#}");
    let met: Vec<bool> = tried.iter().map(|of| of["met"].as_bool().unwrap()).collect();
    assert!(met.is_sorted() && met.contains(&false) && tried.len() < 14, "{told:#}");
    assert_eq!(
        tried.iter().find(|of| of["met"] == true).unwrap()["value"],
        told["answer"]
    );
}

#[test]
fn what_cannot_be_met_or_is_not_asked_well_is_said() {
    let (code, told, _) = solved(&["network.seeder.uplink=100..200 kB/s"]);
    assert!(
        code == Some(1) && told.contains("no value of network.seeder.uplink"),
        "{told}"
    );
    assert!(told.contains("MISSED soon (3)"), "{told}");
    let (code, told, _) = solved(&["network.latency=1..200 ms", "--greatest", "--seeds", "1..3"]);
    assert!(
        code == Some(0) && told.contains("is the greatest that meets the thresholds"),
        "{told}"
    );
    for (more, expected) in [
        (vec!["swarm.degre=2..4"], "swarm.degre"),
        (vec!["swarm.degree=4..2"], "FROM below TO"),
        (vec!["swarm.degree=2..4", "--set", "swarm.degree=3"], "about one key"),
    ] {
        let (code, _, stderr) = solved(&more);
        assert!(code == Some(2) && stderr.contains(expected), "{more:?}: {stderr}");
    }
}
