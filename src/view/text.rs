//! Formats numbers and words for the screen.

/// `1234567.0` is `1,234,567`.
#[must_use]
pub fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 {
        format!("-{text}")
    } else {
        text
    }
}

/// `0.0064` is `6.4 ms`.
#[must_use]
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 0.1 => format!("{:.1} ms", s * 1e3),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

/// `0.123` is `12.3 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// `9.89e14` is `989T`.
#[must_use]
pub(crate) fn si(value: f64) -> String {
    let (divisor, prefix) = match value.abs() {
        v if v >= 1e15 => (1e15, "P"),
        v if v >= 1e12 => (1e12, "T"),
        v if v >= 1e9 => (1e9, "G"),
        v if v >= 1e6 => (1e6, "M"),
        v if v >= 1e3 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let scaled = value / divisor;
    if scaled < 9.95 && scaled.fract().abs() > 0.05 {
        format!("{scaled:.1}{prefix}")
    } else {
        format!("{scaled:.0}{prefix}")
    }
}

/// The time of day of `unix` seconds, UTC.
#[must_use]
pub fn clock(unix: f64) -> String {
    let second = unix.rem_euclid(86_400.0);
    let (hour, minute) = ((second / 3600.0).floor(), (second / 60.0).floor() % 60.0);
    format!("{hour:02.0}:{minute:02.0}:{:02.0}", second.floor() % 60.0)
}

/// `text` in lines of at most `width` characters, broken between words.
#[must_use]
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// `text` in at most `width` characters, with `…` in place of the omitted part.
#[must_use]
pub fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(thousands(1_234_567.4), "1,234,567");
        assert_eq!(thousands(-999.0), "-999");
        assert_eq!(duration(0.0064), "6.4 ms");
        assert_eq!(duration(0.64), "640 ms");
        assert_eq!(duration(2.5), "2.50 s");
        assert_eq!(si(9.89e14), "989T");
        assert_eq!(si(3.35e12), "3.4T");
        assert_eq!(si(100.0), "100");
        assert_eq!(clock(86_400.0 * 3.0 + 3_661.9), "01:01:01");
    }

    #[test]
    fn text_is_broken_between_words_and_cut_with_a_mark() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("", 8), [""]);
        assert_eq!(fit("abcdef", 4), "abc…");
        assert_eq!(fit("abcd", 4), "abcd");
    }
}
