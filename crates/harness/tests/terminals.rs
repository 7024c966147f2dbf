//! What is drawn on a terminal: an upload moves, and lines fit a terminal that is made narrower meanwhile.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::path::Path;
use std::process::{Command, Stdio};

use cloud::{Cloud, EmbeddedCloud};

/// What a command writes to a terminal of 100 columns that is made one of 40 so many seconds later; the two parts.
fn on_a_terminal_that_shrinks(seconds: f64, environment: &[(&str, String)], command: &str) -> (String, String) {
    let harness = env!("CARGO_BIN_EXE_harness");
    let script = format!(
        "stty cols 100 rows 24; {harness} {command} & sleep {seconds}; stty cols 40; printf NARROW; wait $!; printf 'exit %d' $?"
    );
    let output = Command::new("script")
        .args(["-qec", &script, "/dev/null"])
        .env("TERM", "xterm-256color")
        .env("NO_COLOR", "1")
        .envs(environment.iter().map(|(name, value)| (*name, value)))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let drawn = String::from_utf8_lossy(&output.stdout).into_owned();
    let (wide, narrow) = drawn.split_once("NARROW").unwrap();
    assert!(narrow.ends_with("exit 0"), "{narrow:?}");
    (wide.to_owned(), narrow.to_owned())
}

/// The lines that were drawn and have this in them, without what moves the cursor and without the blanks that fill a line up.
fn drawn(text: &str, with: &str) -> Vec<String> {
    let lines = text.split(['\r', '\n']).filter(|line| line.contains(with));
    let visible = |line: &str| {
        let (mut visible, mut in_sequence) = (String::new(), false);
        for c in line.chars() {
            match c {
                '\x1b' => in_sequence = true,
                c if in_sequence => in_sequence = !c.is_ascii_alphabetic(),
                c => visible.push(c),
            }
        }
        visible.trim().to_owned()
    };
    lines.map(visible).collect()
}

#[test]
fn an_upload_moves_on_a_terminal_and_fits_one_that_is_made_narrower() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let embedded = runtime.block_on(EmbeddedCloud::start(folder.path())).unwrap();
    let config = embedded.config().clone();
    let cloud = runtime.block_on(Cloud::connect(&config));
    runtime.block_on(cloud.bootstrap(&["region-a".to_owned()])).unwrap();
    let keys = config.credentials.unwrap();
    let environment = [
        ("AWS_ENDPOINT_URL", config.s3_endpoint.unwrap()),
        ("AWS_ACCESS_KEY_ID", keys.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", keys.secret_access_key),
    ];
    let upload = "upload --size 256MiB --build-id b.zip";
    let (wide, narrow) = on_a_terminal_that_shrinks(1.0, &environment, upload);
    let both = [drawn(&wide, "upload "), drawn(&narrow, "upload ")];
    let shares: Vec<u32> = both
        .iter()
        .flatten()
        .map(|line| line["upload ".len()..].split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(shares.windows(2).all(|pair| pair[0] <= pair[1]), "{shares:?}");
    assert!(
        shares.iter().any(|share| (1..100).contains(share)),
        "it moves: {both:?}"
    );
    assert!(both[1].iter().all(|line| line.chars().count() < 40), "{both:?}");
    assert!(narrow.contains("b.zip 256 MiB in bucket global-builds"), "{narrow:?}");
}

#[test]
fn a_run_fits_a_terminal_that_is_made_narrower() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/smoke.toml");
    let run = format!(
        "run {} --out {} --set regions.region-a.hosts=30 --set regions.region-b.hosts=20 --set 'network.host.uplink=1 Mbit/s' \
         --set 'build.chunk_size=16 KiB' --set thresholds=false",
        scenario.display(),
        folder.path().join("run").display()
    );
    let (wide, narrow) = on_a_terminal_that_shrinks(4.0, &[], &run);
    let both = [drawn(&wide, "fan-out "), drawn(&narrow, "fan-out ")];
    let after: Vec<&String> = both[1].iter().filter(|line| line.contains(" of 50 hosts")).collect();
    assert!(after.len() > 3, "{both:?}");
    for drawn in after {
        // Lines of one drawing are filled up to the width, by one blank where they are a column shorter.
        for line in drawn.replace(" region-", "  region-").split("  ").map(str::trim) {
            assert!(line.chars().count() < 40, "{line:?} of {drawn:?}");
        }
    }
}
