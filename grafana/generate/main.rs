//! Writes the dashboards: `cargo run --example dashboards`. With `--check` it writes nothing and fails where a file is stale.

#[path = "mod.rs"]
mod generate;

use std::io::{Write, stderr};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let check = match arguments.as_slice() {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => return fail(2, "usage: dashboards [--check]"),
    };
    match run(check) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(1, &why),
    }
}

fn run(check: bool) -> Result<(), String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana/dashboards");
    for (name, json) in generate::dashboards()? {
        let path = directory.join(name);
        if check {
            let stored = std::fs::read_to_string(&path).unwrap_or_default();
            if stored != json {
                return Err(format!(
                    "{} is stale; run `cargo run --example dashboards`",
                    path.display()
                ));
            }
        } else {
            std::fs::write(&path, json).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    Ok(())
}

fn fail(code: u8, why: &str) -> ExitCode {
    // If this fails, the message is lost.
    let _ = writeln!(stderr(), "{why}");
    ExitCode::from(code)
}
