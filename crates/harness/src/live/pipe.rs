//! Two pipes to a worker and one codec: one JSON value a line. One pipe is stdin and stdout of a process, the other a sealed connection
//! (`sealed`). What is said waits in a bounded queue and is written by a task.

use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::coordination;

/// A way to the other side and back.
pub(super) struct Pipe {
    pub(super) reader: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// Why it has ended, where the pipe itself knows.
    pub(super) ended: Ended,
    /// What carries its bytes, where that takes tasks; they end with it.
    pub(super) carriers: Vec<JoinHandle<()>>,
}

/// Why a pipe has ended: the first reason counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Ended(Arc<OnceLock<String>>);

impl Ended {
    pub(super) fn because(&self, why: String) {
        let _ = self.0.set(why);
    }

    pub(super) fn why(&self) -> Option<String> {
        self.0.get().cloned()
    }
}

impl Pipe {
    /// Of bytes that come and go as they are.
    pub(super) fn plain(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        Self {
            reader: Box::new(reader),
            writer: Box::new(writer),
            ended: Ended::default(),
            carriers: Vec::new(),
        }
    }
}

/// What writes what is put into its queue.
pub(super) struct Speaking {
    task: JoinHandle<()>,
    end: oneshot::Sender<()>,
}

impl Speaking {
    /// Takes nothing more, whoever still has the queue, and waits until all that it has taken is written.
    pub(super) async fn end(self) {
        let _ = self.end.send(());
        let _ = self.task.await;
    }
}

/// Writes what is put into the queue. Ends when all of its senders are gone, when it is told to, or nobody reads any more.
pub(super) fn speak<T: Serialize + Send + 'static>(
    mut writer: Box<dyn AsyncWrite + Send + Unpin>,
) -> (mpsc::Sender<T>, Speaking) {
    let (queue, mut inbox) = mpsc::channel::<T>(QUEUE_LENGTH);
    let (end, mut told_to_end) = oneshot::channel();
    let speaking = async move {
        loop {
            let message = tokio::select! {
                biased;
                Ok(()) = &mut told_to_end, if !told_to_end.is_terminated() => {
                    inbox.close();
                    continue;
                }
                message = inbox.recv() => message,
            };
            let Some(message) = message else {
                break;
            };
            let Ok(mut line) = serde_json::to_vec(&message) else {
                unreachable!("messages have only keys that are text");
            };
            line.push(b'\n');
            // The reader says why nobody is there.
            if writer.write_all(&line).await.is_err() || writer.flush().await.is_err() {
                return;
            }
        }
        let _ = writer.shutdown().await;
    };
    let task = tokio::spawn(coordination::counted(speaking));
    (queue, Speaking { task, end })
}

/// Reads what the other side says.
pub(super) struct Listener<T> {
    reader: BufReader<Box<dyn AsyncRead + Send + Unpin>>,
    line: Vec<u8>,
    of: PhantomData<T>,
}

impl<T: DeserializeOwned> Listener<T> {
    pub(super) fn new(reader: Box<dyn AsyncRead + Send + Unpin>) -> Self {
        Self {
            reader: BufReader::new(reader),
            line: Vec::new(),
            of: PhantomData,
        }
    }

    /// The next message; `None` where the other side has ended. Not cancel-safe.
    ///
    /// # Errors
    /// What was said that is not understood, or why nothing can be read.
    pub(super) async fn next(&mut self) -> Result<Option<T>, String> {
        self.line.clear();
        let mut reader = (&mut self.reader).take(LINE_MAX);
        let read = reader.read_until(b'\n', &mut self.line).await;
        read.map_err(|error| error.to_string())?;
        if self.line.is_empty() {
            return Ok(None);
        }
        if self.line.last() != Some(&b'\n') {
            return match self.line.len() as u64 {
                LINE_MAX.. => Err(format!("said more than {LINE_MAX} bytes at once")),
                _ => Ok(None),
            };
        }
        let message = serde_json::from_slice(&self.line);
        message
            .map(Some)
            .map_err(|error| format!("said something that is not understood: {error}"))
    }
}

/// Messages that wait to be written at most.
const QUEUE_LENGTH: usize = 256;
/// Bytes of a message at most: a thousand hosts with what was recorded of each, some kilobytes and in the worst case some hundreds, and the rows of a
/// worker that could not be written.
const LINE_MAX: u64 = 1 << 30;
