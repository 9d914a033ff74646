//! Prints the figures of a capture as a table: the model compared with the hardware's counters and vLLM's own estimate.

use std::io::{self, Write};

use comfy_table::Table;

use crate::command::{output, verdict_text};
use crate::meter::figures::Figures;
use roofline::units::{Bytes, Flops};

/// Writes the table, and below it the verdict on each stretch and the caveats of its figures.
///
/// # Errors
/// When writing to `out` fails.
pub(super) fn write(figures: &[Figures], out: &mut impl Write) -> io::Result<()> {
    output::write_table(&table(figures), out)?;
    let names = names(figures);
    for (row, name) in figures.iter().zip(&names) {
        verdict_text::write(&format!("{name}: "), &row.verdict, &row.felt(None), out)?;
        for caveat in &row.caveats {
            writeln!(out, "  caveat: {caveat}")?;
        }
    }
    Ok(())
}

/// The names of `figures`, with the engine if there are several.
fn names(figures: &[Figures]) -> Vec<String> {
    let several = figures
        .windows(2)
        .any(|pair| pair[0].engine != pair[1].engine);
    let name = |(place, row): (usize, &Figures)| {
        let name = row.name.clone();
        let name = name.unwrap_or_else(|| format!("window {}", place + 1));
        let engine = row.engine.as_ref().filter(|_| several);
        engine.map_or(name.clone(), |engine| format!("{name}, engine {engine}"))
    };
    figures.iter().enumerate().map(name).collect()
}

/// One row per stretch of time. `model/GPM` and `vLLM/GPM` compare HBM bytes with measured bytes, `model/tensor` compares FLOPs with the
/// cycles of active tensor pipes.
#[must_use]
fn table(figures: &[Figures]) -> Table {
    let mut table = output::table([
        "phase",
        "seconds",
        "bound",
        "admission",
        "tok/s",
        "batch",
        "GB/s model",
        "GB/s GPM",
        "model/GPM",
        "vLLM/GPM",
        "TFLOP/s",
        "model/tensor",
        "MFU",
        "MBU",
    ]);
    for (row, name) in figures.iter().zip(names(figures)) {
        table.add_row([
            name,
            format!("{:.1}", row.seconds.0),
            row.bound.as_str().to_owned(),
            row.admission.as_str().to_owned(),
            number(row.output_tokens_per_second, 0),
            number(row.decode_batch, 1),
            gigabytes(row, row.hbm_bytes),
            gigabytes(row, row.hbm_bytes_measured),
            quotient(row.hbm_bytes, row.hbm_bytes_measured),
            quotient(row.hbm_bytes_vllm, row.hbm_bytes_measured),
            teraflops(row, row.flops),
            flops_quotient(row.flops, row.flops_tensor_pipe),
            percent(row.mfu),
            percent(row.mbu),
        ]);
    }
    table
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.digits$}"))
}

fn percent(share: Option<f64>) -> String {
    share.map_or("–".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

fn gigabytes(row: &Figures, bytes: Option<Bytes>) -> String {
    number(bytes.map(|bytes| (bytes / row.seconds).0 / 1e9), 0)
}

fn teraflops(row: &Figures, flops: Option<Flops>) -> String {
    number(flops.map(|flops| (flops / row.seconds).0 / 1e12), 1)
}

fn quotient(bytes: Option<Bytes>, reference: Option<Bytes>) -> String {
    number(
        bytes
            .zip(reference)
            .map(|(bytes, reference)| bytes / reference),
        2,
    )
}

fn flops_quotient(flops: Option<Flops>, reference: Option<Flops>) -> String {
    number(
        flops
            .zip(reference)
            .map(|(flops, reference)| flops / reference),
        2,
    )
}
