//! The workflow's definition with the reference implementation of JSONata, in the version that Step Functions takes: whatever comes in and whatever
//! tasks answer, each expression finds something, and the rows and messages say what happened. How services answer is the other test's
//! (`cargo test -p lambdas --test workflow`).

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// The file of the implementation. None where it cannot be had, which is said and, in CI, is a failure.
fn jsonata() -> Option<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/jsonata.sh");
    let installed = Command::new(script).arg("install").output().unwrap();
    if installed.status.success() {
        return Some(String::from_utf8(installed.stdout).unwrap().trim().to_owned());
    }
    let why = String::from_utf8_lossy(&installed.stderr);
    assert!(std::env::var_os("CI").is_none(), "{why}");
    eprintln!("skipped: {why}");
    None
}

fn definition() -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../terraform/step_function_definition.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// What ran of each case: states, calls, and output or failure.
fn run(cases: &[Value]) -> Option<Vec<Value>> {
    let jsonata = jsonata()?;
    let runner = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/state_machine/run.js");
    let mut node = Command::new("node")
        .arg(runner)
        .arg(jsonata)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let work = json!({"definition": definition(), "cases": cases});
    node.stdin
        .take()
        .unwrap()
        .write_all(work.to_string().as_bytes())
        .unwrap();
    let ended = node.wait_with_output().unwrap();
    assert!(ended.status.success(), "its message is above");
    Some(serde_json::from_slice(&ended.stdout).unwrap())
}

fn good(buckets: &[&str]) -> Value {
    json!({
        "sourceBucket": "global-builds", "sourceKey": "b.zip", "sourceVersionId": "v1", "sourceSequencer": "0A",
        "destinationBuckets": buckets,
    })
}

fn copied(root: &str) -> Value {
    json!({"Payload": {"bucket": "?", "status": "SUCCEEDED", "root": root}})
}

fn of_bucket(bucket: &str, status: &str) -> Value {
    json!({"Payload": {"bucket": bucket, "status": status, "root": "ab", "error": "ObjectMissing", "cause": "it is gone"}})
}

/// Each call of this state that was made, and this part of its arguments.
fn calls(ran: &Value, state: &str, part: &str) -> Vec<Value> {
    let all = ran["calls"].as_array().unwrap().iter();
    let of_state = all.filter(|call| call["state"] == state);
    of_state
        .map(|call| call["arguments"].pointer(part).unwrap().clone())
        .collect()
}

fn went_through(ran: &Value) -> Vec<&str> {
    ran["states"]
        .as_array()
        .unwrap()
        .iter()
        .map(|state| state.as_str().unwrap())
        .collect()
}

const CONDITION: &str = "DynamoDB.ConditionalCheckFailedException";

#[test]
fn copies_that_go_well_fail_and_come_late_end_in_the_row_and_the_message() {
    let two = ["a", "b"];
    let answers = |a: Value, b: Value| json!({"CopyToBucket": {"a": a, "b": b}});
    let raised = json!({"Error": "Lambda.Unknown", "Cause": "no answer"});
    let cases = [
        (
            answers(of_bucket("a", "SUCCEEDED"), of_bucket("b", "SUCCEEDED")),
            "COMPLETED",
        ),
        (
            answers(of_bucket("a", "SUCCEEDED"), of_bucket("b", "FAILED")),
            "PARTIAL_FAILURE",
        ),
        (answers(of_bucket("a", "SUCCEEDED"), raised.clone()), "PARTIAL_FAILURE"),
        (answers(raised, of_bucket("b", "FAILED")), "FAILED"),
        (
            answers(of_bucket("a", "SUCCEEDED"), of_bucket("b", "SUPERSEDED")),
            "SUPERSEDED",
        ),
        // Somebody else's row by now: nothing is written, and the end is the same.
        (
            json!({
                "CopyToBucket": {"a": of_bucket("a", "SUCCEEDED"), "b": of_bucket("b", "FAILED")},
                "LogWorkflowStart": {"all": {"Error": CONDITION, "Cause": "newer"}},
                "UpdateDynamoDBFinal": {"all": {"Error": CONDITION, "Cause": "newer"}},
            }),
            "PARTIAL_FAILURE",
        ),
    ];
    let given: Vec<Value> = cases
        .iter()
        .map(|(answers, _)| json!({"input": good(&two), "answers": answers}))
        .collect();
    let Some(ran) = run(&given) else { return };
    for ((answers, status), ran) in cases.iter().zip(&ran) {
        let values = calls(ran, "UpdateDynamoDBFinal", "/ExpressionAttributeValues");
        assert_eq!(values[0][":status"]["S"], *status, "{answers}");
        let count = |name: &str| values[0][name]["N"].as_str().unwrap().parse::<usize>().unwrap();
        let list = |name: &str| values[0][name]["L"].as_array().unwrap().len();
        assert_eq!(
            (count(":total"), count(":good"), count(":bad")),
            (2, list(":goodBuckets"), list(":badBuckets"))
        );
        let results: Vec<Value> = serde_json::from_str(values[0][":results"]["S"].as_str().unwrap()).unwrap();
        assert_eq!(results.len(), 2);
        let has_failed = status.ends_with("FAILED") || status.ends_with("FAILURE");
        let told = calls(ran, "SendFailureNotification", "/Message");
        assert_eq!(told.len(), usize::from(has_failed), "{answers}");
        if has_failed {
            let cause = ran["failed"]["Cause"].as_str().unwrap();
            assert_eq!(ran["failed"]["Error"], "SomeCopiesFailed");
            assert!(cause.contains("of 2 copies of b.zip have failed: "), "{cause}");
            assert!(
                told[0].as_str().unwrap().contains("FileCopy")
                    || told[0].as_str().unwrap().contains("${tracking_table}")
            );
        } else {
            assert!(ran.get("failed").is_none(), "{ran:#}");
        }
    }
    // A cause that nobody gave has a word all the same.
    let results = calls(&ran[2], "UpdateDynamoDBFinal", "/ExpressionAttributeValues/:results/S");
    assert!(results[0].as_str().unwrap().contains("no answer"), "{results:?}");
}

#[test]
fn the_start_says_what_is_copied_and_one_that_cannot_be_written_copies_nothing() {
    let one = json!({"CopyToBucket": {"all": copied("ab")}});
    let mut bare = good(&["a"]);
    for field in ["sourceVersionId", "sourceSequencer"] {
        bare.as_object_mut().unwrap().remove(field);
    }
    let refused = json!({"LogWorkflowStart": {"all": {"Error": "DynamoDB.Throttled", "Cause": "slow"}}});
    let untold = json!({
        "CopyToBucket": {"all": {"Error": "X"}},
        "SendFailureNotification": {"all": {"Error": "SNS.Denied", "Cause": "no"}},
    });
    let Some(ran) = run(&[
        json!({"input": good(&["a"]), "answers": one.clone()}),
        json!({"input": bare, "answers": one}),
        json!({"input": good(&["a", "b"]), "answers": refused}),
        json!({"input": good(&["a"]), "answers": untold}),
    ]) else {
        return;
    };
    let start = |ran| calls(ran, "LogWorkflowStart", "")[0].clone();
    // One bucket is a list of one all the same: in JSONata a list of one is the one.
    let values = start(&ran[0])["ExpressionAttributeValues"].clone();
    assert_eq!(values[":destinations"]["L"], json!([{"S": "a"}]));
    assert_eq!(
        (&values[":version"]["S"], &values[":limit"]["S"]),
        (&"v1".into(), &"0A".into())
    );
    assert!(
        start(&ran[0])["UpdateExpression"]
            .as_str()
            .unwrap()
            .contains("sequencer = :sequencer ")
    );
    let ended = calls(&ran[0], "UpdateDynamoDBFinal", "/ExpressionAttributeValues")[0].clone();
    assert_eq!(ended[":goodBuckets"]["L"].as_array().unwrap().len(), 1);
    assert_eq!(ended[":badBuckets"]["L"], json!([]));
    assert_eq!(ended[":root"], json!({"S": "ab"}));
    let values = start(&ran[1])["ExpressionAttributeValues"].clone();
    assert_eq!(
        (&values[":version"]["S"], &values[":limit"]["S"]),
        (&"newest".into(), &"~".into())
    );
    assert!(
        start(&ran[1])["UpdateExpression"]
            .as_str()
            .unwrap()
            .contains("if_not_exists(sequencer")
    );
    assert_eq!(calls(&ran[1], "CopyToBucket", "/Payload/sourceVersionId"), [""]);

    assert_eq!(
        went_through(&ran[2]),
        [
            "ValidateInput",
            "LogWorkflowStart",
            "SendFailureNotification",
            "SomeCopiesFailed"
        ]
    );
    assert!(
        ran[2]["failed"]["Cause"]
            .as_str()
            .unwrap()
            .contains("nothing was copied: DynamoDB.Throttled: slow")
    );
    assert_eq!(ran[3]["failed"]["Error"], "NotificationFailed");
}

#[test]
fn whatever_comes_in_is_refused_with_a_row_and_a_message_and_never_by_an_expression() {
    let inputs = [
        json!({}),
        json!([]),
        json!("text"),
        json!(7),
        json!(null),
        json!({"sourceBucket": 7, "sourceKey": ["a"], "destinationBuckets": "a"}),
        json!({"sourceBucket": "g", "sourceKey": "", "destinationBuckets": ["a"]}),
        json!({"sourceBucket": "g", "sourceKey": "k", "destinationBuckets": []}),
        json!({"sourceBucket": "g", "sourceKey": "k", "destinationBuckets": ["a", 7]}),
        // A list in the list is none of its buckets, however JSONata flattens it.
        json!({"sourceBucket": "g", "sourceKey": "k", "destinationBuckets": [["a"]]}),
        json!({"sourceBucket": "g", "sourceKey": "k", "destinationBuckets": ["a", "a"]}),
        json!({"sourceBucket": "g", "sourceKey": "k", "destinationBuckets": ["g"]}),
        json!({"sourceBucket": "g", "sourceKey": "k".repeat(5000), "destinationBuckets": [[]]}),
        json!({"sourceBucket": "g", "sourceKey": "folder/", "destinationBuckets": ["a"], "refused": "it is the marker of a folder"}),
    ];
    let denied = json!({"LogRefusal": {"all": {"Error": "DynamoDB.Denied", "Cause": "no"}}});
    let cases: Vec<Value> = inputs
        .iter()
        .flat_map(|input| {
            [
                json!({"input": input, "answers": {}}),
                json!({"input": input, "answers": denied}),
            ]
        })
        .collect();
    let Some(ran) = run(&cases) else { return };
    for (case, ran) in cases.iter().zip(&ran) {
        assert_eq!(
            went_through(ran),
            [
                "ValidateInput",
                "LogRefusal",
                "SendFailureNotification",
                "SomeCopiesFailed"
            ],
            "{case}: {ran:#}"
        );
        let key = &calls(ran, "LogRefusal", "/Key/fileKey/S")[0];
        assert!((1..=500).contains(&key.as_str().unwrap().len()), "{key}");
    }
    assert!(
        ran[26]["failed"]["Cause"]
            .as_str()
            .unwrap()
            .contains("marker of a folder")
    );
}

/// Each state, and each way out of one, is gone by one of the cases above; so no expression is there that they do not evaluate.
#[test]
fn no_state_is_without_a_case() {
    let definition = definition();
    let states = definition["States"].as_object().unwrap();
    let mut reached = BTreeSet::from([definition["StartAt"].as_str().unwrap()]);
    for state in states.values() {
        let ways = [&state["Catch"], &state["Choices"]];
        let more = ways.into_iter().filter_map(Value::as_array).flatten();
        reached.extend(
            more.chain([state])
                .flat_map(|way| [&way["Next"], &way["Default"]])
                .filter_map(Value::as_str),
        );
    }
    assert_eq!(reached, states.keys().map(String::as_str).collect());
}
