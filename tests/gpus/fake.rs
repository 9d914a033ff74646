//! A fake `libnvidia-ml.so.1`, compiled from C, controlled by a script.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;

/// The library of a current driver, and that of one before GPM.
static TODAY: LazyLock<PathBuf> = LazyLock::new(|| compile("today", &[]));
static OLD: LazyLock<PathBuf> = LazyLock::new(|| compile("old", &["-DOLD_DRIVER"]));

/// Compiles the library into a directory of its own, and returns that directory.
fn compile(name: &str, flags: &[&str]) -> PathBuf {
    let directory = option_env!("CARGO_TARGET_TMPDIR")
        .map_or_else(std::env::temp_dir, PathBuf::from)
        .join(format!("fake-nvml-{}", std::process::id()))
        .join(name);
    std::fs::create_dir_all(&directory).unwrap();
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(directory.join("libnvidia-ml.so.1"))
        .args(flags)
        .args(["tests/gpus/fake_nvml.c", "-lm"])
        .status()
        .expect("tests of NVML need a C compiler, cc");
    assert!(status.success(), "the fake NVML does not compile");
    directory
}

/// A driver that follows its script; `fake_nvml.c` documents the commands.
pub(crate) struct FakeNvml {
    library: PathBuf,
    pub(crate) directory: TempDir,
}

impl FakeNvml {
    pub(crate) fn with(script: &str) -> Self {
        Self::of(TODAY.clone(), script)
    }

    /// Without the symbols introduced after driver 450.
    pub(crate) fn old(script: &str) -> Self {
        Self::of(OLD.clone(), script)
    }

    /// A file that is not a library, in place of this machine's driver.
    pub(crate) fn broken() -> Self {
        let fake = Self::of(PathBuf::new(), "");
        let directory = fake.directory.path().to_owned();
        std::fs::write(directory.join("libnvidia-ml.so.1"), "no library\n").unwrap();
        Self {
            library: directory,
            ..fake
        }
    }

    fn of(library: PathBuf, script: &str) -> Self {
        let fake = Self {
            library,
            directory: tempfile::tempdir().unwrap(),
        };
        fake.script(script);
        fake
    }

    /// Changes its script, with immediate effect.
    pub(crate) fn script(&self, script: &str) {
        let (next, now) = (self.path("next"), self.path("script"));
        std::fs::write(&next, format!("{script}\n")).unwrap();
        std::fs::rename(next, now).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The environment that makes the program load it.
    pub(crate) fn environment(&self) -> [(&'static str, String); 2] {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        [
            ("LD_LIBRARY_PATH", text(&self.library)),
            ("FAKE_NVML", text(&self.path("script"))),
        ]
    }
}
