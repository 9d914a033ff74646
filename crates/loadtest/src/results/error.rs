//! Why results cannot be read.

use std::path::PathBuf;

use super::KNOWN_TOOLS;

/// Names the file, and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// It is not there, or may not be read.
    #[error("cannot read {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// It is not JSON, or ends in the middle of it.
    #[error("{} is not JSON ({error}); results are the JSON files of {KNOWN_TOOLS}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        error: serde_json::Error,
    },
    /// It has nothing in it.
    #[error("{} is empty; results are the JSON files of {KNOWN_TOOLS}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It is JSON of something else.
    #[error("{} is {found}; results are the JSON files of {KNOWN_TOOLS}", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What it seems to be.
        found: String,
    },
    /// It is of a known tool, but a field is missing or has another type.
    #[error("{} looks like {tool}, but cannot be read as such: {error}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tool it seems to be of.
        tool: &'static str,
        /// What is missing.
        error: String,
    },
}
