//! The local stack with the pipeline in it: started once for a test binary, on a free port of loopback, with the functions
//! that were built with this test. It ends with the process that started it.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a rig of tests")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cloud::{Cloud, CloudConfig, Credentials};
use pipeline::{Pipeline, Provisioned};
use tokio::sync::OnceCell;

/// A stack that runs.
pub struct Stack {
    pub endpoint: String,
    pub provisioned: Provisioned,
    pub regions: Vec<String>,
    process: Child,
    folder: tempfile::TempDir,
}

static STACK: OnceCell<Stack> = OnceCell::const_new();

/// The stack of this process. `binaries` is the folder of the functions' binaries.
pub async fn stack(binaries: &Path) -> &'static Stack {
    STACK.get_or_init(|| start(binaries)).await
}

impl Stack {
    pub fn config(&self) -> CloudConfig {
        CloudConfig {
            credentials: Some(Credentials {
                access_key_id: "test".to_owned(),
                secret_access_key: "test".to_owned(),
                session_token: None,
            }),
            ..CloudConfig::at(&self.endpoint)
        }
    }

    pub async fn cloud(&self) -> Cloud {
        Cloud::connect(&self.config()).await
    }

    /// The zips of the functions.
    pub fn packages(&self) -> PathBuf {
        self.folder.path().join("packages")
    }

    /// The URL of a path of the API.
    pub fn url(&self, path: &str) -> String {
        let Provisioned { api_id, api_stage, .. } = &self.provisioned;
        format!("{}/restapis/{api_id}/{api_stage}/_user_request_/{path}", self.endpoint)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The interpreter that the local stack is installed in.
fn python() -> PathBuf {
    let installed = root().join(".local-stack/venv/bin/ministack");
    let binary = std::env::var("FLEETCAST_LOCAL_STACK_BIN").map_or(installed, PathBuf::from);
    let python = binary.with_file_name("python");
    assert!(
        python.exists(),
        "the local stack is not installed; run ./run-tests.sh, which does that"
    );
    python
}

/// A stack without the pipeline.
pub async fn start_bare() -> (String, Child, tempfile::TempDir) {
    start_on(free_port()).await
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind((host(), 0)).unwrap().local_addr().unwrap().port()
}

/// Where the stack listens: on loopback, or on a machine of its own where others reach it.
fn host() -> String {
    std::env::var("FLEETCAST_TEST_HOST").unwrap_or_else(|_| "127.0.0.1".to_owned())
}

/// A stack without the pipeline, on this port.
pub async fn start_on(port: u16) -> (String, Child, tempfile::TempDir) {
    let python = python();
    let root = root();
    let folder = tempfile::tempdir().unwrap();
    let log = std::fs::File::create(folder.path().join("stack.log")).unwrap();
    let process = Command::new(python)
        .arg(root.join("scripts/local-stack.py"))
        .env("BIND_HOST", host())
        .env("GATEWAY_PORT", port.to_string())
        .env("FLEETCAST_STACK_FOLLOWS_STDIN", "1")
        // The workflow's waits before another attempt, at a hundredth.
        .env("SFN_WAIT_SCALE", "0.01")
        .env("TMPDIR", folder.path())
        .stdin(Stdio::piped())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let host = host();
    let endpoint = format!("http://{host}:{port}");
    let began = Instant::now();
    loop {
        if let Ok(answer) = tokio::net::TcpStream::connect((&*host, port)).await {
            drop(answer);
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "no answer on {endpoint}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    (endpoint, process, folder)
}

async fn start(binaries: &Path) -> Stack {
    let (endpoint, process, folder) = start_bare().await;
    let packages = folder.path().join("packages");
    package(binaries, &packages);
    let mut stack = Stack {
        endpoint,
        provisioned: Provisioned {
            state_machine_arn: String::new(),
            topic_arn: String::new(),
            api_id: String::new(),
            api_stage: String::new(),
        },
        regions: vec!["region-a".to_owned(), "region-b".to_owned()],
        process,
        folder,
    };
    let cloud = stack.cloud().await;
    let pipeline = Pipeline::new(&cloud, &stack.regions);
    let endpoint = stack.endpoint.clone();
    let made = pipeline.provision(&packages, Some(&endpoint), &|_| {}).await;
    stack.provisioned = made.unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)));
    stack
}

/// Zips each function as `<function>/bootstrap.zip`, without what only debuggers read: else each is a hundred megabytes.
pub fn package(binaries: &Path, packages: &Path) {
    let python = python();
    for function in cloud::FUNCTIONS {
        let folder = packages.join(function);
        std::fs::create_dir_all(&folder).unwrap();
        let built: PathBuf = binaries.join(function);
        let bootstrap = folder.join("bootstrap");
        assert!(built.is_file(), "{} is not built; run ./run-tests.sh", built.display());
        let stripped = Command::new("strip").arg("-o").arg(&bootstrap).arg(&built).status();
        if !stripped.is_ok_and(|status| status.success()) {
            std::fs::copy(&built, &bootstrap).unwrap();
        }
        let script = "import sys, zipfile\n\
            e = zipfile.ZipInfo('bootstrap'); e.external_attr = 0o100755 << 16\n\
            zipfile.ZipFile(sys.argv[2], 'w').writestr(e, open(sys.argv[1], 'rb').read(), compress_type=8, compresslevel=1)";
        let zip = folder.join("bootstrap.zip");
        let zipped = Command::new(&python)
            .arg("-c")
            .arg(script)
            .arg(&bootstrap)
            .arg(&zip)
            .status();
        assert!(zipped.unwrap().success());
        std::fs::remove_file(bootstrap).unwrap();
    }
}

/// Posts a body; the status and the body of the answer.
pub async fn post(url: &str, body: &str) -> (u16, String) {
    const SCRIPT: &str = "import sys, urllib.request, urllib.error\n\
        try: a = urllib.request.urlopen(urllib.request.Request(sys.argv[1], sys.argv[2].encode(), method='POST'))\n\
        except urllib.error.HTTPError as e: a = e\n\
        print(a.status); print(a.read().decode())";
    let mut command = Command::new(python());
    command.arg("-c").arg(SCRIPT).arg(url).arg(body);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    let (status, body) = answer.split_once('\n').unwrap();
    (status.parse().unwrap(), body.trim_end().to_owned())
}

/// Asks again and again until there is an answer.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let began = Instant::now();
    loop {
        // Who is asked may not answer either.
        let answer = tokio::time::timeout(Duration::from_secs(60), ask()).await;
        if let Ok(Some(answer)) = answer {
            return answer;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
