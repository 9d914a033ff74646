//! `find_config`: finds the `config.json` of a model.
//!
//! A path is used as it is. A Hugging Face id is searched in the caches of `huggingface_hub`: `$HF_HUB_CACHE`, `$HF_HOME/hub`,
//! `~/.cache/huggingface/hub`; `refs/main` there names the snapshot. Nothing is downloaded. As in vLLM, a `hf_quant_config.json` beside it
//! replaces a missing `quantization_config`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, fs, io};

use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::regular_file;
use roofline::spec::deployment::{DeploymentFlags, draft_model};

/// Maximum bytes of a `config.json`: the largest, which lists thousands of modules, have a few hundred thousand.
const LONGEST: u64 = 4 << 20;
/// Timeout of a lookup: a network file system may hang.
const LONGEST_LOOKUP: Duration = Duration::from_secs(2);
/// Maximum number of hanging lookups, each on its own thread, which cannot be cancelled.
const MOST_HANGING: usize = 4;
/// Number of running lookups.
static LOOKUPS: AtomicUsize = AtomicUsize::new(0);

/// Why no `config.json` was found.
#[derive(Debug, Error)]
pub(crate) enum LookupError {
    /// Neither a path nor a cached model.
    #[error(
        "model {model:?}: no such path, and not in the Hugging Face cache (looked in {}); {}",
        listed(tried),
        remedy(candidates)
    )]
    NotFound {
        /// The requested model.
        model: String,
        /// The searched paths.
        tried: Vec<PathBuf>,
        /// Cached models with a similar name.
        candidates: Vec<String>,
    },
    /// The directory has no `config.json`.
    #[error(
        "{path}: no config.json in this directory; point --model at one that has it, or at the file itself"
    )]
    NoConfig {
        /// The directory.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file system does not answer.
    #[error(
        "model {model:?}: its file system has not answered within {LONGEST_LOOKUP:?}; give --model a path on a local one"
    )]
    Hangs {
        /// The requested model.
        model: String,
    },
}

fn listed(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    if paths.is_empty() {
        "nothing: neither HF_HUB_CACHE, HF_HOME nor a home directory is set".to_owned()
    } else {
        paths.join(", ")
    }
}

fn remedy(candidates: &[String]) -> String {
    if candidates.is_empty() {
        "download its config.json (`hf download MODEL config.json`) and name that file".to_owned()
    } else {
        format!("did you mean {}?", candidates.join(", "))
    }
}

/// Finds and reads the `config.json` of `model`: a Hugging Face id, a directory, or a path to the file. Returns path and text.
///
/// # Errors
/// When there is none, with the searched paths, or when it cannot be read.
pub(crate) fn find_config(model: &str) -> Result<(PathBuf, String), LookupError> {
    find_config_in(model, &cache_directories())
}

/// The same in the given caches.
///
/// # Errors
/// As [`find_config`].
pub(crate) fn find_config_in(
    model: &str,
    caches: &[PathBuf],
) -> Result<(PathBuf, String), LookupError> {
    let path = Path::new(model);
    if path.is_file() {
        return read(path.to_owned());
    }
    if path.is_dir() {
        return in_directory(path);
    }
    let cached = caches.iter().find_map(|cache| snapshot(cache, model));
    match cached {
        Some(snapshot) => in_directory(&snapshot),
        None => Err(LookupError::NotFound {
            model: model.to_owned(),
            tried: caches.to_vec(),
            candidates: near(model, caches),
        }),
    }
}

/// `flags` with the configuration of the draft model that they name, if it is found.
#[must_use]
pub fn with_draft(flags: DeploymentFlags) -> DeploymentFlags {
    let draft = draft_model(flags.speculative_config.as_deref());
    let found = draft.and_then(|model| find_config(&model).ok());
    DeploymentFlags {
        draft_config: found.map(|(_, text)| text),
        ..flags
    }
}

/// The first of `models` that [`find_config`] finds, on a thread of its own: a file system that hangs must not delay the caller, nor the
/// exit of the program.
///
/// # Errors
/// That of the first model if none is found, or [`LookupError::Hangs`].
pub(crate) async fn find_config_aside(
    models: Vec<String>,
) -> Result<(PathBuf, String), LookupError> {
    let model = models.first().cloned().unwrap_or_default();
    let hangs = || LookupError::Hangs {
        model: model.clone(),
    };
    if LOOKUPS.fetch_add(1, Ordering::Relaxed) >= MOST_HANGING {
        LOOKUPS.fetch_sub(1, Ordering::Relaxed);
        return Err(hangs());
    }
    let (answer, answered) = oneshot::channel();
    std::thread::spawn(move || {
        // Fails if the caller has timed out.
        let _ = answer.send(first_of(&models));
        LOOKUPS.fetch_sub(1, Ordering::Relaxed);
    });
    match timeout(LONGEST_LOOKUP, answered).await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) | Err(_) => Err(hangs()),
    }
}

fn first_of(models: &[String]) -> Result<(PathBuf, String), LookupError> {
    let mut found = models.iter().map(|model| find_config(model));
    let first = found.next().unwrap_or_else(|| find_config(""));
    first.or_else(|error| found.find_map(Result::ok).ok_or(error))
}

/// The caches of `huggingface_hub`, in the order of the search.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the discovery of files that the environment may name"
)]
fn cache_directories() -> Vec<PathBuf> {
    let named = |variable: &str| {
        env::var(variable)
            .ok()
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    [
        named("HF_HUB_CACHE"),
        named("HF_HOME").map(|home| home.join("hub")),
        env::home_dir().map(|home| home.join(".cache/huggingface/hub")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The text, within the size limit: vLLM supplies the path, which may point to anything.
fn text(path: &Path) -> io::Result<String> {
    regular_file::text(path, LONGEST)
}

fn read(path: PathBuf) -> Result<(PathBuf, String), LookupError> {
    match text(&path) {
        Ok(text) => {
            let quantization = path.with_file_name("hf_quant_config.json");
            let text = match self::text(&quantization) {
                Ok(quantization) => with_quantization(text, &quantization),
                Err(_) => text,
            };
            Ok((path, text))
        }
        Err(source) => Err(LookupError::Unreadable { path, source }),
    }
}

/// `config` with `quantization` as its `quantization_config`, unless it has one. The rest of the text is unchanged.
fn with_quantization(config: String, quantization: &str) -> String {
    let open = config.trim_end().strip_suffix('}');
    match open {
        Some(open) if !config.contains("\"quantization_config\"") => {
            format!("{open}, \"quantization_config\": {quantization}}}")
        }
        _ => config,
    }
}

fn in_directory(directory: &Path) -> Result<(PathBuf, String), LookupError> {
    let path = directory.join("config.json");
    if path.exists() {
        read(path)
    } else {
        Err(LookupError::NoConfig {
            path: directory.to_owned(),
        })
    }
}

/// The snapshot that `refs/main` of a cached model points to.
fn snapshot(cache: &Path, model: &str) -> Option<PathBuf> {
    let directory = cache.join(format!("models--{}", model.replace('/', "--")));
    let commit = text(&directory.join("refs/main")).ok()?;
    Some(directory.join("snapshots").join(commit.trim()))
}

/// Cached models whose name, without the organisation, contains that of `model` or is contained in it.
fn near(model: &str, caches: &[PathBuf]) -> Vec<String> {
    let short = |name: &str| {
        let name = name.rsplit('/').next().unwrap_or(name);
        name.to_ascii_lowercase()
    };
    let wanted = short(model);
    let entries = caches.iter().filter_map(|cache| fs::read_dir(cache).ok());
    let mut candidates: Vec<String> = entries
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some(name.strip_prefix("models--")?.replacen("--", "/", 1))
        })
        .filter(|name| {
            let known = short(name);
            !wanted.is_empty() && (known.contains(&wanted) || wanted.contains(&known))
        })
        .collect();
    candidates.sort();
    candidates.dedup();
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache with one model, `meta/Tiny-1B`.
    fn cache() -> tempfile::TempDir {
        let cache = tempfile::tempdir().expect("writable");
        let model = cache.path().join("models--meta--Tiny-1B");
        fs::create_dir_all(model.join("refs")).expect("writable");
        fs::create_dir_all(model.join("snapshots/abc")).expect("writable");
        fs::write(model.join("refs/main"), "abc\n").expect("writable");
        fs::write(model.join("snapshots/abc/config.json"), "{}").expect("writable");
        cache
    }

    fn find(model: &str, cache: &tempfile::TempDir) -> Result<String, String> {
        let found = find_config_in(model, &[cache.path().to_owned()]);
        found
            .map(|(_, text)| text)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn ids_directories_and_files_are_found() {
        let cache = cache();
        let snapshot = cache.path().join("models--meta--Tiny-1B/snapshots/abc");
        let file = snapshot.join("config.json");
        for model in [
            "meta/Tiny-1B",
            &snapshot.to_string_lossy(),
            &file.to_string_lossy(),
        ] {
            assert_eq!(find(model, &cache), Ok("{}".to_owned()), "{model}");
        }
    }

    #[test]
    fn a_quantization_beside_the_configuration_is_taken_in() {
        let directory = tempfile::tempdir().expect("writable");
        let write = |name: &str, text: &str| {
            fs::write(directory.path().join(name), text).expect("writable");
        };
        let read = || {
            let (_, text) = find_config_in(&directory.path().to_string_lossy(), &[])?;
            Ok::<serde_json::Value, LookupError>(serde_json::from_str(&text).expect("JSON"))
        };
        write("config.json", "{\"a\": 1}\n");
        write(
            "hf_quant_config.json",
            "{\"quantization\": {\"quant_algo\": \"FP8\"}}",
        );
        let merged = read().expect("found");
        assert_eq!(
            merged["quantization_config"]["quantization"]["quant_algo"],
            "FP8"
        );
        write("config.json", "{\"quantization_config\": {\"bits\": 4}}");
        assert_eq!(read().expect("found")["quantization_config"]["bits"], 4);
    }

    #[tokio::test]
    async fn a_pipe_is_no_config_and_is_not_waited_for() {
        let directory = tempfile::tempdir().expect("writable");
        let pipe = directory.path().join("config.json");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).expect("a pipe");
        let model = directory.path().to_string_lossy().into_owned();
        let error = find_config_aside(vec![model]).await.expect_err("no file");
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }

    #[test]
    fn failures_say_where_was_looked_and_what_is_near() {
        let cache = cache();
        let near = find("other/tiny-1b", &cache).expect_err("not cached");
        assert!(near.contains("did you mean meta/Tiny-1B?"), "{near}");
        assert!(near.contains(&*cache.path().to_string_lossy()), "{near}");
        let unknown = find("other/huge", &cache).expect_err("not cached");
        assert!(unknown.contains("download its config.json"), "{unknown}");
        let empty = find(&cache.path().to_string_lossy(), &cache).expect_err("no config");
        assert!(
            empty.contains("no config.json in this directory"),
            "{empty}"
        );
    }
}
