//! `build-worker`: `POST /builds` produces the artifact of a commit and uploads it to the global bucket.
//!
//! What it builds stands for a build system: bytes made from the commit, the same each time, or an object that is there.

use std::sync::Arc;

use bytes::Bytes;
use cloud::{BuildId, Cloud, CloudError, PartSource};
use serde_json::{Map, Value, json};

use crate::http::{self, BadRequest};
use crate::{Failure, configuration};

/// A request for a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The build's key.
    pub build_id: String,
    /// What it is to be.
    pub artifact: Artifact,
}

/// What a build consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Artifact {
    /// Bytes made from this commit.
    Generated {
        /// The commit.
        commit: String,
        /// How many.
        bytes: u64,
    },
    /// An object of the global bucket.
    Object {
        /// Its key.
        key: String,
    },
}

/// Answers 202 with the build's id, or 400 with what is wrong.
///
/// # Errors
/// Where the upload fails: API Gateway then answers 502.
pub async fn handle(cloud: Cloud, event: Value) -> Result<Value, Failure> {
    let request = match http::body(&event).and_then(|fields| read(&fields)) {
        Ok(request) => request,
        Err(bad) => return Ok(http::refuse(&bad)),
    };
    let (bucket, key) = (configuration::text("GLOBAL_BUCKET")?, &request.build_id);
    let buckets = cloud.buckets();
    let bytes = match &request.artifact {
        Artifact::Generated { commit, bytes } => {
            buckets.put(&bucket, key, *bytes, &generated(commit), &|_| {}).await?;
            *bytes
        }
        Artifact::Object { key: from } => match buckets.head(&bucket, from).await {
            Ok(object) if object.size > OBJECT_MAX => {
                let (bytes, max) = (object.size, OBJECT_MAX);
                let bad = BadRequest(format!(
                    "object — {from:?} has {bytes} bytes; expected at most {max}, which are copied before the API gives its caller up"
                ));
                return Ok(http::refuse(&bad));
            }
            Ok(object) => {
                buckets.copy_as(&bucket, from, &bucket, key).await?;
                object.size
            }
            Err(CloudError::ObjectMissing { .. }) => {
                let bad = BadRequest(format!("object — there is no {from:?} in bucket {bucket}"));
                return Ok(http::refuse(&bad));
            }
            Err(error) => return Err(error.into()),
        },
    };
    tracing::info!(build = key, bytes, "uploaded");
    Ok(http::answer(
        202,
        &json!({"buildId": key, "bucket": bucket, "bytes": bytes}),
    ))
}

/// Reads a request.
///
/// # Errors
/// With what was expected of the first field that is wrong.
pub fn read(fields: &Map<String, Value>) -> Result<Request, BadRequest> {
    http::expect_only(fields, &["commit", "sizeBytes", "object"])?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let commit = match fields.get("commit") {
        None => {
            return Err(BadRequest(
                "commit — missing; expected {\"commit\": \"abc123\"}".to_owned(),
            ));
        }
        Some(Value::String(commit))
            if (1..=COMMIT_MAX).contains(&commit.len()) && commit.chars().all(allowed) && !commit.starts_with('.') =>
        {
            commit
        }
        Some(_) => {
            return Err(BadRequest(format!(
                "commit — expected 1 to {COMMIT_MAX} characters of A-Z a-z 0-9 . _ -"
            )));
        }
    };
    let artifact = match (fields.get("object"), fields.get("sizeBytes")) {
        (Some(_), Some(_)) => return Err(BadRequest("object and sizeBytes — expected one of them".to_owned())),
        (Some(object), None) => match object.as_str().and_then(|key| key.parse::<BuildId>().ok()) {
            Some(key) => Artifact::Object {
                key: key.as_str().to_owned(),
            },
            None => {
                return Err(BadRequest(
                    "object — expected the key of an object of the global bucket".to_owned(),
                ));
            }
        },
        (None, size) => {
            let bytes = size.map_or(Some(BYTES_DEFAULT), Value::as_u64);
            match bytes.filter(|bytes| (1..=BYTES_MAX).contains(bytes)) {
                Some(bytes) => Artifact::Generated {
                    commit: commit.clone(),
                    bytes,
                },
                None => return Err(BadRequest(format!("sizeBytes — expected 1 to {BYTES_MAX}"))),
            }
        }
    };
    Ok(Request {
        build_id: format!("build-{commit}.zip"),
        artifact,
    })
}

/// Any range of the bytes of a commit: BLAKE3's extendable output can be read from anywhere.
fn generated(commit: &str) -> PartSource {
    let mut hasher = blake3::Hasher::new();
    hasher.update(commit.as_bytes());
    Arc::new(move |range| {
        let mut reader = hasher.finalize_xof();
        Box::pin(async move {
            let length = usize::try_from(range.end - range.start).map_err(std::io::Error::other)?;
            let mut part = vec![0; length];
            reader.set_position(range.start);
            reader.fill(&mut part);
            Ok(Bytes::from(part))
        })
    })
}

/// Characters of a commit at most.
const COMMIT_MAX: usize = 64;
/// What a build has where no size is given.
const BYTES_DEFAULT: u64 = 1 << 20;
/// What is made and uploaded before the API gives its caller up, after 29 s: 300 MB took 4.6 s on a machine of two cores.
const BYTES_MAX: u64 = 512 << 20;
/// What S3 copies within a region in that time, at 200 MB/s.
const OBJECT_MAX: u64 = 4 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_commit_is_a_build_of_a_mebibyte_unless_said_otherwise() {
        let request = read(&fields(&json!({"commit": "abc123"}))).unwrap();
        assert_eq!(request.build_id, "build-abc123.zip");
        assert_eq!(
            request.artifact,
            Artifact::Generated {
                commit: "abc123".to_owned(),
                bytes: 1 << 20
            }
        );
        let request = read(&fields(&json!({"commit": "a", "object": "old/build.zip"}))).unwrap();
        assert_eq!(
            request.artifact,
            Artifact::Object {
                key: "old/build.zip".to_owned()
            }
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_what_was_expected() {
        for (request, message) in [
            (json!({}), "commit — missing"),
            (json!({"commit": "x".repeat(65)}), "1 to 64"),
            (json!({"commit": "../x"}), "expected 1 to 64 characters"),
            (json!({"commit": "..x"}), "expected 1 to 64 characters"),
            (json!({"commit": 3}), "expected 1 to 64 characters"),
            (json!({"commit": "a", "sizeBytes": 0}), "sizeBytes"),
            (json!({"commit": "a", "sizeBytes": "1 MB"}), "sizeBytes"),
            (json!({"commit": "a", "object": ""}), "object"),
            (json!({"commit": "a", "object": "k", "sizeBytes": 3}), "one of them"),
            (json!({"commit": "a", "size": 3}), "\"size\" is not known"),
        ] {
            let error = read(&fields(&request)).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[tokio::test]
    async fn any_range_of_a_generated_build_is_a_part_of_the_whole() {
        let source = generated("abc");
        let whole = source(0..5000).await.unwrap();
        assert_eq!(source(1234..4321).await.unwrap(), whole[1234..4321]);
        assert_ne!(generated("abd")(0..5000).await.unwrap(), whole);
    }
}
