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
    task: JoinHandle<Option<Writer>>,
    end: oneshot::Sender<()>,
}

type Writer = Box<dyn AsyncWrite + Send + Unpin>;

impl Speaking {
    /// Takes nothing more, whoever still has the queue. When all that it has taken is written, it writes what `last_word` says then.
    pub(super) async fn end<T: Serialize>(self, last_word: impl FnOnce() -> T) {
        let _ = self.end.send(());
        if let Ok(Some(mut writer)) = self.task.await {
            // The reader says why nobody is there.
            let _ = write(&mut writer, &last_word()).await;
            let _ = writer.shutdown().await;
        }
    }
}

async fn write(writer: &mut Writer, message: &impl Serialize) -> std::io::Result<()> {
    let Ok(mut line) = serde_json::to_vec(message) else {
        unreachable!("messages have only keys that are text");
    };
    line.push(b'\n');
    writer.write_all(&line).await?;
    writer.flush().await
}

/// Writes what is put into the queue. Ends when all of its senders are gone, when it is told to, or nobody reads any more.
pub(super) fn speak<T: Serialize + Send + Sync + 'static>(mut writer: Writer) -> (mpsc::Sender<T>, Speaking) {
    let (queue, mut inbox) = mpsc::channel::<T>(QUEUE_LENGTH);
    let (end, mut told_to_end) = oneshot::channel();
    let speaking = async move {
        let mut has_last_word = false;
        loop {
            let message = tokio::select! {
                biased;
                Ok(()) = &mut told_to_end, if !told_to_end.is_terminated() => {
                    inbox.close();
                    has_last_word = true;
                    continue;
                }
                message = inbox.recv() => message,
            };
            let Some(message) = message else {
                break;
            };
            // The reader says why nobody is there.
            if write(&mut writer, &message).await.is_err() {
                return None;
            }
        }
        if has_last_word {
            return Some(writer);
        }
        let _ = writer.shutdown().await;
        None
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn the_last_word_is_made_when_all_else_is_written() {
        const MESSAGES: usize = 10;
        const IN_PIPE: usize = 64;
        let (writer, mut reader) = tokio::io::duplex(IN_PIPE);
        let (out, speaking) = speak(Box::new(writer));
        let message = "more than the pipe takes".repeat(40);
        for _ in 0..MESSAGES {
            out.send(message.clone()).await.unwrap();
        }
        let read = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&read);
        let reading = tokio::spawn(async move {
            let (mut all, mut part) = (Vec::new(), [0; IN_PIPE]);
            loop {
                match reader.read(&mut part).await.unwrap() {
                    0 => return all,
                    count => {
                        all.extend_from_slice(&part[..count]);
                        counts.store(all.len(), Ordering::Relaxed);
                    }
                }
            }
        });
        speaking.end(|| read.load(Ordering::Relaxed)).await;
        let all = String::from_utf8(reading.await.unwrap()).unwrap();
        let lines: Vec<&str> = all.lines().collect();
        assert_eq!(lines.len(), MESSAGES + 1);
        // With its quotes and the end of the line.
        let before = MESSAGES * (message.len() + 3);
        let read_by_then: usize = lines[MESSAGES].parse().unwrap();
        assert!(read_by_then + IN_PIPE >= before, "{read_by_then} of {before}");
    }
}
