//! Asks an agent of this machine how it is.

use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::http::HttpAddress;

/// What the agent at `address` answers.
///
/// # Errors
/// A sentence where it does not.
pub async fn ask_agent(address: &HttpAddress, path: &str) -> Result<String, String> {
    let answered = async {
        match address {
            HttpAddress::Tcp(at) => get_over(TcpStream::connect(at).await.map_err(|e| e.to_string())?, path).await,
            HttpAddress::Unix(at) => get_over(UnixStream::connect(at).await.map_err(|e| e.to_string())?, path).await,
        }
    };
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(answer) => answer,
        Err(_late) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn get_over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, path: &str) -> Result<String, String> {
    let told = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(told)?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header("host", "localhost")
        .body(Empty::<bytes::Bytes>::new());
    let request = request.map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(told)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
    let body = body.map_err(|error| error.to_string())?.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    if status.is_success() {
        Ok(text)
    } else {
        Err(format!("{status}: {}", text.trim_end()))
    }
}

/// An agent that turns answers long before.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const ANSWER_MAX: usize = 16 << 20;
