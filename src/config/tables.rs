//! Lookup tables: the known GPUs, and the coefficients of expected times.

use std::path::Path;

use roofline::cost::coefficients::Coefficients;
use roofline::spec::gpu::{GpuTable, GpuTableError};

use crate::regular_file::{self, LARGEST_SETTINGS};

use super::{ConfigError, Settings};

/// The embedded tables with the user's additions.
#[derive(Clone, Debug)]
pub struct Tables {
    /// GPUs.
    pub gpus: GpuTable,
    /// Shares and fixed costs of expected times.
    pub coefficients: Coefficients,
}

impl Settings {
    /// The tables with the additions of these settings.
    ///
    /// # Errors
    /// Invalid GPU entries; a file of coefficients that cannot be read or is invalid.
    pub fn tables(&self) -> Result<Tables, ConfigError> {
        let coefficients = self.coefficients.as_deref();
        Ok(Tables {
            gpus: self.gpu_table()?,
            coefficients: coefficients.map_or_else(|| Ok(Coefficients::default()), read)?,
        })
    }

    fn gpu_table(&self) -> Result<GpuTable, ConfigError> {
        let problem = |error: GpuTableError| ConfigError::Value {
            key: "gpus",
            problem: error.to_string(),
        };
        let table = GpuTable::embedded().map_err(problem)?;
        if self.gpus.is_empty() {
            return Ok(table);
        }
        // JSON is YAML.
        let additions = serde_json::json!({ "gpus": self.gpus }).to_string();
        table.with_overrides(&additions).map_err(problem)
    }
}

fn read(path: &Path) -> Result<Coefficients, ConfigError> {
    let problem = |error: &dyn std::fmt::Display| ConfigError::Value {
        key: "coefficients",
        problem: format!("{}: {error}", path.display()),
    };
    let text = regular_file::text(path, LARGEST_SETTINGS).map_err(|error| problem(&error))?;
    Coefficients::from_text(&text).map_err(|error| problem(&error))
}
