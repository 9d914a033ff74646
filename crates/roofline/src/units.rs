//! Quantities with their units in the type.
//!
//! Only valid operations exist: `Flops / Seconds` is a `FlopsPerSecond`, `Flops / Bytes` an `Intensity`, and adding bytes to seconds does
//! not compile. Prefixes (GB/s, TFLOP/s) appear only where text is parsed or printed.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Sub};

use serde::{Deserialize, Serialize};

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub f64);

        impl $name {
            /// Zero.
            pub const ZERO: Self = Self(0.0);

            /// The smaller of the two.
            #[must_use]
            pub const fn min(self, other: Self) -> Self {
                Self(self.0.min(other.0))
            }

            /// The larger of the two.
            #[must_use]
            pub const fn max(self, other: Self) -> Self {
                Self(self.0.max(other.0))
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                self.0 += other.0;
            }
        }

        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }

        impl Mul<f64> for $name {
            type Output = Self;
            fn mul(self, factor: f64) -> Self {
                Self(self.0 * factor)
            }
        }

        impl Div<f64> for $name {
            type Output = Self;
            fn div(self, divisor: f64) -> Self {
                Self(self.0 / divisor)
            }
        }

        impl Div for $name {
            type Output = f64;
            fn div(self, other: Self) -> f64 {
                self.0 / other.0
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(quantities: I) -> Self {
                quantities.fold(Self::ZERO, Add::add)
            }
        }
    };
}

/// `$amount / $per = $rate`, and the two inverse operations.
macro_rules! rate {
    ($amount:ident / $per:ident = $rate:ident) => {
        impl Div<$per> for $amount {
            type Output = $rate;
            fn div(self, per: $per) -> $rate {
                $rate(self.0 / per.0)
            }
        }

        impl Div<$rate> for $amount {
            type Output = $per;
            fn div(self, rate: $rate) -> $per {
                $per(self.0 / rate.0)
            }
        }

        impl Mul<$per> for $rate {
            type Output = $amount;
            fn mul(self, per: $per) -> $amount {
                $amount(self.0 * per.0)
            }
        }
    };
}

quantity!(
    /// Floating-point operations; a multiply-add is two.
    Flops
);
quantity!(
    /// Bytes moved or held.
    Bytes
);
quantity!(
    /// Seconds: a duration, or a Unix time.
    Seconds
);
quantity!(
    /// Joules of energy.
    Joules
);
quantity!(
    /// Floating-point operations per second.
    FlopsPerSecond
);
quantity!(
    /// Bytes per second.
    BytesPerSecond
);
quantity!(
    /// Arithmetic intensity: FLOPs per byte of HBM traffic.
    Intensity
);

rate!(Flops / Seconds = FlopsPerSecond);
rate!(Bytes / Seconds = BytesPerSecond);
rate!(Flops / Bytes = Intensity);

impl Mul<Intensity> for BytesPerSecond {
    type Output = FlopsPerSecond;
    fn mul(self, intensity: Intensity) -> FlopsPerSecond {
        FlopsPerSecond(self.0 * intensity.0)
    }
}

impl Div<BytesPerSecond> for FlopsPerSecond {
    type Output = Intensity;
    fn div(self, bandwidth: BytesPerSecond) -> Intensity {
        Intensity(self.0 / bandwidth.0)
    }
}

/// `numerator / denominator`, or `None` where the quotient is undefined (0/0, a negative or infinite operand).
#[must_use]
pub fn ratio(numerator: f64, denominator: f64) -> Option<f64> {
    let quotient = numerator / denominator;
    (denominator > 0.0 && quotient.is_finite()).then_some(quotient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_follow_the_laws() {
        let work = Flops(6.0e12);
        let traffic = Bytes(3.0e9);
        assert_eq!(work / Seconds(2.0), FlopsPerSecond(3.0e12));
        assert_eq!(work / traffic, Intensity(2000.0));
        assert_eq!(FlopsPerSecond(3.0e12) * Seconds(2.0), work);
        assert_eq!(
            BytesPerSecond(1.0e9) * Intensity(2.0),
            FlopsPerSecond(2.0e9)
        );
    }

    #[test]
    fn undefined_ratios_are_absent() {
        assert_eq!(ratio(0.0, 0.0), None);
        assert_eq!(ratio(1.0, 0.0), None);
        assert_eq!(ratio(1.0, f64::NAN), None);
        assert_eq!(ratio(1.0, 2.0), Some(0.5));
    }
}
