//! Writes a capture as it comes in, so that a recording that is cut off is good up to there.

use std::fs::File;
use std::io::{self, BufWriter, Write};
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
    /// Starts a capture in `directory`, which is made, and must not hold one already.
    ///
    /// # Errors
    /// What the system says; `AlreadyExists` where a capture is there.
    pub fn create(directory: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        if directory.join("capture.json").exists() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} holds a capture already", directory.display()),
            ));
        }
        Ok(Self {
            pages: JsonLines::create(&directory.join("vllm.jsonl.gz"))?,
            readings: JsonLines::create(&directory.join("gpu.jsonl.gz"))?,
            directory: directory.to_owned(),
        })
    }

    /// Writes `capture.json`, and the model's `config.json` where it is known.
    ///
    /// # Errors
    /// What the system says.
    pub fn describe(&self, manifest: &Manifest, model_config: Option<&str>) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(manifest)?;
        text.push('\n');
        self.replace("capture.json", &text)?;
        model_config.map_or(Ok(()), |config| self.replace("config.json", config))
    }

    /// Writes the file `name`; if there is no room, what was there before stays.
    fn replace(&self, name: &str, text: &str) -> io::Result<()> {
        let (path, part) = (
            self.directory.join(name),
            self.directory.join(format!("{name}.part")),
        );
        std::fs::write(&part, text)
            .and_then(|()| std::fs::rename(&part, &path))
            .map_err(|error| naming(&path, &error))
    }

    /// Adds a scrape.
    ///
    /// # Errors
    /// What the system says.
    pub fn page(&mut self, line: &VllmLine) -> io::Result<()> {
        self.pages.write(line)
    }

    /// Adds a GPU reading.
    ///
    /// # Errors
    /// What the system says.
    pub fn reading(&mut self, line: &GpuLine) -> io::Result<()> {
        self.readings.write(line)
    }

    /// Ends the files.
    ///
    /// # Errors
    /// What the system says.
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
        let file = File::create(path).map_err(|error| naming(path, &error))?;
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
            // A sync point per line: whatever ends the program, the lines so far can be read.
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

/// What the system says of a file, and of which.
fn naming(path: &Path, error: &io::Error) -> io::Error {
    let told = format!("cannot write {}: {error}", path.display());
    io::Error::new(error.kind(), told)
}
