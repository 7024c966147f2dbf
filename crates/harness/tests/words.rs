//! `harness explain WORD`: what is printed, what the documents say and what reports and scenarios have is one.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod program;

use program::{harness, scenario, text};

fn told(words: &[&str]) -> String {
    let output = harness(&[&["explain"], words].concat());
    assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn the_published_words_are_the_programs() {
    let path = format!("{}/../../docs/words.md", env!("CARGO_MANIFEST_DIR"));
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        published == told(&["--words"]),
        "docs/words.md is another; `harness explain --words > docs/words.md` makes it anew"
    );
}

#[test]
fn words_of_what_is_printed_are_explained() {
    for word in [
        "excused",
        "patience",
        "fidelity",
        "stretch",
        "bound",
        "Stretch",
        "builds sent by seeders",
        "own-link",
    ] {
        assert!(told(&[word]).len() > 60, "{word}");
    }
    assert_eq!(
        told(&["builds", "sent", "by", "seeders"]),
        told(&["builds sent by seeders"])
    );
    // What the summary says in front of its figures.
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("out").display().to_string();
    let summary = text(&harness(&["plan", &scenario("smoke.toml"), "--out", &folder]).stdout);
    for word in [
        "fan-out latency",
        "stretch",
        "lower bound",
        "makespan",
        "builds sent by seeders",
        "payload",
        "replay",
    ] {
        assert!(summary.contains(word), "{summary}");
        told(&[word]);
    }
}

#[test]
fn fields_of_reports_and_keys_of_scenarios_are_explained() {
    let field = told(&["fanout_latency_ms.p99"]);
    assert!(field.contains("report") && field.contains("milliseconds"), "{field}");
    // By the last part of it too, which a key of a scenario has as well.
    let both = told(&["hosts"]);
    assert!(both.contains("scenario") && both.contains("report"), "{both}");
    let key = told(&["swarm.chunks_in_flight"]);
    assert!(key.contains("scenario"), "{key}");
    assert!(told(&["chunks_in_flight"]).contains("swarm.chunks_in_flight"));
    assert!(told(&["regions.region-a.seeder_copies"]).contains("report"));
}

#[test]
fn a_word_that_is_none_names_those_that_are_near() {
    let output = harness(&["explain", "stretched"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("neither a folder nor a word") && said.contains("stretch"),
        "{said}"
    );
}
