//! `render`: predictions and analyses as one HTML page without external resources or JavaScript.
//!
//! Every number on the page is in the JSON that it was made from: beside its text it carries the JSON path (`data-path`) and the exact
//! value (`data-value`), which a test compares.

mod cell;
mod charts;
mod figures;
mod overview;
mod prediction;
mod run;
mod summary;
mod worked;

use askama::Template;

use crate::analysis::{Analysis, FigureTargets, settings_of};
use roofline::predict::Prediction;

use overview::Overview;
use prediction::PredictionView;
use run::RunView;
use summary::ReportSummary;
use worked::StepView;

/// An analysis and its name on the page.
#[derive(Clone, Copy, Debug)]
pub struct ReportPart<'a> {
    /// Its name, for example of its file.
    pub name: &'a str,
    /// The analysis.
    pub analysis: &'a Analysis,
}

/// Why a report cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// There is nothing to report.
    #[error("neither a prediction nor an analysis is given; use --static, --dynamic or both")]
    Nothing,
    /// The prediction is for another model than an analysis.
    #[error(
        "the prediction is of {predicted} ({predicted_params} parameters), {name} is of {measured} ({measured_params}); report on one model at a time"
    )]
    OtherModel {
        /// The predicted model.
        predicted: String,
        /// Its size.
        predicted_params: u64,
        /// The analysis.
        name: String,
        /// Its model.
        measured: String,
        /// Its size.
        measured_params: u64,
    },
    /// The page cannot be rendered, which only lack of memory can cause.
    #[error("cannot write the report: {0}")]
    Template(#[from] askama::Error),
}

#[derive(Template)]
#[template(path = "report.html")]
struct ReportPage {
    version: &'static str,
    title: String,
    summary: Option<ReportSummary>,
    overview: Vec<Overview>,
    several: bool,
    steps: Vec<StepView>,
    parts: Vec<PartView>,
    prediction: Option<PredictionView>,
}

/// An analysis on the page.
struct PartView {
    name: String,
    roofline: Option<charts::Roofline>,
    curves: Vec<charts::Curves>,
    runs: Vec<RunView>,
    settings: Vec<(String, String)>,
    targets: Vec<(&'static str, String)>,
    notes: Vec<String>,
}

/// Renders the page for `prediction` and `parts`, the oldest first.
///
/// # Errors
/// [`ReportError`].
pub fn render(
    prediction: Option<&Prediction>,
    parts: &[ReportPart<'_>],
) -> Result<String, ReportError> {
    if prediction.is_none() && parts.is_empty() {
        return Err(ReportError::Nothing);
    }
    for part in parts {
        check_model(prediction, part)?;
    }
    let several = parts.len() > 1;
    let page = ReportPage {
        version: env!("CARGO_PKG_VERSION"),
        title: title(prediction, parts),
        summary: summary::summary(parts),
        overview: parts
            .iter()
            .enumerate()
            .map(|(place, part)| overview::overview(place, part))
            .collect(),
        several,
        steps: worked::steps(parts),
        parts: parts
            .iter()
            .enumerate()
            .map(|(place, part)| part_view(place, part))
            .collect(),
        prediction: prediction.map(prediction::view),
    };
    Ok(page.render()?)
}

/// Rejects a prediction of another model than the analysed one.
fn check_model(prediction: Option<&Prediction>, part: &ReportPart<'_>) -> Result<(), ReportError> {
    let measured = &part.analysis.configuration;
    let Some((prediction, params)) = prediction.zip(measured.total_params) else {
        return Ok(());
    };
    if prediction.model.total_params == params {
        return Ok(());
    }
    Err(ReportError::OtherModel {
        predicted: prediction.model.name.clone(),
        predicted_params: prediction.model.total_params,
        name: part.name.to_owned(),
        measured: measured.model.clone().unwrap_or_default(),
        measured_params: params,
    })
}

fn title(prediction: Option<&Prediction>, parts: &[ReportPart<'_>]) -> String {
    let measured = parts.last().map(|part| &part.analysis.configuration);
    let model = measured
        .and_then(|measured| measured.model.clone())
        .or_else(|| Some(prediction?.model.name.clone()));
    let gpu = measured
        .and_then(|measured| measured.gpu_name.clone())
        .or_else(|| Some(prediction?.gpu.as_ref()?.name.clone()));
    let served = measured.zip(parts.last()).and_then(|(_, part)| {
        let run = part.analysis.runs.first()?;
        run.model.clone()
    });
    let model = model.or(served).unwrap_or_else(|| "Load test".to_owned());
    match gpu {
        Some(gpu) => format!("{model} on {gpu}"),
        None => model,
    }
}

fn part_view(place: usize, part: &ReportPart<'_>) -> PartView {
    let analysis = part.analysis;
    PartView {
        name: part.name.to_owned(),
        roofline: charts::roofline(place, analysis),
        curves: charts::curves(place, analysis),
        runs: run::views(place, analysis),
        settings: settings_of(analysis),
        targets: FigureTargets::FIGURES
            .into_iter()
            .filter_map(|figure| Some((figure.label(), analysis.targets.in_words(figure)?)))
            .collect(),
        notes: analysis.notes.clone(),
    }
}
