//! The embedded DynamoDB: dynoxide over SQLite, in a file, so that a run's rows can be counted after it; and a proxy that
//! stands in front of it where faults are asked for.

use std::convert::Infallible;
use std::error::Error;
use std::path::Path;

use bytes::Bytes;
use dynoxide::Database;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::faults::{Faults, RequestFault};
use super::{EmbeddedError, http, until_stopped};

pub(super) fn open(path: &Path) -> Result<Database, EmbeddedError> {
    let failed = |message: String| EmbeddedError::Database {
        path: path.to_owned(),
        message,
    };
    let text = path
        .to_str()
        .ok_or_else(|| failed("the path is not UTF-8".to_owned()))?;
    let database = Database::new(text).map_err(|error| failed(error.to_string()))?;
    // The rows of a run can be had again by running it; what a power failure might take is not worth a sync per batch.
    database
        .enable_bulk_loading()
        .map_err(|error| failed(error.to_string()))?;
    Ok(database)
}

pub(super) async fn serve(listener: TcpListener, database: Database, stopped: watch::Receiver<bool>) {
    let closing = database.clone();
    if let Err(error) = dynoxide::server::serve_with_shutdown(listener, database, until_stopped(stopped)).await {
        tracing::error!(%error, "the embedded DynamoDB has failed");
    }
    if let Err(error) = closing.disable_bulk_loading() {
        tracing::warn!(%error, "the embedded DynamoDB's file may not be synced");
    }
}

/// Passes requests on to `upstream`, but for those that a fault is due for.
pub(super) async fn serve_with_faults(
    listener: TcpListener,
    upstream: String,
    faults: Faults,
    stopped: watch::Receiver<bool>,
) {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let service = service_fn(move |request| {
        let (client, upstream, faults) = (client.clone(), upstream.clone(), faults.clone());
        async move {
            let answer = answer(&client, &upstream, &faults, request).await;
            Ok::<_, Infallible>(answer.unwrap_or_else(|error| refusal(500, "InternalServerError", &error.to_string())))
        }
    });
    http::serve("DynamoDB with faults", listener, service, stopped).await;
}

type Answer = Response<Full<Bytes>>;

async fn answer(
    client: &Client<HttpConnector, Full<Bytes>>,
    upstream: &str,
    faults: &Faults,
    request: Request<Incoming>,
) -> Result<Answer, Box<dyn Error + Send + Sync>> {
    let (mut parts, body) = request.into_parts();
    let mut body = body.collect().await?.to_bytes();
    let target = parts
        .headers
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok())
        .unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default();
    let mut is_halved = false;
    match faults.on_request(operation) {
        RequestFault::None => {}
        RequestFault::Throttle => {
            return Ok(refusal(
                400,
                "ProvisionedThroughputExceededException",
                "a fault that was asked for",
            ));
        }
        RequestFault::LeaveUnprocessed => is_halved = true,
    }
    if operation == "PutItem" && faults.has_slow_tables() {
        let put: Value = serde_json::from_slice(&body)?;
        let table = put["TableName"].as_str().unwrap_or_default();
        if faults.on_rows(table, 1) == 0 {
            return Ok(takes_no_more());
        }
    }
    let mut unprocessed = None;
    if is_halved || (operation == "BatchWriteItem" && faults.has_slow_tables()) {
        let mut batch: Value = serde_json::from_slice(&body)?;
        let kept = |table: &str, rows: usize| {
            if is_halved {
                rows / 2
            } else {
                faults.on_rows(table, rows)
            }
        };
        let left = batch.get_mut("RequestItems").map(|items| take_out(items, kept));
        if let Some(left) = left.filter(|left| left.as_object().is_some_and(|left| !left.is_empty())) {
            let none_is_kept = batch["RequestItems"].as_object().is_some_and(serde_json::Map::is_empty);
            if none_is_kept && is_halved {
                return Ok(json_answer(StatusCode::OK, &json!({ "UnprocessedItems": left })));
            }
            if none_is_kept {
                return Ok(takes_no_more());
            }
            body = Bytes::from(batch.to_string());
            unprocessed = Some(left);
        }
    }
    // The server looks whether the request is signed, not how, and the length is told anew.
    parts.uri = format!("{upstream}{}", parts.uri).parse()?;
    parts.headers.remove(CONTENT_LENGTH);
    let response = client.request(Request::from_parts(parts, Full::new(body))).await?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    match unprocessed {
        Some(items) if parts.status == StatusCode::OK => {
            let mut processed: Value = serde_json::from_slice(&body)?;
            processed["UnprocessedItems"] = items;
            Ok(json_answer(parts.status, &processed))
        }
        _ => Ok(Response::from_parts(parts, Full::new(body))),
    }
}

/// Takes out of a batch what is behind the first of each table's items, of which `kept` says how many; a table without any is no longer
/// named.
fn take_out(items: &mut Value, kept: impl Fn(&str, usize) -> usize) -> Value {
    let mut taken = json!({});
    if let Some(tables) = items.as_object_mut() {
        for (table, requests) in tables.iter_mut() {
            if let Some(requests) = requests.as_array_mut() {
                let behind = requests.split_off(kept(table, requests.len()).min(requests.len()));
                if !behind.is_empty() {
                    taken[table] = behind.into();
                }
            }
        }
        tables.retain(|_, requests| requests.as_array().is_none_or(|requests| !requests.is_empty()));
    }
    taken
}

fn takes_no_more() -> Answer {
    refusal(
        400,
        "ProvisionedThroughputExceededException",
        "the table takes no more rows this second",
    )
}

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": message });
    json_answer(status, &body)
}

fn json_answer(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())));
    *answer.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/x-amz-json-1.0");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}
