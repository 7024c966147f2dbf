//! `harness run --metrics ADDR`: how the run stands, over HTTP, for as long as it goes on.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::exit::{Exit, complain};
use crate::progress::Figures;

/// Answers until it is dropped.
pub(super) struct MetricsServer {
    task: JoinHandle<()>,
}

impl MetricsServer {
    /// Listens when this returns, and has said where.
    ///
    /// # Errors
    /// Where the address cannot be listened on, which was said.
    pub(super) async fn start(at: SocketAddr, figures: Arc<Figures>) -> Result<Self, Exit> {
        let listening = async {
            let listener = TcpListener::bind(at).await?;
            let at = listener.local_addr()?;
            Ok::<_, io::Error>((listener, at))
        };
        let (listener, at) = listening.await.map_err(|error| {
            complain(
                &format!("--metrics {at} cannot be listened on; is it taken, and may this user have it?"),
                &error,
            );
            Exit::Failed
        })?;
        say!("harness: metrics at http://{at}{PATH}");
        let task = tokio::spawn(serve(listener, figures));
        Ok(Self { task })
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, figures: Arc<Figures>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(AFTER_REFUSAL).await;
            continue;
        };
        // Who comes when there are too many sees it closed.
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            continue;
        };
        let figures = Arc::clone(&figures);
        tokio::spawn(async move {
            let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&request, &figures))));
            let mut connection = hyper::server::conn::http1::Builder::new();
            connection
                .timer(TokioTimer::new())
                .header_read_timeout(CONNECTION_PATIENCE)
                .keep_alive(false);
            let served = connection.serve_connection(TokioIo::new(stream), service);
            // Whoever asks has gone, or was too slow.
            let _ = tokio::time::timeout(CONNECTION_PATIENCE, served).await;
            drop(place);
        });
    }
}

fn answer(request: &Request<Incoming>, figures: &Figures) -> Response<Full<Bytes>> {
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, PATH) => (StatusCode::OK, METRICS, figures.text()),
        (&Method::GET | &Method::HEAD, _) => (StatusCode::NOT_FOUND, TEXT, format!("expected {PATH}\n")),
        _ => (StatusCode::METHOD_NOT_ALLOWED, TEXT, "expected GET\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

const PATH: &str = "/metrics";
const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Connections at a time: a scraper or two, and somebody who looks.
const CONNECTIONS_MAX: usize = 16;
/// Who asks has asked and read the answer by then.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(10);
/// Where no connection can be had, for lack of open files say, it is tried again.
const AFTER_REFUSAL: Duration = Duration::from_millis(200);
