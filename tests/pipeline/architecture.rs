//! The invariants of the source code that ARCHITECTURE.md claims.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Modules of the pure core.
const PURE: [&str; 3] = ["exposition", "sample", "meter"];
/// Names that perform I/O, wait, or read the time.
const IMPURE: [&str; 8] = [
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
    "SystemTime::now",
    "Instant::now",
    "tokio::",
    "reqwest::",
];

#[test]
fn top_modules_use_each_other_in_one_direction() {
    let uses = uses_of_each_room();
    assert!(uses.len() > 15, "found only {uses:?}");
    let mut done = BTreeSet::new();
    while done.len() < uses.len() {
        let ready = uses
            .iter()
            .filter(|(room, below)| !done.contains(*room) && below.is_subset(&done))
            .map(|(room, _)| room.clone())
            .collect::<Vec<_>>();
        let left = || uses.keys().filter(|room| !done.contains(*room));
        assert!(
            !ready.is_empty(),
            "a cycle among {:?}",
            left().collect::<Vec<_>>()
        );
        done.extend(ready);
    }
}

#[test]
fn the_core_does_no_io_and_reads_no_clock() {
    let files = sources(&root().join("crates/roofline/src"));
    let core = PURE.iter().flat_map(|room| files_of(room));
    for file in files.into_iter().chain(core) {
        let text = code_of(&file);
        for impure in IMPURE {
            assert!(!text.contains(impure), "{} uses {impure}", file.display());
        }
    }
}

#[test]
fn the_model_has_no_dependency_that_does_io() {
    let manifest = std::fs::read_to_string(root().join("crates/roofline/Cargo.toml")).unwrap();
    for crate_name in ["tokio", "axum", "reqwest", "hyper", "figment"] {
        assert!(!manifest.contains(crate_name), "roofline uses {crate_name}");
    }
}

/// `tls` and `no_tls` are one module with and without the feature of that name.
#[test]
fn no_type_has_the_name_of_another() {
    let crates = ["src", "crates/roofline/src", "crates/loadtest/src"];
    let files = crates.iter().flat_map(|place| sources(&root().join(place)));
    let mut defined: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in files.filter(|file| !file.ends_with("server/no_tls.rs")) {
        let code = code_of(&file);
        for name in code.lines().filter_map(defined_type) {
            defined.entry(name).or_default().push(file.clone());
        }
    }
    assert!(defined.len() > 500, "found only {} types", defined.len());
    defined.retain(|_, files| files.len() > 1);
    assert!(defined.is_empty(), "{defined:#?}");
}

/// The type that a line at the top level of a module defines.
fn defined_type(line: &str) -> Option<String> {
    let mut words = line
        .split(' ')
        .skip_while(|word| word.starts_with("pub") || word.ends_with(')'));
    let keyword = words.next()?;
    let defines = matches!(keyword, "struct" | "enum" | "trait" | "type" | "union");
    words.next().filter(|_| defines).map(first_word)
}

/// The top modules of the sidecar, each with the modules it uses.
fn uses_of_each_room() -> BTreeMap<String, BTreeSet<String>> {
    let entries = std::fs::read_dir(root().join("src")).unwrap();
    let name = |path: PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    let rooms: BTreeSet<String> = entries
        .map(|entry| name(entry.unwrap().path()))
        .filter(|room| room != "lib" && room != "main")
        .collect();
    let used = |room: &String| {
        let text: String = files_of(room).iter().map(|file| code_of(file)).collect();
        let used = text.split("crate::").skip(1).map(first_word);
        used.filter(|other| rooms.contains(other) && other != room)
            .collect()
    };
    rooms
        .iter()
        .map(|room| (room.clone(), used(room)))
        .collect()
}

fn first_word(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// The files of a top module: `room.rs` and all below `room/`.
fn files_of(room: &str) -> Vec<PathBuf> {
    let place = root().join("src").join(room);
    let mut files = sources(&place);
    files.extend(Some(place.with_extension("rs")).filter(|file| file.is_file()));
    files
}

fn sources(place: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(place) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                sources(&path)
            } else {
                vec![path]
            }
        })
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .collect()
}

/// The text of a file without its tests and comments.
fn code_of(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
