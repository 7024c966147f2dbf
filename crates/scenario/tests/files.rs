//! Files as people have them: names with blanks and letters of other languages, links, what an extended file has and this one
//! does not want, and words that a shell has taken the quotes from.

mod rig;

use rig::{GOOD, load, load_text};
use scenario::{KeyValue, Origin};

#[test]
fn a_file_may_have_any_name() {
    let folder = tempfile::tempdir().unwrap();
    for (name, id) in [
        ("my fleet.toml", "build-my-fleet.zip"),
        ("flotte-zürich.toml", "build-flotte-z-rich.zip"),
        ("舰队.toml", "build-scenario.zip"),
        ("fleet (1).toml", "build-fleet-1.zip"),
        ("fleet+eu@2.toml", "build-fleet-eu-2.zip"),
        ("x.toml", "build-x.zip"),
        ("a_b.c-d.toml", "build-a_b.c-d.zip"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, GOOD).unwrap();
        assert_eq!(
            load(&path, &[]).map(|scenario| scenario.build.id),
            Ok(id.to_owned()),
            "{name}"
        );
    }
    // What somebody wrote is refused as ever.
    assert!(load_text(GOOD, &["build.id=a b"]).unwrap_err().contains("build.id"));
}

#[test]
fn what_a_linked_file_extends_is_beside_the_link_or_beside_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["shared", "links"] {
        std::fs::create_dir(at(name)).unwrap();
    }
    std::fs::write(at("shared/base.toml"), GOOD).unwrap();
    std::fs::write(at("shared/child.toml"), "extends = \"base.toml\"\nseed = 5\n").unwrap();
    std::os::unix::fs::symlink("../shared/child.toml", at("links/child.toml")).unwrap();
    assert_eq!(load(&at("links/child.toml"), &[]).unwrap().seed, 5);
    // What is beside the link is meant first.
    std::fs::write(at("links/base.toml"), GOOD.replace("hosts = 3", "hosts = 4")).unwrap();
    assert_eq!(load(&at("links/child.toml"), &[]).unwrap().host_count(), 4);
    std::fs::write(at("shared/child.toml"), "extends = \"none.toml\"\n").unwrap();
    let error = load(&at("links/child.toml"), &[]).unwrap_err();
    assert!(
        error.contains("links/none.toml") && error.contains("shared/none.toml"),
        "{error}"
    );
}

#[test]
fn what_an_extended_file_has_can_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let base = format!(
        "{GOOD}[regions.region-b]\nhosts = 2\n[faults.gone]\nkind = \"leave\"\nhosts = 1\nat = \"1s\"\n[thresholds]\nall = \
         \"hosts.verified == 5\"\nearly = \"stretch.max <= 2\"\n"
    );
    std::fs::write(folder.path().join("base.toml"), base).unwrap();
    let child = folder.path().join("child.toml");
    let text =
        "extends = \"base.toml\"\n[regions]\nregion-b = false\n[faults]\ngone = false\n[thresholds]\nall = false\n";
    std::fs::write(&child, text).unwrap();
    let scenario = load(&child, &[]).unwrap();
    assert_eq!((scenario.regions.len(), scenario.faults.len()), (1, 0));
    let names: Vec<&str> = scenario
        .thresholds
        .iter()
        .map(|threshold| threshold.name.as_str())
        .collect();
    assert_eq!(names, ["early"]);
    let scenario = load(&child, &["thresholds=false"]).unwrap();
    assert!(scenario.thresholds.is_empty());
    // What is not there cannot be left out.
    let error = load(&child, &["regions.region-c=false"]).unwrap_err();
    assert!(error.contains("regions.region-c"), "{error}");
}

#[test]
fn a_text_is_a_text_without_its_quotes_too() {
    for id in ["20261128", "1.10", "true", "2026-11-28", "b.zip"] {
        let scenario = load_text(GOOD, &[&format!("build.id={id}")]).unwrap();
        assert_eq!(scenario.build.id, id);
        let quoted = load_text(GOOD, &[&format!("build.id=\"{id}\"")]).unwrap();
        assert_eq!(quoted.build.id, id);
    }
}

#[test]
fn a_seed_is_one_that_any_reader_of_json_has_whole() {
    assert_eq!(load_text(GOOD, &["seed=9007199254740991"]).unwrap().seed, (1 << 53) - 1);
    let error = load_text(GOOD, &["seed=9007199254740992"]).unwrap_err();
    assert!(error.contains("expected 0 to 9007199254740991"), "{error}");
}

#[test]
fn every_value_says_where_it_is_from() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("base.toml"), GOOD).unwrap();
    let child = folder.path().join("child.toml");
    std::fs::write(&child, "extends = \"base.toml\"\n\n[swarm]\ndegree = 7\n").unwrap();
    let scenario = load(&child, &["swarm.patience=3s"]).unwrap();
    let of = |key: &str| {
        let KeyValue { value, from, .. } = scenario.values.iter().find(|of| of.key == key).unwrap();
        let from = from.to_string().replace(&folder.path().display().to_string(), "");
        (value.clone(), from)
    };
    assert_eq!(of("regions.region-a.hosts"), (3.into(), "/base.toml:2".to_owned()));
    assert_eq!(of("swarm.degree"), (7.into(), "/child.toml:4".to_owned()));
    assert_eq!(
        of("swarm.patience"),
        ("3s".into(), "--set swarm.patience=3s".to_owned())
    );
    assert_eq!(of("network.latency"), ("1ms".into(), "default".to_owned()));
    assert_eq!(of("build.id"), ("build-child.zip".into(), "default".to_owned()));
    assert_eq!(of("build.chunk_size"), ("64 KiB".into(), "default".to_owned()));
    // Nothing is said of what is not there.
    assert!(
        !scenario
            .values
            .iter()
            .any(|of| of.key.starts_with("network.host.uplink"))
    );
    assert!(
        !scenario
            .values
            .iter()
            .any(|of| of.key == "regions.region-a.seeders" && of.from != Origin::Default)
    );
}
