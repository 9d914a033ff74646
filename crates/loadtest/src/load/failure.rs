//! `Failure`: why a request was not answered in full.

/// Why a request was not answered in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Connection refused or failed.
    Connect,
    /// The request timed out.
    Timeout,
    /// A status other than 200.
    Status(u16),
    /// The connection ended before the answer did.
    StreamCut,
    /// The server reported an error within the stream.
    StreamError,
    /// The answer is not a stream of tokens.
    BadStream,
    /// The run ended first.
    Cancelled,
}

impl Failure {
    /// Name of the failure in results.
    #[must_use]
    pub(crate) fn kind(self) -> String {
        match self {
            Self::Connect => "connect".to_owned(),
            Self::Timeout => "timeout".to_owned(),
            Self::Status(status) => format!("http_{status}"),
            Self::StreamCut => "stream_cut".to_owned(),
            Self::StreamError => "stream_error".to_owned(),
            Self::BadStream => "bad_stream".to_owned(),
            Self::Cancelled => "cancelled".to_owned(),
        }
    }
}

/// Whether a failure of this kind affects every request alike, because the request itself is invalid.
#[must_use]
pub(crate) fn is_refusal(kind: &str) -> bool {
    let status = kind
        .strip_prefix("http_")
        .and_then(|status| status.parse().ok());
    matches!(status, Some(400 | 401 | 403 | 404 | 405 | 413 | 422))
}
