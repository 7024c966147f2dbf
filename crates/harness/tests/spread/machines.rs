//! Machines of their own as far as the network goes, for a run and its workers.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command};

use rustix::fs::{Mode, OFlags};
use rustix::thread::UnshareFlags;
use serde_json::Value;

use super::{Process, harness, until, write_key};

/// A machine of its own as far as the network goes: it ends with the test, and takes its links with it.
struct Namespace(Child);

impl Namespace {
    fn new() -> Self {
        let holder = Command::new("unshare").args(["--net", "sleep", "600"]).spawn().unwrap();
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let path = format!("/proc/{}/ns/net", holder.id());
        let begun = until("a network namespace", || {
            std::fs::read_link(&path).ok().filter(|other| *other != own)
        });
        let namespace = Self(holder);
        begun.unwrap();
        namespace.ip("link set lo up");
        namespace
    }

    /// What a command is preceded by to run there.
    fn enter(&self) -> Vec<String> {
        ["--target", &self.0.id().to_string(), "--net"]
            .map(str::to_owned)
            .to_vec()
    }

    fn ip(&self, arguments: &str) {
        let done = Command::new("nsenter")
            .args(self.enter())
            .arg("ip")
            .args(arguments.split(' '))
            .status();
        assert!(done.unwrap().success(), "ip {arguments}");
    }

    /// Starts it there, with a clock that is so many milliseconds ahead.
    fn start(&self, arguments: &[&str], ahead_ms: i64) -> Process {
        let mut command = Command::new("nsenter");
        command.args(self.enter());
        if ahead_ms != 0 {
            shift_clock(&mut command, ahead_ms);
            // Who enters at a fork only is in the time namespace after it.
            command.args(["unshare", "--fork", "--kill-child"]);
        }
        Process::of(command.args(arguments))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Puts a command into a time namespace. `unshare` does that by whole seconds only.
fn shift_clock(command: &mut Command, ahead_ms: i64) {
    let (seconds, nanos) = (ahead_ms.div_euclid(1000), ahead_ms.rem_euclid(1000) * 1_000_000);
    let mut offset = [0; 64];
    let mut rest = &mut offset[..];
    writeln!(rest, "monotonic {seconds} {nanos}").unwrap();
    let length = 64 - rest.len();
    let shift = move || {
        #[expect(unsafe_code, reason = "a process that was forked a moment ago has one thread")]
        // SAFETY: there is nobody who would be surprised by another time namespace.
        unsafe {
            rustix::thread::unshare_unsafe(UnshareFlags::NEWTIME)?;
        }
        let file = rustix::fs::open(c"/proc/self/timens_offsets", OFlags::WRONLY, Mode::empty())?;
        rustix::io::write(&file, &offset[..length])?;
        Ok(())
    };
    #[expect(unsafe_code, reason = "only a new process can have a clock of its own")]
    // SAFETY: it makes system calls, and neither allocates nor takes a lock.
    unsafe {
        command.pre_exec(shift);
    }
}

/// Why there are no namespaces here, where there are none.
pub(super) fn no_namespaces() -> Option<String> {
    let tried = Command::new("unshare")
        .args([
            "--net",
            "--time",
            "--monotonic",
            "1",
            "--fork",
            "ip",
            "link",
            "add",
            "v",
            "type",
            "veth",
        ])
        .output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("unshare: {error}")),
    }
}

/// A run and its workers on machines of their own, at one switch.
pub(super) struct Machines {
    of_run: Namespace,
    of_workers: Vec<Namespace>,
}

impl Machines {
    pub(super) fn new(workers: usize) -> Self {
        let of_run = Namespace::new();
        of_run.ip("link add br0 type bridge");
        of_run.ip("addr add 10.77.0.1/24 dev br0");
        of_run.ip("link set br0 up");
        let of_workers: Vec<Namespace> = (0..workers).map(|_| Namespace::new()).collect();
        for (index, worker) in of_workers.iter().enumerate() {
            of_run.ip(&format!(
                "link add v{index} type veth peer name eth0 netns {}",
                worker.0.id()
            ));
            of_run.ip(&format!("link set v{index} master br0 up"));
            worker.ip(&format!("addr add 10.77.0.{}/24 dev eth0", 10 + index));
            worker.ip("link set eth0 up");
        }
        Self { of_run, of_workers }
    }

    /// The report of a run over all of them. Their clocks are a thousand seconds ahead, as much behind, and fifty milliseconds likewise.
    pub(super) fn run(&self, folder: &Path, scenario: &[&str]) -> Value {
        let (key, out) = (folder.join("key"), folder.join("spread"));
        write_key(&key, "a key that nobody else has");
        let [key, out] = [key, out].map(|path| path.display().to_string());
        let program = harness().display().to_string();
        let count = self.of_workers.len().to_string();
        let mut run = vec![&*program, "run"];
        run.extend(scenario);
        run.extend(["--out", &out, "--workers", &count, "--listen", "10.77.0.1:7440"]);
        run.extend(["--key-file", &key]);
        let mut run = self.of_run.start(&run, 0);
        run.says("workers are awaited at ");
        // No clock goes below zero: a machine that was started a moment ago is shifted by less.
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let back = -(uptime as i64 / 2).min(1000) * 1000;
        let mut shifts = [1_000_000, back, 50, -50].into_iter().cycle();
        let mut workers = Vec::new();
        for (index, namespace) in self.of_workers.iter().enumerate() {
            let index = index.to_string();
            let mut worker = vec![&*program, "worker", "--connect", "10.77.0.1:7440"];
            worker.extend(["--index", &index, "--key-file", &key]);
            workers.push(namespace.start(&worker, shifts.next().unwrap()));
        }
        let (code, said) = run.ends();
        let of_workers: Vec<String> = workers.iter().map(Process::said).collect();
        assert_eq!(code, Some(0), "{said}\n{of_workers:?}");
        for worker in &mut workers {
            let (code, said) = worker.ends();
            assert_eq!(code, Some(0), "{said}");
        }
        serde_json::from_slice(&std::fs::read(format!("{out}/report.json")).unwrap()).unwrap()
    }
}

#[test]
fn a_clock_can_be_shifted_by_less_than_a_second() {
    if let Some(why) = no_namespaces() {
        eprintln!("left out: there are no network and time namespaces here: {why}");
        return;
    }
    for (ahead_ms, expected) in [
        (50, [0, 50_000_000]),
        (-50, [-1, 950_000_000]),
        (-1_000_000, [-1000, 0]),
    ] {
        let mut command = Command::new("unshare");
        shift_clock(&mut command, ahead_ms);
        let output = command
            .args(["--fork", "cat", "/proc/self/timens_offsets"])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let numbers = said.lines().next().unwrap().split_whitespace().skip(1);
        let shifted: Vec<i64> = numbers.map(|number| number.parse().unwrap()).collect();
        assert_eq!(shifted, expected, "{ahead_ms} ms: {said}");
    }
}
