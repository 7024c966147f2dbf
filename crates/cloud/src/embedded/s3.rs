//! The embedded S3: s3s over a folder, where an object is a file.

use std::path::Path;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{EmbeddedError, until_stopped};
use crate::clients::Credentials;

pub(super) fn service(folder: &Path, credentials: &Credentials) -> Result<S3Service, EmbeddedError> {
    let files = FileSystem::new(folder).map_err(|error| EmbeddedError::Folder {
        path: folder.to_owned(),
        source: std::io::Error::other(format!("{error:?}")),
    })?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(
        credentials.access_key_id.clone(),
        credentials.secret_access_key.clone(),
    ));
    Ok(builder.build())
}

pub(super) async fn serve(listener: TcpListener, service: S3Service, stopped: watch::Receiver<bool>) {
    let server = Builder::new(TokioExecutor::new());
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(until_stopped(stopped));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((socket, _)) => {
                let connection = server.serve_connection(TokioIo::new(socket), service.clone());
                let connection = graceful.watch(connection.into_owned());
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection to the embedded S3 has failed");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the embedded S3 could not accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
    graceful.shutdown().await;
}
