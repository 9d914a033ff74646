//! Fuzzing findings, and the kept corpora, satisfy the laws of `fuzz/laws`.

#![allow(
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a law is broken by a panic"
)]

#[allow(unreachable_pub, reason = "a crate of its own to the targets")]
#[path = "../../fuzz/laws/lib.rs"]
mod laws;

use std::fs;
use std::path::Path;

/// Panics if an input violates the law.
type Law = fn(&[u8]);

/// The law of each target; each has a directory of inputs.
const TARGETS: [(&str, Law); 7] = [
    ("capture", laws::capture::holds),
    ("command_line", laws::command_line::holds),
    ("dcgm", laws::dcgm::holds),
    ("exposition", laws::exposition::holds),
    ("model", laws::model::holds),
    ("page", laws::page::holds),
    ("results", laws::results::holds),
];

#[test]
fn every_kept_input_keeps_its_law() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/kept");
    for (target, holds) in TARGETS {
        let inputs = fs::read_dir(kept.join(target)).expect("a directory per target");
        let mut held = 0;
        for input in inputs {
            let path = input.expect("readable").path();
            // The last one printed is the one that violated its law.
            eprintln!("{}", path.display());
            holds(&fs::read(path).expect("readable"));
            held += 1;
        }
        assert!(held > 0, "nothing is kept of {target}");
    }
}
