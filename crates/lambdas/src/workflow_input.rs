//! What `file-copy-workflow` takes, and what its executions are called.

use std::collections::BTreeSet;

use cloud::ObjectCreated;
use serde_json::{Map, Value, json};

use crate::http::BadRequest;

/// The workflow's input for an object.
pub fn of_object(object: &ObjectCreated, destination_buckets: &[String]) -> Value {
    let mut input = json!({
        "sourceBucket": object.bucket,
        "sourceKey": object.key,
        "destinationBuckets": destination_buckets,
    });
    // The version that the event tells of, and not one that came meanwhile.
    if let Some(version) = &object.version_id {
        input["sourceVersionId"] = version.as_str().into();
    }
    if let Some(sequencer) = &object.sequencer {
        input["sourceSequencer"] = sequencer.as_str().into();
    }
    input
}

/// Name of the execution for an object: the same for each time that an event tells of it, and another for another version.
/// At most 80 characters of A-Z a-z 0-9 - _, as Step Functions has it.
pub fn execution_name(object: &ObjectCreated) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [&object.bucket, &object.key, &object.version] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let hash = hasher.finalize().to_hex();
    format!("{}-{}", readable(&object.key, 40), &hash[..32])
}

/// What of a key a name can have.
pub fn readable(key: &str, length_max: usize) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    key.chars().map(allowed).take(length_max).collect()
}

/// Checks an input that somebody posts; all that is wrong with it is told at once.
///
/// # Errors
/// Where something is.
pub fn check(fields: &Map<String, Value>) -> Result<Value, BadRequest> {
    let mut problems = Vec::new();
    let mut text = |name: &str, length_max: usize| match fields.get(name) {
        Some(Value::String(text)) if !text.is_empty() && text.len() <= length_max => text.clone(),
        Some(_) => {
            problems.push(format!("{name} — expected a text of 1 to {length_max} bytes"));
            String::new()
        }
        None => {
            problems.push(format!("{name} — missing; expected a text"));
            String::new()
        }
    };
    let (bucket, key) = (text("sourceBucket", 63), text("sourceKey", 1024));
    let buckets = match fields.get("destinationBuckets") {
        Some(Value::Array(buckets)) if !buckets.is_empty() && buckets.len() <= DESTINATIONS_MAX => buckets.clone(),
        _ => {
            problems.push(format!(
                "destinationBuckets — expected a list of 1 to {DESTINATIONS_MAX} buckets"
            ));
            Vec::new()
        }
    };
    let is_bucket = |bucket: &Value| bucket.as_str().is_some_and(is_bucket_name);
    if let Some(bad) = buckets.iter().find(|bucket| !is_bucket(bucket)) {
        problems.push(format!(
            "destinationBuckets — {bad} is no bucket; expected 3 to 63 characters a-z 0-9 . -"
        ));
    }
    let mut seen = BTreeSet::new();
    for destination in buckets.iter().filter_map(Value::as_str) {
        if destination == bucket {
            problems.push(format!("destinationBuckets — {destination} is the source"));
        }
        if !seen.insert(destination) {
            problems.push(format!("destinationBuckets — {destination} is named twice"));
        }
    }
    let version = fields.get("sourceVersionId").filter(|version| !version.is_null());
    let is_version = |version: &Value| version.as_str().is_some_and(|id| (1..=1024).contains(&id.len()));
    if version.is_some_and(|version| !is_version(version)) {
        problems.push("sourceVersionId — expected the id of a version, or nothing for the newest".to_owned());
    }
    for name in fields.keys() {
        if !["sourceBucket", "sourceKey", "sourceVersionId", "destinationBuckets"].contains(&name.as_str()) {
            problems.push(format!("{name} — is not known"));
        }
    }
    if !problems.is_empty() {
        return Err(BadRequest(problems.join("; ")));
    }
    let mut input = json!({"sourceBucket": bucket, "sourceKey": key, "destinationBuckets": buckets});
    if let Some(version) = version {
        input["sourceVersionId"] = version.clone();
    }
    Ok(input)
}

fn is_bucket_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
    (3..=63).contains(&name.len()) && name.chars().all(allowed)
}

/// Regions of a fleet at most.
const DESTINATIONS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str, version: &str) -> ObjectCreated {
        ObjectCreated {
            bucket: "global-builds".to_owned(),
            key: key.to_owned(),
            size: None,
            version: version.to_owned(),
            version_id: None,
            sequencer: None,
        }
    }

    #[test]
    fn an_execution_is_named_by_object_and_version_and_its_name_is_allowed() {
        let name = execution_name(&object("team/app 1+ü.zip", "v1"));
        assert_eq!(name, execution_name(&object("team/app 1+ü.zip", "v1")));
        assert_ne!(name, execution_name(&object("team/app 1+ü.zip", "v2")));
        assert_ne!(execution_name(&object("a", "bc")), execution_name(&object("ab", "c")));
        for name in [name, execution_name(&object(&"k".repeat(1024), "v"))] {
            assert!(name.len() <= 80, "{name}");
            assert!(
                name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)),
                "{name}"
            );
        }
    }

    #[test]
    fn every_problem_of_an_input_is_told() {
        let fields = |value: Value| value.as_object().unwrap().clone();
        let good =
            json!({"sourceBucket": "global-builds", "sourceKey": "a.zip", "destinationBuckets": ["region-a-builds"]});
        assert_eq!(check(&fields(good.clone())).unwrap(), good);
        let error = check(&fields(json!({"sourceKey": 3, "destinationBuckets": ["x"], "more": 1})))
            .unwrap_err()
            .to_string();
        for part in [
            "sourceBucket — missing",
            "sourceKey — expected",
            "\"x\" is no bucket",
            "more — is not known",
        ] {
            assert!(error.contains(part), "{error}");
        }
        let error = check(&fields(
            json!({"sourceBucket": "src", "sourceKey": "k", "destinationBuckets": ["dst", "src", "dst", "Bad_Bucket!"]}),
        ))
        .unwrap_err()
        .to_string();
        for part in ["src is the source", "dst is named twice", "Bad_Bucket!"] {
            assert!(error.contains(part), "{error}");
        }
        let error = check(&fields(
            json!({"sourceBucket": "b", "sourceKey": "k", "destinationBuckets": []}),
        ))
        .unwrap_err();
        assert!(error.to_string().contains("1 to 100"), "{error}");
    }
}
