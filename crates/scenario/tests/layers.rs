//! What wins where a scenario is made of several files and the command line.

mod rig;

use std::path::Path;

use rig::{GOOD, load, load_text};
use scenario::{BuildSource, LoadOptions, Scenario, Transport};

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("it is in the folder")).expect("a folder in it");
        std::fs::write(path, text).expect("a file in it");
    }
    folder
}

#[test]
fn a_file_extends_another_by_merging_tables() {
    let base = "seed = 5\n[regions.region-a]\nhosts = 3\nzones = 2\n[build]\nsize = \"1 MiB\"\n";
    let own = "extends = \"base.toml\"\n[regions.region-a]\nhosts = 4\n[regions.region-b]\nhosts = 1\n";
    let files = folder(&[("base.toml", base), ("x.toml", own)]);
    let scenario = load(&files.path().join("x.toml"), &["seed=6"]).unwrap();
    assert_eq!(
        (scenario.seed, scenario.host_count(), scenario.regions[0].zones),
        (6, 5, 2)
    );
    assert_eq!(scenario.name, "x");
}

#[test]
fn the_command_line_wins_over_the_file_over_what_it_extends_over_the_default() {
    let files = folder(&[
        (
            "a.toml",
            "[regions.r]\nhosts = 9\n[build]\nsize = \"1 MiB\"\n[swarm]\ndegree = 1\nupload_slots = 1\nseeder_clients = 1\n",
        ),
        (
            "b.toml",
            "extends = \"a.toml\"\n[swarm]\ndegree = 2\nupload_slots = 2\n",
        ),
        ("c.toml", "extends = \"b.toml\"\n[swarm]\ndegree = 3\n"),
    ]);
    let of = |name: &str, sets: &[&str]| {
        let swarm = load(&files.path().join(name), sets).unwrap().swarm;
        (swarm.degree, swarm.upload_slots, swarm.seeder_clients)
    };
    assert_eq!(of("a.toml", &[]), (1, Some(1), 1));
    assert_eq!(of("b.toml", &[]), (2, Some(2), 1));
    assert_eq!(of("c.toml", &[]), (3, Some(2), 1));
    assert_eq!(of("c.toml", &["swarm.degree=4", "swarm.degree=5"]), (5, Some(2), 1));
    let defaults = load_text(GOOD, &[]).unwrap().swarm;
    assert_eq!((defaults.degree, defaults.seeder_clients), (12, 32));
}

#[test]
fn arrays_are_replaced_and_not_joined() {
    let base = "[regions.a]\nhosts = 9\n[regions.b]\nhosts = 9\n[build]\nsize = \"1 MiB\"\n\
                [faults.f]\nkind = \"stall\"\nhosts = 1\nregions = [\"a\"]\n";
    let own = "extends = \"base.toml\"\n[faults.f]\nregions = [\"b\"]\n";
    let files = folder(&[("base.toml", base), ("x.toml", own)]);
    let scenario = load(&files.path().join("x.toml"), &[]).unwrap();
    assert_eq!(scenario.faults[0].chosen.regions, Some(vec!["b".to_owned()]));
}

#[test]
fn overrides_win_and_their_errors_name_the_option() {
    let sets = ["swarm.degree=7", "build.size=2 MiB", "network.transport=tcp"];
    let scenario = load_text(GOOD, &sets).unwrap();
    assert_eq!((scenario.swarm.degree, scenario.build_size().get()), (7, 2 << 20));
    assert_eq!(scenario.network.transport, Transport::Tcp);
    let error = load_text(GOOD, &["swarm.degre=7"]).unwrap_err();
    insta::assert_snapshot!(error, @"--set swarm.degre=7: swarm.degre is not a key of a scenario — did you mean swarm.degree?");
    let error = load_text(GOOD, &["regions.region-a.hosts=0"]).unwrap_err();
    insta::assert_snapshot!(error, @"--set regions.region-a.hosts=0: regions.region-a.hosts = 0 — expected 1 to 1000000 (hosts of the region); try 100");
    let error = load_text(GOOD, &["extends=base.toml"]).unwrap_err();
    insta::assert_snapshot!(error, @"--set extends=base.toml: extends — expected in a file: write one with this line and run that");
    assert!("novalue".parse::<scenario::Override>().is_err() && "a..b=1".parse::<scenario::Override>().is_err());
}

#[test]
fn the_build_of_a_layer_replaces_the_other_kind_of_build_below_it() {
    let real = "extends = \"base.toml\"\n[build]\npath = \"app.zip\"\n";
    let both = "[regions.a]\nhosts = 1\n[build]\nsize = \"1 B\"\npath = \"app.zip\"\n";
    let files = folder(&[
        ("base.toml", GOOD),
        ("app.zip", "bytes"),
        ("real.toml", real),
        ("both.toml", both),
    ]);
    let path = |name: &str| files.path().join(name);
    let file = BuildSource::File {
        path: path("app.zip"),
        bytes: 5,
    };
    assert_eq!(load(&path("real.toml"), &[]).unwrap().build.source, file);
    assert_eq!(
        load(&path("base.toml"), &["build.path=app.zip"]).unwrap().build.source,
        file
    );
    let generated = load(&path("real.toml"), &["build.size=7 B"]).unwrap().build.source;
    assert_eq!(generated, BuildSource::Generated { bytes: 7 });
    // Within one layer nobody can tell which was meant.
    let error = load(&path("both.toml"), &[]).unwrap_err();
    assert!(
        error.contains("both.toml:5: build.path = \"app.zip\" — given together with build.size"),
        "{error}"
    );
}

#[test]
fn the_path_of_a_build_starts_from_the_file_that_has_it() {
    let base = "[regions.a]\nhosts = 1\n[build]\npath = \"app.zip\"\n";
    let files = folder(&[
        ("bases/base.toml", base),
        ("bases/app.zip", "bytes"),
        ("x.toml", "extends = \"bases/base.toml\"\n"),
    ]);
    let scenario = load(&files.path().join("x.toml"), &[]).unwrap();
    let path = files.path().join("bases/app.zip");
    assert_eq!(scenario.build.source, BuildSource::File { path, bytes: 5 });
}

#[test]
fn the_command_line_replaces_seed_and_build() {
    let files = folder(&[("x.toml", GOOD), ("app.zip", "bytes")]);
    let build = files.path().join("app.zip");
    let options = LoadOptions {
        seed: Some(9),
        build: Some(build.clone()),
        ..LoadOptions::default()
    };
    let scenario = Scenario::load(&files.path().join("x.toml"), &options).unwrap();
    assert_eq!(scenario.seed, 9);
    assert_eq!(scenario.build.source, BuildSource::File { path: build, bytes: 5 });
}

#[test]
fn files_that_extend_each_other_are_told_so_however_they_spell_it() {
    let files = folder(&[
        ("itself.toml", "extends = \"itself.toml\"\n"),
        ("s/around.toml", "extends = \"../s/around.toml\"\n"),
        ("one.toml", "extends = \"./two.toml\"\n"),
        ("two.toml", "\nextends = \"s/../one.toml\"\n"),
        ("lost.toml", "extends = \"none.toml\"\n"),
        ("folder.toml", "extends = \"s\"\n"),
    ]);
    let error = |name: &str| load(&files.path().join(name), &[]).unwrap_err();
    for (name, place) in [
        ("itself.toml", "itself.toml:1"),
        ("s/around.toml", "s/around.toml:1"),
        ("one.toml", "two.toml:2"),
    ] {
        let error = error(name);
        assert!(
            error.contains(place) && error.contains("is extended by that one already"),
            "{error}"
        );
    }
    for name in ["lost.toml", "folder.toml"] {
        let error = error(name);
        assert!(
            error.contains(&format!("{name}:1: extends — there is no file")),
            "{error}"
        );
    }
    assert!(load(Path::new("scenarios/none.toml"), &[]).is_err());
}

#[test]
fn a_problem_of_a_base_names_the_base() {
    let base = "[regions.a]\nhosts = 0\n[build]\nsize = \"1 MiB\"\n";
    let own = "extends = \"base.toml\"\n[swarm]\ndegree = 0\n";
    let files = folder(&[("base.toml", base), ("x.toml", own)]);
    let error = load(&files.path().join("x.toml"), &[]).unwrap_err();
    assert!(
        error.contains("base.toml:2: regions.a.hosts = 0") && error.contains("x.toml:3: swarm.degree = 0"),
        "{error}"
    );
}
