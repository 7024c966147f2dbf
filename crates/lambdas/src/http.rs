//! Requests and answers of API Gateway's proxy integration.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// A request that makes no sense: 400 with what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRequest(pub String);

/// The body of a request as a JSON object; an absent one is empty.
///
/// # Errors
/// Where it is too long, no JSON or no object.
pub fn body(event: &Value) -> Result<Map<String, Value>, BadRequest> {
    let raw = match event.get("body") {
        None | Some(Value::Null) => return Ok(Map::new()),
        Some(Value::String(text)) => text,
        Some(_) => return Err(BadRequest("the body is not text; expected a JSON object".to_owned())),
    };
    let decoded = if event.get("isBase64Encoded") == Some(&Value::Bool(true)) {
        let bytes = STANDARD
            .decode(raw)
            .map_err(|error| BadRequest(format!("the body is not base64: {error}")))?;
        String::from_utf8(bytes).map_err(|_not_utf8| BadRequest("the body is not UTF-8".to_owned()))?
    } else {
        raw.clone()
    };
    if decoded.trim().is_empty() {
        return Ok(Map::new());
    }
    if decoded.len() > BODY_MAX {
        return Err(BadRequest(format!(
            "the body has {} bytes; expected at most {BODY_MAX}",
            decoded.len()
        )));
    }
    match serde_json::from_str(&decoded) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(BadRequest("the body is not a JSON object".to_owned())),
        Err(error) => Err(BadRequest(format!("the body is not JSON: {error}"))),
    }
}

/// The fields of a request, or of an event that is no request but what its body would be: so `aws lambda invoke` sends it.
///
/// # Errors
/// As [`body`].
pub fn fields(event: &Value) -> Result<Map<String, Value>, BadRequest> {
    let of_a_request = ["body", "httpMethod", "requestContext", "resource", "path"];
    match event {
        Value::Object(fields) if !fields.is_empty() && !of_a_request.iter().any(|name| fields.contains_key(*name)) => {
            Ok(fields.clone())
        }
        _ => body(event),
    }
}

/// Fields other than these are mistakes.
///
/// # Errors
/// Where there is one.
pub fn expect_only(fields: &Map<String, Value>, known: &[&str]) -> Result<(), BadRequest> {
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => Err(BadRequest(format!(
            "field {unknown:?} is not known; expected {}",
            known.join(", ")
        ))),
        None => Ok(()),
    }
}

/// The path of a request.
pub fn path(event: &Value) -> &str {
    let path = event.get("resource").or_else(|| event.get("path"));
    path.and_then(Value::as_str).unwrap_or_default()
}

/// An answer.
pub fn answer(status: u16, body: &Value) -> Value {
    json!({
        "statusCode": status,
        "headers": {"content-type": "application/json"},
        "isBase64Encoded": false,
        "body": body.to_string(),
    })
}

/// The answer to a request that makes no sense.
pub fn refuse(bad: &BadRequest) -> Value {
    answer(400, &json!({"error": bad.to_string()}))
}

/// Bytes of a body at most.
const BODY_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_objects_plain_or_encoded_and_anything_else_is_told() {
        assert_eq!(body(&json!({"body": "{\"a\": 1}"})).unwrap()["a"], 1);
        assert_eq!(
            body(&json!({"body": "eyJhIjogMX0=", "isBase64Encoded": true})).unwrap()["a"],
            1
        );
        assert!(body(&json!({})).unwrap().is_empty() && body(&json!({"body": null})).unwrap().is_empty());
        let raw = json!({"sourceBucket": "b"});
        assert_eq!(fields(&raw).unwrap(), *raw.as_object().unwrap());
        assert!(fields(&json!({"httpMethod": "POST", "body": null})).unwrap().is_empty());
        assert!(fields(&json!({})).unwrap().is_empty());
        for (event, message) in [
            (json!({"body": "{"}), "not JSON"),
            (json!({"body": "[1]"}), "not a JSON object"),
            (json!({"body": 3}), "not text"),
            (json!({"body": "%", "isBase64Encoded": true}), "not base64"),
            (json!({"body": " ".repeat(70_000) + "1"}), "at most"),
        ] {
            let error = body(&event).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
