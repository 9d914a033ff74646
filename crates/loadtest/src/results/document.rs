//! Detects which tool wrote a file, from its members alone. A file may hold several documents, as `--append-result` makes them.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Deserializer, Value};

use super::{
    LoadResult, ResultsError, aiperf, aiperf_requests, aiperf_server, guidellm, own, vllm_bench,
};

/// The tools whose files can be read, in words.
pub const KNOWN_TOOLS: &str = "vllm-roofline-exporter itself, vllm bench serve (--save-result, --save-detailed), GuideLLM, AIPerf (profile_export_aiperf.json, profile_export.jsonl, server_metrics_export.json) and genai-perf";

/// The kind of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DocumentKind {
    Own,
    VllmBench,
    GuideLlm,
    AiPerf,
    AiPerfRequest,
    AiPerfServer,
}

impl DocumentKind {
    /// Detects the kind by members that no other tool combines.
    fn of(document: &Value) -> Option<Self> {
        let has = |key: &str| document.get(key).is_some();
        let is = |key: &str, value: &str| document.get(key).and_then(Value::as_str) == Some(value);
        if is("tool", "vllm-roofline-exporter") && has("requests") && has("load") {
            Some(Self::Own)
        } else if has("request_throughput") && has("completed") && has("duration") {
            Some(Self::VllmBench)
        } else if has("benchmarks") && document.pointer("/benchmarks/0/metrics").is_some() {
            Some(Self::GuideLlm)
        } else if has("metrics") && has("summary") && has("aiperf_version") {
            Some(Self::AiPerfServer)
        } else if has("metrics") && document.pointer("/metadata/request_start_ns").is_some() {
            Some(Self::AiPerfRequest)
        } else if has("aiperf_version") || (has("input_config") && has("request_latency")) {
            Some(Self::AiPerf)
        } else {
            None
        }
    }

    const fn tool(self) -> &'static str {
        match self {
            Self::Own => "a load result of vllm-roofline-exporter",
            Self::VllmBench => "a result of vllm bench serve",
            Self::GuideLlm => "a GuideLLM report",
            Self::AiPerf => "an AIPerf or genai-perf export",
            Self::AiPerfRequest => "AIPerf's requests",
            Self::AiPerfServer => "AIPerf's server metrics",
        }
    }
}

/// Reads the load tests in the files `paths`; AIPerf's server metrics become part of the run that they belong to.
///
/// # Errors
/// [`ResultsError`] for the first file that cannot be read.
pub fn read_all<P: AsRef<Path>>(paths: &[P]) -> Result<Vec<LoadResult>, ResultsError> {
    let mut results = Vec::new();
    for path in paths {
        results.extend(read(path.as_ref())?);
    }
    Ok(aiperf_server::joined(results))
}

/// Reads the load tests in the file `path`.
///
/// # Errors
/// [`ResultsError`], which names the file and the expected format.
pub fn read(path: &Path) -> Result<Vec<LoadResult>, ResultsError> {
    let text = std::fs::read_to_string(path).map_err(|error| ResultsError::Io {
        path: path.into(),
        error,
    })?;
    of_text(path, &text)
}

/// Parses the load tests in `text`, the contents of the file `path`.
///
/// # Errors
/// [`ResultsError`], which names the file and the expected format.
pub fn of_text(path: &Path, text: &str) -> Result<Vec<LoadResult>, ResultsError> {
    let documents = documents(path, text)?;
    let Some(first) = documents.first() else {
        return Err(ResultsError::Empty { path: path.into() });
    };
    let mut results = if DocumentKind::of(first) == Some(DocumentKind::AiPerfRequest) {
        aiperf_requests::read(path, documents)?
    } else {
        let mut results = Vec::new();
        for document in documents {
            results.extend(results_of(path, document)?);
        }
        results
    };
    for result in &mut results {
        result.source.file = Some(path.display().to_string());
    }
    Ok(results)
}

/// Splits the text into documents; a single array counts as its elements (`summary.json` of a vLLM sweep).
fn documents(path: &Path, text: &str) -> Result<Vec<Value>, ResultsError> {
    let documents: Result<Vec<Value>, _> = Deserializer::from_str(text).into_iter().collect();
    let documents = documents.map_err(|error| ResultsError::Json {
        path: path.into(),
        error,
    })?;
    Ok(match <[Value; 1]>::try_from(documents) {
        Ok([Value::Array(elements)]) => elements,
        Ok(single) => single.into(),
        Err(several) => several,
    })
}

fn results_of(path: &Path, document: Value) -> Result<Vec<LoadResult>, ResultsError> {
    match DocumentKind::of(&document) {
        Some(DocumentKind::Own) => Ok(vec![own::result(&shaped(
            path,
            DocumentKind::Own,
            document,
        )?)]),
        Some(DocumentKind::VllmBench) => Ok(vec![vllm_bench::result(shaped(
            path,
            DocumentKind::VllmBench,
            document,
        )?)]),
        Some(DocumentKind::GuideLlm) => Ok(guidellm::results(&shaped(
            path,
            DocumentKind::GuideLlm,
            document,
        )?)),
        Some(DocumentKind::AiPerf) => Ok(vec![aiperf::result(shaped(
            path,
            DocumentKind::AiPerf,
            document,
        )?)]),
        Some(DocumentKind::AiPerfServer) => Ok(vec![aiperf_server::result(shaped(
            path,
            DocumentKind::AiPerfServer,
            document,
        )?)]),
        Some(DocumentKind::AiPerfRequest) => aiperf_requests::read(path, vec![document]),
        None => Err(ResultsError::Unknown {
            path: path.into(),
            found: resembled(&document),
        }),
    }
}

/// Deserialises `document` as the type of its tool.
fn shaped<T: DeserializeOwned>(
    path: &Path,
    kind: DocumentKind,
    document: Value,
) -> Result<T, ResultsError> {
    serde_json::from_value(document).map_err(|error| ResultsError::Shape {
        path: path.into(),
        tool: kind.tool(),
        error: error.to_string(),
    })
}

/// What an unknown document resembles, for the error.
fn resembled(document: &Value) -> String {
    let has = |key: &str| document.get(key).is_some();
    let what = if has("avg_latency") && has("latencies") {
        "a result of vllm bench latency, which tells no lengths and no load"
    } else if has("elapsed_time") && has("tokens_per_second") {
        "a result of vllm bench throughput, which tells no latencies"
    } else if has("runs") && has("schema") {
        "what `dynamic` wrote; give it to --baseline or to `report --dynamic`"
    } else if has("not_modelled") || has("grid") {
        "what `static` wrote; give it to --static"
    } else if document.is_object() {
        "JSON of an unknown tool"
    } else {
        "JSON, but no object"
    };
    what.to_owned()
}
