//! Machines on one switch.

#![allow(dead_code, reason = "each test file uses the part it needs")]

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use cloud::CloudConfig;
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tempfile::TempDir;

use super::limit::Limit;

/// Which addresses machines have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Families {
    V4,
    V6,
    Both,
}

/// Machines, and the processes on them. Dropping it ends the processes and takes the machines down.
pub(crate) struct Machines {
    /// Dropped first: while the logs are there.
    _limit: Limit,
    prefix: String,
    count: usize,
    families: Families,
    folder: TempDir,
    servers: Mutex<Vec<(Child, ChildStdin)>>,
    /// Dropped last: then there are none.
    _turn: Turn,
}

/// A process on a machine; dropping it ends it.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    stderr: PathBuf,
}

impl Process {
    /// What it prints next.
    pub(crate) fn line(&self) -> String {
        let line = self.lines.recv_timeout(Duration::from_secs(30));
        line.unwrap_or_else(|_late| panic!("no line on stdout\n{}", self.said()))
    }

    /// What it prints next within so long, if it prints anything.
    pub(crate) fn line_within(&self, patience: Duration) -> Option<String> {
        self.lines.recv_timeout(patience).ok()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// What it has said on stderr.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap()
    }
}

/// Who makes machines at a time.
enum Turn {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

static TURNS: RwLock<()> = parking_lot::const_rwlock(());

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Machines {
    /// So many machines with links of so many Mbit/s each way; `None`, said on stderr, where this process may not make any.
    pub(crate) fn new(count: usize, families: Families, mbit: u32) -> Option<Self> {
        let turn = Turn::Shared { _guard: TURNS.read() };
        Self::make(count, families, mbit, turn)
    }

    /// Likewise, while there are no others: for what is measured in seconds.
    pub(crate) fn alone(count: usize, families: Families, mbit: u32) -> Option<Self> {
        let turn = Turn::Alone { _guard: TURNS.write() };
        Self::make(count, families, mbit, turn)
    }

    fn make(count: usize, families: Families, mbit: u32, turn: Turn) -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("fc{}-{}-", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::tempdir().unwrap();
        let machines = Self {
            _limit: Limit::start(Some(folder.path())),
            prefix,
            count,
            families,
            folder,
            servers: Mutex::default(),
            _turn: turn,
        };
        let switch = machines.switch();
        if let Err(error) = try_ip(&["netns", "add", &switch]) {
            eprintln!("left out: machines of their own need root and iproute2 ({error})");
            return None;
        }
        ip(&["-n", &switch, "link", "add", "br0", "type", "bridge"]);
        ip(&["-n", &switch, "link", "set", "br0", "up"]);
        for machine in 0..count {
            let (name, port) = (machines.namespace(machine), format!("p{machine}"));
            ip(&["netns", "add", &name]);
            ip(&["-n", &name, "link", "set", "lo", "up"]);
            ip(&[
                "-n", &name, "link", "add", "eth0", "type", "veth", "peer", "name", &port, "netns", &switch,
            ]);
            ip(&["-n", &name, "link", "set", "eth0", "up"]);
            ip(&["-n", &switch, "link", "set", &port, "master", "br0", "up"]);
            machines.address_up(machine);
            let rate = format!("{mbit}mbit");
            for (namespace, device) in [(&name, "eth0"), (&switch, port.as_str())] {
                let shape = [
                    "-n", namespace, "qdisc", "add", "dev", device, "root", "tbf", "rate", &rate,
                ];
                run("tc", &[&shape[..], &["burst", "64kb", "limit", "512kb"]].concat()).unwrap();
            }
        }
        Some(machines)
    }

    /// Gives a machine its addresses.
    pub(crate) fn address_up(&self, machine: usize) {
        let name = self.namespace(machine);
        if self.families != Families::V6 {
            ip(&[
                "-n",
                &name,
                "addr",
                "add",
                &format!("{}/24", v4(machine)),
                "dev",
                "eth0",
            ]);
        }
        if self.families != Families::V4 {
            ip(&[
                "-n",
                &name,
                "addr",
                "add",
                &format!("{}/64", v6(machine)),
                "dev",
                "eth0",
                "nodad",
            ]);
        }
    }

    /// Takes a machine's addresses away.
    pub(crate) fn take_address(&self, machine: usize) {
        ip(&["-n", &self.namespace(machine), "addr", "flush", "dev", "eth0"]);
    }

    /// Gives a machine another address than it had, with the length of its network.
    pub(crate) fn move_to(&self, machine: usize, address: &str) {
        self.take_address(machine);
        let name = self.namespace(machine);
        // An address that nobody else has is not asked about first, as IPv6 would.
        let unasked: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
        ip(&[&["-n", &name, "addr", "add", address, "dev", "eth0"], unasked].concat());
    }

    /// Waits until a host has begun to fetch.
    pub(crate) fn wait_for_part(&self, machine: usize) {
        let begun = Instant::now();
        let is_part = |name: &OsStr| name.to_string_lossy().ends_with(".part");
        let has_part = || {
            let files = std::fs::read_dir(self.folder(machine)).unwrap();
            files.flatten().any(|file| is_part(&file.file_name()))
        };
        while !has_part() {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "machine {machine} does not begin"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_secs(1));
    }

    /// Where a machine can be reached, as a listener is told.
    pub(crate) fn address(&self, machine: usize, port: u16) -> String {
        let family = if self.families == Families::V6 { "ip6" } else { "ip4" };
        format!("/{family}/{}/tcp/{port}", self.ip(machine))
    }

    /// The address of a machine.
    pub(crate) fn ip(&self, machine: usize) -> String {
        match self.families {
            Families::V6 => v6(machine),
            Families::V4 | Families::Both => v4(machine),
        }
    }

    /// An interface with an address, and nothing behind it.
    pub(crate) fn add_dead_end(&self, machine: usize, address: &str) {
        let name = self.namespace(machine);
        // The other end of the pair is never up.
        ip(&[
            "-n", &name, "link", "add", "dead0", "type", "veth", "peer", "name", "dead1",
        ]);
        ip(&["-n", &name, "link", "set", "dead0", "up"]);
        ip(&["-n", &name, "addr", "add", address, "dev", "dead0"]);
    }

    /// All machines know a machine by this name, which leads to `others` first.
    pub(crate) fn name(&self, machine: usize, name: &str, others: &[&str]) {
        let of_machine = self.ip(machine);
        let addresses = others.iter().map(|other| (*other).to_owned()).chain([of_machine]);
        let lines: String = addresses.map(|address| format!("{address} {name}\n")).collect();
        for other in 0..self.count {
            // What iproute2 shows in place of the system's own files.
            let folder = self.etc(other);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("hosts"), format!("127.0.0.1 localhost\n{lines}")).unwrap();
        }
    }

    /// A folder for the files of a machine.
    pub(crate) fn folder(&self, machine: usize) -> PathBuf {
        let folder = self.folder.path().join(machine.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Ends what serves S3 and removes all files.
    pub(crate) fn clear(&self) {
        self.end_servers();
        for machine in 0..self.count {
            std::fs::remove_dir_all(self.folder(machine)).unwrap();
        }
    }

    /// A program on a machine, which ends with this process.
    pub(crate) fn command(&self, machine: usize, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(machine)]).arg(program);
        command.env("AWS_REGION", "us-east-1").env("NO_COLOR", "1");
        command
    }

    pub(crate) fn start(&self, mut command: Command) -> Process {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let stderr = self.folder.path().join(format!("process-{number}.log"));
        command.stderr(File::create(&stderr).unwrap()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (told, lines) = channel();
        std::thread::spawn(move || {
            let mut lines = stdout.lines().map_while(Result::ok);
            lines.all(|line| told.send(line).is_ok())
        });
        Process { child, lines, stderr }
    }

    /// Starts S3 on a machine; how programs there get in.
    pub(crate) fn serve_s3(&self, machine: usize) -> S3 {
        self.serve(machine, "serve_s3", Duration::from_secs(30))
    }

    /// Starts on a machine what an ignored test of this file serves, which tells where by [`tell_s3`].
    pub(crate) fn serve(&self, machine: usize, test: &str, patience: Duration) -> S3 {
        let folder = self.folder(machine).join("s3");
        std::fs::create_dir_all(&folder).unwrap();
        let log = self.folder.path().join(format!("{test}-{machine}.log"));
        let log = File::create(log).unwrap();
        let mut command = self.command(machine, std::env::current_exe().unwrap());
        command
            .args(["--exact", test, "--ignored", "--nocapture"])
            .env(S3_FOLDER, &folder)
            .env(S3_HOST, self.ip(machine));
        command
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let mut server = command.spawn().unwrap();
        let stdin = server.stdin.take().unwrap();
        self.servers.lock().push((server, stdin));
        let begun = Instant::now();
        loop {
            if let Some(s3) = S3::told(&folder) {
                return s3;
            }
            assert!(begun.elapsed() < patience, "{test} does not come up");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn end_servers(&self) {
        for (mut server, stdin) in self.servers.lock().drain(..) {
            // It ends when its input does, if it is well.
            drop(stdin);
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    fn namespace(&self, machine: usize) -> String {
        format!("{}{machine}", self.prefix)
    }

    fn switch(&self) -> String {
        format!("{}switch", self.prefix)
    }

    fn etc(&self, machine: usize) -> PathBuf {
        Path::new("/etc/netns").join(self.namespace(machine))
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        self.end_servers();
        let namespaces = (0..self.count).map(|machine| self.namespace(machine));
        for namespace in namespaces.chain([self.switch()]) {
            let _ = try_ip(&["netns", "del", &namespace]);
        }
        for machine in 0..self.count {
            let _ = std::fs::remove_dir_all(self.etc(machine));
        }
    }
}

/// The host's agent that was built beside the seeder.
pub(crate) fn peer_binary() -> PathBuf {
    agent("peer")
}

/// The seeder, likewise.
pub(crate) fn seeder_binary() -> PathBuf {
    agent("seeder")
}

/// Of this build, or of the one in the folder that `FLEETCAST_AGENTS` names.
fn agent(name: &str) -> PathBuf {
    let folder = std::env::var_os("FLEETCAST_AGENTS").map(PathBuf::from);
    // Tests are in a folder beside the programs.
    let built = || std::env::current_exe().unwrap().parent().unwrap().with_file_name(name);
    let binary = folder.map_or_else(built, |folder| folder.join(name));
    assert!(
        binary.exists(),
        "{} is not built; run `cargo build -p {name}`",
        binary.display()
    );
    binary
}

/// The most links that a host had within `span` of the first line of its log, by that log.
pub(crate) fn links_within(log: &str, span: Duration) -> usize {
    let time = |line: &str| -> Option<f64> {
        let clock = line.split_once('T')?.1.split_once('Z')?.0;
        let mut parts = clock.split(':').map(str::parse::<f64>);
        Some(parts.next()?.ok()? * 3600.0 + parts.next()?.ok()? * 60.0 + parts.next()?.ok()?)
    };
    let Some(first) = log.lines().find_map(time) else {
        return 0;
    };
    let early = log
        .lines()
        .filter(|line| time(line).is_some_and(|at| at - first <= span.as_secs_f64()));
    let links = early.filter_map(|line| line.split_once("links=")?.1.split_whitespace().next()?.parse().ok());
    links.max().unwrap_or(0)
}

/// How to get into a machine's S3.
pub(crate) struct S3 {
    pub(crate) endpoint: String,
    id: String,
    secret: String,
}

impl S3 {
    /// What its server has told, once it has.
    fn told(folder: &Path) -> Option<Self> {
        let told = std::fs::read_to_string(folder.with_extension("told")).ok()?;
        let mut lines = told.lines().map(str::to_owned);
        let s3 = Self {
            endpoint: lines.next()?,
            id: lines.next()?,
            secret: lines.next()?,
        };
        // The last line says that the others are whole.
        lines.next().map(|_end| s3)
    }

    /// Gives a program its key.
    pub(crate) fn let_in(&self, command: &mut Command) {
        command
            .env("AWS_ACCESS_KEY_ID", &self.id)
            .env("AWS_SECRET_ACCESS_KEY", &self.secret);
    }
}

/// Tells whoever started this server of S3 how to get in.
pub(crate) fn tell_s3(folder: &Path, config: &CloudConfig) {
    let (endpoint, key) = (
        config.s3_endpoint.as_ref().unwrap(),
        config.credentials.as_ref().unwrap(),
    );
    tell(folder, [endpoint, &key.access_key_id, &key.secret_access_key]);
}

/// Likewise, of a server of any kind.
pub(crate) fn tell(folder: &Path, how: [&str; 3]) {
    let told = format!("{}\nend\n", how.join("\n"));
    std::fs::write(folder.with_extension("told"), told).unwrap();
}

fn v4(machine: usize) -> String {
    format!("10.88.0.{}", machine + 1)
}

fn v6(machine: usize) -> String {
    format!("fd00:88::{:x}", machine + 1)
}

fn ip(arguments: &[&str]) {
    try_ip(arguments).unwrap();
}

fn try_ip(arguments: &[&str]) -> Result<(), String> {
    run("ip", arguments)
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{program} {}: {said}", arguments.join(" ")))
    }
}

/// The folder of a server of S3, in its environment.
pub(crate) const S3_FOLDER: &str = "FLEETCAST_TEST_S3";
/// The address at which it serves, likewise.
pub(crate) const S3_HOST: &str = "FLEETCAST_TEST_HOST";
