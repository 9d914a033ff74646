//! Reads files whose names come from external input: only regular files, up to a maximum size. Pipes and devices are refused without
//! waiting.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Maximum bytes of a file that settings name: configuration, key, certificates, CAs. The CA bundle of a system has 250 KB.
pub(crate) const LARGEST_SETTINGS: u64 = 4 << 20;

/// Opens the regular file at `path`.
///
/// # Errors
/// The system's error; `InvalidInput` for anything else.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        let why = "not a regular file";
        Err(io::Error::new(io::ErrorKind::InvalidInput, why))
    }
}

/// The content of the regular file at `path`, of at most `most` bytes.
///
/// # Errors
/// As [`open`]; `FileTooLarge` for a larger file.
pub(crate) fn bytes(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let why = format!("it has more than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

/// The text of the regular file at `path`, of at most `most` bytes.
///
/// # Errors
/// As [`bytes`]; `InvalidData` for a file that is not UTF-8.
pub(crate) fn text(path: &Path, most: u64) -> io::Result<String> {
    let why = "it is not UTF-8 text";
    String::from_utf8(bytes(path, most)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_read_and_only_as_far_as_they_may_go() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
        for path in [&pipe, Path::new("/dev/zero"), directory.path()] {
            let error = text(path, 10).unwrap_err();
            assert_eq!(error.to_string(), "not a regular file");
        }
        let file = directory.path().join("file");
        std::fs::write(&file, "0123456789").unwrap();
        assert_eq!(text(&file, 10).unwrap(), "0123456789");
        let error = text(&file, 9).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
