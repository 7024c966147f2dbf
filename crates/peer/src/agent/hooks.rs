//! What an operator has run when a build is about to be put in place, is there, or has failed.
//!
//! Invariant: no hook outlives its time, and none outlives the agent where that ends in order: each is a process group of its own, which is
//! killed as a whole. What a hook prints goes to the log, bounded.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};
use swarm::Hash;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;

use super::Arguments;
use super::kept::BuildId;

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Every chunk is there and verified, and nothing under the build's name.
    BeforeInstall,
    /// The build is in place.
    Installed,
    /// The build has not come, or was refused.
    Failed,
}

impl When {
    const fn name(self) -> &'static str {
        match self {
            Self::BeforeInstall => "before-install",
            Self::Installed => "installed",
            Self::Failed => "failed",
        }
    }
}

/// What a hook is told, as variables of its environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// FLEETCAST_BUILD: the key.
    pub(crate) build: String,
    /// FLEETCAST_VERSION: as the directory calls it.
    pub(crate) version: String,
    /// FLEETCAST_ROOT: the hash of its manifest, where that is known.
    pub(crate) root: String,
    /// FLEETCAST_PATH: the file as it is now.
    pub(crate) path: String,
    /// FLEETCAST_TARGET: where it stands, or is to stand.
    pub(crate) target: String,
    /// FLEETCAST_ERROR: why it failed.
    pub(crate) error: String,
}

/// The hooks of this process. Clones are the same ones.
#[derive(Clone)]
pub(crate) struct Hooks(Arc<Running>);

struct Running {
    commands: Mutex<Commands>,
    /// Those that run now.
    groups: Mutex<BTreeSet<i32>>,
    /// What is told after the fact is told in order.
    turn: tokio::sync::Mutex<()>,
    runtime: Handle,
    failures: Mutex<u64>,
}

#[derive(Clone)]
struct Commands {
    before_install: Option<String>,
    installed: Option<String>,
    failed: Option<String>,
    patience: Duration,
}

impl Commands {
    fn of(arguments: &Arguments) -> Self {
        Self {
            before_install: arguments.before_install.clone(),
            installed: arguments.installed.clone(),
            failed: arguments.failed.clone(),
            patience: Duration::from_secs(arguments.hook_timeout),
        }
    }

    const fn at(&self, when: When) -> Option<&String> {
        match when {
            When::BeforeInstall => self.before_install.as_ref(),
            When::Installed => self.installed.as_ref(),
            When::Failed => self.failed.as_ref(),
        }
    }
}

impl Hooks {
    /// Those of `arguments`. To be called within a runtime.
    pub(crate) fn new(arguments: &Arguments) -> Self {
        Self(Arc::new(Running {
            commands: Mutex::new(Commands::of(arguments)),
            groups: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
            runtime: Handle::current(),
            failures: Mutex::new(0),
        }))
    }

    /// From now on those of `arguments` are run.
    pub(crate) fn apply(&self, arguments: &Arguments) {
        *self.0.commands.lock() = Commands::of(arguments);
    }

    /// How many have failed.
    pub(crate) fn failures(&self) -> u64 {
        *self.0.failures.lock()
    }

    /// Asks whether a build may be put in place, and waits for the answer: for a thread that may wait.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn may_install(&self, told: Told) -> Result<(), String> {
        let runtime = self.0.runtime.clone();
        runtime.block_on(self.run(When::BeforeInstall, told))
    }

    /// Tells of a build after the fact, one after another. To be called within a runtime.
    pub(crate) fn tell(&self, when: When, told: Told) {
        if self.0.commands.lock().at(when).is_none() {
            return;
        }
        let hooks = self.clone();
        tokio::spawn(async move {
            let _turn = hooks.0.turn.lock().await;
            // That it failed is in the log.
            let _ = hooks.run(when, told).await;
        });
    }

    /// Ends those that run: the agent ends.
    pub(crate) fn stop(&self) {
        for group in std::mem::take(&mut *self.0.groups.lock()) {
            kill(group);
        }
    }

    async fn run(&self, when: When, told: Told) -> Result<(), String> {
        let commands = self.0.commands.lock().clone();
        let Some(command) = commands.at(when) else {
            return Ok(());
        };
        let (hook, key) = (when.name(), told.build.clone());
        let ended = self.run_command(hook, command, told, commands.patience).await;
        match &ended {
            Ok(()) => tracing::info!(target: TARGET, hook, key, "done"),
            Err(error) => {
                *self.0.failures.lock() += 1;
                tracing::warn!(target: TARGET, hook, key, "{error}");
            }
        }
        ended
    }

    async fn run_command(
        &self,
        hook: &'static str,
        command: &str,
        told: Told,
        patience: Duration,
    ) -> Result<(), String> {
        let mut child = started(command, &told).map_err(|error| format!("hook {hook} cannot be started: {error}"))?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or_default();
        self.0.groups.lock().insert(group);
        let last = Arc::new(Mutex::new(String::new()));
        let out = child
            .stdout
            .take()
            .map(|stream| logged(stream, hook, told.build.clone(), Arc::clone(&last)));
        let err = child
            .stderr
            .take()
            .map(|stream| logged(stream, hook, told.build.clone(), Arc::clone(&last)));
        let ended = tokio::time::timeout(patience, child.wait()).await;
        self.0.groups.lock().remove(&group);
        if ended.is_err() {
            kill(group);
            // It is gone, and is not to be left a zombie.
            let _ = child.wait().await;
        }
        // A process that it has left behind may hold its output open.
        let read = async { tokio::join!(finished(out), finished(err)) };
        let _ = tokio::time::timeout(REST_OF_OUTPUT, read).await;
        let last = std::mem::take(&mut *last.lock());
        let said = if last.is_empty() { last } else { format!(": {last}") };
        match ended {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("hook {hook} {}{said}", ended_with(status))),
            Ok(Err(error)) => Err(format!("hook {hook} cannot be waited for: {error}")),
            Err(_late) => Err(format!("hook {hook} was killed after {} s{said}", patience.as_secs())),
        }
    }
}

/// What a hook is told of a build whose place is `out`.
pub(super) fn told_of((key, version): &BuildId, out: &Path) -> Told {
    let target = out.display().to_string();
    Told {
        build: key.clone(),
        version: version.clone(),
        path: target.clone(),
        target,
        ..Told::default()
    }
}

/// Asks a build's hook when the build is to be put in place.
pub(crate) fn gate(hooks: &Hooks, told: Told) -> impl Fn(&Path, &Hash) -> Result<(), String> + Send + Sync + use<> {
    let hooks = hooks.clone();
    move |part, root| {
        let (path, root) = (part.display().to_string(), root.to_string());
        hooks.may_install(Told {
            path,
            root,
            ..told.clone()
        })
    }
}

fn started(command: &str, told: &Told) -> std::io::Result<Child> {
    let variables = [
        ("FLEETCAST_BUILD", &told.build),
        ("FLEETCAST_VERSION", &told.version),
        ("FLEETCAST_ROOT", &told.root),
        ("FLEETCAST_PATH", &told.path),
        ("FLEETCAST_TARGET", &told.target),
        ("FLEETCAST_ERROR", &told.error),
    ];
    Command::new("/bin/sh")
        .args(["-c", command])
        .envs(variables)
        // What is for the agent is not for it.
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

/// Logs the lines of a stream; the last one is kept.
fn logged(
    stream: impl AsyncRead + Send + Unpin + 'static,
    hook: &'static str,
    key: String,
    last: Arc<Mutex<String>>,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut stream = stream;
        let mut lines = BufReader::new((&mut stream).take(OUTPUT_MAX)).split(b'\n');
        let mut left = LINES_MAX;
        while let Ok(Some(line)) = lines.next_segment().await {
            let line = String::from_utf8_lossy(&line[..line.len().min(LINE_MAX)])
                .trim_end()
                .to_owned();
            if left > 0 {
                tracing::info!(target: TARGET, hook, key, "{line}");
            } else if left == 0 {
                tracing::info!(target: TARGET, hook, key, "what it prints beyond {LINES_MAX} lines is not logged");
            }
            left -= 1;
            *last.lock() = line;
        }
        // It goes on all the same.
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
}

async fn finished(reader: Option<tokio::task::JoinHandle<()>>) {
    if let Some(reader) = reader {
        // A panic in it was told.
        let _ = reader.await;
    }
}

fn kill(group: i32) {
    if let Some(group) = Pid::from_raw(group).filter(|_| group > 1) {
        // It may have ended by itself.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

fn ended_with(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// What lines of hooks are called in the log.
const TARGET: &str = "peer::hook";
/// Bytes of each stream of a hook in which lines are looked for.
const OUTPUT_MAX: u64 = 1 << 20;
/// Lines that are logged of it, and bytes of each.
const LINES_MAX: i64 = 200;
const LINE_MAX: usize = 1000;
/// How long what a hook has printed is waited for when it has ended.
const REST_OF_OUTPUT: Duration = Duration::from_millis(500);
