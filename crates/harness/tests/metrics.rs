//! What a run says to a monitor, and what it leaves for HdrHistogram's tools.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(120);

/// The answer to a request, whole.
fn asked(at: &str, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect(at).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}"))
        .trim()
        .parse()
        .unwrap()
}

#[test]
fn a_run_tells_how_it_stands_and_leaves_what_tools_of_histograms_read() {
    let home = tempfile::tempdir().unwrap();
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/smoke.toml");
    let mut run = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args([
            "run",
            scenario,
            "--metrics",
            "127.0.0.1:0",
            "--out",
            "out",
            "--no-records",
        ])
        .current_dir(home.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(run.stderr.take().unwrap()).lines().map_while(Result::ok);
    let line = said.find(|line| line.contains("metrics at http://"));
    let at = line
        .unwrap()
        .split("http://")
        .nth(1)
        .unwrap()
        .trim_end_matches("/metrics")
        .to_owned();
    // Somebody has to read what it says.
    let rest = std::thread::spawn(move || said.collect::<Vec<_>>());
    let get = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    let first = asked(&at, get).unwrap();
    assert!(
        first.starts_with("HTTP/1.1 200") && first.contains("text/plain; version=0.0.4"),
        "{first}"
    );
    assert!(asked(&at, "GET /x HTTP/1.1\r\nHost: x\r\n\r\n").is_none_or(|said| said.starts_with("HTTP/1.1 404")));
    let post = "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    assert!(asked(&at, post).is_none_or(|said| said.starts_with("HTTP/1.1 405")));
    // Nonsense ends its connection and nothing else.
    asked(&at, "\0\r\n\r\n");
    let (begun, mut last) = (Instant::now(), first);
    let status = loop {
        if let Some(text) = asked(&at, get).filter(|text| text.contains("run_hosts_done")) {
            last = text;
        }
        if let Some(status) = run.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < PATIENCE, "the run does not end");
        std::thread::sleep(Duration::from_millis(10));
    };
    let rest = rest.join().unwrap();
    assert!(matches!(status.code(), Some(0 | 1 | 5)), "{status}: {rest:?}");
    let read = |name: &str| std::fs::read_to_string(home.path().join("out").join(name)).unwrap();
    let report: Value = serde_json::from_str(&read("report.json")).unwrap();
    let region = report["regions"][0]["name"].as_str().unwrap();
    let of = |name: &str| value(&last, &format!("fleetcast_run_{name}{{region=\"{region}\"}}"));
    assert_eq!(of("hosts"), report["regions"][0]["hosts"].as_f64().unwrap());
    assert!(of("hosts_done") <= of("hosts"));
    assert!(of("fanout_latency_seconds_count") <= of("hosts"));
    assert!(value(&last, "fleetcast_run_build_bytes") == report["build"]["bytes"].as_f64().unwrap());
    // The files have what the report has.
    let verified = report["hosts"]["verified"].to_string();
    let percentiles = read("latency.hgrm");
    let total = percentiles.lines().last().unwrap();
    assert!(
        total.ends_with(&format!("{verified:>12}]")),
        "{total} and not {verified}"
    );
    let log = read("latency.hlog");
    let intervals: Vec<&str> = log.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        intervals.len(),
        1 + report["regions"].as_array().unwrap().len(),
        "{log}"
    );
    assert!(
        intervals[1].starts_with(&format!("Tag={region},0.000,")),
        "{}",
        intervals[1]
    );
}

#[test]
fn an_address_that_is_taken_is_said_before_the_run_begins() {
    let home = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/smoke.toml");
    let refused = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["run", scenario, "--metrics", &at, "--out", "out"])
        .current_dir(home.path())
        .output()
        .unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(4), "{said}");
    assert!(
        said.contains(&format!("--metrics {at} cannot be listened on")),
        "{said}"
    );
    assert!(!home.path().join("out").exists(), "nothing is left of it");
}
