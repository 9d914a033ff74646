//! Prints a verdict: the first sentence, the other findings, and the best remedies with their effect.

use std::io::{self, Write};

use roofline::diagnosis::{Effect, Finding, Remedy, best_remedies};

/// Maximum number of remedies.
const REMEDIES: usize = 3;

/// Writes `verdict` on an engine whose users see `felt`, with the first sentence after `mark`.
///
/// # Errors
/// When writing to `out` fails.
pub(super) fn write(
    mark: &str,
    verdict: &[Finding],
    felt: &Effect,
    out: &mut impl Write,
) -> io::Result<()> {
    let indent = " ".repeat(mark.chars().count());
    for (place, finding) in verdict.iter().enumerate() {
        let before = if place == 0 { mark } else { &indent };
        writeln!(out, "{before}{}", finding.finding)?;
    }
    for remedy in best_remedies(verdict, REMEDIES) {
        writeln!(out, "{indent}→ {}", advised(remedy, felt))?;
    }
    Ok(())
}

/// `--kv-cache-dtype fp8: output 2,512 tok/s → 3,333 tok/s (predicted)`.
fn advised(remedy: &Remedy, felt: &Effect) -> String {
    let hardware = if remedy.free { "" } else { " (needs hardware)" };
    let shifts = remedy.shifts(felt).into_iter();
    let shifts: Vec<String> = shifts
        .map(|shift| format!("{} {} → {}", shift.name, shift.now, shift.then))
        .collect();
    if shifts.is_empty() {
        return format!("{}{hardware}", remedy.r#do);
    }
    format!(
        "{}{hardware}: {} (predicted)",
        remedy.r#do,
        shifts.join(", ")
    )
}
