//! `metrics`: prints the metric catalogue.

use std::io::Write;

use crate::export::catalogue;

use super::output::{self, OutputFormat};

/// Arguments of `metrics`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct MetricsArgs {
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub format: OutputFormat,
}

/// Prints the catalogue.
///
/// # Errors
/// When writing fails.
pub fn run(args: MetricsArgs, out: &mut impl Write) -> anyhow::Result<()> {
    match args.format {
        OutputFormat::Json => {
            let catalogue = serde_json::json!({"schema": 1, "metrics": catalogue::ALL});
            serde_json::to_writer_pretty(&mut *out, &catalogue)?;
            writeln!(out)?;
        }
        OutputFormat::Table => {
            let mut table = output::table(["name", "type", "labels", "provenance", "stability"]);
            for family in catalogue::ALL {
                table.add_row([
                    family.name.to_owned(),
                    word(&family.kind),
                    labels(family),
                    word(&family.provenance),
                    word(&family.stability),
                ]);
            }
            output::write_table(&table, out)?;
        }
    }
    Ok(())
}

/// All labels of `family`.
fn labels(family: &catalogue::CatalogueFamily) -> String {
    let engine: &[&str] = if family.per_engine {
        &["model_name", "engine"]
    } else {
        &[]
    };
    [engine, family.labels].concat().join(", ")
}

/// An enumeration value as in JSON.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|value| Some(value.as_str()?.to_owned()))
        .unwrap_or_default()
}
