//! Serves HTTP on a listener until told to stop. What is served is others' business.

use std::error::Error;

use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::until_stopped;

type BoxError = Box<dyn Error + Send + Sync>;

/// Serves `service` until `stopped`, then lets running requests end. Dropping the future closes every connection.
pub(super) async fn serve<S, B>(name: &'static str, listener: TcpListener, service: S, stopped: watch::Receiver<bool>)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let server = Builder::new(TokioExecutor::new());
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(until_stopped(stopped));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = &mut stop => break,
        };
        match accepted {
            Ok((socket, _)) => {
                let connection = server.serve_connection(TokioIo::new(socket), service.clone());
                let connection = graceful.watch(connection.into_owned());
                connections.spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(server = name, %error, "connection failed");
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, mostly: some come back when connections end.
                tracing::warn!(server = name, %error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    graceful.shutdown().await;
}

/// Until another connection is accepted after one could not be.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
