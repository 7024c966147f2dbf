//! What S3 says of new objects, wherever it says so: to a function, or by a queue.

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// An object that has been made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectCreated {
    /// The bucket.
    pub bucket: String,
    /// The key, decoded.
    pub key: String,
    /// Bytes, where the event says.
    pub size: Option<u64>,
    /// The version or, in a bucket without versions, the ETag: what tells this object from a later one of the same key.
    pub version: String,
    /// The version's id where the bucket keeps versions.
    pub version_id: Option<String>,
}

/// What is no event of S3.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an event of S3: {message}; expected Records with s3.bucket.name and s3.object.key")]
pub struct EventError {
    message: String,
}

/// The objects that an event says were made. None where it is S3's test of a new notification, or tells of something else.
/// Keys come encoded as in a form: `dir/my+build%2B1.zip` is `dir/my build+1.zip`.
///
/// # Errors
/// Where it is no event of S3, or lacks a bucket or key.
pub fn objects_created(event: &Value) -> Result<Vec<ObjectCreated>, EventError> {
    let wrong = |message: &str| EventError {
        message: message.to_owned(),
    };
    if event.get("Event").and_then(Value::as_str) == Some("s3:TestEvent") {
        return Ok(Vec::new());
    }
    let records = event.get("Records").and_then(Value::as_array);
    let records = records.ok_or_else(|| wrong("it has no Records"))?;
    let is_created = |record: &&Value| {
        let name = record
            .get("eventName")
            .and_then(Value::as_str)
            .unwrap_or("ObjectCreated:");
        name.trim_start_matches("s3:").starts_with("ObjectCreated:")
    };
    let read = |record: &Value| {
        let text = |pointer: &str| {
            record
                .pointer(pointer)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        let bucket = text("/s3/bucket/name").ok_or_else(|| wrong("a record has no bucket"))?;
        let encoded = text("/s3/object/key").ok_or_else(|| wrong("a record has no key"))?;
        let key = percent_decode_str(&encoded.replace('+', " "))
            .decode_utf8()
            .map_err(|_not_utf8| wrong("a key is not UTF-8"))?
            .into_owned();
        let version_id = text("/s3/object/versionId")
            .filter(|id| *id != "null")
            .map(str::to_owned);
        let etag = text("/s3/object/eTag").unwrap_or_default().trim_matches('"').to_owned();
        Ok(ObjectCreated {
            bucket: bucket.to_owned(),
            size: record.pointer("/s3/object/size").and_then(Value::as_u64),
            version: version_id.clone().unwrap_or(etag),
            version_id,
            key,
        })
    };
    records.iter().filter(is_created).map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_decoded_whichever_way_they_are_encoded() {
        for (encoded, key) in [
            ("build-1.zip", "build-1.zip"),
            ("dir/my+build%2B1.zip", "dir/my build+1.zip"),
            ("dir/my%20build%2B1.zip", "dir/my build+1.zip"),
            ("%C3%BC.zip", "ü.zip"),
        ] {
            let event = json!({"Records": [{"eventName": "ObjectCreated:Put", "s3": {
                "bucket": {"name": "b"}, "object": {"key": encoded, "size": 3, "eTag": "e"}}}]});
            let objects = objects_created(&event).unwrap();
            assert_eq!((objects[0].key.as_str(), objects[0].version.as_str()), (key, "e"));
        }
    }

    #[test]
    fn the_test_of_a_notification_is_no_build_and_removals_are_none() {
        assert_eq!(
            objects_created(&json!({"Event": "s3:TestEvent", "Bucket": "b"})),
            Ok(Vec::new())
        );
        let removed = json!({"Records": [{"eventName": "ObjectRemoved:Delete", "s3": {
            "bucket": {"name": "b"}, "object": {"key": "k"}}}]});
        assert_eq!(objects_created(&removed), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_event_is_told_and_nothing_panics() {
        for (event, message) in [
            (json!({}), "no Records"),
            (json!({"Records": [{}]}), "no bucket"),
            (
                json!({"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": ""}}}]}),
                "no key",
            ),
            (
                json!({"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": "%FF"}}}]}),
                "UTF-8",
            ),
            (json!("text"), "no Records"),
        ] {
            let error = objects_created(&event).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
