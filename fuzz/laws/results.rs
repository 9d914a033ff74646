//! Result files of load tests: of whatever tool, they are an error that names the content, or can be analysed.

use std::path::Path;
use std::sync::LazyLock;

use loadtest::analysis::{FigureTargets, Inputs, Subject, analyze};
use loadtest::results::of_text;
use roofline::cost::coefficients::Coefficients;
use roofline::predict;
use roofline::spec::deployment::DeploymentFlags;
use roofline::spec::gpu::GpuTable;
use roofline::units::Seconds;

static SUBJECT: LazyLock<Subject> = LazyLock::new(|| {
    let table = GpuTable::embedded().expect("embedded");
    let targets = predict::Targets {
        ttft: Seconds(0.5),
        tpot: Seconds(0.1),
    };
    let flags = DeploymentFlags::default();
    let coefficients = Coefficients::default();
    Subject::of_flags(&flags, None, Some("H100"), &table, coefficients, targets).expect("known")
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
        recording: None,
        subject: SUBJECT.clone(),
        overhead_below: 0.5,
        targets: FigureTargets::default(),
        prediction: None,
    });
    if let Ok(analysis) = analysis {
        super::is_json(&serde_json::to_string(&analysis).expect("writable"));
    }
}
