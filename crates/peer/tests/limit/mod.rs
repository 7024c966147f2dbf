//! No test runs without end. The rigs of tests that start processes or wait for others hold a [`Limit`]: a test that is not over when
//! it is reached ends the process of its tests, and what it has started, with its name and what its agents have said last. Waits have
//! limits of their own, which are shorter and say what was awaited; this is for those that were forgotten.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than any test takes, also one that waits for each of its steps as long as it may.
const LIMIT: Duration = Duration::from_secs(900);
/// Lines of an agent's log that are of interest in the end, and how much of each.
const LAST_LINES: usize = 12;
const LINE_MAX: usize = 400;

/// The limit of one test, for as long as it is there.
pub struct Limit {
    logs: Option<PathBuf>,
    /// Its other end sees that this is gone.
    _held: Sender<Infallible>,
}

impl Limit {
    /// For the test of this thread. Its agents' logs are the files in `logs` whose names end with `.log`.
    pub fn start(logs: Option<&Path>) -> Self {
        let (held, ended) = channel::<Infallible>();
        let logs = logs.map(Path::to_owned);
        let of_test = logs.clone();
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        std::thread::spawn(move || {
            if ended.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                eprintln!("{test} is not over after {} s; its process ends", LIMIT.as_secs());
                say_last_words(of_test.as_deref());
                kill_children();
                std::process::exit(101);
            }
        });
        Self { logs, _held: held }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say_last_words(self.logs.as_deref());
        }
    }
}

/// Says the end of each log of a folder.
fn say_last_words(logs: Option<&Path>) {
    let files = logs.into_iter().flat_map(std::fs::read_dir).flatten().flatten();
    let mut logs: Vec<PathBuf> = files.map(|file| file.path()).collect();
    logs.retain(|path| path.extension().is_some_and(|ending| ending == "log"));
    logs.sort();
    for log in logs {
        let text = std::fs::read(&log).unwrap_or_default();
        eprintln!(
            "{} ends with\n{}",
            log.display(),
            last_words(&String::from_utf8_lossy(&text))
        );
    }
}

/// The last lines of what an agent has said.
pub fn last_words(said: &str) -> String {
    let lines: Vec<String> = said.lines().map(|line| line.chars().take(LINE_MAX).collect()).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

/// Ends the processes that this one has started: nobody else would.
fn kill_children() {
    let mine = Some(std::process::id());
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        // "PID (NAME) STATE PARENT …", where a name may have any character.
        let stat = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1));
        let is_mine = parent.and_then(|parent| parent.parse().ok()) == mine;
        let pid = stat.split(' ').next().and_then(|pid| pid.parse().ok());
        if let Some(pid) = pid.filter(|_| is_mine).and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// What comes of `future`.
///
/// # Panics
/// Where it has not come within `limit`.
pub fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    // Some are large, and whoever waits would be too.
    let future = Box::pin(future);
    async move {
        match tokio::time::timeout(limit, future).await {
            Ok(result) => result,
            Err(_late) => panic!("not within {limit:?}: {what}"),
        }
    }
}

/// Waits until it is so, and asks every few milliseconds.
///
/// # Panics
/// Where it is not so within `limit`.
pub async fn until(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < limit, "not so within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
