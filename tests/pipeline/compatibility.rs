//! Pages of every minor version of vLLM and of related servers: read correctly, or refused by name. See docs/compatibility.md.

mod deployments;
mod names;
mod prompts;
mod releases;
mod server;
mod server_page;
mod table;

use std::io::Read;
use std::path::Path;

use roofline::units::Seconds;
use vllm_roofline_exporter::sample::engine::EngineTotals;
use vllm_roofline_exporter::sample::page::{self, PageError};

use self::server::{Kind, Load};

/// The text of a compressed file.
fn text_of(path: &Path) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    text
}

/// The page of a recorded deployment.
fn recorded(name: &str) -> String {
    text_of(Path::new(&format!(
        "tests/fixtures/deployments/{name}.prom.gz"
    )))
}

fn read(page: &str) -> Vec<EngineTotals> {
    page::read(page, Seconds(1.0)).unwrap()
}

fn refusal(page: &str) -> PageError {
    page::read(page, Seconds(1.0)).unwrap_err()
}

/// Two requests a second, half of each prompt cached.
fn steady() -> Load {
    Load::of(vec![Kind::of(1.0, 4000.0, 0.5, 50.0)])
}

/// The same page before any request.
fn before_all(page: &str) -> String {
    let line = |line: &str| match line.rsplit_once(' ') {
        Some((series, _))
            if series.contains("vllm")
                && !line.starts_with('#')
                && !series.contains("info")
                && !series.contains("awake") =>
        {
            format!("{series} 0.0\n")
        }
        _ => format!("{line}\n"),
    };
    page.lines().map(line).collect()
}
