//! The documents agree with the program.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail that way"
)]

use std::fmt::Write;

use roofline::bound::{Admission, Bound, EngineState};
use vllm_roofline_exporter::export::catalogue::{ALL, CatalogueFamily};

const CATALOGUE: &str = "docs/metrics.md";

/// `UPDATE_GOLDEN=1` rewrites the document instead of comparing.
#[test]
#[allow(clippy::disallowed_methods, reason = "how tests are asked to rewrite")]
fn the_document_of_metrics_is_the_catalogue() {
    let document = std::fs::read_to_string(CATALOGUE).unwrap();
    let (before, rest) = document.split_once("<!-- metrics -->\n").unwrap();
    let (listed, after) = rest.split_once("<!-- /metrics -->").unwrap();
    let expected = table();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let fresh = format!("{before}<!-- metrics -->\n{expected}<!-- /metrics -->{after}");
        std::fs::write(CATALOGUE, fresh).unwrap();
        return;
    }
    assert_eq!(
        listed, expected,
        "{CATALOGUE} is stale: run `just generate`"
    );
}

/// Each metric that the README names is in the catalogue.
#[test]
fn the_readme_names_metrics_that_exist() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let named: std::collections::BTreeSet<&str> = readme
        .split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
        .filter(|word| word.starts_with("vllm_roofline_") && !word.ends_with('_'))
        .collect();
    assert!(named.len() >= 10, "{named:?}");
    for name in named {
        assert!(ALL.iter().any(|family| family.name == name), "{name}");
    }
}

/// The help of a state names every state.
#[test]
fn the_help_of_a_state_names_its_values() {
    let states = [
        (
            "vllm_roofline_bound",
            Bound::ALL.iter().map(|state| state.as_str()).collect(),
        ),
        (
            "vllm_roofline_admission",
            Admission::ALL.iter().map(|state| state.as_str()).collect(),
        ),
        (
            "vllm_roofline_engine_state",
            EngineState::ALL
                .iter()
                .map(|state| state.as_str())
                .collect::<Vec<_>>(),
        ),
    ];
    for (name, states) in states {
        let family = ALL.iter().find(|family| family.name == name).unwrap();
        for state in states {
            assert!(family.help.contains(state), "{name}: {state}");
        }
    }
}

fn table() -> String {
    let mut table =
        "| name | type | labels | provenance | stability | what it says |\n|---|---|---|---|---|---|\n".to_owned();
    for CatalogueFamily {
        name,
        kind,
        labels,
        provenance,
        stability,
        help,
        ..
    } in ALL
    {
        let short = name.trim_start_matches("vllm_roofline_");
        let row = format!(
            "| `{short}` | {kind:?} | {} | {provenance:?} | {stability:?} |",
            labels.join(", ")
        );
        let help = help.replace('|', "\\|");
        writeln!(table, "{} {help} |", row.to_lowercase()).unwrap();
    }
    table
}
