//! The embedded cloud, and a proxy in front of one of its servers that answers some requests itself: how a service
//! misbehaves is put around it from outside.

#![expect(dead_code, unreachable_pub, reason = "each test file uses the part it needs")]
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use cloud::{Cloud, CloudConfig, EmbeddedCloud, Faults, PartSource};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// A request as the proxy sees it.
pub struct Seen {
    pub method: String,
    pub path: String,
    /// DynamoDB's operation, from the target header.
    pub operation: String,
    pub body: Bytes,
}

/// What the proxy answers instead of the server.
pub struct Answer {
    pub status: u16,
    pub body: String,
}

pub type Rule = Arc<dyn Fn(&Seen) -> Option<Answer> + Send + Sync>;

pub struct TestCloud {
    pub folder: tempfile::TempDir,
    pub embedded: EmbeddedCloud,
    pub cloud: Cloud,
    pub faults: Faults,
}

impl TestCloud {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::default();
        let embedded = EmbeddedCloud::start_with_faults(folder.path(), &faults).await.unwrap();
        let cloud = Cloud::connect(embedded.config()).await;
        cloud
            .bootstrap(&["region-a".to_owned(), "region-b".to_owned()])
            .await
            .unwrap();
        Self {
            folder,
            embedded,
            cloud,
            faults,
        }
    }

    /// The same cloud through a proxy with this rule in front of both servers.
    pub async fn through(&self, rule: Rule) -> Cloud {
        let config = self.embedded.config();
        let config = CloudConfig {
            s3_endpoint: Some(proxy(config.s3_endpoint.clone().unwrap(), Arc::clone(&rule)).await),
            dynamodb_endpoint: Some(proxy(config.dynamodb_endpoint.clone().unwrap(), rule).await),
            endpoint: None,
            stage: String::new(),
            region: None,
            credentials: config.credentials.clone(),
        };
        Cloud::connect(&config).await
    }
}

/// Bytes to upload.
pub fn source(data: Vec<u8>) -> PartSource {
    let data = Bytes::from(data);
    Arc::new(move |range| {
        let part = data.slice(range.start as usize..range.end as usize);
        Box::pin(async move { Ok(part) })
    })
}

async fn proxy(upstream: String, rule: Rule) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let (upstream, rule, client) = (upstream.clone(), Arc::clone(&rule), client.clone());
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let (upstream, rule, client) = (upstream.clone(), Arc::clone(&rule), client.clone());
                async move {
                    let (mut parts, body) = request.into_parts();
                    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
                    let target = parts
                        .headers
                        .get("x-amz-target")
                        .and_then(|v| v.to_str().ok())
                        .unwrap_or_default();
                    let seen = Seen {
                        method: parts.method.to_string(),
                        path: parts.uri.path().to_owned(),
                        operation: target.rsplit('.').next().unwrap_or_default().to_owned(),
                        body: body.clone(),
                    };
                    if let Some(Answer { status, body }) = rule(&seen) {
                        let response = Response::builder().status(status).body(Full::new(Bytes::from(body)));
                        return response.map_err(io::Error::other);
                    }
                    // The host header stays as it was signed.
                    parts.uri = format!("{upstream}{}", parts.uri).parse().map_err(io::Error::other)?;
                    // What has come this far reaches the server, also where nobody waits for the answer any more.
                    let answered = tokio::spawn(async move {
                        let response = client.request(Request::from_parts(parts, Full::new(body))).await;
                        let (parts, body) = response.map_err(io::Error::other)?.into_parts();
                        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
                        Ok(Response::from_parts(parts, Full::new(body)))
                    });
                    answered.await.map_err(io::Error::other)?
                }
            });
            tokio::spawn(async move {
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service)
                    .await;
            });
        }
    });
    format!("http://{address}")
}
