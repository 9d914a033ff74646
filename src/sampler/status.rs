//! The status of a source over successive reads. Changes are logged once; the counter counts every failure.

use crate::address::Address;
use crate::snapshot::SourceStatus;
use roofline::units::Seconds;

/// The status of a source that was not read yet, with a counter for each of its failure `reasons`.
pub(super) fn unread(source: &'static str, reasons: &[&'static str]) -> SourceStatus {
    SourceStatus {
        source,
        errors: reasons.iter().map(|&reason| (reason, 0)).collect(),
        ..SourceStatus::default()
    }
}

/// Records a successful read. `url` is the server's, since there may be several.
pub(super) fn succeed(
    status: &mut SourceStatus,
    url: Option<&Address>,
    time: Seconds,
    took: Seconds,
) {
    if status.success != Some(true) {
        let url = url.map(tracing::field::display);
        tracing::info!(source = status.source, url, "source is up");
    }
    status.success = Some(true);
    status.last_success = Some(time);
    status.read_seconds = Some(took);
    status.error = None;
}

/// Records a failed read.
pub(super) fn fail(
    status: &mut SourceStatus,
    url: Option<&Address>,
    reason: &'static str,
    error: &str,
    took: Seconds,
) {
    if status.error.as_deref() != Some(error) {
        let url = url.map(tracing::field::display);
        tracing::warn!(
            source = status.source,
            url,
            reason,
            "source is down: {error}"
        );
    }
    status.success = Some(false);
    status.read_seconds = Some(took);
    status.error = Some(error.to_owned());
    *status.errors.entry(reason).or_default() += 1;
}
