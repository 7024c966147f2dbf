//! `harness run --metrics ADDR`: how the run stands, over HTTP, for as long as it goes on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use peer::serve_metrics;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::exit::{Exit, print_error};
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
            print_error(
                &format!("--metrics {at} cannot be listened on; is it taken, and may this user have it?"),
                &error,
            );
            Exit::Failed
        })?;
        say!("harness: metrics at http://{at}/metrics");
        let task = tokio::spawn(serve_metrics(listener, move || figures.text()));
        Ok(Self { task })
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
