//! Memory and open files of a process over time.

use std::fmt::{self, Display};

use tokio::time::Instant;

/// Share of the time that counts as warm-up and is excluded from slopes.
const WARM_UP: f64 = 0.1;

/// One sample.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    seconds: f64,
    resident_kib: f64,
    files: f64,
}

impl Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seconds,
            resident_kib,
            files,
        } = self;
        write!(
            f,
            "{:5.1} min: {resident_kib:.0} KiB resident, {files:.0} open files",
            seconds / 60.0
        )
    }
}

/// All samples so far.
pub(crate) struct Watch {
    started: Instant,
    looks: Vec<Look>,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            looks: Vec::new(),
        }
    }
}

impl Watch {
    /// Samples the process `pid`.
    pub(crate) fn look(&mut self, pid: u32) -> anyhow::Result<Look> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap_or_default();
        let look = Look {
            seconds: self.started.elapsed().as_secs_f64(),
            resident_kib: resident.trim().trim_end_matches(" kB").parse()?,
            files: std::fs::read_dir(format!("/proc/{pid}/fd"))?.count() as f64,
        };
        self.looks.push(look);
        Ok(look)
    }

    pub(crate) fn looks(&self) -> usize {
        self.looks.len()
    }

    /// Ranges and slopes after the warm-up.
    pub(crate) fn summary(&self) -> String {
        let end = self.looks.last().map_or(0.0, |look| look.seconds);
        let warm: Vec<&Look> = self
            .looks
            .iter()
            .filter(|look| look.seconds >= end * WARM_UP)
            .collect();
        let row_of = |name: &str, unit: &str, value: fn(&Look) -> f64| {
            let points: Vec<_> = warm
                .iter()
                .map(|look| (look.seconds, value(look)))
                .collect();
            let least = points
                .iter()
                .map(|point| point.1)
                .fold(f64::INFINITY, f64::min);
            let most = points.iter().map(|point| point.1).fold(0.0, f64::max);
            let per_hour = slope(&points) * 3600.0;
            format!("{name}: {least:.0} to {most:.0}{unit}, slope {per_hour:+.1}{unit}/h")
        };
        format!(
            "{}\n{}\n({} looks over {:.1} min, after a warm-up of {:.1} min)",
            row_of("resident", " KiB", |look| look.resident_kib),
            row_of("open files", "", |look| look.files),
            warm.len(),
            end / 60.0,
            end * WARM_UP / 60.0
        )
    }
}

/// The slope of the least-squares line through `points`.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len().max(1) as f64;
    let mean_x = points.iter().map(|point| point.0).sum::<f64>() / count;
    let mean_y = points.iter().map(|point| point.1).sum::<f64>() / count;
    let (mut both, mut square) = (0.0, 0.0);
    for (x, y) in points {
        both += (x - mean_x) * (y - mean_y);
        square += (x - mean_x) * (x - mean_x);
    }
    both / square.max(f64::MIN_POSITIVE)
}
