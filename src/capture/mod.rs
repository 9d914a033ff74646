//! Captures, format 1: what live sources said, on disk, to be replayed.
//!
//! A directory of four files: `capture.json` (where it comes from, and its phases), `config.json` (the model's), `vllm.jsonl.gz`
//! (one scrape a line) and `gpu.jsonl.gz` (one reading a line).

pub mod format;
mod gpu;
pub mod playback;
pub mod read;
pub mod write;
