//! `top` in a real terminal (tmux), and its output without one.

#![allow(clippy::disallowed_methods, reason = "tests wait by the clock")]

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{self, Exporter};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vllm-roofline-exporter");

/// A terminal of its own, gone with the test.
struct Terminal {
    socket: String,
    size: (usize, usize),
}

impl Terminal {
    /// Runs `command` in a terminal of `size` with more `environment`.
    fn run(name: &str, size: (usize, usize), environment: &[&str], command: &str) -> Self {
        let terminal = Self {
            socket: format!("top-{}-{name}", std::process::id()),
            size,
        };
        let (width, height) = (size.0.to_string(), size.1.to_string());
        let mut arguments = vec![
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &width,
            "-y",
            &height,
        ];
        for variable in environment {
            arguments.extend(["-e", variable]);
        }
        arguments.push(command);
        terminal.tmux(&arguments);
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux")
            .env_remove("NO_COLOR")
            .args(["-L", &self.socket])
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    fn key(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// Waits until the screen passes `test`, and returns it.
    #[track_caller]
    fn wait_for(&self, test: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        loop {
            let screen = self.screen();
            if test(&screen) {
                return screen;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "{screen}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether its program has ended, and the terminal with it.
    #[track_caller]
    fn wait_for_end(&self) {
        let started = Instant::now();
        while !self.tmux(&["list-sessions"]).is_empty() {
            assert!(started.elapsed() < Duration::from_secs(10), "still there");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// Whether `screen` shows figures, the roofline with decode on it, the time bar and the history.
fn is_live(screen: &str) -> bool {
    let dots = |letter: char| ('\u{2801}'..='\u{28ff}').contains(&letter);
    let shows = |text: &str| screen.contains(text);
    shows("tok/s")
        && shows("● decode") | shows("decode ●")
        && shows("█ memory")
        && screen.chars().filter(|&c| dots(c)).count() > 40
}

/// The demo once its bound is measured, so that a screen shows the same from the first answer on.
fn demo() -> Exporter {
    let demo = Exporter::start(&["demo", "--gpu-hour-price", "2.5"]);
    demo.wait_for("/metrics", 30, |page| {
        support::value(page, "vllm_roofline_bound", "bound=\"memory_bandwidth\"") == Some(1.0)
    });
    demo
}

#[test]
fn the_screen_shows_everything_from_80_by_24_up() {
    let demo = demo();
    let command = format!("{PROGRAM} top --url http://{}", demo.address);
    for (name, size) in [
        ("small", (80, 24)),
        ("middle", (120, 40)),
        ("large", (200, 60)),
    ] {
        let terminal = Terminal::run(name, size, &[], &command);
        let screen = terminal.wait_for(is_live);
        let lines: Vec<&str> = screen.lines().collect();
        assert_eq!(lines.len(), terminal.size.1, "{screen}");
        assert!(lines[0].ends_with("UTC"), "{screen}");
        for part in [
            "output", "TTFT", "TPOT", "MFU", "MBU", "batch", "KV cache", "requests", "power",
            "cost",
        ] {
            assert!(screen.contains(part), "{part} in {screen}");
        }
        assert!(lines[size.1 - 1].starts_with("q quit"), "{screen}");
        assert!(lines[size.1 - 2].starts_with("bound"), "{screen}");
    }
}

#[test]
fn keys_help_hold_export_and_end() {
    let demo = demo();
    let place = tempfile::tempdir().unwrap();
    let command = format!(
        "cd {} && {PROGRAM} top --url http://{}",
        place.path().display(),
        demo.address
    );
    let terminal = Terminal::run("keys", (80, 24), &[], &command);
    terminal.wait_for(is_live);
    terminal.key("h");
    terminal.wait_for(|screen| screen.contains("help, h closes it"));
    terminal.key("h");
    terminal.wait_for(|screen| !screen.contains("help, h closes it"));
    terminal.key("p");
    let held = terminal.wait_for(|screen| screen.contains("paused"));
    let first = |screen: &str| screen.lines().next().map(str::to_owned);
    demo.wait_for("/metrics", 10, |_| {
        first(&terminal.screen()) == first(&held)
    });
    terminal.key("e");
    terminal.wait_for(|screen| screen.contains("wrote vllm-roofline-"));
    let file = std::fs::read_dir(place.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let exported: serde_json::Value =
        serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap();
    assert_eq!(exported["engines"][0]["engine_state"], "running");
    terminal.key("q");
    terminal.wait_for_end();
}

#[test]
fn colours_follow_the_terminal_and_its_owner() {
    let demo = demo();
    let command = format!("{PROGRAM} top --url http://{}", demo.address);
    let coloured = |terminal: &Terminal| {
        terminal.wait_for(is_live);
        terminal.tmux(&["capture-pane", "-p", "-e"])
    };
    let variables = ["TERM=xterm-256color", "COLORTERM="];
    let indexed = coloured(&Terminal::run("indexed", (80, 24), &variables, &command));
    assert!(indexed.contains("\x1b[38;5;"), "{indexed}");
    let refusing = [variables[0], variables[1], "NO_COLOR=1"];
    let plain = coloured(&Terminal::run("plain", (80, 24), &refusing, &command));
    let codes = plain.split("\x1b[").skip(1);
    let codes = codes.filter_map(|rest| rest.split('m').next());
    // 39 and 49 are the terminal's own colours.
    let colours = codes
        .flat_map(|code| code.split(';'))
        .filter_map(|code| code.parse::<u8>().ok())
        .filter(|code| matches!(code, 30..=38 | 40..=48 | 90..=107));
    assert_eq!(colours.count(), 0, "{plain}");
    let deaf = Terminal::run("dumb", (80, 24), &["TERM=dumb"], &command);
    deaf.wait_for(|screen| screen.contains("tok/s  ") && screen.lines().count() > 2);
}

#[test]
fn without_a_terminal_one_screen_is_printed() {
    let demo = demo();
    let url = format!("http://{}", demo.address);
    let output = Command::new(PROGRAM)
        .args(["top", "--url", &url])
        .output()
        .unwrap();
    let screen = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && is_live(&screen), "{screen}");
    assert!(
        screen.lines().count() == 24 && !screen.contains('\x1b'),
        "{screen}"
    );
}

#[test]
fn an_exporter_that_does_not_answer_is_named() {
    let output = Command::new(PROGRAM)
        .args(["top", "--once", "--url", "http://127.0.0.1:1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let screen = String::from_utf8(output.stdout).unwrap();
    assert!(screen.contains("127.0.0.1:1"), "{screen}");
}
