//! The configuration file. Errors name the key and its line.

use std::path::{Path, PathBuf};

use crate::regular_file::{self, LARGEST_SETTINGS};

use super::ConfigError;

/// A configuration file.
pub(super) struct ConfigFile {
    path: PathBuf,
    pub(super) text: String,
}

impl ConfigFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`ConfigError::File`].
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let read = regular_file::text(path, LARGEST_SETTINGS);
        let path = path.to_owned();
        match read {
            Ok(text) => Ok(Self { path, text }),
            Err(error) => Err(ConfigError::File { path, error }),
        }
    }

    /// The line, from 1, that sets the key at the end of `keys`: each key is searched after its parent. The library's own position of a key
    /// is unreliable.
    fn line_of(&self, keys: &[String]) -> Option<usize> {
        let mut lines = self.text.lines().zip(1..);
        let mut line = None;
        for key in keys {
            line = Some(lines.find(|(line, _)| sets(line, key))?.1);
        }
        line
    }
}

/// Whether `line` sets `key`, possibly among others in braces.
fn sets(line: &str, key: &str) -> bool {
    let code = line.split('#').next().unwrap_or_default();
    let plain = code.replace(['"', '\''], "");
    let mut words = plain.split(['{', ',', ' ']);
    words.any(|word| word.strip_suffix(':') == Some(key))
}

/// Formats an error: `key: problem (where it was set)`.
pub(super) fn explained(error: &figment::Error, file: Option<&ConfigFile>) -> String {
    let key = error.path.join(".");
    let from = error
        .metadata
        .as_ref()
        .map(|metadata| metadata.name.as_ref());
    // Only the file is YAML: the defaults are ours, and valid.
    let file = file.filter(|_| from.is_none_or(|name| name.starts_with("YAML")));
    let source = match (file, from) {
        (Some(file), _) => {
            let line = file.line_of(&error.path);
            let line = line.map(|line| format!(" line {line}"));
            format!(" (in {}{})", file.path.display(), line.unwrap_or_default())
        }
        (None, Some(name)) => format!(" (from {name})"),
        (None, None) => String::new(),
    };
    let place = if key.is_empty() {
        String::new()
    } else {
        format!("{key}: ")
    };
    format!("{place}{}{source}", error.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_its_own_part() {
        let file = ConfigFile {
            path: PathBuf::new(),
            text: "# tick: no\nlog:\n  level: info\nweb:\n  level: 1\ndeployment: {dtype: auto, \"lvl\": 1}\ntick: 1s\n"
                .to_owned(),
        };
        let line = |keys: &str| {
            let keys: Vec<_> = keys.split('.').map(str::to_owned).collect();
            file.line_of(&keys)
        };
        assert_eq!(line("log.level"), Some(3));
        assert_eq!(line("web.level"), Some(5));
        assert_eq!(line("deployment"), Some(6));
        assert_eq!(line("tick"), Some(7));
        assert_eq!(line("nothing"), None);
    }
}
