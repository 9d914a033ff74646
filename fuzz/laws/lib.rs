//! What holds of every input, whoever wrote it. A file per fuzz target; `holds` panics where its law is broken.
//!
//! The fuzz targets call these, and so does `tests/pipeline/fuzz.rs` with what is kept in `fuzz/kept`.

pub mod capture;
pub mod command_line;
pub mod dcgm;
pub mod exposition;
pub mod model;
pub mod page;
pub mod results;

use serde_json::Value;

/// The parts of an input that consists of several, as they stand between zero bytes.
fn parts(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.split(|&byte| byte == 0)
}

/// What is written as JSON can be read back.
fn is_json(written: &str) {
    let read: Result<Value, _> = serde_json::from_str(written);
    assert!(read.is_ok(), "{written}");
}
