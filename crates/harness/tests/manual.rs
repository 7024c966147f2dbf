//! Completions and pages for `man`: each command that `--help` shows is in them.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod program;

use std::process::Command;

use program::{harness, text};

/// The commands that `--help` lists.
fn commands() -> Vec<String> {
    let help = harness(&["--help"]);
    let help = text(&help.stdout);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = listed.take_while(|line| !line.starts_with("Options:"));
    let names = names.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names = names.filter(|name| !name.is_empty() && *name != "help");
    names.map(str::to_owned).collect()
}

#[test]
fn a_shell_completes_every_command() {
    let commands = commands();
    assert!(commands.len() > 20, "{commands:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let made = harness(&["completions", shell]);
        assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
        let made = text(&made.stdout);
        for command in &commands {
            assert!(made.contains(command), "{shell} does not know {command}");
        }
    }
    let unknown = harness(&["completions", "cmd"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("bash"), "{}", text(&unknown.stderr));
}

#[test]
fn bash_takes_its_completions() {
    let made = harness(&["completions", "bash"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("harness.bash");
    std::fs::write(&file, &made.stdout).unwrap();
    let read = Command::new("bash").arg("-n").arg(&file).output().unwrap();
    assert!(read.status.success(), "{}", text(&read.stderr));
}

#[test]
fn man_has_a_page_of_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    let made = harness(&["man", pages.to_str().unwrap()]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    for command in commands() {
        let page = std::fs::read_to_string(pages.join(format!("harness-{command}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{command}: {page}");
    }
    assert!(pages.join("harness.1").is_file());
    // Where there can be none.
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let refused = harness(&["man", file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(text(&refused.stderr).contains("file"), "{}", text(&refused.stderr));
}
