//! The trace of a run: what a collector gets, and that a run does not depend on one.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

/// What a collector was sent.
struct Sent {
    head: Vec<String>,
    body: Value,
}

/// A collector that reads one request and answers it with this status and body. Its address, and what it was sent.
fn collector(status: &str, body: &str) -> (String, JoinHandle<Sent>) {
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let sent = request(&mut stream);
        stream.write_all(answer.as_bytes()).unwrap();
        sent
    });
    (format!("http://{at}"), asked)
}

/// An authority that no system knows, and what it has certified, as files.
struct Authority {
    issuer: (rcgen::Certificate, rcgen::KeyPair),
    /// Its certificate in PEM.
    root: PathBuf,
}

impl Authority {
    fn new(folder: &Path) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let own = params.self_signed(&key).unwrap();
        let root = folder.join("authority.pem");
        std::fs::write(&root, own.pem()).unwrap();
        Self {
            issuer: (own, key),
            root,
        }
    }

    /// A certificate of these names, and its key.
    fn certify(&self, names: &[&str]) -> (rcgen::Certificate, rcgen::KeyPair) {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = rcgen::CertificateParams::new(names).unwrap();
        let (issuer, issuer_key) = &self.issuer;
        (params.signed_by(&key, issuer, issuer_key).unwrap(), key)
    }

    /// A collector behind TLS that is certified as `name`, and asks who calls where `asks` is set. What it was sent; none where the two do not
    /// believe each other.
    fn collector(&self, name: &str, asks: bool) -> (String, JoinHandle<Option<Sent>>) {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let (certificate, key) = self.certify(&[name]);
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let server = if asks {
            let mut roots = RootCertStore::empty();
            roots.add(self.issuer.0.der().clone()).unwrap();
            let who = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            server.with_client_cert_verifier(who.build().unwrap())
        } else {
            server.with_no_client_auth()
        };
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let server = server
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let asked = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut tls = StreamOwned::new(ServerConnection::new(Arc::new(server)).unwrap(), stream);
            // Whoever does not believe it hangs up.
            while tls.conn.is_handshaking() {
                tls.conn.complete_io(&mut tls.sock).ok()?;
            }
            let sent = request(&mut tls);
            tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                .unwrap();
            tls.flush().unwrap();
            Some(sent)
        });
        (at, asked)
    }
}

fn request(stream: &mut impl std::io::Read) -> Sent {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_ascii_lowercase()),
        }
    }
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let body = serde_json::from_slice(&body).unwrap();
    Sent { head, body }
}

/// Runs a small scenario in two regions; its own variables count only as far as they are given.
fn run(folder: &Path, options: &[&str], variables: &[(&str, &str)]) -> Output {
    begin(folder, options, variables).output().unwrap()
}

fn begin(folder: &Path, options: &[&str], variables: &[(&str, &str)]) -> Command {
    let file = folder.join("small.toml");
    let text = "[regions.region-a]\nhosts = 5\n[regions.region-b]\nhosts = 3\n[build]\nsize = \"256 KiB\"\n";
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OTEL_")) {
        command.env_remove(name);
    }
    command
        .arg("run")
        .arg(&file)
        .arg("--out")
        .arg(folder.join("out"))
        .args(options)
        .envs(variables.iter().copied());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The value of an attribute, as the protocol wraps it.
fn attribute<'a>(of: &'a Value, key: &str) -> &'a Value {
    let all = of["attributes"].as_array().unwrap();
    let found = all.iter().find(|attribute| attribute["key"] == key);
    &found.unwrap_or_else(|| panic!("no {key} in {of:#}"))["value"]
}

fn is_hex(id: &Value, length: usize) -> bool {
    let id = id.as_str().unwrap();
    let digits = |digit: char| digit.is_ascii_digit() || ('a'..='f').contains(&digit);
    id.len() == length && id.chars().all(digits) && id.chars().any(|digit| digit != '0')
}

fn nanos(time: &Value) -> u128 {
    // A number would lose its last digits on the way.
    time.as_str().unwrap().parse().unwrap()
}

#[test]
fn a_collector_gets_the_stages_of_a_run_as_the_protocol_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let (at, asked) = collector("200 OK", "{}");
    let output = run(
        folder.path(),
        &["--otlp", &at],
        &[("OTEL_EXPORTER_OTLP_HEADERS", "x-team=builds%20and%20more")],
    );
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(!said(&output).contains("warning"), "{}", said(&output));
    let Sent { head, body } = asked.join().unwrap();
    assert_eq!(head[0], "post /v1/traces http/1.1");
    for line in ["content-type: application/json", "x-team: builds and more"] {
        assert!(head.iter().any(|told| told == line), "{head:?}");
    }
    let of_resource = &body["resourceSpans"][0];
    assert_eq!(
        attribute(&of_resource["resource"], "service.name")["stringValue"],
        "fleetcast"
    );
    let spans = of_resource["scopeSpans"][0]["spans"].as_array().unwrap();
    let root = &spans[0];
    assert_eq!(
        (root["name"].as_str(), root.get("parentSpanId")),
        (Some("deploy"), None)
    );
    assert_eq!(attribute(root, "fleetcast.build.bytes")["intValue"], "262144");
    let mut ids = Vec::new();
    for span in spans {
        assert!(
            is_hex(&span["traceId"], 32) && span["traceId"] == root["traceId"],
            "{span:#}"
        );
        assert!(is_hex(&span["spanId"], 16), "{span:#}");
        assert_eq!(
            (&span["kind"], &span["status"]["code"]),
            (&1.into(), &1.into()),
            "{span:#}"
        );
        let (begins, ends) = (nanos(&span["startTimeUnixNano"]), nanos(&span["endTimeUnixNano"]));
        assert!(begins <= ends, "{span:#}");
        assert!(nanos(&root["startTimeUnixNano"]) <= begins && ends <= nanos(&root["endTimeUnixNano"]));
        ids.push(span["spanId"].to_string());
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), spans.len());
    let named = |name: &str| spans.iter().filter(|span| span["name"] == name).collect::<Vec<_>>();
    assert!(spans[1..].iter().all(|span| span["parentSpanId"] == root["spanId"]));
    for (name, count) in [("upload", 1), ("copy", 2), ("pull", 2), ("fan-out", 2), ("log rows", 1)] {
        assert_eq!(named(name).len(), count, "{name}");
    }
    // A stage does not begin before the one that it waits for has ended.
    let ends_before = |first: &Value, then: &Value| {
        assert!(
            nanos(&first["endTimeUnixNano"]) <= nanos(&then["startTimeUnixNano"]),
            "{first:#} {then:#}"
        );
    };
    for (region, hosts) in [("region-a", "5"), ("region-b", "3")] {
        let of = |name: &str| {
            let spans = named(name);
            let found = spans
                .iter()
                .find(|span| attribute(span, "fleetcast.region")["stringValue"] == region);
            (*found.unwrap()).clone()
        };
        ends_before(named("upload")[0], &of("copy"));
        ends_before(&of("copy"), &of("pull"));
        ends_before(&of("pull"), &of("fan-out"));
        assert_eq!(attribute(&of("fan-out"), "fleetcast.hosts.verified")["intValue"], hosts);
    }
    assert_eq!(attribute(named("log rows")[0], "fleetcast.rows")["intValue"], "8");
}

#[test]
fn a_collector_that_takes_nothing_costs_a_warning_and_never_the_run() {
    // Nobody listens there any more.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    // The kernel takes the connection, and nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_at = format!("http://{}", silent.local_addr().unwrap());
    let (refusing, refused) = collector("503 Service Unavailable", "");
    let (picky, picked) = collector(
        "200 OK",
        "{\"partialSuccess\": {\"rejectedSpans\": \"3\", \"errorMessage\": \"too old\"}}",
    );
    let cases = [
        (&nobody, "60000", "refused"),
        (&silent_at, "300", "did not answer within 300 ms"),
        (&refusing, "60000", "503"),
        (&picky, "60000", "rejected 3 spans (too old)"),
    ];
    for (at, patience_ms, why) in cases {
        let folder = tempfile::tempdir().unwrap();
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", at.as_str()),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", patience_ms),
        ];
        let output = run(folder.path(), &[], &variables);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert_eq!(said.matches("warning").count(), 1, "{said}");
        assert!(said.contains(why), "{why}: {said}");
        assert!(said.contains(at) && said.contains("/v1/traces"), "{said}");
        assert!(folder.path().join("out/report.json").is_file());
    }
    refused.join().unwrap();
    picked.join().unwrap();
}

#[test]
fn what_is_no_url_of_a_collector_is_refused_before_the_run_and_in_the_environment_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["--otlp", "collector:4317"], &[]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("http://127.0.0.1:4318"), "{}", said(&output));
    assert!(!folder.path().join("out").exists());
    let output = run(folder.path(), &[], &[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(
        said(&output).contains("OTEL_EXPORTER_OTLP_ENDPOINT = collector:4317"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_stage_in_which_hosts_are_missing_is_an_error_in_the_trace() {
    let folder = tempfile::tempdir().unwrap();
    let (at, asked) = collector("200 OK", "{}");
    let lost = [
        "--set",
        "faults.gone.kind=seeder-lost",
        "--set",
        "faults.gone.at=0s",
        "--set",
        "deadline=2s",
        "--otlp",
        &at,
    ];
    let output = run(folder.path(), &lost, &[]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let body = asked.join().unwrap().body;
    let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    let fan_out = spans.iter().find(|span| span["name"] == "fan-out").unwrap();
    for (span, word) in [(fan_out, "hosts without the build: "), (&spans[0], "fan-out: ")] {
        assert_eq!(span["status"]["code"], 2, "{span:#}");
        assert!(span["status"]["message"].as_str().unwrap().contains(word), "{span:#}");
    }
}

#[test]
fn a_collector_behind_tls_is_believed_by_the_authority_that_the_environment_names() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let (mine, my_key) = authority.certify(&["me"]);
    let (own, key) = (folder.path().join("own.pem"), folder.path().join("own.key"));
    std::fs::write(&own, mine.pem()).unwrap();
    std::fs::write(&key, my_key.serialize_pem()).unwrap();
    let root = ("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.root.to_str().unwrap());
    // As a system has it that knows the authority.
    let known = ("SSL_CERT_FILE", authority.root.to_str().unwrap());
    let certificate = ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", own.to_str().unwrap());
    let its_key = ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", key.to_str().unwrap());
    for (asks, variables) in [
        (false, vec![root]),
        (false, vec![known]),
        (true, vec![root, certificate, its_key]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (at, asked) = authority.collector("localhost", asks);
        let output = run(folder.path(), &["--otlp", &at], &variables);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert!(!said(&output).contains("warning"), "{variables:?}: {}", said(&output));
        let sent = asked.join().unwrap().unwrap();
        assert_eq!(
            sent.body["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"],
            "deploy"
        );
    }
}

#[test]
fn a_collector_that_is_not_believed_is_told_of_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let root = ("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.root.to_str().unwrap());
    let cases = [
        ("localhost", false, vec![], "OTEL_EXPORTER_OTLP_CERTIFICATE"),
        ("elsewhere", false, vec![root], "not valid for name"),
        ("localhost", true, vec![root], "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),
    ];
    for (name, asks, variables, word) in cases {
        let folder = tempfile::tempdir().unwrap();
        let (at, asked) = authority.collector(name, asks);
        let output = run(folder.path(), &["--otlp", &at], &variables);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let said = said(&output);
        assert!(
            said.matches("warning").count() == 1 && said.contains(word),
            "{name}: {said}"
        );
        assert!(asked.join().unwrap().is_none(), "{name}");
    }
    let none = folder.path().join("none.pem");
    let wrong = [
        vec![("OTEL_EXPORTER_OTLP_CERTIFICATE", none.to_str().unwrap())],
        vec![("OTEL_EXPORTER_OTLP_CLIENT_KEY", authority.root.to_str().unwrap())],
    ];
    for variables in wrong {
        let folder = tempfile::tempdir().unwrap();
        let output = run(folder.path(), &["--otlp", "https://localhost:9"], &variables);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let said = said(&output);
        assert!(
            said.contains(variables[0].0) && said.contains("no trace is sent"),
            "{said}"
        );
    }
}

#[test]
fn a_run_that_fails_sends_how_far_it_came_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let (at, asked) = collector("200 OK", "{}");
    let mut failing = begin(
        folder.path(),
        &["--otlp", &at, "--set", "regions.region-a.hosts=300"],
        &[],
    );
    let failing = failing.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    // The bucket of a region is gone when the build is to be copied to it.
    let bucket = folder.path().join("out/cloud/s3/region-a-builds");
    let until = Instant::now() + PATIENCE;
    while std::fs::remove_dir_all(&bucket).is_err() {
        assert!(Instant::now() < until, "there was no bucket");
        std::thread::sleep(Duration::from_millis(1));
    }
    let output = failing.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(!folder.path().join("out/report.json").exists());
    let body = asked.join().unwrap().body;
    let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    assert_eq!(
        (&spans[0]["name"], &spans[0]["status"]["code"]),
        (&"deploy".into(), &2.into())
    );
    let why = spans[0]["status"]["message"].as_str().unwrap();
    assert!(why.contains("did not reach region region-a"), "{why}");
    assert_eq!(
        (&spans[1]["name"], &spans[1]["status"]["code"]),
        (&"upload".into(), &1.into())
    );
}

const PATIENCE: Duration = Duration::from_secs(120);
