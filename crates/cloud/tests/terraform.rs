//! What terraform/ declares is what the code expects. No provider can be downloaded where tests run, so the files are
//! parsed and their expressions evaluated here: names, keys, environment variables, triggers and permissions for every
//! stage. An argument that its module does not know is not seen.

mod rig;
mod terraform_files;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use aws_sdk_dynamodb::types::KeyType;
use cloud::{GLOBAL_BUCKET, HOST_DEPLOYMENT_LOGS, TRACKING_TABLE, regional_bucket, seeder_queue, staged};
use rig::TestCloud;
use serde_json::Value;
use terraform_files::{FUNCTIONS, Infrastructure, REGIONS, array, attribute, files, nested, object, root, string};

const ENDPOINT: &str = "http://127.0.0.1:4566";

#[test]
fn names_are_those_of_the_code_for_every_stage() {
    for stage in ["", "dev", "staging", "prod-acme"] {
        let infrastructure = Infrastructure::on_aws(stage);
        let staged = |name: &str| match stage {
            "" => name.to_owned(),
            stage => format!("{name}-{stage}"),
        };
        for (local, name) in [
            ("global_bucket", GLOBAL_BUCKET),
            ("tracking_table", TRACKING_TABLE),
            ("deployment_log_table", HOST_DEPLOYMENT_LOGS),
            ("workflow", "file-copy-workflow"),
            ("failure_topic", "file-copy-failures"),
        ] {
            assert_eq!(infrastructure.local(local), Value::from(staged(name)), "{local}");
        }
        for region in ["region-a", "region-b"] {
            let of_region = |local: &str| infrastructure.local(local)[region].clone();
            assert_eq!(of_region("regional_buckets"), staged(&regional_bucket(region)));
            assert_eq!(of_region("region_queues"), staged(&format!("{region}-builds-events")));
            assert_eq!(
                of_region("region_dead_letter_queues"),
                staged(&format!("{region}-builds-events-dead-letter"))
            );
        }
        for (function, _) in FUNCTIONS {
            let named = infrastructure.function(function, "function_name");
            assert_eq!(named, staged(function));
        }
    }
}

/// The locals of names.tf are worth nothing unless the resources are called so.
#[test]
fn everything_is_called_by_its_name_and_stage() {
    let infrastructure = Infrastructure::on_aws("staging");
    for (module, argument, name) in [
        ("global_bucket", "bucket", "global-builds-staging"),
        ("tracking_table", "name", "FileCopyTracking-staging"),
        ("deployment_log_table", "name", "host-deployment-logs-staging"),
        ("file_copy_workflow", "name", "file-copy-workflow-staging"),
    ] {
        assert_eq!(infrastructure.module(module, argument), name, "{module}");
    }
    for region in ["us-east-1", "eu-west-1"] {
        let named = infrastructure.of_each("function_dead_letter_queue", "name", region);
        assert_eq!(named, "lambda-dead-letter-staging");
    }
    for (module, argument, name) in [
        ("regional_bucket", "bucket", "region-b-builds-staging"),
        ("region_queue", "name", "region-b-builds-events-staging"),
        ("region_queue", "dlq_name", "region-b-builds-events-dead-letter-staging"),
    ] {
        let named = infrastructure.of_each(module, argument, "region-b");
        assert_eq!(named, name, "{module}");
    }
    let topic = infrastructure.block("resource", &["aws_sns_topic", "failures"]);
    assert_eq!(
        infrastructure.evaluate(attribute(topic, "name")),
        "file-copy-failures-staging"
    );
    let provider = infrastructure.block("provider", &["aws"]);
    let tags = nested(provider, "default_tags").expect("the provider tags everything");
    assert_eq!(infrastructure.evaluate(attribute(tags, "tags"))["Stage"], "staging");
}

/// Compared with the tables that the code makes for itself, as a server describes them.
#[tokio::test]
async fn tables_have_the_keys_that_the_code_gives_them() {
    let test = TestCloud::start().await;
    let dynamodb = dynamodb(&test).await;
    let infrastructure = Infrastructure::on_aws("");
    for (module, table) in [
        ("tracking_table", TRACKING_TABLE),
        ("deployment_log_table", HOST_DEPLOYMENT_LOGS),
    ] {
        let described = dynamodb.describe_table().table_name(table).send().await.unwrap();
        let described = described.table().unwrap();
        let key = |kind: &KeyType| {
            let mut elements = described.key_schema().iter();
            let element = elements.find(|element| element.key_type() == kind).unwrap();
            Value::from(element.attribute_name())
        };
        assert_eq!(infrastructure.module(module, "hash_key"), key(&KeyType::Hash));
        assert_eq!(infrastructure.module(module, "range_key"), key(&KeyType::Range));
        let declared = infrastructure.module(module, "attributes");
        let declared: BTreeSet<(String, String)> = array(&declared)
            .iter()
            .map(|attribute| (string(&attribute["name"]), string(&attribute["type"])))
            .collect();
        let expected: BTreeSet<(String, String)> = described
            .attribute_definitions()
            .iter()
            .map(|a| (a.attribute_name().to_owned(), a.attribute_type().as_str().to_owned()))
            .collect();
        assert_eq!(declared, expected, "{table}");
    }
}

#[test]
fn tables_are_on_demand_encrypted_and_recoverable() {
    for (stage, protected) in [("dev", false), ("staging", false), ("prod", true), ("prod-acme", true)] {
        let infrastructure = Infrastructure::on_aws(stage);
        for table in ["tracking_table", "deployment_log_table"] {
            let argument = |name: &str| infrastructure.module(table, name);
            assert_eq!(argument("billing_mode"), "PAY_PER_REQUEST");
            assert_eq!(argument("point_in_time_recovery_enabled"), true);
            assert_eq!(argument("server_side_encryption_enabled"), true);
            assert_eq!(argument("deletion_protection_enabled"), protected, "{table} {stage}");
        }
        assert_eq!(infrastructure.module("global_bucket", "force_destroy"), !protected);
    }
}

#[test]
fn buckets_and_queues_are_encrypted_and_queues_have_dead_letter_queues() {
    let infrastructure = Infrastructure::on_aws("prod");
    let global = |argument: &str| infrastructure.module("global_bucket", argument);
    let regional = |argument: &str| infrastructure.of_each("regional_bucket", argument, "region-a");
    for bucket in [&global as &dyn Fn(&str) -> Value, &regional] {
        let encryption = bucket("server_side_encryption_configuration");
        let algorithm = &encryption["rule"]["apply_server_side_encryption_by_default"]["sse_algorithm"];
        assert_eq!(*algorithm, "AES256");
        // One execution per version of an object: without versions an overwritten build is not told from a repeated event.
        assert_eq!(bucket("versioning")["enabled"], true);
        assert_eq!(bucket("attach_deny_insecure_transport_policy"), true);
    }
    let queue = |argument: &str| infrastructure.of_each("region_queue", argument, "region-a");
    assert_eq!(queue("create_dlq"), true);
    assert_eq!(queue("sqs_managed_sse_enabled"), true);
    assert_eq!(queue("dlq_sqs_managed_sse_enabled"), true);
    assert!(queue("redrive_policy")["maxReceiveCount"].as_u64().unwrap() >= 2);
}

/// Two seeders on one queue would each hear of a part of the builds.
#[test]
fn each_seeder_of_a_region_has_a_queue_that_only_it_needs_and_is_told_of_every_build() {
    for stage in ["prod-acme", "dev"] {
        let infrastructure = Infrastructure::with(stage, "seeders_per_region", "3");
        for region in ["region-a", "region-b"] {
            let expected: Vec<String> = (1..=3)
                .map(|seeder| staged(&seeder_queue(region, seeder), stage))
                .collect();
            let output = infrastructure.block("output", &["seeder_queue_names"]);
            assert_eq!(
                infrastructure.evaluate(attribute(output, "value"))[region],
                serde_json::json!(expected)
            );
            for (seeder, name) in (2..).zip(&expected[1..]) {
                let of_seeder = |argument: &str| {
                    infrastructure.of_each("more_seeder_queue", argument, &format!("{region} {seeder}"))
                };
                assert_eq!(of_seeder("name"), *name);
                let aws_region = REGIONS.iter().find(|(fleet, _)| *fleet == region).unwrap().1;
                assert_eq!(of_seeder("region"), aws_region);
                let redrive = of_seeder("redrive_policy");
                assert_eq!(
                    redrive["deadLetterTargetArn"],
                    format!("region_queue[{region}].dead_letter_queue_arn")
                );
                assert!(redrive["maxReceiveCount"].as_u64().unwrap() >= 2);
                assert_eq!(of_seeder("sqs_managed_sse_enabled"), true);
            }
            // A dead-letter queue names who may send to it.
            let allowed = infrastructure.of_each("region_queue", "dlq_redrive_allow_policy", region);
            let allowed: Vec<String> = array(&allowed["sourceQueueArns"]).iter().map(string).collect();
            assert_eq!(allowed.len(), 3);
            assert!(
                allowed
                    .iter()
                    .zip(&expected)
                    .all(|(arn, name)| arn.ends_with(&format!(":123:{name}"))),
                "{allowed:?}"
            );
        }
        let told = infrastructure.function("regional-sync", "environment_variables");
        assert_eq!(told["SEEDERS_PER_REGION"], "3");
        // Their names are within what the function may send to.
        let statements = infrastructure.local("regional_sync_statements");
        let patterns: Vec<String> = array(&statements[0]["Resource"]).iter().map(string).collect();
        assert!(
            patterns
                .iter()
                .any(|pattern| pattern.ends_with(&staged(":*-builds-events-seeder-*", stage))),
            "{patterns:?}"
        );
    }
    assert_eq!(
        Infrastructure::on_aws("prod").local("more_seeder_queues"),
        serde_json::json!({})
    );
}

#[test]
fn functions_are_the_binaries_and_get_the_environment_that_they_read() {
    let local_stack = Infrastructure::at("", Some(ENDPOINT));
    let aws = Infrastructure::on_aws("prod");
    let declared: BTreeSet<String> = object(&aws.local("functions")).keys().cloned().collect();
    // Two are declared apart: the workflow calls the one, and the other is in each AWS region.
    let expected = FUNCTIONS.map(|(function, _)| function.to_owned());
    let apart = ["region-copier", "regional-sync"].map(str::to_owned);
    assert_eq!(&declared | &BTreeSet::from(apart), BTreeSet::from(expected));
    for (function, variables) in FUNCTIONS {
        let set = |infrastructure: &Infrastructure| -> BTreeSet<String> {
            let environment = infrastructure.function(function, "environment_variables");
            object(&environment).keys().cloned().collect()
        };
        let mut expected: BTreeSet<String> = variables.iter().map(|name| (*name).to_owned()).collect();
        expected.insert("RUST_LOG".to_owned());
        assert_eq!(set(&aws), expected, "{function}");
        expected.insert("AWS_ENDPOINT_URL".to_owned());
        assert_eq!(set(&local_stack), expected, "{function}");

        let argument = |name: &str| aws.function(function, name);
        assert_eq!(argument("runtime"), "provided.al2023");
        let package = string(&argument("local_existing_package"));
        assert!(
            package.ends_with(&format!("target/lambda/{function}/bootstrap.zip")),
            "{package}"
        );
        assert_eq!(argument("cloudwatch_logs_retention_in_days"), 30);
    }
    let environment = |function| aws.function(function, "environment_variables");
    assert_eq!(
        environment("replication-worker")["DESTINATION_BUCKETS"],
        "region-a-builds-prod,region-b-builds-prod"
    );
    assert_eq!(environment("regional-sync")["STAGE"], "prod");
    // The code's own default and Terraform's are one list.
    assert_eq!(environment("regional-sync")["BUILD_SUFFIXES"], cloud::BUILD_SUFFIXES);
    assert_eq!(environment("build-worker")["GLOBAL_BUCKET"], "global-builds-prod");
    assert_eq!(
        environment("pipeline-action")["STATE_MACHINE_ARN"],
        "file_copy_workflow.state_machine_arn"
    );
}

/// Against the crate of the functions: its binaries, and that somebody reads each variable.
#[test]
fn the_functions_crate_has_these_binaries_and_reads_these_variables() {
    let metadata = cargo_metadata::MetadataCommand::new().no_deps().exec().unwrap();
    let package = metadata
        .packages
        .iter()
        .find(|package| package.name.as_str() == "lambdas");
    let package = package.expect("the workspace has a crate `lambdas`");
    let binaries = package.targets.iter().filter(|target| target.is_bin());
    let binaries: BTreeSet<&str> = binaries.map(|target| target.name.as_str()).collect();
    assert_eq!(binaries, FUNCTIONS.map(|(function, _)| function).into());

    let mut sources = String::new();
    let mut folders = vec![root().join("crates/lambdas/src"), root().join("crates/cloud/src")];
    while let Some(folder) = folders.pop() {
        for file in files(&folder, "rs") {
            sources += &fs::read_to_string(file).unwrap();
        }
        let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        folders.extend(entries.filter(|path| path.is_dir()));
    }
    for name in FUNCTIONS.iter().flat_map(|(_, variables)| *variables) {
        assert!(
            sources.contains(&format!("\"{name}\"")),
            "terraform sets {name}, and nobody reads it"
        );
    }
}

#[test]
fn uploads_and_copies_start_their_functions() {
    let infrastructure = Infrastructure::on_aws("");
    let global = infrastructure.module("global_bucket_notification", "lambda_notifications");
    let regional = infrastructure.of_each("regional_bucket_notification", "lambda_notifications", "region-a");
    for (notifications, function, answers) in [
        (global, "replication-worker", "function[replication-worker]"),
        (regional, "regional-sync", "regional_sync[us-east-1]"),
    ] {
        let notified: Vec<&String> = object(&notifications).keys().collect();
        assert_eq!(notified, [function]);
        let notification = &notifications[function];
        assert_eq!(notification["function_arn"], format!("{answers}.lambda_function_arn"));
        // Multipart uploads and copies too.
        assert_eq!(notification["events"], serde_json::json!(["s3:ObjectCreated:*"]));
        let dead_letters = infrastructure.function(function, "dead_letter_target_arn");
        assert_eq!(dead_letters, "function_dead_letter_queue[us-east-1].queue_arn");
        assert_eq!(infrastructure.function(function, "attach_dead_letter_policy"), true);
    }
    assert_eq!(
        infrastructure.module("global_bucket_notification", "bucket"),
        "global_bucket.s3_bucket_id"
    );
}

/// A bucket calls functions of its own AWS region only, and those have queues of that region only.
#[test]
fn what_serves_a_region_is_in_its_aws_region() {
    let infrastructure = Infrastructure::on_aws("prod");
    for (region, aws_region) in REGIONS {
        for module in ["regional_bucket", "region_queue", "regional_bucket_notification"] {
            assert_eq!(
                infrastructure.of_each(module, "region", region),
                aws_region,
                "{module} of {region}"
            );
        }
        let calls = infrastructure.of_each("regional_bucket_notification", "lambda_notifications", region);
        let function = &calls["regional-sync"]["function_arn"];
        assert_eq!(*function, format!("regional_sync[{aws_region}].lambda_function_arn"));
        assert_eq!(
            infrastructure.of_each("regional_sync", "region", aws_region),
            aws_region
        );
        let dead_letters = infrastructure.of_each("regional_sync", "dead_letter_target_arn", aws_region);
        assert_eq!(
            dead_letters,
            format!("function_dead_letter_queue[{aws_region}].queue_arn")
        );
        assert_eq!(
            infrastructure.of_each("function_dead_letter_queue", "region", aws_region),
            aws_region
        );
    }
    // Roles are the account's: two of one name cannot be.
    let roles: BTreeSet<String> = REGIONS
        .iter()
        .map(|(_, aws_region)| string(&infrastructure.of_each("regional_sync", "role_name", aws_region)))
        .collect();
    assert_eq!(roles.len(), 2);
    // All in one region stays possible: it is the default.
    let local = Infrastructure::at("", Some(ENDPOINT));
    assert_eq!(local.local("bucket_regions"), serde_json::json!(["us-east-1"]));
}

/// One that is literal is refused in China and GovCloud.
#[test]
fn no_arn_names_the_partition() {
    for file in files(&root().join("terraform"), "tf")
        .into_iter()
        .chain(files(&root().join("terraform"), "json"))
    {
        let text = fs::read_to_string(&file).unwrap();
        // The description of a variable may show one.
        let literal = text.lines().find(|line| line.contains("\"arn:aws:"));
        assert_eq!(literal, None, "{}", file.display());
    }
    let infrastructure = Infrastructure::on_aws("prod");
    let filled = infrastructure.module("file_copy_workflow", "definition");
    assert_eq!(filled["partition"], "aws-us-gov");
}

#[test]
fn buckets_have_the_key_of_their_region_and_who_uses_builds_may_use_it() {
    let infrastructure = Infrastructure::with("prod", "kms_key_arns", r#"{ region-a = "key-a", global = "key-g" }"#);
    let encryption = |bucket: &Value| bucket["rule"]["apply_server_side_encryption_by_default"].clone();
    let a = infrastructure.of_each("regional_bucket", "server_side_encryption_configuration", "region-a");
    assert_eq!(encryption(&a)["sse_algorithm"], "aws:kms");
    assert_eq!(encryption(&a)["kms_master_key_id"], "key-a");
    let b = infrastructure.of_each("regional_bucket", "server_side_encryption_configuration", "region-b");
    assert_eq!(encryption(&b)["sse_algorithm"], "AES256");
    let global = infrastructure.module("global_bucket", "server_side_encryption_configuration");
    assert_eq!(encryption(&global)["kms_master_key_id"], "key-g");
    let may = |statements: &Value| {
        array(statements)
            .iter()
            .any(|statement| statement["Sid"] == "UseTheKeysOfBuilds")
    };
    assert!(may(&infrastructure.local("region_copier_statements")));
    assert!(may(&infrastructure.local("functions")["build-worker"]["statements"]));
    assert!(!may(&Infrastructure::on_aws("prod").local("region_copier_statements")));
}

/// Whoever makes a call has the action in its policy. Both sides are here: the calls are those of the code of each.
#[test]
fn the_policy_of_each_role_has_the_calls_that_it_makes() {
    let infrastructure = Infrastructure::on_aws("prod");
    let functions = infrastructure.local("functions");
    let granted = |statements: &Value| -> BTreeSet<String> {
        let actions = array(statements)
            .iter()
            .flat_map(|statement| array(&statement["Action"]).clone());
        actions.map(|action| string(&action)).collect()
    };
    let sources = |files: &[&str]| -> String {
        let read = |file: &&str| fs::read_to_string(root().join("crates").join(file)).unwrap();
        files.iter().map(read).collect()
    };
    let copier = sources(&["cloud/src/copies.rs", "cloud/src/versions.rs"]);
    // A call of the SDK, and the action that it needs (Service Authorization Reference).
    let needed = [
        (".head_object()", "s3:GetObject"),
        (".copy_object()", "s3:PutObject"),
        (".create_multipart_upload()", "s3:PutObject"),
        (".upload_part_copy()", "s3:GetObjectVersion"),
        (".complete_multipart_upload()", "s3:PutObject"),
        (".abort_multipart_upload()", "s3:AbortMultipartUpload"),
        (".get_object_tagging()", "s3:GetObjectVersionTagging"),
        (".list_object_versions()", "s3:ListBucketVersions"),
        (".head_bucket()", "s3:ListBucket"),
        (".set_tagging(", "s3:PutObjectTagging"),
    ];
    let has = granted(&infrastructure.local("region_copier_statements"));
    for (call, action) in needed {
        assert!(copier.contains(call), "region-copier does not call {call} any more");
        assert!(has.contains(action), "region-copier calls {call} and may not {action}");
    }
    let of = |function: &str| granted(&functions[function]["statements"]);
    for (function, actions) in [
        (
            "build-worker",
            &[
                "s3:PutObject",
                "s3:GetObject",
                "s3:GetObjectTagging",
                "s3:PutObjectTagging",
                "s3:ListBucket",
            ] as &[&str],
        ),
        ("replication-worker", &["states:StartExecution"]),
        (
            "step-function-invoker",
            &["states:StartExecution", "s3:GetObject", "s3:ListBucket"],
        ),
        (
            "pipeline-action",
            &["states:StartExecution", "states:DescribeExecution", "s3:GetObject"],
        ),
    ] {
        for action in actions {
            assert!(of(function).contains(*action), "{function} may not {action}");
        }
    }
    // An artifact that is encrypted with a customer's key is read with that key, and with no other.
    assert!(!of("pipeline-action").iter().any(|action| action.starts_with("kms:")));
    let with_key = Infrastructure::with(
        "prod",
        "pipeline_artifact_kms_key_arn",
        "\"arn:aws:kms:eu-west-1:123:key/k\"",
    );
    let statements = with_key.local("functions")["pipeline-action"]["statements"].clone();
    let decrypts = |statement: &&Value| statement["Sid"] == "UseTheKeyOfArtifacts";
    let decrypts = array(&statements).iter().find(decrypts).unwrap().clone();
    assert_eq!(
        (&decrypts["Action"][0], &decrypts["Resource"]),
        (&"kms:Decrypt".into(), &"arn:aws:kms:eu-west-1:123:key/k".into())
    );
    let sync = granted(&infrastructure.local("regional_sync_statements"));
    assert_eq!(sync, ["sqs:GetQueueUrl", "sqs:SendMessage"].map(str::to_owned).into());
    // The workflow's own calls, as its definition has them.
    let definition = sources(&["../terraform/step_function_definition.json"]);
    let has = granted(&infrastructure.local("workflow_statements"));
    for (resource, action) in [
        ("states:::lambda:invoke", "lambda:InvokeFunction"),
        ("states:::dynamodb:updateItem", "dynamodb:UpdateItem"),
        ("states:::sns:publish", "sns:Publish"),
    ] {
        assert!(definition.contains(resource) && has.contains(action), "{resource}");
    }
    let resources: BTreeSet<&str> = definition
        .split("}:states:::")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert_eq!(
        resources,
        ["lambda:invoke", "dynamodb:updateItem", "sns:publish"].into()
    );
}

/// Who can write to the table can write any host's row, so by default seeders do, which know who a host is.
#[test]
fn seeders_write_the_rows_of_hosts_and_hosts_only_where_somebody_wants_that() {
    let infrastructure = Infrastructure::on_aws("prod");
    let of_hosts = infrastructure.block("resource", &["aws_iam_policy", "host"]);
    assert_eq!(infrastructure.evaluate(attribute(of_hosts, "count")), 0);
    let of_seeders = infrastructure.block("resource", &["aws_iam_policy", "seeder"]);
    let policy = attribute(of_seeders, "policy").to_string();
    assert!(
        policy.contains("dynamodb:PutItem") && policy.contains("deployment_log_table"),
        "{policy}"
    );
    assert!(
        !policy.contains("BatchWriteItem"),
        "a row that is there already is found by a condition"
    );
    let table = fs::read_to_string(root().join("crates/cloud/src/deployment_log_table.rs")).unwrap();
    assert!(table.contains(".put_item()") && table.contains(".condition_expression("));
}

/// What `harness` calls is in the policy of who runs it.
#[test]
fn an_operator_may_see_to_dead_letters() {
    let infrastructure = Infrastructure::on_aws("prod");
    let policy = infrastructure.block("resource", &["aws_iam_policy", "operator"]);
    let policy = infrastructure.evaluate(attribute(policy, "policy"));
    let may = |action: &str, on: &str| {
        let mut statements = array(&policy["Statement"]).iter();
        statements.any(|statement| {
            let has = array(&statement["Action"]).iter().any(|has| has == action);
            has && statement["Resource"].to_string().contains(on)
        })
    };
    let letters = fs::read_to_string(root().join("crates/pipeline/src/dead_letters.rs")).unwrap();
    let queues = fs::read_to_string(root().join("crates/pipeline/src/queues.rs")).unwrap();
    for (call, action, on) in [
        ("receive_message()", "sqs:ReceiveMessage", "events-dead-letter"),
        ("receive_message()", "sqs:ReceiveMessage", "lambda-dead-letter"),
        (
            "change_message_visibility()",
            "sqs:ChangeMessageVisibility",
            "events-dead-letter",
        ),
        ("delete_message()", "sqs:DeleteMessage", "lambda-dead-letter"),
        ("send_message()", "sqs:SendMessage", "-builds-events-prod"),
        ("get_queue_attributes()", "sqs:GetQueueAttributes", "lambda-dead-letter"),
    ] {
        assert!(queues.contains(call), "queues.rs does not call {call} any more");
        assert!(
            may(action, on),
            "harness dead-letters calls {call} and an operator may not {action} on {on}"
        );
    }
    assert!(letters.contains(".invoke()") && may("lambda:InvokeFunction", "regional-sync-prod"));
    assert!(letters.contains("head_version(") && may("s3:GetObject", "*-builds-prod/*"));
    assert!(policy.to_string().len() < 6144, "{}", policy.to_string().len());
}

/// AWS's limits, for as many regions as are allowed: the environment of a function has 4 KB, a managed policy 6,144 characters, a
/// function's own policy 20 KB, and an execution's failure 32 KiB of cause.
#[test]
fn a_hundred_regions_stay_within_the_limits_of_aws() {
    let regions: Vec<String> = (0..100)
        .map(|n| format!("region-{n:03} = \"eu-west-{}\"", n % 3 + 1))
        .collect();
    let infrastructure = Infrastructure::with("staging-acme", "regions", &format!("{{ {} }}", regions.join(", ")));
    for function in [
        "replication-worker",
        "step-function-invoker",
        "build-worker",
        "pipeline-action",
    ] {
        let environment = infrastructure.function(function, "environment_variables");
        let bytes: usize = object(&environment)
            .iter()
            .map(|(name, value)| name.len() + string(value).len())
            .sum();
        assert!(bytes < 4096, "{function}: {bytes}");
        let policy = infrastructure.local("functions")[function]["statements"]
            .to_string()
            .len();
        assert!(policy < 6144, "{function}: {policy}");
    }
    for statements in [
        "workflow_statements",
        "region_copier_statements",
        "regional_sync_statements",
    ] {
        let policy = infrastructure.local(statements).to_string().len();
        assert!(policy < 6144, "{statements}: {policy}");
    }
    // One permission for all buckets of an AWS region.
    let permission = infrastructure.block("resource", &["aws_lambda_permission", "regional_buckets"]);
    assert_eq!(infrastructure.evaluate(attribute(permission, "source_account")), "123");
    assert_eq!(
        array(&infrastructure.evaluate(attribute(permission, "for_each"))).len(),
        3
    );
    // What the definition cuts causes to: 7,000 characters of at most 4 bytes.
    let definition = fs::read_to_string(root().join("terraform/step_function_definition.json")).unwrap();
    assert!(definition.contains("'; '), 0, 7000)"));
}

#[test]
fn the_api_has_the_three_paths_each_by_post() {
    let infrastructure = Infrastructure::on_aws("");
    let routes = infrastructure.local("routes");
    let routes: BTreeMap<&str, String> = object(&routes)
        .iter()
        .map(|(path, function)| (path.as_str(), string(function)))
        .collect();
    let expected = [
        ("builds", "build-worker"),
        ("deploy", "step-function-invoker"),
        ("step-function", "step-function-invoker"),
    ];
    assert_eq!(
        routes,
        expected.map(|(path, function)| (path, function.to_owned())).into()
    );
    let method = infrastructure.block("resource", &["aws_api_gateway_method", "post"]);
    assert_eq!(infrastructure.evaluate(attribute(method, "http_method")), "POST");
    // Whoever may post builds may deploy: on AWS not everybody.
    assert_eq!(infrastructure.evaluate(attribute(method, "authorization")), "AWS_IAM");
    assert_eq!(infrastructure.local("api_stage"), "dev");
}

#[test]
fn outputs_are_there() {
    let infrastructure = Infrastructure::at("", Some(ENDPOINT));
    let output = |name: &str| infrastructure.evaluate(attribute(infrastructure.block("output", &[name]), "value"));
    assert_eq!(
        output("api_gateway_url"),
        format!("{ENDPOINT}/restapis/rest_api.id/dev/_user_request_")
    );
    assert_eq!(output("step_function_arn"), "file_copy_workflow.state_machine_arn");
    assert_eq!(output("global_bucket"), "global_bucket.s3_bucket_id");
    assert_eq!(
        output("regional_buckets")["region-b"],
        "regional_bucket[region-b].s3_bucket_id"
    );
    assert_eq!(output("tracking_table"), "tracking_table.dynamodb_table_id");
    assert_eq!(output("deployment_log_table"), "deployment_log_table.dynamodb_table_id");
}

/// Least privilege: whole services are never granted, and every resource only where AWS knows no other.
#[test]
fn no_policy_grants_more_than_named_actions_on_named_resources() {
    let infrastructure = Infrastructure::on_aws("prod");
    let mut statements = array(&infrastructure.local("workflow_statements")).clone();
    statements.extend(array(&infrastructure.local("region_copier_statements")).iter().cloned());
    statements.extend(array(&infrastructure.local("regional_sync_statements")).iter().cloned());
    for (_, function) in object(&infrastructure.local("functions")) {
        statements.extend(array(&function["statements"]).iter().cloned());
    }
    assert!(statements.len() > 10);
    for statement in &statements {
        for action in array(&statement["Action"]) {
            assert!(!string(action).contains('*'), "{statement:?}");
        }
        if statement["Sid"] != "ReportTheJob" {
            assert_ne!(statement["Resource"], "*", "{statement:?}");
        }
    }
}

#[test]
fn modules_are_official_and_of_one_exact_version_each() {
    let infrastructure = Infrastructure::on_aws("prod");
    let mut versions: BTreeMap<String, String> = BTreeMap::new();
    for block in infrastructure.blocks("module") {
        let source = string(&infrastructure.evaluate(attribute(block, "source")));
        assert!(source.starts_with("terraform-aws-modules/"), "{source}");
        let module = source.split("//").next().unwrap().to_owned();
        let version = string(&infrastructure.evaluate(attribute(block, "version")));
        let parts: Vec<&str> = version.split('.').collect();
        assert!(
            parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok()),
            "{source} {version}"
        );
        let seen = versions.entry(module).or_insert_with(|| version.clone());
        assert_eq!(*seen, version, "two versions of {source}");
    }
    assert!(versions.len() >= 5);
}

/// templatefile() fails on a placeholder that nobody fills, and reads `%{` as a directive.
#[test]
fn the_state_machine_uses_only_what_terraform_fills_in() {
    let file = root().join("terraform/step_function_definition.json");
    let definition = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let infrastructure = Infrastructure::on_aws("prod");
    let filled = infrastructure.module("file_copy_workflow", "definition");
    let filled: BTreeSet<&str> = object(&filled).keys().map(String::as_str).collect();
    let used: BTreeSet<&str> = definition
        .split("${")
        .skip(1)
        .map(|rest| rest.split('}').next().unwrap())
        .collect();
    assert_eq!(used, filled);
    assert!(!definition.contains("%{"), "terraform reads %{{ as a directive");
}

async fn dynamodb(test: &TestCloud) -> aws_sdk_dynamodb::Client {
    let config = test.embedded.config();
    let keys = config.credentials.as_ref().expect("the embedded cloud has keys");
    let keys =
        aws_sdk_dynamodb::config::Credentials::new(&keys.access_key_id, &keys.secret_access_key, None, None, "test");
    let endpoint = config.dynamodb_endpoint.as_ref().expect("it has an endpoint");
    let shared = aws_config::defaults(aws_config::BehaviorVersion::latest())
        .region("us-east-1")
        .credentials_provider(keys)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .load()
        .await;
    let builder = aws_sdk_dynamodb::config::Builder::from(&shared);
    aws_sdk_dynamodb::Client::from_conf(builder.endpoint_url(endpoint).build())
}
