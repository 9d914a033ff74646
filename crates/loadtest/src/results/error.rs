//! Why results cannot be read.

use std::path::PathBuf;

use super::format::known_files;

/// Errors that name the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The file does not exist, or cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// The file is not JSON, or is truncated.
    #[error("{} is not JSON ({error}); results are the JSON files of {}", path.display(), known_files())]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's error, with its position.
        error: serde_json::Error,
    },
    /// The file is empty.
    #[error("{} is empty; results are the JSON files of {}", path.display(), known_files())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The JSON is of an unknown kind.
    #[error("{} is {found}; results are the JSON files of {}", path.display(), known_files())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What it resembles.
        found: String,
    },
    /// The file is of a known tool, but a field is missing or has another type.
    #[error("{} looks like {tool}, but cannot be read as such: {error}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tool.
        tool: &'static str,
        /// The missing field.
        error: String,
    },
}
