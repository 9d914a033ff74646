//! Reads coefficients: the embedded file, and user files that override parts of it.

use std::sync::LazyLock;

use serde_json::Value;
use thiserror::Error;

use super::Coefficients;

const EMBEDDED: &str = include_str!("../../../data/coefficients.yaml");

/// The newest supported schema.
const SCHEMA: u32 = 1;

#[expect(
    clippy::expect_used,
    reason = "embedded, so a test is where it can be wrong"
)]
static PARSED: LazyLock<Coefficients> =
    LazyLock::new(|| serde_saphyr::from_str(EMBEDDED).expect("the embedded file is complete"));

/// Why a file of coefficients cannot be used.
#[derive(Debug, Error)]
pub enum CoefficientsError {
    /// Neither YAML nor JSON.
    #[error("not readable: {0}")]
    Syntax(String),
    /// An unknown name or a value of the wrong form.
    #[error("{0}; the names are those of data/coefficients.yaml")]
    Form(String),
    /// A value out of range.
    #[error("{0}")]
    Value(String),
}

/// The values embedded in the program.
pub(super) fn embedded() -> Coefficients {
    *PARSED
}

impl Coefficients {
    /// The embedded coefficients, with those replaced that `text` (YAML or JSON) names.
    ///
    /// # Errors
    /// When it cannot be parsed, names something unknown, or has a value out of range.
    pub fn from_text(text: &str) -> Result<Self, CoefficientsError> {
        let replaced: Value = serde_saphyr::from_str(text)
            .map_err(|error| CoefficientsError::Syntax(error.to_string()))?;
        let mut all = serde_json::to_value(embedded())
            .map_err(|error| CoefficientsError::Syntax(error.to_string()))?;
        overlay(&mut all, replaced);
        let coefficients: Self = serde_json::from_value(all)
            .map_err(|error| CoefficientsError::Form(error.to_string()))?;
        if coefficients.schema != SCHEMA {
            return Err(CoefficientsError::Value(format!(
                "schema is {}; this version reads {SCHEMA}",
                coefficients.schema
            )));
        }
        coefficients.problem().map_or(Ok(coefficients), |problem| {
            Err(CoefficientsError::Value(problem))
        })
    }
}

/// Replaces in `base` what `over` names, table by table; a value with its origin is replaced as a whole.
fn overlay(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) if !over.contains_key("value") => {
            for (name, value) in over {
                overlay(base.entry(name).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::gpu::{CoefficientOrigin, GpuTable};

    #[test]
    fn the_embedded_file_is_complete_and_makes_sense() {
        let parsed: Coefficients = serde_saphyr::from_str(EMBEDDED).expect("complete");
        assert_eq!(parsed.problem(), None);
        assert_eq!(parsed.schema, SCHEMA);
    }

    #[test]
    fn a_file_replaces_what_it_names_and_each_keeps_its_origin() {
        let read = Coefficients::from_text(
            r#"{"hbm_fraction": 0.85, "seconds_per_layer": {"value": 1e-5, "origin": "measured"},
                "generations": {"hopper": {"experts": {"fp8": {"memory": 0.5}}}}}"#,
        )
        .expect("valid");
        let hopper = read.generations.hopper;
        assert_eq!(
            (
                read.hbm_fraction.map(|fraction| fraction.origin),
                read.seconds_per_layer.origin,
                hopper.experts.fp8.memory.map(|share| share.value),
                hopper.experts.fp8.compute,
            ),
            (
                Some(CoefficientOrigin::Stated),
                CoefficientOrigin::Measured,
                Some(0.5),
                embedded().generations.hopper.experts.fp8.compute,
            )
        );
        let table = GpuTable::embedded().expect("parses");
        for (gpu, origin, expected) in [
            (
                "H100",
                CoefficientOrigin::Measured,
                CoefficientOrigin::Measured,
            ),
            (
                "B200-SXM",
                CoefficientOrigin::Measured,
                CoefficientOrigin::Assumed,
            ),
            (
                "B200-SXM",
                CoefficientOrigin::Fitted,
                CoefficientOrigin::Fitted,
            ),
            ("T4", CoefficientOrigin::Fitted, CoefficientOrigin::Assumed),
            ("T4", CoefficientOrigin::Stated, CoefficientOrigin::Stated),
        ] {
            let gpu = table.find(gpu).expect("known");
            assert_eq!(read.origin_on(gpu, origin), expected, "{gpu:?}");
        }
    }

    #[test]
    fn nonsense_is_named() {
        for (text, part) in [
            (r#"{"hbm_fraction": 1.5}"#, "hbm_fraction is 1.5"),
            (r#"{"seconds_per_step": -1}"#, "must not be negative"),
            (r#"{"seconds_per_stp": 1}"#, "seconds_per_stp"),
            (
                r#"{"generations": {"hopper": {"weights": {"fp8": -0.1}}}}"#,
                "generations.hopper.weights.fp8",
            ),
            (r#"{"schema": 9}"#, "this version reads 1"),
            ("[", "not readable"),
        ] {
            let problem = Coefficients::from_text(text)
                .expect_err("nonsense")
                .to_string();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
