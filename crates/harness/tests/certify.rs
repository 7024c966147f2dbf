//! `harness certify`: what it makes is a member's, and what it is not given right is said.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use peer::NodeIdentity;
use signing::{Certificate, Moment, TrustedKeys};

fn harness(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_certificate_is_of_one_peer_for_a_day_and_replaced_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    assert_eq!(harness(at, &["keygen", "members.key"]).status.code(), Some(0));
    let peer = NodeIdentity::random().peer_id().to_base58();
    let base = ["certify", "--key", "members.key", "--peer", &peer, "--host", "web-1"];
    let more = [
        "--zone",
        "a",
        "--group",
        "web",
        "--group",
        "canary",
        "--address",
        "10.0.0.7",
    ];
    let made = harness(at, &[&base[..], &more[..]].concat());
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    let text = String::from_utf8(made.stdout).unwrap();
    let certificate: Certificate = text.trim().parse().unwrap();
    let member = certificate.member();
    assert_eq!((member.host(), member.zone()), ("web-1", Some("a")));
    assert_eq!(member.groups(), ["web", "canary"]);
    assert_eq!(member.addresses(), ["10.0.0.7".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(
        member.not_after().since(member.not_before()),
        Duration::from_secs(86_400)
    );
    let keys = TrustedKeys::read(&at.join("members.key.pub")).unwrap();
    assert_eq!(keys.admit(&certificate, &peer, Moment::now()), Ok(()));
    for lasts in ["2h", "3h"] {
        let made = harness(at, &[&base[..], &["--expires", lasts, "--out", "c"]].concat());
        assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
        assert!(made.stdout.is_empty());
    }
    let last = Certificate::read(&at.join("c")).unwrap();
    let lasts = last.member().not_after().since(last.member().not_before());
    assert_eq!(lasts, Duration::from_secs(3 * 3600));
}

#[test]
fn what_cannot_be_certified_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    harness(at, &["keygen", "members.key"]);
    let peer = NodeIdentity::random().peer_id().to_base58();
    let refused = |key: &str, peer: &str, host: &str, more: &[&str]| {
        let base = ["certify", "--key", key, "--peer", peer, "--host", host];
        let output = harness(at, &[&base[..], more].concat());
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(output.stdout.is_empty());
        stderr(&output)
    };
    assert!(refused("members.key", "somebody", "a", &[]).contains("--print-id"));
    assert!(refused("members.key", &peer, "a b", &[]).contains("its host is \"a b\""));
    assert!(refused("members.key", &peer, "a", &["--expires", "never"]).contains("a certificate ends"));
    assert!(refused("members.key", &peer, "a", &["--expires", "2001-01-01T00:00:00Z"]).contains("its until is"));
    assert!(refused("members.key.pub", &peer, "a", &[]).contains("is a public key"));
    assert!(refused("none.key", &peer, "a", &[]).contains("none.key"));
    assert!(refused("members.key", &peer, "a", &["--zone", "a;b"]).contains("its zone is"));
}
