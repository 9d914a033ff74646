//! The processes of `--launch` end with us, however we end, and wherever they moved.

#![allow(clippy::disallowed_methods, reason = "tests wait by the clock")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than a shutdown takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A sweep that waits for the server started by `line`.
fn waiting(line: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_vllm-roofline-exporter"))
        .args(["sweep", "--vllm-url", "http://127.0.0.1:1", "--gpu", "none"])
        .args(["--end", "1", "--launch", line])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[track_caller]
fn wait_until(what: &str, mut test: impl FnMut() -> bool) {
    let started = Instant::now();
    while !test() {
        assert!(started.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The process that wrote its id to `file`.
#[track_caller]
fn process_of(file: &Path) -> Pid {
    let mut process = None;
    wait_until("it runs", || {
        let number = std::fs::read_to_string(file).unwrap_or_default();
        process = number.strip_suffix('\n').and_then(|it| it.parse().ok());
        process.is_some()
    });
    Pid::from_raw(process.unwrap()).unwrap()
}

/// Whether it is gone, or dead and not yet reaped.
fn is_gone(process: Pid) -> bool {
    let status = format!("/proc/{}/stat", process.as_raw_nonzero());
    std::fs::read_to_string(status).map_or(true, |status| status.contains(") Z "))
}

/// A server in its shell's process group, one that leaves its session, and one whose parents have ended too.
#[test]
fn a_launched_server_ends_with_us_whatever_ends_us() {
    for signal in [
        Signal::INT,
        Signal::TERM,
        Signal::HUP,
        Signal::QUIT,
        Signal::KILL,
    ] {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let server = |name: &str| format!("echo $$ > {}; exec sleep 300", at(name).display());
        let line = format!(
            "sh -c '{}' & setsid sh -c '{}' & (setsid sh -c '{}' &) ; wait",
            server("near"),
            server("session"),
            server("orphan"),
        );
        let mut sweep = waiting(&line);
        let servers = ["near", "session", "orphan"].map(|name| (name, process_of(&at(name))));
        kill_process(Pid::from_child(&sweep), signal).unwrap();
        sweep.wait().unwrap();
        for (name, server) in servers {
            wait_until(&format!("{name} ends after {signal:?}"), || is_gone(server));
        }
    }
}
