//! Means of few values, and their uncertainty.

/// A mean with the half-width of its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// Its value.
    pub value: f64,
    /// Half-width of its 95 % interval, by Student's t.
    pub plus_minus: f64,
}

impl Mean {
    /// The mean of `values`; `None` for fewer than two.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        let value = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|other| (other - value).powi(2)).sum();
        let error = (squares / (count - 1.0) / count).sqrt();
        (values.len() > 1).then(|| Self {
            value,
            plus_minus: student_95(values.len() - 1) * error,
        })
    }
}

/// Two-sided 95 % quantile of Student's t.
fn student_95(degrees: usize) -> f64 {
    const TABLE: [f64; 10] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    ];
    match degrees {
        0 => f64::INFINITY,
        1..=10 => TABLE[degrees - 1],
        11..=20 => 2.1,
        _ => 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_students() {
        let mean = Mean::of(&[100.0, 101.0, 99.0]).unwrap();
        assert!((mean.value - 100.0).abs() < 1e-12);
        assert!((mean.plus_minus - 4.303 / 3.0_f64.sqrt()).abs() < 1e-3);
        assert_eq!(Mean::of(&[1.0]), None);
    }
}
