//! The real tools that judge what we make: promtool and a browser.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::Path;
use std::process::{Command, Output};

/// Runs promtool, which must be content.
#[track_caller]
pub(crate) fn promtool(arguments: &[&str]) -> Output {
    let output = Command::new("promtool").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "promtool {arguments:?}: {said}{complained}"
    );
    output
}

/// Chromium without a window that prints the document; it keeps what it keeps in `profile`, and talks to nobody of its own accord.
pub(crate) fn chromium(profile: &Path) -> Command {
    let mut chromium = Command::new("chromium");
    chromium
        .args(["--headless", "--no-sandbox", "--disable-gpu"])
        .args(["--no-first-run", "--disable-background-networking"])
        .args(["--disable-component-update", "--disable-sync"])
        .arg("--dump-dom")
        .arg(format!("--user-data-dir={}", profile.display()));
    chromium
}
