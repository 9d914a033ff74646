//! Detects which tool wrote a file, from its members alone. A file may hold several documents, as `--append-result` makes them.

use std::path::Path;

use serde_json::{Deserializer, Value};

use super::format::{ResultFormat, has};
use super::{LoadResult, ResultsError, aiperf_server};

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
    let mut documents = documents(path, text)?.into_iter().peekable();
    if documents.peek().is_none() {
        return Err(ResultsError::Empty { path: path.into() });
    }
    let mut results = Vec::new();
    while let Some(first) = documents.next() {
        let Some(format) = ResultFormat::of(&first) else {
            return Err(ResultsError::Unknown {
                path: path.into(),
                found: resembled(&first),
            });
        };
        let mut same = vec![first];
        while let Some(next) = documents.next_if(|next| (format.is)(next)) {
            same.push(next);
        }
        let read = (format.read)(same).map_err(|error| ResultsError::Shape {
            path: path.into(),
            tool: format.document,
            error,
        });
        results.extend(read?);
    }
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

/// What an unknown document resembles, for the error.
fn resembled(document: &Value) -> String {
    let has = |members: &[&str]| has(document, members);
    let what = if has(&["avg_latency", "latencies"]) {
        "a result of vllm bench latency, which has no lengths and no load"
    } else if has(&["elapsed_time", "tokens_per_second"]) {
        "a result of vllm bench throughput, which has no latencies"
    } else if has(&["runs", "schema"]) {
        "what `dynamic` wrote; give it to --baseline or to `report --dynamic`"
    } else if has(&["not_modelled"]) || has(&["grid"]) {
        "what `static` wrote; give it to --static"
    } else if document.is_object() {
        "JSON of an unknown tool"
    } else {
        "JSON, but no object"
    };
    what.to_owned()
}
