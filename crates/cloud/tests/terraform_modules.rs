//! `terraform/modules`: what an operator puts into a configuration of their own. No provider can be downloaded where tests run, so their files
//! are parsed: what is used is declared, what is declared is used, the scripts for machines are scripts whatever is filled in, and no role
//! may do more than it is named for.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hcl::{Body, Expression};

const MODULES: [&str; 2] = ["seeder", "host"];

fn folder(module: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../terraform/modules")
        .join(module)
}

/// Name and text of its files with this extension.
fn texts(module: &str, extension: &str) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder(module)).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|there| there == extension));
    let read = |path: PathBuf| (path.display().to_string(), fs::read_to_string(&path).unwrap());
    files.map(read).collect()
}

fn body(module: &str) -> Body {
    let files = texts(module, "tf");
    assert!(files.len() >= 3, "{module}: {files:?}");
    let mut all = Vec::new();
    for (name, text) in files {
        let parsed: Body = hcl::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        all.extend(parsed.into_inner());
    }
    Body::from(all)
}

/// Labels of the blocks of this kind, put together.
fn labels(body: &Body, kind: &str) -> BTreeSet<String> {
    let blocks = body.blocks().filter(|block| block.identifier() == kind);
    blocks
        .map(|block| {
            let labels: Vec<&str> = block.labels().iter().map(hcl::BlockLabel::as_str).collect();
            labels.join(".")
        })
        .collect()
}

/// The names that follow `prefix` in a text, as long as they have such characters.
fn names(text: &str, prefix: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices(prefix) {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|before| is_name(before) || before == '.') {
            continue;
        }
        let rest = &text[at + prefix.len()..];
        let name = &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())];
        if !name.is_empty() {
            found.insert(name.to_owned());
        }
    }
    found
}

#[test]
fn what_is_used_is_declared_and_what_is_declared_is_used() {
    for module in MODULES {
        let body = body(module);
        let text: String = texts(module, "tf").into_iter().map(|(_, text)| text).collect();
        assert_eq!(names(&text, "var."), labels(&body, "variable"), "{module}");
        let locals = body.blocks().filter(|block| block.identifier() == "locals");
        let locals: BTreeSet<String> = locals
            .flat_map(|block| block.body().attributes().map(|local| local.key().to_owned()))
            .collect();
        assert_eq!(names(&text, "local."), locals, "{module}");
        let resources = labels(&body, "resource");
        for resource in &resources {
            let kind = resource.split('.').next().unwrap();
            for name in names(&text, &format!("{kind}.")) {
                assert!(resources.contains(&format!("{kind}.{name}")), "{module}: {kind}.{name}");
            }
        }
        for block in body
            .blocks()
            .filter(|block| ["variable", "output"].contains(&block.identifier()))
        {
            let is_said = block
                .body()
                .attributes()
                .any(|attribute| attribute.key() == "description");
            assert!(is_said, "{module}: {:?} has no description", block.labels());
        }
    }
}

/// What the module fills in.
fn filled(body: &Body) -> BTreeSet<String> {
    let locals = body.blocks().filter(|block| block.identifier() == "locals");
    let user_data = locals
        .flat_map(|block| block.body().attributes())
        .find(|local| local.key() == "user_data")
        .unwrap();
    let Expression::FuncCall(call) = user_data.expr() else {
        panic!("expected templatefile(…)");
    };
    let Some(Expression::Object(object)) = call.args.get(1) else {
        panic!("expected what is filled in");
    };
    object.keys().map(ToString::to_string).collect()
}

#[test]
fn what_machines_are_started_with_is_a_script_and_uses_what_is_filled_in() {
    for module in MODULES {
        let filled = filled(&body(module));
        let (name, template) = texts(module, "tftpl").remove(0);
        let mut used = names(&template, "${");
        used.extend(names(&template, "%{ if "));
        assert_eq!(used, filled, "{name}");
        let mut script = template;
        for name in &filled {
            script = script.replace(&format!("${{{name}}}"), "value");
        }
        let script: String = script
            .lines()
            .filter(|line| !line.starts_with("%{"))
            .flat_map(|line| [line, "\n"])
            .collect();
        assert!(!script.contains("${"), "terraform reads it: {script}");
        let mut bash = Command::new("bash")
            .arg("-n")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let ended = bash.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
}

/// The parameter, or the right to read it, may come later than the machine.
#[test]
fn a_host_waits_for_the_directory_where_it_cannot_be_asked_for_yet() {
    let (_, template) = texts("host", "tftpl").remove(0);
    // What comes then installs.
    let (script, _) = template.split_once("aws s3 cp").unwrap();
    let tools = tempfile::tempdir().unwrap();
    let tool = |name: &str, does: &str| {
        let path = tools.path().join(name);
        fs::write(&path, format!("#!/bin/bash\ncd \"${{0%/*}}\"\n{does}\n")).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    tool("curl", "echo value");
    tool("sleep", "exit 0");
    // The first time it fails, then nobody has written it, then it is there.
    tool(
        "aws",
        "if [ ! -e asked ]; then touch asked; exit 255; fi\nif [ ! -e unwritten ]; then touch unwritten; echo unknown; exit; fi\necho /dns4/seeder",
    );
    let path = format!("{}:{}", tools.path().display(), std::env::var("PATH").unwrap());
    let ended = Command::new("bash")
        .args(["-c", &format!("{script}\necho \"found $directory\"")])
        .env("PATH", path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(
        said.ends_with("found /dns4/seeder\n"),
        "{said}{}",
        String::from_utf8_lossy(&ended.stderr)
    );
}

/// Somebody writes rows where nobody has said otherwise: the seeder, and hosts hand theirs over.
#[test]
fn rows_are_written_by_the_seeder_unless_hosts_have_a_policy_of_their_own() {
    for module in MODULES {
        let body = body(module);
        let log = body
            .blocks()
            .find(|block| block.identifier() == "variable" && block.labels()[0].as_str() == "log");
        let default = log
            .unwrap()
            .body()
            .attributes()
            .find(|attribute| attribute.key() == "default");
        assert_eq!(*default.unwrap().expr(), Expression::Bool(true), "{module}");
    }
    let (_, seeder) = texts("seeder", "tftpl").remove(0);
    let (_, host) = texts("host", "tftpl").remove(0);
    for line in [
        "FLEETCAST_SEEDER_LOG=true",
        "FLEETCAST_SEEDER_STAGE=${stage}",
        "FLEETCAST_SEEDER_LOG_REGION=${log_region}",
    ] {
        assert!(seeder.contains(line), "{line}");
    }
    let (_, by_seeder) = host.split_once("%{ else ~}").unwrap();
    assert!(
        by_seeder.starts_with("\nEnvironment=FLEETCAST_LOG_BY=seeder\n"),
        "{by_seeder}"
    );
}

/// The keys that it says are those that the agents have, by the files that their packages bring.
#[test]
fn what_is_said_to_an_agent_is_a_key_of_it() {
    for (module, prefix) in [("seeder", "FLEETCAST_SEEDER_"), ("host", "FLEETCAST_")] {
        let shipped = folder(module).join(format!("../../../packaging/{module}.toml"));
        let shipped = fs::read_to_string(shipped).unwrap();
        let (_, template) = texts(module, "tftpl").remove(0);
        let said = names(&template, &format!("Environment={prefix}"));
        assert!(said.len() >= 3, "{module}: {said:?}");
        for variable in said {
            let key = variable.to_ascii_lowercase().replace('_', "-");
            let is_key = |line: &str| line.trim_start_matches('#').starts_with(&format!("{key} = "));
            assert!(shipped.lines().any(is_key), "{module}: {key}");
        }
    }
}

#[test]
fn roles_may_do_what_they_are_named_for_and_nothing_else() {
    for (module, actions) in [
        (
            "seeder",
            [
                "ec2:AttachVolume",
                "ssm:PutParameter",
                "route53:ChangeResourceRecordSets",
                "s3:GetObject",
                "sts:AssumeRole",
            ]
            .as_slice(),
        ),
        ("host", &["ssm:GetParameter", "s3:GetObject", "sts:AssumeRole"]),
    ] {
        let text: String = texts(module, "tf").into_iter().map(|(_, text)| text).collect();
        for service in ["ec2", "ssm", "route53", "s3", "sts", "iam", "sqs", "dynamodb"] {
            for action in names(&text, &format!("\"{service}:")) {
                let action = format!("{service}:{action}");
                // Keys of a condition are no actions.
                let is_condition = action.contains("Normalized") || action.contains("RecordTypes");
                assert!(is_condition || actions.contains(&action.as_str()), "{module}: {action}");
            }
        }
        assert!(
            !text.contains("\"*\"") && !text.contains(":*\""),
            "{module} names what it means"
        );
    }
}
