//! `terraform/pipeline`: the stages in their order, roles that may do what their action does, and names that are those of the code. Where
//! Terraform and its provider are found, they say so too.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod terraform_files;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cloud::{GLOBAL_BUCKET, regional_bucket, staged};
use hcl::{Block, Expression};
use serde_json::Value;
use terraform_files::{Infrastructure, array, attribute, object, root, string};

const GIVEN: [(&str, &str); 2] = [
    ("harness_url", r#""s3://packages/bin/harness""#),
    (
        "signing_key_secret_arn",
        r#""arn:aws:secretsmanager:eu-west-1:123:secret:release""#,
    ),
];

fn pipeline(more: &[(&str, &str)]) -> Infrastructure {
    Infrastructure::pipeline(&[&GIVEN[..], more].concat())
}

fn from_a_bucket() -> Infrastructure {
    pipeline(&[("source_bucket", r#""sources""#)])
}

fn blocks<'b>(block: &'b Block, name: &'b str) -> impl Iterator<Item = &'b Block> {
    block.body().blocks().filter(move |block| block.identifier() == name)
}

fn dynamic<'b>(block: &'b Block, of: &str) -> &'b Block {
    let mut all = blocks(block, "dynamic");
    all.find(|block| block.labels()[0].as_str() == of).unwrap()
}

fn content(block: &Block) -> &Block {
    blocks(block, "content").next().unwrap()
}

#[test]
fn a_build_goes_from_stage_to_stage_and_somebody_approves_of_each_but_the_first() {
    let pipeline = from_a_bucket();
    let declared = pipeline.block("resource", &["aws_codepipeline", "builds"]);
    let fixed: Vec<String> = blocks(declared, "stage")
        .map(|stage| string(&pipeline.evaluate(attribute(stage, "name"))))
        .collect();
    assert_eq!(fixed, ["source", "build"]);
    let of_stages = dynamic(declared, "stage");
    let stages = pipeline.evaluate(attribute(of_stages, "for_each"));
    assert_eq!(stages, serde_json::json!(["dev", "staging", "prod"]));
    for (index, stage) in array(&stages).iter().enumerate() {
        let evaluate = |expression: &Expression| {
            pipeline.evaluate_for(expression, "stage", hcl::Value::from(index as u64), stage.clone())
        };
        let stage = string(stage);
        let approves = evaluate(attribute(dynamic(content(of_stages), "action"), "for_each"));
        assert_eq!(array(&approves).len(), usize::from(index > 0), "{stage}");
        let actions: Vec<&Block> = blocks(content(of_stages), "action").collect();
        let [publish, deploy] = actions[..] else {
            panic!("expected two actions")
        };
        let said = |action: &Block, name: &str| evaluate(attribute(action, name));
        assert_eq!(
            said(publish, "output_artifacts"),
            said(deploy, "input_artifacts"),
            "{stage}"
        );
        assert!(said(publish, "run_order").as_u64() < said(deploy, "run_order").as_u64());
        let project = format!("project[publish-{stage}]");
        assert_eq!(said(publish, "configuration")["ProjectName"], project);
        let (category, provider) = (said(deploy, "category"), said(deploy, "provider"));
        assert_eq!((category, provider), ("Invoke".into(), "Lambda".into()));
        let configuration = said(deploy, "configuration");
        assert_eq!(configuration["FunctionName"], staged("pipeline-action", &stage));
        // What the script writes is what the function is told to read.
        let file = string(&configuration["UserParameters"]["file"]);
        assert_eq!(pipeline.local("projects")[format!("publish-{stage}")]["output"], file);
    }
    let approval = content(dynamic(content(of_stages), "action"));
    assert_eq!(pipeline.evaluate(attribute(approval, "provider")), "Manual");
    // Later builds wait: one that is on its way to the last stage is not overtaken.
    assert_eq!(pipeline.evaluate(attribute(declared, "execution_mode")), "QUEUED");
}

#[test]
fn each_stage_is_given_its_own_buckets() {
    let pipeline = pipeline(&[
        ("source_bucket", r#""sources""#),
        ("stages", r#"["dev", "prod-acme"]"#),
        ("regions", r#"["region-x", "region-y"]"#),
    ]);
    for stage in ["dev", "prod-acme"] {
        let environment = pipeline.local("projects")[format!("publish-{stage}")]["environment"].clone();
        assert_eq!(environment["GLOBAL_BUCKET"], staged(GLOBAL_BUCKET, stage));
        let regional = ["region-x", "region-y"].map(|region| staged(&regional_bucket(region), stage));
        assert_eq!(environment["DESTINATION_BUCKETS"], serde_json::json!(regional));
    }
    assert_eq!(object(&pipeline.local("projects")).len(), 4);
}

/// What a role may do, as `action resource`.
fn granted(statements: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for statement in array(statements) {
        assert_eq!(statement["Effect"], "Allow");
        for action in array(&statement["Action"]) {
            for resource in array(&statement["Resource"]) {
                let (action, resource) = (string(action), string(resource));
                assert!(!action.contains('*'), "{statement:#}");
                assert!(
                    resource.trim_end_matches("/*").len() > 3 && !resource.starts_with('*'),
                    "{statement:#}"
                );
                all.insert(format!("{action} {resource}"));
            }
        }
    }
    all
}

#[test]
fn each_role_may_do_what_its_action_does_and_no_more() {
    let pipeline = from_a_bucket();
    let projects = pipeline.local("project_statements");
    let of = |project: &str| granted(&projects[project]);
    let names: BTreeSet<&String> = object(&projects).keys().collect();
    assert_eq!(names, object(&pipeline.local("projects")).keys().collect());
    // Who runs what the source says has no key, and comes to no stage.
    assert_eq!(
        of("make"),
        ["s3:PutObject", "s3:AbortMultipartUpload"]
            .map(|action| format!("{action} artifacts.arn/made/*"))
            .into()
    );
    let secret = "secretsmanager:GetSecretValue arn:aws:secretsmanager:eu-west-1:123:secret:release";
    assert!(of("sign").contains(secret));
    assert!(of("sign").contains("s3:GetObject arn:aws-us-gov:s3:::packages/bin/harness"));
    for (project, _) in object(&projects) {
        let has = of(project);
        assert_eq!(
            has.iter().any(|grant| grant.starts_with("secretsmanager:")),
            project == "sign",
            "{project}"
        );
        // Only who signs writes what is deployed, and only to its own stage does anybody publish.
        assert_eq!(
            has.contains("s3:PutObject artifacts.arn/signed/*"),
            project == "sign",
            "{project}"
        );
        let others = has.iter().filter(|grant| grant.contains(":::global-builds-"));
        for grant in others {
            let stage = project.strip_prefix("publish-").unwrap();
            let of_stage = format!(":::{}", staged(GLOBAL_BUCKET, stage));
            assert!(
                grant.ends_with(&of_stage) || grant.ends_with(&(of_stage + "/*")),
                "{project}: {grant}"
            );
        }
    }
    let of_pipeline = granted(&pipeline.local("pipeline_statements"));
    for stage in ["dev", "staging", "prod"] {
        let function = staged("pipeline-action", stage);
        let grant = format!("lambda:InvokeFunction arn:aws-us-gov:lambda:us-east-1:123:function:{function}");
        assert!(of_pipeline.contains(&grant), "{of_pipeline:#?}");
    }
    assert!(of_pipeline.contains("s3:GetObjectVersion arn:aws-us-gov:s3:::sources/source.zip"));
    assert!(
        !of_pipeline
            .iter()
            .any(|grant| grant.contains("UseConnection") || grant.contains("global-builds"))
    );
    for (role, service) in [("pipeline", "codepipeline"), ("project", "codebuild")] {
        let role = pipeline.block("resource", &["aws_iam_role", role]);
        let trusts = pipeline.evaluate(attribute(role, "assume_role_policy"))["Statement"][0].clone();
        assert_eq!(trusts["Principal"]["Service"], format!("{service}.amazonaws.com"));
        assert_eq!(trusts["Condition"]["StringEquals"]["aws:SourceAccount"], "123");
    }
    let arn = "arn:aws:codestar-connections:us-east-1:123:connection/c";
    let connected = self::pipeline(&[
        ("connection_arn", &format!("{arn:?}")),
        ("repository", r#""acme/shop""#),
    ]);
    let of_pipeline = granted(&connected.local("pipeline_statements"));
    assert!(of_pipeline.contains(&format!("codestar-connections:UseConnection {arn}")));
    assert!(!of_pipeline.iter().any(|grant| grant.contains(":::sources")));
}

/// The calls of a script are those that its role may make.
#[test]
fn scripts_are_scripts_and_are_told_all_that_they_read() {
    let pipeline = from_a_bucket();
    for (project, declared) in object(&pipeline.local("projects")) {
        let script = string(&declared["script"]);
        let path = root().join("terraform/pipeline").join(&script);
        let looked = Command::new("bash").arg("-n").arg(&path).output().unwrap();
        assert!(
            looked.status.success(),
            "{script}: {}",
            String::from_utf8_lossy(&looked.stderr)
        );
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("set -euo pipefail"), "{script}");
        assert!(
            text.contains(&format!(">{}", string(&declared["output"]))) || project == "sign",
            "{script}"
        );
        let told: BTreeSet<&str> = object(&declared["environment"])
            .keys()
            .chain(object(&declared["secrets"]).keys())
            .map(String::as_str)
            .collect();
        for name in &told {
            assert!(
                text.contains(&format!("${name}")) || text.contains(&format!("${{{name}")),
                "{script}: {name}"
            );
        }
        let words = text.split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
        let read = words.filter(|word| word.len() > 6 && word.contains('_'));
        for word in read.filter(|word| !word.starts_with("CODEBUILD_")) {
            assert!(
                told.contains(word),
                "{script} reads {word}, which nobody tells {project}"
            );
        }
    }
}

/// Terraform, where it and a folder with its provider are found: FLEETCAST_TERRAFORM_PLUGINS, or the machine's own configuration.
fn terraform(folder: &Path, arguments: &[&str]) -> Option<(bool, String)> {
    let mut command = Command::new("terraform");
    let ended = command.args(arguments).arg("-no-color").current_dir(folder).output();
    let ended = ended.ok()?;
    let said = [ended.stdout, ended.stderr].concat();
    Some((ended.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[test]
fn terraform_itself_takes_the_pipeline_where_it_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let copy = |from: PathBuf, to: &Path| {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
            }
        }
    };
    let source = root().join("terraform/pipeline");
    copy(source.clone(), folder.path());
    copy(source.join("tests"), &folder.path().join("tests"));
    let plugins = std::env::var("FLEETCAST_TERRAFORM_PLUGINS").map(|plugins| format!("-plugin-dir={plugins}"));
    if plugins.is_err() && std::env::var_os("TF_CLI_CONFIG_FILE").is_none() {
        return eprintln!(
            "nobody says where the provider is (FLEETCAST_TERRAFORM_PLUGINS): the pipeline is read here, and not validated"
        );
    }
    let init: Vec<&str> = ["init", "-backend=false"]
        .into_iter()
        .chain(plugins.as_deref())
        .collect();
    match terraform(folder.path(), &init) {
        None => return eprintln!("terraform is not installed: the pipeline is read here, and not validated"),
        Some((false, said)) if plugins.is_err() => {
            return eprintln!("the provider is not found, so the pipeline is read here and not validated: {said}");
        }
        Some((went_well, said)) => assert!(went_well, "{said}"),
    }
    for command in ["validate", "test"] {
        let (went_well, said) = terraform(folder.path(), &[command]).unwrap();
        assert!(went_well, "terraform {command}: {said}");
    }
}
