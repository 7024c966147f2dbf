//! What is rendered is YAML and JSON that others read, and a script that a shell takes.

use super::*;
use crate::cli::SetArguments;

fn of(engine: Engine, text: &str, more: impl FnOnce(&mut RenderArguments)) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("day's run.toml");
    std::fs::write(&scenario, text).unwrap();
    let mut arguments = RenderArguments {
        engine,
        scenario,
        workers: 4,
        set: SetArguments {
            overrides: vec!["network.transport=tcp".parse().unwrap()],
        },
        name: None,
        image: Some("registry.example/fleetcast:0.1.0".to_owned()),
        any_zone: false,
        program: "harness".to_owned(),
    };
    more(&mut arguments);
    let place = format!("{}/", folder.path().display());
    rendered(&arguments)
        .map(|text| text.replace(&place, ""))
        .map_err(|text| text.replace(&place, ""))
}

const FLEET: &str = "description = \"two lines:\\n# and a 'quote'\"\n[regions.region-a]\nhosts = 2000\n[build]\nsize = \"256 MiB\"\n\n[swarm]\ndegree = 12\n";

#[test]
fn manifests_are_what_they_were() {
    for (name, engine) in [
        ("kubernetes", Engine::Kubernetes),
        ("slurm", Engine::Slurm),
        ("batch", Engine::Batch),
    ] {
        insta::assert_snapshot!(name, of(engine, FLEET, |_| {}).unwrap());
    }
}

#[test]
fn what_cannot_be_started_is_not_rendered() {
    let said = of(Engine::Kubernetes, FLEET, |of| of.set.overrides.clear()).unwrap_err();
    assert!(said.contains("expected --set network.transport=tcp"), "{said}");
    let said = of(Engine::Kubernetes, FLEET, |of| of.image = None).unwrap_err();
    assert!(said.contains("--image is missing"), "{said}");
    let said = of(Engine::Batch, FLEET, |of| of.workers = 1).unwrap_err();
    assert!(said.contains("expected --workers 2"), "{said}");
    let said = of(Engine::Slurm, FLEET, |of| of.workers = 2001).unwrap_err();
    assert!(said.contains("2000 hosts are fewer than 2001 workers"), "{said}");
    for name in ["Upper", "a--", "1st", "", "a_b"] {
        let said = of(Engine::Slurm, FLEET, |of| of.name = Some(name.to_owned())).unwrap_err();
        assert!(said.contains("expected up to 40 letters"), "{name}: {said}");
    }
    let said = of(Engine::Slurm, "[regions.region-a]\nhosts = 0\n", |_| {}).unwrap_err();
    assert!(said.contains("hosts"), "{said}");
}

#[test]
fn a_script_is_one_that_a_shell_takes_whatever_words_are_in_it() {
    let text = of(Engine::Slurm, FLEET, |of| {
        of.program = "/opt/it's here/harness".to_owned();
        of.set.overrides.push("swarm.degree=4".parse().unwrap());
    })
    .unwrap();
    assert!(
        text.contains(r"'/opt/it'\''s here/harness' run 'day'\''s run.toml' --workers 4"),
        "{text}"
    );
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    std::fs::write(&script, &text).unwrap();
    let checked = std::process::Command::new("bash")
        .arg("-n")
        .arg(&script)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn text_with_lines_is_a_block_where_that_says_the_same() {
    let document = |text: &str| yaml::document(&serde_json::json!({"a": text}));
    assert_eq!(document("x = 1\n\ny = 2\n"), "---\na: |\n  x = 1\n\n  y = 2\n");
    assert_eq!(document("no end"), "---\na: \"no end\"\n");
    assert_eq!(document(" space first\n"), "---\na: \" space first\\n\"\n");
    assert_eq!(document("yes"), "---\na: \"yes\"\n");
    let nested = serde_json::json!({"list": [{"a": 1, "b": [true]}, [], {}], "key: odd": "v"});
    assert_eq!(
        yaml::document(&nested),
        "---\n\"key: odd\": v\nlist:\n  - a: 1\n    b:\n      - true\n  - []\n  - {}\n"
    );
}

/// Two runs in one namespace have nothing in common: no object of one is the other's, and no Service finds the other's pods.
#[test]
fn runs_of_two_names_have_no_object_and_no_selector_in_common() {
    let of_name = |name: &str| {
        let text = of(Engine::Kubernetes, FLEET, |of| of.name = Some(name.to_owned())).unwrap();
        let documents = text.split("---\n").skip(1).map(str::to_owned);
        documents.collect::<Vec<_>>()
    };
    let value = |document: &str, key: &str| {
        let mut lines = document.lines();
        lines.find_map(|line| line.strip_prefix(key).map(str::to_owned))
    };
    let objects = |documents: &[String]| -> Vec<(Option<String>, Option<String>)> {
        let objects = documents.iter();
        objects
            .map(|document| (value(document, "kind: "), value(document, "  name: ")))
            .collect()
    };
    // One name is the beginning of the other, as somebody calls a second run.
    let (first, second) = (of_name("load"), of_name("load-2"));
    assert_eq!(objects(&first).len(), 4);
    assert!(objects(&first).iter().all(|object| !objects(&second).contains(object)));
    let selected = |documents: &[String]| {
        let service = documents.iter().find(|document| document.contains("kind: Service"));
        value(service.unwrap(), "    app.kubernetes.io/instance: ")
    };
    assert_eq!(selected(&first).as_deref(), Some("load"));
    assert_eq!(selected(&second).as_deref(), Some("load-2"));
    // Workers look for their own run, and keys are of one run.
    for (documents, name) in [(&first, "load"), (&second, "load-2")] {
        let jobs = documents.concat();
        assert!(jobs.contains(&format!("\"{name}:7440\"")), "{jobs}");
        assert!(jobs.contains(&format!("secretName: {name}-key\n")), "{jobs}");
    }
}
