//! The embedded DynamoDB: dynoxide over SQLite, in a file, so that a run's rows can be counted after it.

use std::path::Path;

use dynoxide::Database;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{EmbeddedError, until_stopped};

pub(super) fn open(path: &Path) -> Result<Database, EmbeddedError> {
    let failed = |message: String| EmbeddedError::Database {
        path: path.to_owned(),
        message,
    };
    let text = path.to_str().ok_or_else(|| failed("the path is not UTF-8".to_owned()))?;
    let database = Database::new(text).map_err(|error| failed(error.to_string()))?;
    // The rows of a run can be had again by running it; what a power failure might take is not worth a sync per batch.
    database.enable_bulk_loading().map_err(|error| failed(error.to_string()))?;
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
