//! Formats numbers for people; tables and the report share it.

/// `0.0234` is `23.4 ms`, `1.5` is `1.50 s`, `0.000025` is `25.0 µs`.
#[must_use]
pub fn duration(seconds: f64) -> String {
    let milliseconds = seconds * 1e3;
    if seconds >= 100.0 {
        format!("{seconds:.0} s")
    } else if seconds >= 1.0 {
        format!("{seconds:.2} s")
    } else if milliseconds >= 100.0 {
        format!("{milliseconds:.0} ms")
    } else if milliseconds >= 1.0 {
        format!("{milliseconds:.1} ms")
    } else if milliseconds >= 0.1 {
        format!("{:.0} µs", milliseconds * 1e3)
    } else {
        format!("{:.1} µs", milliseconds * 1e3)
    }
}

/// Formats a range: `10.0 – 25.0 ms`, `≤ 10.0 ms`.
#[must_use]
pub fn range([low, high]: [f64; 2]) -> String {
    if low <= 0.0 {
        format!("≤ {}", duration(high))
    } else {
        format!("{} – {}", duration(low), duration(high))
    }
}

/// `13128.6` is `13,129`, `12.345` is `12.3`, `0.5` is `0.50`.
#[must_use]
pub fn count(value: f64) -> String {
    if value.abs() < 1.0 {
        return format!("{value:.2}");
    }
    if value.abs() < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if value < 0.0 {
        grouped.insert(0, '−');
    }
    grouped
}

/// `0.632` is `63.2 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// `1.083` is `+8.3 %`.
#[must_use]
pub fn change(factor: f64) -> String {
    let percent = (factor - 1.0) * 100.0;
    let sign = if percent < 0.0 { "−" } else { "+" };
    format!("{sign}{:.1} %", percent.abs())
}

/// `2.5e12` is `2.50 T`, for units such as FLOP/s.
#[must_use]
pub fn scaled(value: f64) -> String {
    const PREFIXES: [(f64, &str); 5] =
        [(1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let (size, prefix) = PREFIXES
        .into_iter()
        .find(|(size, _)| value >= *size)
        .unwrap_or((1.0, ""));
    format!("{:.2} {prefix}", value / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_about_three_digits() {
        assert_eq!(duration(0.000_025), "25.0 µs");
        assert_eq!(duration(0.000_5), "500 µs");
        assert_eq!(duration(0.023_44), "23.4 ms");
        assert_eq!(duration(0.232_9), "233 ms");
        assert_eq!(duration(11.5), "11.50 s");
        assert_eq!(count(1_234_567.8), "1,234,568");
        assert_eq!(count(999.6), "1,000");
        assert_eq!(count(12.34), "12.3");
        assert_eq!(change(1.083), "+8.3 %");
        assert_eq!(change(0.9), "−10.0 %");
        assert_eq!(scaled(2.5e12), "2.50 T");
    }
}
