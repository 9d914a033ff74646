//! The table of result formats: one entry each, declared by the module that reads it.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{LoadResult, aiperf, aiperf_requests, aiperf_server, guidellm, own, vllm_bench};

/// A format of result files.
pub(super) struct ResultFormat {
    /// A document of this format, as errors call it.
    pub(super) document: &'static str,
    /// The tool, and which of its files, as the list of readable files calls them.
    pub(super) files: &'static str,
    /// Detects a document by members that no earlier format of the table has.
    pub(super) is: fn(&Value) -> bool,
    /// Reads documents that follow each other in one file. The error names the missing field.
    pub(super) read: fn(Vec<Value>) -> Result<Vec<LoadResult>, String>,
}

/// All formats, in the order in which they are tried.
const FORMATS: [ResultFormat; 6] = [
    own::FORMAT,
    vllm_bench::FORMAT,
    guidellm::FORMAT,
    aiperf_server::FORMAT,
    aiperf_requests::FORMAT,
    aiperf::FORMAT,
];

impl ResultFormat {
    /// The format of `document`, or `None` for an unknown one.
    pub(super) fn of(document: &Value) -> Option<&'static Self> {
        FORMATS.iter().find(|format| (format.is)(document))
    }
}

/// The files that can be read, in words.
pub(super) fn known_files() -> String {
    FORMATS.map(|format| format.files).join(", ")
}

/// Whether `document` has all of `members`.
pub(super) fn has(document: &Value, members: &[&str]) -> bool {
    members.iter().all(|member| document.get(member).is_some())
}

/// Deserialises each of `documents` and converts it.
pub(super) fn each<T: DeserializeOwned>(
    documents: Vec<Value>,
    results: impl Fn(T) -> Vec<LoadResult>,
) -> Result<Vec<LoadResult>, String> {
    let mut all = Vec::with_capacity(documents.len());
    for document in documents {
        let shaped = serde_json::from_value(document).map_err(|error| error.to_string())?;
        all.extend(results(shaped));
    }
    Ok(all)
}
