//! A headless Chromium, driven by its DevTools protocol over a pair of pipes, so that it needs no port and ends with its test.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// A browser with one page, which ends when it is dropped.
pub(crate) struct Chromium {
    process: Child,
    commands: ChildStdin,
    told: Receiver<Value>,
    session: String,
    calls: u64,
    /// What it told without being asked, since the last page was opened.
    events: Vec<Value>,
    _profile: tempfile::TempDir,
}

/// What starts a browser here. None where there is none, which is said and, in CI, is a failure.
pub(crate) fn program() -> Option<String> {
    let named = std::env::var("FLEETCAST_CHROMIUM").ok().filter(|path| !path.is_empty());
    if named.is_none() {
        let why = "FLEETCAST_CHROMIUM names no Chromium; expected what `scripts/chromium.sh install` prints";
        assert!(std::env::var_os("CI").is_none(), "{why}");
        eprintln!("skipped: {why}");
    }
    named
}

impl Chromium {
    pub(crate) fn start(program: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        // It reads commands from its descriptor 3 and answers on 4.
        let mut process = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 1>&2 </dev/null", program])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args([
                "--no-first-run",
                "--disable-background-networking",
                "--remote-debugging-pipe",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("failed to start {program}: {error}"));
        let (commands, answers) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            for message in BufReader::new(answers).split(0).map_while(Result::ok) {
                let message: Value = serde_json::from_slice(&message).unwrap();
                if tell.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            process,
            commands,
            told,
            session: String::new(),
            calls: 0,
            events: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        attached["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Opens a page on a screen of this width, and waits until it has loaded.
    pub(crate) fn open(&mut self, page: &Path, width: u32, scheme: &str) {
        let screen = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.call("Emulation.setDeviceMetricsOverride", screen);
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", features);
        self.events.clear();
        let opened = self.call("Page.navigate", json!({ "url": format!("file://{}", page.display()) }));
        assert!(opened.get("errorText").is_none(), "{opened}");
        self.wait_for("Page.loadEventFired");
    }

    /// The page as a printer gets it.
    pub(crate) fn print(&mut self) {
        self.call("Emulation.setEmulatedMedia", json!({ "media": "print" }));
    }

    /// Whether pages that are opened from now on may run scripts; [`Chromium::value`] may in any case.
    pub(crate) fn allow_scripts(&mut self, are_allowed: bool) {
        self.call("Emulation.setScriptExecutionDisabled", json!({ "value": !are_allowed }));
    }

    /// Something of the mouse (`mouseMoved`, `mousePressed`, `mouseReleased`), the left button where one is pressed, `clicks` of them.
    pub(crate) fn mouse(&mut self, what: &str, (x, y): (f64, f64), clicks: u32) {
        let (button, buttons) = if clicks > 0 { ("left", 1) } else { ("none", 0) };
        let event = json!({ "type": what, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": clicks });
        self.call("Input.dispatchMouseEvent", event);
    }

    /// The value of an expression of JavaScript.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let call = json!({ "expression": expression, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", call);
        assert!(answer.get("exceptionDetails").is_none(), "{answer:#}");
        answer["result"]["value"].clone()
    }

    /// The page as it is shown, as a PNG in base64.
    pub(crate) fn picture(&mut self) -> String {
        let shown = self.call("Page.captureScreenshot", json!({ "captureBeyondViewport": true }));
        shown["data"].as_str().unwrap().to_owned()
    }

    /// The upper part of the page, as a PNG.
    pub(crate) fn picture_of(&mut self, (width, height): (u32, u32)) -> Vec<u8> {
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 1 });
        let shown = self.call(
            "Page.captureScreenshot",
            json!({ "captureBeyondViewport": true, "clip": clip }),
        );
        BASE64_STANDARD.decode(shown["data"].as_str().unwrap()).unwrap()
    }

    /// What a page asked for that is not the page itself, and each error that was told of.
    pub(crate) fn complaints(&mut self, page: &Path) -> Vec<String> {
        // What was told before it answers this is here.
        self.value("0");
        let own = format!("file://{}", page.display());
        let of_event = |event: &Value| {
            let told = &event["params"];
            match event["method"].as_str()? {
                "Network.requestWillBeSent" if told["request"]["url"] != own => {
                    Some(format!("asks for {}", told["request"]["url"]))
                }
                "Runtime.exceptionThrown" => Some(format!("throws {}", told["exceptionDetails"])),
                "Runtime.consoleAPICalled" if told["type"] == "error" => Some(format!("says {}", told["args"])),
                "Log.entryAdded" if told["entry"]["level"] == "error" => {
                    Some(format!("has the error {}", told["entry"]["text"]))
                }
                _ => None,
            }
        };
        self.events.iter().filter_map(of_event).collect()
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let id = self.calls;
        let mut command = json!({ "id": id, "method": method, "params": params });
        if !self.session.is_empty() {
            command["sessionId"] = self.session.as_str().into();
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        self.commands.write_all(&bytes).unwrap();
        let answer = self.next(&format!("an answer to {method}"), |message| message["id"] == id);
        assert!(answer.get("error").is_none(), "{method}: {answer:#}");
        answer["result"].clone()
    }

    fn wait_for(&mut self, event: &str) {
        if !self.events.iter().any(|told| told["method"] == event) {
            self.next(event, |message| message["method"] == event);
        }
    }

    fn next(&mut self, awaited: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let message = self.told.recv_timeout(left);
            let message = message.unwrap_or_else(|why| panic!("Chromium did not give {awaited}: {why}"));
            if is_it(&message) {
                return message;
            }
            self.events.push(message);
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Its helpers end with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A browser that starts on a machine which compiles at the same time may take long.
const PATIENCE: Duration = Duration::from_secs(120);
