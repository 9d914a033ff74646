//! Puts the revision and the compiler into the program, for `--version` and `build_info`.

#![allow(
    clippy::disallowed_methods,
    reason = "cargo speaks to build scripts through the environment"
)]

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-changed=.git/refs/heads");
    println!("cargo:rerun-if-env-changed=REVISION");
    // An image is built without .git; a variable passes the revision.
    let revision = std::env::var("REVISION").map_or_else(
        |_| output_of("git", &["rev-parse", "--short=12", "HEAD"]),
        |hash| hash.chars().take(12).collect(),
    );
    println!("cargo:rustc-env=BUILD_REVISION={revision}");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    println!(
        "cargo:rustc-env=BUILD_RUSTC={}",
        output_of(&rustc, &["--version"])
    );
    let target = std::env::var("TARGET").unwrap_or_default();
    println!("cargo:rustc-env=BUILD_TARGET={target}");
}

/// What `program` prints, or `unknown`: a source archive has no git.
fn output_of(program: &str, arguments: &[&str]) -> String {
    Command::new(program)
        .args(arguments)
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}
