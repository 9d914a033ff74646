//! Writes a capture incrementally, so that an interrupted recording is valid up to the interruption.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

use super::format::{GpuLine, Manifest, VllmLine};

/// A capture being written.
#[derive(Debug)]
pub struct Recorder {
    directory: PathBuf,
    pages: JsonLines,
    readings: JsonLines,
}

impl Recorder {
    /// Starts a capture in `directory`, which is created if necessary and must not contain a capture. Leftovers of a failed recording are
    /// replaced. Only the owner may read the files, and none is written through a symbolic link.
    ///
    /// # Errors
    /// The system's error, with the path; `AlreadyExists` if there is a capture.
    pub fn create(directory: &Path) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| naming(directory, &error))?;
        let pages = directory.join("vllm.jsonl.gz");
        if directory.join("capture.json").symlink_metadata().is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!(
                    "{} holds a capture already; give another --output",
                    directory.display()
                ),
            ));
        }
        Ok(Self {
            pages: JsonLines::create(&pages)?,
            readings: JsonLines::create(&directory.join("gpu.jsonl.gz"))?,
            directory: directory.to_owned(),
        })
    }

    /// Removes the written files, for a recording without a page; the directory too, if nothing else is in it.
    pub fn discard(self) {
        let written = [
            "vllm.jsonl.gz",
            "gpu.jsonl.gz",
            "capture.json",
            "config.json",
        ];
        for name in written {
            // A file that cannot be removed stays, and the next recording reports it.
            let _ = std::fs::remove_file(self.directory.join(name));
        }
        let _ = std::fs::remove_dir(&self.directory);
    }

    /// Writes `capture.json`, and the model's `config.json` where known.
    ///
    /// # Errors
    /// The system's error.
    pub fn describe(&self, manifest: &Manifest, model_config: Option<&str>) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(manifest)?;
        text.push('\n');
        self.replace("capture.json", &text)?;
        model_config.map_or(Ok(()), |config| self.replace("config.json", config))
    }

    /// Writes the file `name`; if the disk is full, the previous content stays.
    fn replace(&self, name: &str, text: &str) -> io::Result<()> {
        let (path, part) = (
            self.directory.join(name),
            self.directory.join(format!("{name}.part")),
        );
        create_file(&part)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| std::fs::rename(&part, &path))
            .map_err(|error| naming(&path, &error))
    }

    /// Adds a scrape.
    ///
    /// # Errors
    /// The system's error.
    pub fn page(&mut self, line: &VllmLine) -> io::Result<()> {
        self.pages.write(line)
    }

    /// Adds a GPU reading.
    ///
    /// # Errors
    /// The system's error.
    pub fn reading(&mut self, line: &GpuLine) -> io::Result<()> {
        self.readings.write(line)
    }

    /// Completes the files.
    ///
    /// # Errors
    /// The system's error.
    pub fn finish(self) -> io::Result<()> {
        self.pages.finish()?;
        self.readings.finish()
    }
}

/// A gzip file of JSON lines.
#[derive(Debug)]
struct JsonLines {
    path: PathBuf,
    file: GzEncoder<BufWriter<File>>,
}

impl JsonLines {
    fn create(path: &Path) -> io::Result<Self> {
        let file = create_file(path).map_err(|error| naming(path, &error))?;
        let file = BufWriter::new(file);
        Ok(Self {
            path: path.to_owned(),
            file: GzEncoder::new(file, Compression::default()),
        })
    }

    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(line)?;
        line.push(b'\n');
        self.file
            .write_all(&line)
            // A sync point per line: however the program ends, the lines so far can be read.
            .and_then(|()| self.file.flush())
            .map_err(|error| naming(&self.path, &error))
    }

    fn finish(self) -> io::Result<()> {
        self.file
            .finish()
            .and_then(|mut file| file.flush())
            .map_err(|error| naming(&self.path, &error))
    }
}

/// A new file that only its owner may read; replaces an existing one. A symbolic link is refused: it may point to any file.
fn create_file(path: &Path) -> io::Result<File> {
    match path.symlink_metadata() {
        Ok(found) if found.is_file() => std::fs::remove_file(path)?,
        Ok(_) => {
            let why = "it exists and is not a regular file; remove it";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
        }
        Err(_) => {}
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Adds the path to the system's error.
fn naming(path: &Path, error: &io::Error) -> io::Error {
    let message = format!("cannot write {}: {error}", path.display());
    io::Error::new(error.kind(), message)
}
