//! What shipped scripts call this program with is what it takes.

use clap::Parser as _;
use clap::error::ErrorKind;

use super::Cli;

const VERIFY: &str = include_str!("../../../../scripts/verify-on-aws.sh");

/// The calls of `harness` in a script, with something for each variable.
fn calls(script: &str) -> Vec<Vec<String>> {
    let joined = script.replace("\\\n", " ");
    let lines = joined.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mut calls = Vec::new();
    for line in lines {
        // What is quoted is text for people.
        let plain: String = line.split('\'').step_by(2).collect::<Vec<_>>().join("''");
        let mut rest = plain.as_str();
        while let Some(at) = rest.find("harness ") {
            let is_word = !rest[..at].ends_with(|c: char| c.is_alphanumeric() || c == '/' || c == '-');
            rest = &rest[at + "harness ".len()..];
            let end = rest.find(['|', ')', '>', '<', ';']).unwrap_or(rest.len());
            if is_word {
                let words = rest[..end].split_whitespace().map(|word| {
                    let word = word.trim_matches('"');
                    let known = [
                        ("$stage", "dev"),
                        ("$regions", "region-a,region-b"),
                        ("$build", "b.zip"),
                        ("$hosts", "3"),
                    ];
                    known
                        .iter()
                        .fold(word.to_owned(), |word, (name, value)| word.replace(name, value))
                });
                calls.push(std::iter::once("harness".to_owned()).chain(words).collect());
            }
        }
    }
    calls
}

#[test]
fn what_verifies_an_account_calls_is_what_there_is() {
    let calls = calls(VERIFY);
    assert!(calls.len() >= 9, "{calls:#?}");
    for call in &calls {
        assert!(
            !call.iter().any(|word| word.contains('$')),
            "nothing stands for a variable of {call:?}"
        );
        match Cli::try_parse_from(call) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::DisplayHelp => {}
            Err(error) => panic!("{call:?}: {error}"),
        }
    }
    let used = |command: &str| calls.iter().any(|call| call[1] == command);
    assert!(
        ["doctor", "upload", "status", "count", "dead-letters"]
            .into_iter()
            .all(used)
    );
}
