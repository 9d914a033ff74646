//! Disk full while a capture is recorded.

use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::process::Command;

use vllm_roofline_exporter::capture::format::{FORMAT, VllmLine};
use vllm_roofline_exporter::capture::read::{Capture, CaptureError};
use vllm_roofline_exporter::capture::write::Recorder;

use crate::support::ok;
use crate::vllm::{Vllm, request};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vllm-roofline-exporter");
/// File size limit in blocks of 512 bytes: a few ticks of pages.
const BLOCKS: &str = "64";

/// A page that compresses badly.
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
    // With the signal ignored, exceeding the limit is an error, like a full disk.
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
    let words = String::from_utf8_lossy(&recorded.stderr);
    assert_eq!(recorded.status.code(), Some(1), "{words}");
    for word in [
        "cannot write",
        "vllm.jsonl.gz",
        "can be replayed",
        "--output",
    ] {
        assert!(words.contains(word), "{word}: {words}");
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
    let full = "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"";
    let recorded = Command::new("sh")
        .args(["-c", full, PROGRAM, "record", "--vllm-url", &vllm.url])
        .args(["--gpu-source", "none", "--duration", "60s", "--output"])
        .arg(directory.path())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&recorded.stderr);
    assert_eq!(recorded.status.code(), Some(1), "{words}");
    assert!(words.contains("cannot write"), "{words}");
}

/// Only the owner may read a capture: pages contain names of models and users.
#[test]
fn a_recording_is_its_owners_and_follows_no_link() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("capture");
    let recorder = Recorder::create(&output).unwrap();
    let manifest = serde_json::json!({"format": FORMAT, "name": "mine"});
    let manifest = serde_json::from_value(manifest).unwrap();
    recorder.describe(&manifest, Some("{}")).unwrap();
    for file in std::fs::read_dir(&output).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.path().display());
    }
    recorder.discard();
    assert!(!output.exists(), "a failed recording leaves nothing");

    let victim = directory.path().join("victim");
    std::fs::write(&victim, "precious").unwrap();
    for name in ["vllm.jsonl.gz", "gpu.jsonl.gz", "capture.json.part"] {
        let output = directory.path().join(name.replace('.', "-"));
        std::fs::create_dir(&output).unwrap();
        symlink(&victim, output.join(name)).unwrap();
        let written =
            Recorder::create(&output).and_then(|recorder| recorder.describe(&manifest, None));
        let error = written.expect_err(name).to_string();
        assert!(error.contains("not a regular file"), "{error}");
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    }
}

/// A pipe or a device in place of a file of a capture is refused by name, without waiting.
#[test]
fn a_capture_of_pipes_and_devices_is_refused() {
    use std::os::unix::fs::symlink;

    let demo = std::path::Path::new("config/demo");
    for name in [
        "capture.json",
        "config.json",
        "vllm.jsonl.gz",
        "gpu.jsonl.gz",
    ] {
        for pipe in [true, false] {
            let directory = tempfile::tempdir().unwrap();
            for file in std::fs::read_dir(demo).unwrap() {
                let file = file.unwrap();
                std::fs::copy(file.path(), directory.path().join(file.file_name())).unwrap();
            }
            let hostile = directory.path().join(name);
            std::fs::remove_file(&hostile).unwrap();
            if pipe {
                let made = Command::new("mkfifo").arg(&hostile).status().unwrap();
                assert!(made.success());
            } else {
                symlink("/dev/zero", &hostile).unwrap();
            }
            let error = Capture::open(directory.path()).unwrap_err().to_string();
            assert!(
                error.contains(name) && error.contains("not a regular file"),
                "{error}"
            );
        }
    }
}

/// A recording of a vLLM that never answers does not block the next one.
#[test]
fn a_recording_without_a_page_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("capture");
    for _ in 0..2 {
        let recorded = Command::new(PROGRAM)
            .args(["record", "--vllm-url", "http://127.0.0.1:1"])
            .args(["--gpu-source", "none", "--duration", "300ms", "--output"])
            .arg(&output)
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&recorded.stderr);
        assert_eq!(recorded.status.code(), Some(1), "{words}");
        assert!(words.contains("never answered"), "{words}");
        assert!(!output.exists());
    }
}

/// The program or the machine ended in the middle of a file: the lines before are valid, whatever follows.
#[test]
fn a_recording_cut_off_anywhere_is_good_up_to_there() {
    const PAGES: u32 = 5;
    let directory = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(directory.path()).unwrap();
    let manifest = serde_json::json!({"format": FORMAT, "name": "cut off"});
    recorder
        .describe(&serde_json::from_value(manifest).unwrap(), None)
        .unwrap();
    for page in 0..PAGES {
        let line = VllmLine {
            t_start: f64::from(page),
            t_end: None,
            body: Some(crate::vllm::engine("m", "0", u64::from(page))),
            error: None,
        };
        recorder.page(&line).unwrap();
    }
    recorder.finish().unwrap();
    let path = directory.path().join("vllm.jsonl.gz");
    let whole = std::fs::read(&path).unwrap();
    let mut before = 0;
    for length in 0..=whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let pages = match Capture::open(directory.path()) {
            Ok(capture) => capture.pages.len(),
            Err(CaptureError::NoPage { .. }) => 0,
            Err(error) => panic!("cut off after {length} bytes: {error}"),
        };
        assert!(pages >= before, "{pages} pages of {length} bytes");
        before = pages;
    }
    assert_eq!(before, PAGES as usize);
}
