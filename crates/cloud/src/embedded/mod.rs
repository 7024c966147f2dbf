//! S3 and DynamoDB servers in this process, on loopback ports that the system chooses, with their data under a folder.
//!
//! Invariant: one process at a time uses a folder.

mod dynamodb;
mod faults;
mod http;
mod s3;

use std::fs::{File, TryLockError};
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::faults::{Faults, FaultsHappened};
use crate::clients::{CloudConfig, Credentials};

/// The servers could not be started.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No port on loopback, or no descriptor for it.
    #[error("failed to listen on 127.0.0.1 for the embedded {service}; are all ports or file descriptors in use?")]
    Listen {
        /// Which service.
        service: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The data folder cannot be used.
    #[error("failed to keep the embedded cloud's data in {}; is it writable, and is there space?", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The servers of another process are at work there.
    #[error("the embedded cloud's data in {} is in use by another process; wait until it has ended", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The database cannot be opened.
    #[error("failed to open the embedded DynamoDB's file {}: {message}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What it says.
        message: String,
    },
}

/// Running servers. Stop them to be sure that everything is on disk; dropped, they end at once.
#[derive(Debug)]
pub struct EmbeddedCloud {
    config: CloudConfig,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    /// Its lock ends with it.
    _lock: File,
}

impl EmbeddedCloud {
    /// Starts servers whose data is under `folder`, new or from an earlier run.
    pub async fn start(folder: &Path) -> Result<Self, EmbeddedError> {
        Self::start_servers(folder, None).await
    }

    /// The same with servers that misbehave as `faults` says, now or later.
    pub async fn start_with_faults(folder: &Path, faults: &Faults) -> Result<Self, EmbeddedError> {
        Self::start_servers(folder, Some(faults)).await
    }

    async fn start_servers(folder: &Path, faults: Option<&Faults>) -> Result<Self, EmbeddedError> {
        let objects = folder.join("s3");
        let made = std::fs::create_dir_all(&objects);
        made.map_err(|source| EmbeddedError::Folder {
            path: objects.clone(),
            source,
        })?;
        // Both servers clear away at their start what they take for the remains of an earlier run.
        let lock = lock(folder)?;
        let credentials = Credentials {
            access_key_id: "fleetcast".to_owned(),
            secret_access_key: "embedded".to_owned(),
            session_token: None,
        };
        let (s3_listener, s3_endpoint) = listen("S3").await?;
        let (dynamodb_listener, mut dynamodb_endpoint) = listen("DynamoDB").await?;
        let database = dynamodb::open(&folder.join("dynamodb.sqlite"))?;
        let service = s3::service(&objects, &credentials, faults.cloned().unwrap_or_default())?;
        let (stop, stopped) = watch::channel(false);
        let mut tasks = Vec::new();
        if let Some(faults) = faults {
            let (listener, endpoint) = listen("DynamoDB").await?;
            let upstream = std::mem::replace(&mut dynamodb_endpoint, endpoint);
            let proxy = dynamodb::serve_with_faults(listener, upstream, faults.clone(), stopped.clone());
            tasks.push(tokio::spawn(proxy));
        }
        tasks.push(tokio::spawn(http::serve("S3", s3_listener, service, stopped.clone())));
        tasks.push(tokio::spawn(dynamodb::serve(dynamodb_listener, database, stopped)));
        let config = CloudConfig {
            s3_endpoint: Some(s3_endpoint),
            dynamodb_endpoint: Some(dynamodb_endpoint),
            endpoint: None,
            stage: String::new(),
            region: None,
            credentials: Some(credentials),
        };
        Ok(Self {
            config,
            stop,
            tasks,
            _lock: lock,
        })
    }

    /// How to connect to it.
    pub fn config(&self) -> &CloudConfig {
        &self.config
    }

    /// Lets requests that are running end, for a few seconds at most.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        for mut task in self.tasks.drain(..) {
            if tokio::time::timeout(STOP_PATIENCE, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}

impl Drop for EmbeddedCloud {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn lock(folder: &Path) -> Result<File, EmbeddedError> {
    let path = folder.join("lock");
    let opened = File::options().write(true).create(true).truncate(false).open(&path);
    let failed = |source| EmbeddedError::Folder {
        path: folder.to_owned(),
        source,
    };
    let file = opened.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(EmbeddedError::InUse {
            path: folder.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

async fn listen(service: &'static str) -> Result<(TcpListener, String), EmbeddedError> {
    let failed = |source| EmbeddedError::Listen { service, source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    Ok((listener, format!("http://127.0.0.1:{port}")))
}

/// Resolves when the cloud is to stop.
async fn until_stopped(mut stopped: watch::Receiver<bool>) {
    // An error means that the cloud was dropped.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// How long running requests get to end.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
