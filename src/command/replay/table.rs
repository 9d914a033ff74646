//! The figures of a capture as a table: the model beside the hardware's counters.

use comfy_table::{Table, presets};

use crate::meter::figures::Figures;
use crate::units::Bytes;

/// One row per stretch of time.
#[must_use]
pub(super) fn table(figures: &[Figures]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "phase",
        "seconds",
        "bound",
        "admission",
        "tok/s",
        "batch",
        "GB/s model",
        "GB/s GPM",
        "model/GPM",
        "MFU",
        "MBU",
    ]);
    let percent = |share: Option<f64>| {
        share.map_or("–".to_owned(), |share| format!("{:.1} %", share * 100.0))
    };
    for (place, row) in figures.iter().enumerate() {
        let gigabytes = |bytes: Option<Bytes>| bytes.map(|bytes| (bytes / row.seconds).0 / 1e9);
        let number = |value: Option<f64>, digits: usize| {
            value.map_or("–".to_owned(), |value| format!("{value:.digits$}"))
        };
        let (model, measured) = (gigabytes(row.hbm_bytes), gigabytes(row.hbm_bytes_measured));
        table.add_row([
            row.name
                .clone()
                .unwrap_or_else(|| format!("window {}", place + 1)),
            format!("{:.1}", row.seconds.0),
            row.bound.as_str().to_owned(),
            row.admission.as_str().to_owned(),
            number(row.output_tokens_per_second, 0),
            number(row.decode_batch, 1),
            number(model, 0),
            number(measured, 0),
            number(
                model
                    .zip(measured)
                    .map(|(model, measured)| model / measured),
                2,
            ),
            percent(row.mfu),
            percent(row.mbu),
        ]);
    }
    table
}
