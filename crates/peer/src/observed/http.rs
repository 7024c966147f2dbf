//! What the agent answers over HTTP: `/metrics`, `/healthz`, `/readyz`, `/status`. It knows nothing itself: it asks the agent's loop, and a
//! loop that does not answer is not healthy. Likewise `/metrics` alone, of whoever has its text.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::AgentStatus;

/// Where it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpAddress {
    /// A port.
    Tcp(SocketAddr),
    /// A socket in the file system, for who may write to it.
    Unix(PathBuf),
}

impl FromStr for HttpAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        text.parse()
            .map(Self::Tcp)
            .map_err(|_not_one| format!("expected {HTTP_ADDRESS}"))
    }
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(at) => write!(f, "{at}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A question of how the agent is, with the way back.
pub type Question<S> = oneshot::Sender<S>;

/// Why nothing can be answered at an address.
#[derive(Debug, thiserror::Error)]
#[error("--http {address}: it cannot be listened on ({source}); is it taken, and may this user have it?")]
pub struct HttpError {
    /// The address.
    pub address: HttpAddress,
    /// Why not.
    pub source: io::Error,
}

/// Answers at some addresses until it is dropped.
#[derive(Debug)]
pub(super) struct HttpServer<S> {
    /// The questions that the agent's loop is to answer.
    pub(super) questions: mpsc::Receiver<Question<S>>,
    /// Where it answers.
    pub(super) at: Vec<HttpAddress>,
    _tasks: JoinSet<()>,
}

impl<S: AgentStatus> HttpServer<S> {
    /// Listens when this returns. To be called within a runtime.
    ///
    /// # Errors
    /// Where an address cannot be had.
    pub(super) async fn start(addresses: &[HttpAddress]) -> Result<Self, HttpError> {
        let (asking, questions) = mpsc::channel(CONNECTIONS_MAX);
        let (mut tasks, mut at) = (JoinSet::new(), Vec::new());
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        for address in addresses {
            let listener = Listener::bind(address).await.map_err(|source| HttpError {
                address: address.clone(),
                source,
            })?;
            at.push(listener.address(address));
            let asking = asking.clone();
            let answer = move |request| {
                let asking = asking.clone();
                async move { answer(request, &asking).await }
            };
            tasks.spawn(serve(listener, Arc::clone(&room), answer));
        }
        // Without a listener nobody asks, and the channel stays open all the same.
        tasks.spawn(async move { asking.closed().await });
        Ok(Self {
            questions,
            at,
            _tasks: tasks,
        })
    }
}

impl<S> Drop for HttpServer<S> {
    fn drop(&mut self) {
        for address in &self.at {
            if let HttpAddress::Unix(path) = address {
                // Who finds it later finds that nobody listens.
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Listener {
    async fn bind(address: &HttpAddress) -> io::Result<Self> {
        match address {
            HttpAddress::Tcp(at) => TcpListener::bind(at).await.map(Self::Tcp),
            HttpAddress::Unix(path) => bind_unix(path).map(Self::Unix),
        }
    }

    /// With the port that it was given.
    fn address(&self, asked: &HttpAddress) -> HttpAddress {
        match self {
            Self::Tcp(listener) => listener.local_addr().map_or_else(|_| asked.clone(), HttpAddress::Tcp),
            Self::Unix(_) => asked.clone(),
        }
    }

    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

/// What a process that was killed has left is removed, and nobody else's.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let is_left = std::os::unix::net::UnixStream::connect(path)
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if is_left {
        // A file of another kind refuses as well.
        if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} is a file that is no socket", path.display()),
            ));
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok(listener)
}

/// Answers `/metrics` with `text`, and nothing else, for as long as this is polled.
pub async fn serve_metrics(listener: TcpListener, text: impl Fn() -> String + Clone + Send + 'static) {
    let answer = move |request: Request<Incoming>| {
        std::future::ready(match question(&request, &[METRICS_PATH]) {
            Ok(_) => said(StatusCode::OK, METRICS, text()),
            Err((status, why)) => said(status, TEXT, why),
        })
    };
    serve(
        Listener::Tcp(listener),
        Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        answer,
    )
    .await;
}

async fn serve<A>(
    listener: Listener,
    room: Arc<Semaphore>,
    answer: impl Fn(Request<Incoming>) -> A + Clone + Send + 'static,
) where
    A: Future<Output = Response<Full<Bytes>>> + Send,
{
    loop {
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection for HTTP is not accepted");
                tokio::time::sleep(AFTER_REFUSAL).await;
                continue;
            }
        };
        // Who comes when there are too many sees it closed.
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            continue;
        };
        let answer = answer.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request).map(Ok::<_, Infallible>));
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

/// Which of `paths` is asked for, or with which status and sentence anything else is answered.
fn question<'a>(request: &'a Request<Incoming>, paths: &[&str]) -> Result<&'a str, (StatusCode, String)> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "expected GET\n".to_owned()));
    }
    let path = request.uri().path();
    if paths.contains(&path) {
        return Ok(path);
    }
    let expected = match paths {
        [path] => format!("expected {path}\n"),
        paths => format!("expected one of {}\n", paths.join(", ")),
    };
    Err((StatusCode::NOT_FOUND, expected))
}

async fn answer<S: AgentStatus>(
    request: Request<Incoming>,
    asking: &mpsc::Sender<Question<S>>,
) -> Response<Full<Bytes>> {
    let path = match question(&request, &PATHS) {
        Ok(path) => path,
        Err((status, why)) => return said(status, TEXT, why),
    };
    let Some(status) = ask(asking).await else {
        let seconds = LOOP_PATIENCE.as_secs();
        let why = format!("the agent's loop has not answered within {seconds} s\n");
        return said(StatusCode::SERVICE_UNAVAILABLE, TEXT, why);
    };
    match path {
        METRICS_PATH => said(StatusCode::OK, METRICS, status.metrics()),
        "/healthz" => said(StatusCode::OK, TEXT, "the agent's loop turns\n".to_owned()),
        "/readyz" => match status.readiness() {
            Ok(ready) => said(StatusCode::OK, TEXT, ready),
            Err(why) => said(StatusCode::SERVICE_UNAVAILABLE, TEXT, why),
        },
        _ => match serde_json::to_string(&status) {
            Ok(text) => said(StatusCode::OK, JSON, text),
            Err(error) => said(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
        },
    }
}

/// Asks the loop; `None` where it does not answer.
async fn ask<S: AgentStatus>(asking: &mpsc::Sender<Question<S>>) -> Option<S> {
    let asked = Instant::now();
    let (question, status) = oneshot::channel();
    let answered = async {
        asking.send(question).await.ok()?;
        status.await.ok()
    };
    let status = tokio::time::timeout(LOOP_PATIENCE, answered).await.ok()??;
    Some(status.after(asked.elapsed()))
}

fn said(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// What an address is.
pub const HTTP_ADDRESS: &str = "an address in quotes, such as \"127.0.0.1:9464\" or \"unix:/run/fleetcast/host.sock\"";
const METRICS_PATH: &str = "/metrics";
const PATHS: [&str; 4] = [METRICS_PATH, "/healthz", "/readyz", "/status"];
const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";
/// Connections at a time: a scraper, a probe, and somebody who looks.
const CONNECTIONS_MAX: usize = 16;
/// Who asks has asked and read the answer by then.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(10);
/// A loop that turns answers within milliseconds; writing its list to a slow disk may take a second.
const LOOP_PATIENCE: Duration = Duration::from_secs(5);
/// Where no connection can be had, for lack of open files say, it is tried again.
const AFTER_REFUSAL: Duration = Duration::from_millis(200);
/// Its owner and its group.
const SOCKET_MODE: u32 = 0o660;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_was_left_is_taken_and_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("http");
        drop(bind_unix(&path).unwrap());
        assert!(path.exists(), "it was left");
        let taken = bind_unix(&path).unwrap();
        assert!(bind_unix(&path).is_err(), "somebody listens");
        drop(taken);
        let file = folder.path().join("file");
        std::fs::write(&file, "of somebody").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&file, &link] {
            let error = bind_unix(path).unwrap_err().to_string();
            assert!(
                error.contains(&path.display().to_string()) && error.contains("no socket"),
                "{error}"
            );
        }
        assert_eq!(std::fs::read_to_string(&link).unwrap(), "of somebody");
    }
}
