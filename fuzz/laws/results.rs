//! Files of load tests: whatever tool wrote them, they are an error that says what was found, or can be analysed.

use std::path::Path;
use std::sync::LazyLock;

use loadtest::analysis::{Inputs, Targets, analyze};
use loadtest::results::of_text;
use vllm_roofline_exporter::config::Settings;

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| Settings {
    gpu: Some("H100".to_owned()),
    ..Settings::defaults().expect("embedded")
});

/// `data` as a file.
pub fn holds(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let results = match of_text(Path::new("results.json"), text) {
        Ok(results) => results,
        Err(error) => return assert!(error.to_string().contains("results.json"), "{error}"),
    };
    let analysis = analyze(&Inputs {
        results,
        capture: None,
        settings: &SETTINGS,
        targets: Targets::default(),
        prediction: None,
    });
    if let Ok(analysis) = analysis {
        super::is_json(&serde_json::to_string(&analysis).expect("writable"));
    }
}
