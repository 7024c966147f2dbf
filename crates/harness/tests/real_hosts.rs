//! What README says of real hosts and seeders, typed on machines of their own (network namespaces) as it stands there: only addresses,
//! ids, names of buckets and builds, and folders that the system has are replaced. What README says comes out has to come out.
//!
//! Needs root and iproute2. Elsewhere these tests say that they were left out, and pass.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

#[path = "../../peer/tests/limit/mod.rs"]
mod limit;
#[path = "../../seeder/tests/machines/rig.rs"]
mod machines;
#[path = "real_hosts/readme.rs"]
mod readme;
#[path = "../../lambdas/tests/rig/mod.rs"]
mod stack;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use machines::{Families, Machines, Process, S3};
use readme::{Document, with};
use rustix::process::{Pid, Signal, kill_process};

/// Where AWS is, an operator types, and the seeder runs.
const SEEDER: usize = 0;
const HOSTS: [usize; 3] = [1, 2, 3];
/// A machine that is nobody's.
const STRANGER: usize = 4;
const LINK_MBIT: u32 = 200;
/// What takes longer on a busy machine does not happen.
const SOON: Duration = Duration::from_secs(60);
/// So long nothing is to happen.
const A_WHILE: Duration = Duration::from_secs(6);

/// Not a test: AWS with the pipeline, which another test starts on a machine.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a server, started by the other tests in a machine of its own"]
async fn serve_aws() {
    let folder = std::env::var_os(machines::S3_FOLDER).unwrap();
    let stack = stack::stack(&programs()).await;
    machines::tell_s3(folder.as_ref(), &stack.config());
    // Until whoever started it has gone.
    let end = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
    let _ = end.await.unwrap();
}

/// Not a test: what maps a port of a machine to one that only the machine itself reaches, as a router in front of it does.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a server, started by the other tests in a machine of its own"]
async fn map_port() {
    let folder = PathBuf::from(std::env::var_os(machines::S3_FOLDER).unwrap());
    let host = std::env::var(machines::S3_HOST).unwrap();
    let mapped = tokio::net::TcpListener::bind((host, MAPPED)).await.unwrap();
    machines::tell(&folder, ["", "", ""]);
    let mapping = async {
        while let Ok((mut outer, _)) = mapped.accept().await {
            tokio::spawn(async move {
                let mut inner = tokio::net::TcpStream::connect(("127.0.0.1", LISTENING)).await?;
                tokio::io::copy_bidirectional(&mut outer, &mut inner).await
            });
        }
    };
    // Until whoever started it has gone.
    let end = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
    tokio::select! {
        () = mapping => {}
        _ = end => {}
    }
}

/// The port at which others reach a host, and the one at which it listens.
const MAPPED: u16 = 6000;
const LISTENING: u16 = 5000;

fn programs() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_harness")).parent().unwrap().to_owned()
}

/// Machines with AWS on the first of them, at which somebody types.
struct Region {
    machines: Machines,
    aws: S3,
    path: String,
}

impl Region {
    fn start() -> Option<Self> {
        let machines = Machines::new(STRANGER + 1, Families::V4, LINK_MBIT)?;
        let aws = machines.serve(SEEDER, "serve_aws", Duration::from_secs(180));
        // The packages call the programs by other names.
        let bin = machines.folder(SEEDER).join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        for (name, program) in [
            ("harness", "harness"),
            ("peer", "peer"),
            ("seeder", "seeder"),
            ("fleetcast-host", "peer"),
        ] {
            std::os::unix::fs::symlink(programs().join(program), bin.join(name)).unwrap();
        }
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        Some(Self { machines, aws, path })
    }

    fn folder(&self, machine: usize) -> PathBuf {
        self.machines.folder(machine)
    }

    /// A line that somebody types at a machine. Who types knows how to get into AWS where the seeder is, and where `rows` are written.
    fn command(&self, machine: usize, line: &str, knows_aws: bool) -> Command {
        let mut command = self.machines.command(machine, "sh");
        command
            .args(["-c", line])
            .current_dir(self.folder(machine))
            .env("PATH", &self.path);
        command.env_remove("AWS_REGION");
        if knows_aws {
            command
                .env("AWS_ENDPOINT_URL", &self.aws.endpoint)
                .env("AWS_REGION", "us-east-1");
            self.aws.let_in(&mut command);
        }
        command
    }

    fn output(&self, machine: usize, line: &str) -> Output {
        self.command(machine, line, machine == SEEDER).output().unwrap()
    }

    /// What a line prints that does what it is asked to.
    fn types(&self, machine: usize, line: &str) -> String {
        let ended = self.output(machine, line);
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.success(), "{line}: {said}");
        String::from_utf8(ended.stdout).unwrap()
    }

    /// A line whose program stays.
    fn starts(&self, machine: usize, line: &str) -> Process {
        self.machines
            .start(self.command(machine, &format!("exec {line}"), machine == SEEDER))
    }

    /// Likewise, at a host that writes its rows itself.
    fn starts_with_aws(&self, machine: usize, line: &str) -> Process {
        self.machines
            .start(self.command(machine, &format!("exec {line}"), true))
    }

    /// Somebody brings files from the operator's machine.
    fn brings(&self, files: &[&str], machine: usize) {
        for file in files {
            std::fs::copy(self.folder(SEEDER).join(file), self.folder(machine).join(file)).unwrap();
        }
    }

    /// A build at the operator's.
    fn makes(&self, name: &str, megabytes: u8) -> Vec<u8> {
        let bytes: Vec<u8> = (0..u32::from(megabytes) << 18)
            .flat_map(|word| (word ^ u32::from(megabytes) << 24).to_le_bytes())
            .collect();
        std::fs::write(self.folder(SEEDER).join(name), &bytes).unwrap();
        bytes
    }

    /// Waits until so many hosts have a row that says that they have it.
    fn counts(&self, build: &str, hosts: usize) {
        let count = format!("harness count --build-id {build} --expect {hosts}");
        let began = Instant::now();
        loop {
            let counted = self.output(SEEDER, &count);
            if counted.status.success() {
                return;
            }
            assert!(began.elapsed() < SOON, "{}", String::from_utf8_lossy(&counted.stdout));
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// The next line of a process that begins so; those before it are passed over.
fn line_of(process: &Process, begins: &str) -> String {
    let began = Instant::now();
    while let Some(line) = process.line_within(SOON.saturating_sub(began.elapsed())) {
        if line.starts_with(begins) {
            return line;
        }
    }
    panic!("no line {begins}…\n{}", process.said());
}

fn stops(mut process: Process) {
    kill_process(Pid::from_raw(process.id().cast_signed()).unwrap(), Signal::TERM).unwrap();
    let began = Instant::now();
    loop {
        if let Some(status) = process.ended() {
            assert_eq!(status.code(), Some(0), "{}", process.said());
            return;
        }
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "it does not stop\n{}",
            process.said()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The block of keys, certificates and trust, line after line.
#[test]
fn what_readme_types_for_hosts_with_keys_certificates_and_trust_comes_out_as_it_says() {
    let Some(region) = Region::start() else {
        return;
    };
    let build = region.makes("build-1.zip", 8);
    let mut seeder = None;
    let mut hosts = Vec::new();
    let (mut directory, mut id) = (String::new(), String::new());
    for line in Document::read("README.md").block("harness keygen release.key") {
        let likewise = |machine: usize| {
            line.replace("seeder", "peer")
                .replace("peer-1", &format!("host-{machine}"))
        };
        if line.starts_with("harness keygen") || line.starts_with("harness upload") {
            region.types(SEEDER, &line);
        } else if line.ends_with("--print-id") {
            id = region.types(SEEDER, &line).trim().to_owned();
        } else if line.starts_with("harness certify") {
            region.types(SEEDER, &with(&line, &[("12D3…", &id)]));
            for machine in HOSTS {
                let id = region.types(machine, "peer --identity peer.key --print-id");
                region.types(SEEDER, &with(&likewise(machine), &[("12D3…", id.trim())]));
                region.brings(&["release.key.pub", "members.key.pub", "peer.certificate"], machine);
            }
        } else if line.starts_with("seeder --queue") {
            let process = region.starts(SEEDER, &line);
            directory = process.line();
            seeder = Some(process);
        } else if line.starts_with("peer --directory") {
            let line = with(&line, &[("ADDRESS", &directory)]);
            hosts.extend(HOSTS.map(|machine| region.starts(machine, &line)));
        } else {
            panic!("README types another line, which this test has to type too: {line}");
        }
    }
    let seeder = seeder.unwrap();
    assert!(
        directory.starts_with(&region.machines.address(SEEDER, 4001)),
        "{directory}"
    );
    line_of(&seeder, "build-1.zip /");
    for (host, machine) in hosts.iter().zip(HOSTS) {
        let (key, path) = (
            line_of(host, "build-1.zip "),
            region.folder(machine).join("builds/build-1.zip"),
        );
        assert!(key.ends_with("builds/build-1.zip"), "{key}");
        assert!(std::fs::read(&path).unwrap() == build, "{}", path.display());
    }
    region.counts("build-1.zip", HOSTS.len());
    // "They then talk to nobody who has no certificate of that key …"
    let stranger = region.starts(STRANGER, &format!("peer --directory {directory} --folder builds"));
    // "… and believe no build that the other has not signed."
    region.makes("build-2.zip", 2);
    region.types(SEEDER, "harness upload build-2.zip");
    region.makes("build-3.zip", 1);
    region.types(SEEDER, "harness upload build-3.zip --sign release.key");
    for host in &hosts {
        line_of(host, "build-3.zip ");
        assert_eq!(host.line_within(A_WHILE / 3), None, "{}", host.said());
    }
    region.counts("build-3.zip", HOSTS.len());
    assert!(seeder.said().contains("build-2.zip"), "{}", seeder.said());
    assert_eq!(stranger.line_within(A_WHILE / 3), None);
    assert!(!region.folder(STRANGER).join("builds/build-1.zip").exists());
    assert!(!stranger.said().is_empty(), "it is told why nothing comes");
    hosts.into_iter().chain([seeder]).for_each(stops);
}

/// One build: by address, by several, by name, over QUIC, and of two seeders.
#[test]
fn what_readme_types_for_one_build_comes_out_as_it_says() {
    let Some(region) = Region::start() else {
        return;
    };
    let readme = Document::read("README.md");
    let build = region.makes("app.zip", 8);
    region.types(SEEDER, "harness upload app.zip");
    let seeds = with(
        &readme.code("seeder --bucket"),
        &[(" B ", " region-a-builds "), (" K", " app.zip")],
    );
    let fetches = readme.code("peer --seeder");
    let begun = Instant::now();
    while !region.types(SEEDER, "harness status").contains("SUCCEEDED") {
        assert!(begun.elapsed() < SOON, "it is not in the region's bucket");
        std::thread::sleep(Duration::from_millis(200));
    }
    let has_it = |machine: usize, addresses: &[String]| {
        let line = with(
            &fetches,
            &[("ADDRESS", &addresses.join(" --seeder ")), ("FILE", "app.zip")],
        );
        region.types(machine, &line);
        let file = region.folder(machine).join("app.zip");
        assert!(std::fs::read(&file).unwrap() == build, "{line}");
        std::fs::remove_file(file).unwrap();
    };
    let all_have_it = |addresses: &[String]| {
        std::thread::scope(|scope| {
            for machine in HOSTS {
                scope.spawn(move || has_it(machine, addresses));
            }
        });
    };
    // With all defaults: it prints its addresses, and each leads there.
    let seeder = region.starts(SEEDER, &seeds);
    let address = seeder.line();
    assert!(
        address.starts_with(&format!("/ip4/{}/tcp/", region.machines.ip(SEEDER))),
        "{address}"
    );
    all_have_it(std::slice::from_ref(&address));
    drop(seeder);
    // At a port, and by a name that leads to a dead address too.
    region.machines.name(SEEDER, "seeder.example", &["10.88.0.250"]);
    let listen = readme.code("--listen /ip4/0.0.0.0/tcp/4001");
    let seeder = region.starts(SEEDER, &format!("{seeds} {listen}"));
    let address = seeder.line();
    let (_, peer) = address.rsplit_once("/p2p/").unwrap();
    let name = with(&readme.code("/dns/seeder.example"), &[("…", peer)]);
    all_have_it(std::slice::from_ref(&name));
    all_have_it(&[name, address.clone()]);
    drop(seeder);
    // Over QUIC.
    let listen = readme.code("--listen /ip4/0.0.0.0/udp/4001/quic-v1");
    let seeder = region.starts(SEEDER, &format!("{seeds} {listen}"));
    let address = seeder.line();
    assert!(address.contains("/quic-v1/p2p/"), "{address}");
    all_have_it(&[address]);
    drop(seeder);
    // Of two seeders of a region.
    let part = readme.code("--part 1/2");
    let parts = [part.clone(), with(&part, &[("1/2", &readme.code("2/2"))])];
    let seeders = parts
        .each_ref()
        .map(|part| region.starts(SEEDER, &format!("{seeds} {part} --folder spool-{}", &part[7..8])));
    let addresses = seeders.each_ref().map(Process::line);
    all_have_it(&addresses);
}

/// Builds by the region's queue, hosts that are started again, signatures by hand, and the agent as a service.
#[test]
fn what_readme_types_for_a_queue_and_for_a_service_comes_out_as_it_says() {
    let Some(region) = Region::start() else {
        return;
    };
    let readme = Document::read("README.md");
    let build = region.makes("build-1.zip", 4);
    let seeder = region.starts(SEEDER, &readme.code("seeder --queue"));
    let directory = seeder.line();
    let follows = with(
        &readme.code("peer --directory"),
        &[("ADDRESS", &directory), ("FOLDER", "builds")],
    );
    let host = region.starts_with_aws(1, &follows);
    region.types(SEEDER, "harness upload build-1.zip");
    line_of(&seeder, "build-1.zip /");
    let line = line_of(&host, "build-1.zip ");
    assert!(line.ends_with("builds/build-1.zip"), "{line}");
    assert!(std::fs::read(region.folder(1).join("builds/build-1.zip")).unwrap() == build);
    region.counts("build-1.zip", 1);
    // "… of each version prints KEY PATH and writes a row, once"
    stops(host);
    let host = region.starts_with_aws(1, &follows);
    assert_eq!(host.line_within(A_WHILE), None);
    region.counts("build-1.zip", 1);

    signatures_by_hand(&region, &readme);
    for (document, line) in [
        ("README.md", "fleetcast-host check"),
        ("docs/operations.md", "fleetcast-host status"),
    ] {
        as_a_service(&region, &Document::read(document).block(line), &directory, &build);
    }
    // "`fleetcast-host get BUILD` fetches one build by its key."
    let get = with(&readme.code("fleetcast-host get"), &[("BUILD", "build-1.zip")]);
    let printed = region.types(
        3,
        &format!("{get} --directory {directory} --folder builds --config /dev/null"),
    );
    assert!(printed.starts_with("build-1.zip "), "{printed}");
    assert!(std::fs::read(region.folder(3).join("builds/build-1.zip")).unwrap() == build);
    [host, seeder].into_iter().for_each(stops);
}

/// "… `--advertise` says so where they cannot, as behind a port mapping": neither could be dialled where it listens.
#[test]
fn hosts_behind_port_mappings_find_each_other_where_they_advertise() {
    let Some(region) = Region::start() else {
        return;
    };
    let readme = Document::read("README.md");
    let build = region.makes("build-1.zip", 8);
    let seeder = region.starts(SEEDER, &readme.code("seeder --queue"));
    let by = [("ADDRESS", &*seeder.line()), ("FOLDER", "builds")];
    let follows = with(&readme.code("peer --directory"), &by);
    let hosts = [1, 2].map(|machine| {
        region.machines.serve(machine, "map_port", SOON);
        let at = region.machines.address(machine, MAPPED);
        let listens = format!(
            "--listen /ip4/127.0.0.1/tcp/{LISTENING} {} {at}",
            readme.code("--advertise")
        );
        region.starts_with_aws(machine, &format!("env RUST_LOG=peer=debug {follows} {listens}"))
    });
    region.types(SEEDER, "harness upload build-1.zip");
    for (host, machine) in hosts.iter().zip([1, 2]) {
        line_of(host, "build-1.zip ");
        assert!(std::fs::read(region.folder(machine).join("builds/build-1.zip")).unwrap() == build);
    }
    // With the seeder, and with each other.
    let began = Instant::now();
    while !hosts.iter().all(|host| host.said().contains("links=2")) {
        assert!(began.elapsed() < SOON, "{}", hosts[0].said());
        std::thread::sleep(Duration::from_millis(50));
    }
    hosts.into_iter().chain([seeder]).for_each(stops);
}

fn signatures_by_hand(region: &Region, readme: &Document) {
    region.types(SEEDER, &readme.code("harness keygen"));
    let sign = with(&readme.code("harness sign FILE"), &[("FILE", "build-1.zip")]);
    // It has characters that a shell reads.
    let signature = format!("'{}'", region.types(SEEDER, &sign).trim());
    let verify = |file: &str| {
        let by = [("FILE", file), ("TEXT", &*signature)];
        region.output(SEEDER, &with(&readme.code("harness verify FILE"), &by))
    };
    assert!(verify("build-1.zip").status.success());
    region.makes("other.zip", 3);
    assert!(!verify("other.zip").status.success());
}

/// A package's way, by its file, its unit and its name; who installs packages and starts units is not tried here.
fn as_a_service(region: &Region, lines: &[String], directory: &str, build: &[u8]) {
    const HOST: usize = 2;
    let folder = region.folder(HOST);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging");
    let place = |text: &str| {
        let at = |part: &str| folder.join(part).display().to_string();
        let text = text
            .replace("/etc/fleetcast", &at("etc"))
            .replace("/var/lib/fleetcast", &at("var"));
        text.replace("/run/fleetcast", &at("run")).replace("/usr/bin/", "")
    };
    for part in ["etc", "var", "run"] {
        std::fs::create_dir_all(folder.join(part)).unwrap();
    }
    // What the package brings, and the one line that an editor adds.
    let file = place(&std::fs::read_to_string(root.join("host.toml")).unwrap());
    std::fs::write(
        folder.join("etc/host.toml"),
        format!("directory = \"{directory}\"\n{file}"),
    )
    .unwrap();
    let unit = std::fs::read_to_string(root.join("fleetcast-host.service")).unwrap();
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let configured = format!("FLEETCAST_CONFIG={} ", folder.join("etc/host.toml").display());
    let mut agent = None;
    for command in lines.iter().flat_map(|line| line.split(" && ")) {
        match command {
            "fleetcast-host check" => {
                let printed = region.types(HOST, &format!("{configured}{command}"));
                assert!(printed.contains(directory), "{printed}");
            }
            "systemctl enable --now fleetcast-host" => {
                let started = region.starts(HOST, &place(start));
                assert!(line_of(&started, "build-1.zip ").ends_with("builds/build-1.zip"));
                agent = Some(started);
            }
            "fleetcast-host status" => {
                let printed = region.types(HOST, &format!("{configured}{command}"));
                assert!(printed.contains("build-1.zip"), "{printed}");
            }
            other => assert!(
                ["apt install", "editor", "cargo"]
                    .iter()
                    .any(|begins| other.starts_with(begins)),
                "another line, which this test has to type too: {other}"
            ),
        }
    }
    let var = folder.join("var");
    for name in ["build-1.zip", "current"] {
        assert!(std::fs::read(var.join("builds").join(name)).unwrap() == build, "{name}");
    }
    stops(agent.unwrap());
    std::fs::remove_dir_all(var).unwrap();
}
