//! Finds a model's config.json by what vLLM's `--model` accepts.

use std::path::{Path, PathBuf};

/// Why no config.json was found.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// Nothing there.
    #[error(
        "no config.json for model `{model}`: looked in {tried}; give --model a directory or a config.json, or mount the Hugging Face cache"
    )]
    NotFound {
        /// What was asked for.
        model: String,
        /// Where it was looked for.
        tried: String,
    },
    /// A file that cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
}

/// The config.json of `model`: a Hugging Face id in the local cache, a directory, or the file itself.
///
/// # Errors
/// [`LookupError`], which names where it was looked for.
pub fn find_config(model: &str) -> Result<(PathBuf, String), LookupError> {
    let given = Path::new(model);
    let mut candidates = vec![given.to_owned(), given.join("config.json")];
    candidates.extend(caches().iter().filter_map(|cache| cached(cache, model)));
    let found = candidates.iter().find(|path| path.is_file());
    let Some(path) = found else {
        let mut tried: Vec<_> = vec![format!("{model}/config.json")];
        tried.extend(caches().iter().map(|cache| cache.display().to_string()));
        return Err(LookupError::NotFound {
            model: model.to_owned(),
            tried: tried.join(", "),
        });
    };
    std::fs::read_to_string(path)
        .map(|text| (path.clone(), text))
        .map_err(|error| LookupError::Unreadable {
            path: path.clone(),
            error,
        })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the cache is where the environment says"
)]
fn caches() -> Vec<PathBuf> {
    let directory =
        |name: &str, below: &str| Some(PathBuf::from(std::env::var(name).ok()?).join(below));
    [
        directory("HF_HUB_CACHE", ""),
        directory("HF_HOME", "hub"),
        directory("HOME", ".cache/huggingface/hub"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn cached(cache: &Path, model: &str) -> Option<PathBuf> {
    let room = cache.join(format!("models--{}", model.replace('/', "--")));
    let revision = std::fs::read_to_string(room.join("refs/main")).ok()?;
    Some(
        room.join("snapshots")
            .join(revision.trim())
            .join("config.json"),
    )
}
