//! Captures, format 1: recordings of live sources on disk, for replay.
//!
//! A directory of four files: `capture.json` (origin and phases), `config.json` (the model's), `vllm.jsonl.gz` (one scrape per line) and
//! `gpu.jsonl.gz` (one reading per line).

pub mod format;
mod gpu;
pub mod playback;
pub mod read;
pub mod write;
