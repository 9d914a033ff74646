//! The verdict on the page: the headline, the evidence, and the remedies.

use roofline::diagnosis::{Effect, Finding, Remedy, Shift};

/// A finding, ready for display.
pub(super) struct FindingView {
    pub(super) sentence: String,
    pub(super) severity: &'static str,
    pub(super) evidence: Vec<String>,
    pub(super) remedies: Vec<RemedyView>,
}

/// A remedy, ready for display.
pub(super) struct RemedyView {
    pub(super) r#do: String,
    pub(super) free: bool,
    /// The figures it changes.
    pub(super) effects: Vec<Shift>,
}

/// Maximum number of remedies shown per finding.
const MOST: usize = 3;

/// `finding` with the effect of its remedies on the user-visible figures `felt`.
pub(super) fn view(finding: &Finding, felt: &Effect) -> FindingView {
    let remedies = finding.remedies.iter().take(MOST);
    FindingView {
        sentence: finding.finding.clone(),
        severity: finding.severity.as_str(),
        evidence: finding.evidence.clone(),
        remedies: remedies.map(|remedy| remedy_view(remedy, felt)).collect(),
    }
}

fn remedy_view(remedy: &Remedy, felt: &Effect) -> RemedyView {
    RemedyView {
        r#do: remedy.r#do.clone(),
        free: remedy.free,
        effects: remedy.shifts(felt),
    }
}
