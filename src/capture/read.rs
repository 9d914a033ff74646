//! Reads a capture, from a directory or from the data embedded in the binary.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::de::DeserializeOwned;

use crate::regular_file;
use roofline::spec::deployment::DeploymentFlags;

use super::format::{FORMAT, GpuLine, Manifest, VllmLine};

/// Maximum bytes of an uncompressed line: a page of 6 MiB with every byte escaped.
const LONGEST_LINE: u64 = 40 << 20;
/// Maximum bytes of all lines of a file, uncompressed: ten hours of pages of 30 KB, one per second.
const LARGEST_FILE: u64 = 1 << 30;
/// Maximum bytes of `capture.json` or `config.json`.
const LARGEST_TEXT: u64 = 16 << 20;
/// Maximum number of GPUs of a capture; a node has at most 16, and MIG splits each into 7.
const MOST_GPUS: usize = 1024;

/// A capture in memory.
#[derive(Clone, Debug)]
pub struct Capture {
    /// `capture.json`.
    pub manifest: Manifest,
    /// The model's `config.json`, where the capture has one.
    pub model_config: Option<String>,
    /// Scrapes, in order of time.
    pub pages: Vec<VllmLine>,
    /// GPU readings, in order of time.
    pub readings: Vec<GpuLine>,
    /// Files that are truncated within a line or their gzip stream, for example by an interrupted recording.
    pub cut_off: Vec<PathBuf>,
}

/// Why a capture cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// A file is missing or cannot be read.
    #[error("cannot read {}: {error}; a capture is a directory with capture.json and vllm.jsonl.gz", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// A file has an invalid form.
    #[error("cannot read {}{}: {error}", path.display(), place(*line))]
    Json {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 for the whole file.
        line: usize,
        /// The parser's error.
        error: serde_json::Error,
    },
    /// An unknown, newer format.
    #[error("{} has format {found}, and only format {FORMAT} can be read; record it again, or use a newer version", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// A value out of range.
    #[error("{}: {key}: {problem}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// The problem.
        problem: String,
    },
    /// The capture contains no page.
    #[error("{} has no page: nothing to replay", path.display())]
    NoPage {
        /// The file.
        path: PathBuf,
    },
}

fn place(line: usize) -> String {
    if line == 0 {
        String::new()
    } else {
        format!(" line {line}")
    }
}

impl Capture {
    /// Reads the capture in `directory`.
    ///
    /// # Errors
    /// [`CaptureError`], which names the file.
    pub fn open(directory: &Path) -> Result<Self, CaptureError> {
        let manifest_path = directory.join("capture.json");
        let manifest: Manifest =
            serde_json::from_str(&text(&manifest_path)?).map_err(|error| CaptureError::Json {
                path: manifest_path.clone(),
                line: 0,
                error,
            })?;
        if manifest.format != FORMAT {
            return Err(CaptureError::Format {
                path: manifest_path,
                found: manifest.format,
            });
        }
        let config_path = directory.join("config.json");
        let gpu_path = directory.join("gpu.jsonl.gz");
        let pages_path = directory.join("vllm.jsonl.gz");
        let mut cut_off = Vec::new();
        let pages = lines(&pages_path, open(&pages_path)?, &mut cut_off)?;
        Self {
            manifest,
            model_config: config_path
                .exists()
                .then(|| text(&config_path))
                .transpose()?,
            pages,
            readings: if gpu_path.exists() {
                lines(&gpu_path, open(&gpu_path)?, &mut cut_off)?
            } else {
                Vec::new()
            },
            cut_off,
        }
        .checked(pages_path)
    }

    /// The embedded recording of a real H100 run, which `demo` plays.
    ///
    /// # Errors
    /// Never with the embedded files; a test proves it.
    pub fn demo() -> Result<Self, CaptureError> {
        Self::embedded(
            include_str!("../../config/demo/capture.json"),
            include_str!("../../config/demo/config.json"),
            include_bytes!("../../config/demo/vllm.jsonl.gz"),
            include_bytes!("../../config/demo/gpu.jsonl.gz"),
        )
    }

    /// Reads a capture from the bytes of its files.
    ///
    /// # Errors
    /// [`CaptureError`], which names the file.
    pub fn embedded(
        manifest: &str,
        model_config: &str,
        pages: &[u8],
        readings: &[u8],
    ) -> Result<Self, CaptureError> {
        let path = Path::new("embedded capture.json");
        let mut cut_off = Vec::new();
        Self {
            manifest: serde_json::from_str(manifest).map_err(|error| CaptureError::Json {
                path: path.into(),
                line: 0,
                error,
            })?,
            model_config: Some(model_config.to_owned()),
            pages: lines(Path::new("embedded vllm.jsonl.gz"), pages, &mut cut_off)?,
            readings: lines(Path::new("embedded gpu.jsonl.gz"), readings, &mut cut_off)?,
            cut_off,
        }
        .checked(path.into())
    }

    fn checked(mut self, path: PathBuf) -> Result<Self, CaptureError> {
        let gpus = self.manifest.gpu.as_ref().map_or(0, |gpu| gpu.count);
        if gpus > MOST_GPUS {
            return Err(CaptureError::Value {
                path: path.with_file_name("capture.json"),
                key: "gpu.count",
                problem: format!("{gpus} is more than {MOST_GPUS}"),
            });
        }
        let arguments = DeploymentFlags::from_vllm_command_line(&self.manifest.vllm_args);
        if let Err(error) = arguments {
            return Err(CaptureError::Value {
                path: path.with_file_name("capture.json"),
                key: "vllm_args",
                problem: error.to_string(),
            });
        }
        if self.pages.iter().all(|page| page.body.is_none()) {
            return Err(CaptureError::NoPage { path });
        }
        self.pages
            .sort_by(|one, other| one.time().0.total_cmp(&other.time().0));
        self.readings
            .sort_by(|one, other| one.t.total_cmp(&other.t));
        Ok(self)
    }
}

fn open(path: &Path) -> Result<std::fs::File, CaptureError> {
    regular_file::open(path).map_err(|error| CaptureError::Io {
        path: path.into(),
        error,
    })
}

fn text(path: &Path) -> Result<String, CaptureError> {
    regular_file::text(path, LARGEST_TEXT).map_err(|error| CaptureError::Io {
        path: path.into(),
        error,
    })
}

/// The JSON lines of a gzip file. An interrupted recording ends in the middle of a line or of the gzip stream: the lines before that are
/// valid, and `cut_off` gets the file's name.
fn lines<T: DeserializeOwned>(
    path: &Path,
    gzip: impl Read,
    cut_off: &mut Vec<PathBuf>,
) -> Result<Vec<T>, CaptureError> {
    let mut read = Vec::new();
    let failed = |error| CaptureError::Io {
        path: path.into(),
        error,
    };
    let unpacked = MultiGzDecoder::new(gzip).take(LARGEST_FILE);
    let mut reader = BufReader::new(unpacked);
    let mut text = String::new();
    for line in 1.. {
        text.clear();
        let length = match (&mut reader).take(LONGEST_LINE).read_line(&mut text) {
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                cut_off.push(path.to_owned());
                break;
            }
            Err(error) => return Err(failed(error)),
        };
        if length as u64 == LONGEST_LINE || reader.get_ref().limit() == 0 {
            let why = format!(
                "line {line} is longer than {LONGEST_LINE} bytes, or the file than {LARGEST_FILE}, unpacked"
            );
            return Err(failed(std::io::Error::new(
                std::io::ErrorKind::FileTooLarge,
                why,
            )));
        }
        if length == 0 {
            break;
        }
        if !text.ends_with('\n') && serde_json::from_str::<T>(&text).is_err() {
            cut_off.push(path.to_owned());
            break;
        }
        if text.trim().is_empty() {
            continue;
        }
        read.push(
            serde_json::from_str(&text).map_err(|error| CaptureError::Json {
                path: path.into(),
                line,
                error,
            })?,
        );
    }
    Ok(read)
}
