//! Invariants for any input. One module per fuzz target; `holds` panics if its law is violated.
//!
//! The fuzz targets call these functions, and so does `tests/pipeline/fuzz.rs` with the inputs in `fuzz/kept`.

pub mod capture;
pub mod command_line;
pub mod dcgm;
pub mod exposition;
pub mod model;
pub mod page;
pub mod results;

use serde_json::Value;

/// The parts of a composite input, separated by zero bytes.
fn parts(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.split(|&byte| byte == 0)
}

/// The written JSON can be parsed again.
fn is_json(written: &str) {
    let read: Result<Value, _> = serde_json::from_str(written);
    assert!(read.is_ok(), "{written}");
}
