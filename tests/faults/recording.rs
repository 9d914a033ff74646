//! A disk that is full while a capture is recorded.

use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::process::Command;

use vllm_roofline_exporter::capture::read::Capture;

use crate::support::ok;
use crate::vllm::{Vllm, request};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vllm-roofline-exporter");
/// Blocks of 512 bytes that a file may have, in which the pages of a few ticks have room.
const BLOCKS: &str = "64";

/// A page that does not get much smaller when it is packed.
fn bulky(page: &str) -> String {
    let random = RandomState::new();
    let noise = (0..400).map(|line| format!("# {:016x}\n", random.hash_one(line)));
    page.to_owned() + &noise.collect::<String>()
}

#[test]
fn a_full_disk_ends_a_recording_that_can_be_replayed() {
    let vllm = Vllm::start();
    vllm.behave(|vllm, mut stream| {
        request(&mut stream);
        let _ = stream.write_all(&ok(&bulky(&vllm.page())));
    });
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("capture");
    // Too large a file is an error to whoever ignores the signal, as a full disk is.
    let limited = format!("trap '' XFSZ; ulimit -f {BLOCKS}; exec \"$0\" \"$@\"");
    let recorded = Command::new("sh")
        .args(["-c", &limited, PROGRAM, "record", "--vllm-url", &vllm.url])
        .args([
            "--gpu-source",
            "none",
            "--tick",
            "200ms",
            "--duration",
            "60s",
            "--output",
        ])
        .arg(&output)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&recorded.stderr);
    assert_eq!(recorded.status.code(), Some(1), "{told}");
    for word in [
        "cannot write",
        "vllm.jsonl.gz",
        "can be replayed",
        "--output",
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
    let pages = Capture::open(&output).unwrap().pages.len();
    assert!(pages >= 2, "{pages} pages");
    let replayed = Command::new(PROGRAM)
        .args(["replay", "--format", "json", "--capture"])
        .arg(&output)
        .output()
        .unwrap();
    assert!(replayed.status.success(), "{replayed:?}");
}

#[test]
fn a_disk_that_is_full_from_the_start_is_named() {
    let vllm = Vllm::start();
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", directory.path().join("vllm.jsonl.gz")).unwrap();
    let recorded = Command::new(PROGRAM)
        .args(["record", "--vllm-url", &vllm.url, "--gpu-source", "none"])
        .args(["--duration", "60s", "--output"])
        .arg(directory.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&recorded.stderr);
    assert_eq!(recorded.status.code(), Some(1), "{told}");
    assert!(told.contains("vllm.jsonl.gz: No space left"), "{told}");
}
