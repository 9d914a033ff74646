//! A capture: whatever its files contain, it is an error, or it can be replayed.

use std::io::Write;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use vllm_roofline_exporter::capture::read::Capture;
use vllm_roofline_exporter::command::replay::replay;
use vllm_roofline_exporter::config::Settings;

const MANIFEST: &str = r#"{"format": 1, "name": "c", "vllm_args": ["serve", "m"], "gpu": {"name": "NVIDIA H100 80GB HBM3"}}"#;
const GZIP: &[u8] = &[0x1f, 0x8b];

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| Settings::defaults().expect("embedded"));

/// `data` as the compressed files of a capture, if it begins like one; otherwise as capture.json, config.json, pages and readings, all
/// uncompressed and separated by zero bytes.
pub fn holds(data: &[u8]) {
    if data.starts_with(GZIP) {
        return replays(MANIFEST, "{}", data, data);
    }
    let mut parts = super::parts(data);
    let mut part = || parts.next().unwrap_or_default();
    let [manifest, config] = [part(), part()].map(std::str::from_utf8);
    let (Ok(manifest), Ok(config)) = (manifest, config) else {
        return;
    };
    replays(manifest, config, &packed(part()), &packed(part()));
}

fn replays(manifest: &str, config: &str, pages: &[u8], readings: &[u8]) {
    let capture = match Capture::embedded(manifest, config, pages, readings) {
        Ok(capture) => capture,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    if let Ok(replayed) = replay(&capture, &SETTINGS) {
        super::is_json(&serde_json::to_string(&replayed).expect("writable"));
    }
}

fn packed(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}
