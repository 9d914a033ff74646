//! Formats numbers for sentences.

/// `0.0234` is `23.4 ms`, `0.234` is `234 ms`, `1.5` is `1.50 s`.
pub(super) fn duration(seconds: f64) -> String {
    if seconds >= 1.0 {
        format!("{seconds:.2} s")
    } else if seconds >= 0.1 {
        format!("{:.0} ms", seconds * 1e3)
    } else {
        format!("{:.1} ms", seconds * 1e3)
    }
}

/// `4029.3` is `4,029 tok/s`, `0.5` is `0.5 tok/s`.
pub(super) fn rate(tokens_per_second: f64) -> String {
    format!("{} tok/s", count(tokens_per_second))
}

/// `1.5` is `$1.50`.
pub(super) fn dollars(value: f64) -> String {
    format!("${value:.2}")
}

/// `0.632` is `63 %`; a small or large share is never rounded to 0 % or 100 %.
pub(super) fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.005 {
        return "under 1 %".to_owned();
    }
    if (0.995..1.0).contains(&share) {
        return "over 99 %".to_owned();
    }
    format!("{:.0} %", share * 100.0)
}

/// `60784.2` is `60,784`, `91.4` is `91`, `1.2` is `1.2`: whole from ten on.
pub(super) fn count(value: f64) -> String {
    if value < 10.0 && (value - value.round()).abs() >= 0.05 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 request runs`, `37 requests run`.
pub(super) fn requests(number: f64, one: &str, several: &str) -> String {
    let number = count(number);
    if number == "1" {
        format!("1 request {one}")
    } else {
        format!("{number} requests {several}")
    }
}
