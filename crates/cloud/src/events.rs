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
    /// What orders the events of one key: of two the later one's is greater, as text. Not told by everybody.
    pub sequencer: Option<String>,
}

/// What is no event of S3.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an event of S3: {message}; expected Records with s3.bucket.name and s3.object.key")]
pub struct EventError {
    message: String,
}

/// The objects that an event says were made, in whichever way it has come: as S3 sends it, in envelopes of SNS or SQS, or as
/// EventBridge tells it. None where it is S3's test of a new notification, or tells of something else.
/// S3's own keys come encoded as in a form: `dir/my+build%2B1.zip` is `dir/my build+1.zip`. EventBridge's are not.
///
/// # Errors
/// Where it is no event of S3, or lacks a bucket or key.
pub fn objects_created(event: &Value) -> Result<Vec<ObjectCreated>, EventError> {
    let mut objects = Vec::new();
    read(event, 0, &mut objects)?;
    Ok(objects)
}

/// The builds that a message of a region's queue tells of: `{"bucket": …, "key": …}` as `regional-sync` says it, or an event of S3 in
/// whichever way a bucket sends it. None where it is S3's test of a new notification.
///
/// # Errors
/// Where it is neither.
pub fn builds_told(body: &str) -> Result<Vec<ObjectCreated>, EventError> {
    let value: Value = serde_json::from_str(body).map_err(|error| wrong(&format!("not JSON: {error}")))?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (Some(bucket), Some(key)) = (text("bucket"), text("key")) else {
        return objects_created(&value);
    };
    Ok(vec![ObjectCreated {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        size: value.get("size").and_then(Value::as_u64),
        version: text("version").unwrap_or_default().to_owned(),
        version_id: None,
        sequencer: text("sequencer").map(str::to_owned),
    }])
}

fn wrong(message: &str) -> EventError {
    let message = message.to_owned();
    EventError { message }
}

fn read(event: &Value, envelopes: usize, objects: &mut Vec<ObjectCreated>) -> Result<(), EventError> {
    let text = |name: &str| event.get(name).and_then(Value::as_str);
    if text("Event") == Some("s3:TestEvent") {
        return Ok(());
    }
    if text("source") == Some("aws.s3") {
        if text("detail-type") == Some("Object Created") {
            objects.push(of_event_bridge(&event["detail"])?);
        }
        return Ok(());
    }
    // SNS to SQS, where its delivery is not raw.
    if text("Type") == Some("Notification") {
        return open(text("Message"), envelopes, objects);
    }
    let records = event.get("Records").and_then(Value::as_array);
    for record in records.ok_or_else(|| wrong("it has no Records"))? {
        if let Some(sns) = record.get("Sns") {
            open(sns.get("Message").and_then(Value::as_str), envelopes, objects)?;
        } else if record.get("s3").is_none() && record.get("body").is_some() {
            open(record["body"].as_str(), envelopes, objects)?;
        } else if is_created(record) {
            objects.push(of_record(record)?);
        }
    }
    Ok(())
}

/// Reads the event within an envelope.
fn open(message: Option<&str>, envelopes: usize, objects: &mut Vec<ObjectCreated>) -> Result<(), EventError> {
    if envelopes == ENVELOPES_MAX {
        return Err(wrong("it has too many envelopes"));
    }
    let message = message.ok_or_else(|| wrong("an envelope has no message"))?;
    let event = serde_json::from_str(message).map_err(|_not_json| wrong("what an envelope has in it is not JSON"))?;
    read(&event, envelopes + 1, objects)
}

fn is_created(record: &Value) -> bool {
    let name = record
        .get("eventName")
        .and_then(Value::as_str)
        .unwrap_or("ObjectCreated:");
    name.trim_start_matches("s3:").starts_with("ObjectCreated:")
}

fn of_record(record: &Value) -> Result<ObjectCreated, EventError> {
    let text = |pointer: &str| {
        let text = record.pointer(pointer).and_then(Value::as_str);
        text.filter(|text| !text.is_empty())
    };
    let bucket = text("/s3/bucket/name").ok_or_else(|| wrong("a record has no bucket"))?;
    let encoded = text("/s3/object/key").ok_or_else(|| wrong("a record has no key"))?;
    let key = percent_decode_str(&encoded.replace('+', " "))
        .decode_utf8()
        .map_err(|_not_utf8| wrong("a key is not UTF-8"))?
        .into_owned();
    let etag = text("/s3/object/eTag");
    let version_id = text("/s3/object/versionId");
    let size = record.pointer("/s3/object/size").and_then(Value::as_u64);
    let sequencer = text("/s3/object/sequencer");
    Ok(object(bucket, key, size, etag, version_id, sequencer))
}

fn of_event_bridge(detail: &Value) -> Result<ObjectCreated, EventError> {
    let text = |pointer: &str| {
        let text = detail.pointer(pointer).and_then(Value::as_str);
        text.filter(|text| !text.is_empty())
    };
    let bucket = text("/bucket/name").ok_or_else(|| wrong("its detail has no bucket"))?;
    let key = text("/object/key")
        .ok_or_else(|| wrong("its detail has no key"))?
        .to_owned();
    let size = detail.pointer("/object/size").and_then(Value::as_u64);
    let (etag, version_id) = (text("/object/etag"), text("/object/version-id"));
    Ok(object(bucket, key, size, etag, version_id, text("/object/sequencer")))
}

fn object(
    bucket: &str,
    key: String,
    size: Option<u64>,
    etag: Option<&str>,
    version_id: Option<&str>,
    sequencer: Option<&str>,
) -> ObjectCreated {
    let version_id = version_id.filter(|id| *id != "null").map(str::to_owned);
    let etag = etag.unwrap_or_default().trim_matches('"').to_owned();
    ObjectCreated {
        bucket: bucket.to_owned(),
        key,
        size,
        version: version_id.clone().unwrap_or(etag),
        version_id,
        sequencer: sequencer.map(comparable),
    }
}

/// A sequencer as text that sorts as the events of a key came about: zeros behind the shorter one (Amazon S3 user guide, "Event
/// message structure").
fn comparable(sequencer: &str) -> String {
    let upper = sequencer.to_ascii_uppercase();
    format!("{upper:0<SEQUENCER_LENGTH$}")
}

/// Envelopes around an event at most: SQS around SNS around S3 is two.
const ENVELOPES_MAX: usize = 3;
/// Characters of a sequencer; S3's have 16 to 18.
const SEQUENCER_LENGTH: usize = 32;

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
    fn an_event_says_the_same_in_whichever_envelope_it_comes() {
        let s3 = json!({"Records": [
            {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"},
                "object": {"key": "a+b.zip", "size": 3, "eTag": "e", "versionId": "v", "sequencer": "00AB"}}},
            {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": {"key": "c.zip", "eTag": "f"}}}]});
        let plain = objects_created(&s3).unwrap();
        assert_eq!(plain.len(), 2);
        assert_eq!(
            (plain[0].key.as_str(), plain[0].version_id.as_deref()),
            ("a b.zip", Some("v"))
        );
        let notification = json!({"Type": "Notification", "Message": s3.to_string()});
        for envelope in [
            json!({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": s3.to_string()}}]}),
            json!({"Records": [{"eventSource": "aws:sqs", "body": s3.to_string()}]}),
            json!({"Records": [{"eventSource": "aws:sqs", "body": notification.to_string()}]}),
            notification,
        ] {
            assert_eq!(objects_created(&envelope).unwrap(), plain, "{envelope}");
        }
        let bridge = json!({"source": "aws.s3", "detail-type": "Object Created", "detail": {"bucket": {"name": "b"},
            "object": {"key": "a b.zip", "size": 3, "etag": "e", "version-id": "v", "sequencer": "00AB"}}});
        assert_eq!(objects_created(&bridge).unwrap(), plain[..1]);
        let other = json!({"source": "aws.s3", "detail-type": "Object Deleted", "detail": {}});
        assert_eq!(objects_created(&other), Ok(Vec::new()));
        assert!(objects_created(&json!({"Records": [{"body": "{"}]})).is_err());
        let mut deep = s3;
        for _ in 0..10 {
            deep = json!({"Records": [{"body": deep.to_string()}]});
        }
        assert!(objects_created(&deep).unwrap_err().to_string().contains("envelopes"));
    }

    #[test]
    fn sequencers_sort_as_text_whatever_their_length() {
        assert!(comparable("0055AED6DCD90281E5") > comparable("0055AED6DCD90281"));
        assert!(comparable("0056") > comparable("0055aed6dcd90281e5"));
        assert_eq!(comparable("00ab"), comparable("00AB"));
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
