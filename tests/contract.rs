//! What the documents say and what the program does are the same.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail that way"
)]

use std::fmt::Write;

use vllm_roofline_exporter::export::catalogue::{ALL, Family};

#[test]
fn the_readme_lists_the_catalogue() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let (_, rest) = readme.split_once("<!-- metrics -->\n").unwrap();
    let (listed, _) = rest.split_once("<!-- /metrics -->").unwrap();
    let expected = table();
    assert_eq!(
        listed, expected,
        "README.md's metric table is stale; it should be:\n{expected}"
    );
}

fn table() -> String {
    let mut table =
        "| name | type | labels | provenance | stability |\n|---|---|---|---|---|\n".to_owned();
    for Family {
        name,
        kind,
        labels,
        provenance,
        stability,
        ..
    } in ALL
    {
        let short = name.trim_start_matches("vllm_roofline_");
        let row = format!(
            "| `{short}` | {kind:?} | {} | {provenance:?} | {stability:?} |",
            labels.join(", ")
        );
        writeln!(table, "{}", row.to_lowercase()).unwrap();
    }
    table
}
