//! The real tools that validate our output: promtool and a browser.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::Path;
use std::process::{Command, Output};

/// Runs promtool, which must succeed.
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

/// Headless Chromium that prints the document; it stores its data in `profile`, and makes no connections of its own.
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
