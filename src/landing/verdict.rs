//! The verdict as the page shows it: the headline, what says so, and what would help.

use roofline::diagnosis::{Effect, Finding, Remedy};

use super::figures::duration;

/// A finding as it is shown.
pub(super) struct FindingView {
    pub(super) sentence: String,
    pub(super) severity: &'static str,
    pub(super) evidence: Vec<String>,
    pub(super) remedies: Vec<RemedyView>,
}

/// A remedy as it is shown.
pub(super) struct RemedyView {
    pub(super) r#do: String,
    pub(super) free: bool,
    /// The figures it changes: name, now, then.
    pub(super) effects: Vec<(&'static str, String, String)>,
}

/// Remedies shown of one finding.
const MOST: usize = 3;

/// `finding` with the effect of its remedies on what is `measured`.
pub(super) fn view(finding: &Finding, measured: &Effect) -> FindingView {
    FindingView {
        sentence: finding.finding.clone(),
        severity: finding.severity.as_str(),
        evidence: finding.evidence.clone(),
        remedies: finding
            .remedies
            .iter()
            .take(MOST)
            .map(|remedy| remedy_view(remedy, measured))
            .collect(),
    }
}

/// Writes a figure.
type Show<'a> = &'a dyn Fn(f64) -> String;

fn remedy_view(remedy: &Remedy, measured: &Effect) -> RemedyView {
    let then = &remedy.predicted;
    let rate = |value: f64| format!("{value:.0} tok/s");
    let dollars = |value: f64| format!("${value:.2}");
    let figures: [(&'static str, Option<f64>, Option<f64>, Show<'_>); 4] = [
        (
            "output",
            measured.output_tokens_per_second,
            then.output_tokens_per_second,
            &rate,
        ),
        ("TTFT", measured.ttft_seconds, then.ttft_seconds, &duration),
        ("TPOT", measured.tpot_seconds, then.tpot_seconds, &duration),
        (
            "per 1M tokens",
            measured.dollars_per_million_tokens,
            then.dollars_per_million_tokens,
            &dollars,
        ),
    ];
    RemedyView {
        r#do: remedy.r#do.clone(),
        free: remedy.free,
        effects: figures
            .into_iter()
            .filter_map(|(name, now, then, show)| Some((name, show(now?), show(then?))))
            .filter(|(_, now, then)| now != then)
            .collect(),
    }
}
