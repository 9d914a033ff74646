//! Parses sample values.

/// Powers of ten that a float holds exactly.
const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// The value of a decimal such as `12.5` or `1.79548574357e+09` at the start of `text`, and its length, if its digits and its power of ten
/// are exact floats.
///
/// Then a single operation rounds once, which is correct (Clinger, "How to read floating point numbers accurately", 1990).
#[inline]
pub(super) fn exact(text: &[u8]) -> Option<(f64, usize)> {
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (mantissa, whole, rest) = digits(0, rest);
    let (mantissa, fraction, rest) = match rest {
        [b'.', rest @ ..] => digits(mantissa, rest),
        rest => (mantissa, 0, rest),
    };
    if !(1..=19).contains(&(whole + fraction)) || mantissa > 1 << f64::MANTISSA_DIGITS {
        return None;
    }
    let (up, down, rest) = match rest {
        [b'e' | b'E', rest @ ..] => exponent(rest, fraction)?,
        _ => (0, fraction, rest),
    };
    let value = mantissa as f64 * TENS.get(up)? / TENS.get(down)?;
    Some((
        if negative { -value } else { value },
        text.len() - rest.len(),
    ))
}

/// Appends the leading digits of `text` to `value`: the new value, the number of digits, the rest.
#[inline]
fn digits(mut value: u64, text: &[u8]) -> (u64, usize, &[u8]) {
    let mut rest = text;
    while let [digit @ b'0'..=b'9', behind @ ..] = rest {
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        rest = behind;
    }
    (value, text.len() - rest.len(), rest)
}

/// The powers of ten to multiply with and to divide by, one of them 0, for the exponent at the start of `text` after `fraction` digits, and
/// the rest.
#[inline]
fn exponent(text: &[u8], fraction: usize) -> Option<(usize, usize, &[u8])> {
    let (negative, text) = match text {
        [b'-', text @ ..] => (true, text),
        [b'+', text @ ..] => (false, text),
        text => (false, text),
    };
    let (value, 1..=3, rest) = digits(0, text) else {
        return None;
    };
    let exponent = usize::try_from(value).ok()?;
    Some(if negative {
        (0, fraction + exponent, rest)
    } else {
        (
            exponent.saturating_sub(fraction),
            fraction.saturating_sub(exponent),
            rest,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::exact;

    /// The fast path parses `text` as the standard library does, or, if `slow`, leaves it to the standard library.
    #[track_caller]
    fn check(text: &str, slow: bool) {
        let read = exact(text.as_bytes()).filter(|(_, length)| *length == text.len());
        let value = read.map(|(value, _)| value.to_bits());
        let right = (!slow).then(|| text.parse::<f64>().unwrap().to_bits());
        assert_eq!(value, right, "{text}");
    }

    #[test]
    fn short_decimals_are_read_at_once() {
        for text in [
            "0",
            "-0",
            "0.0",
            "154.0",
            "-2.5",
            "5.",
            ".5",
            "1.79548574357e+09",
            "2.9020266496e+10",
            "1e22",
            "1E-22",
            "1e007",
            "12.34e1",
            "12.34e2",
            "12.34e-3",
            "9007199254740992",
            "0.1",
            "123456789.125",
        ] {
            check(text, false);
        }
    }

    #[test]
    fn others_are_left_to_the_standard_library() {
        for text in [
            "",
            "-",
            ".",
            "+1",
            "NaN",
            "+Inf",
            "-Inf",
            "e5",
            "1e",
            "1e+",
            "1e23",
            "1e-23",
            "1.7954858079439604e+09",
            "9007199254740993",
            "00000000000000000001",
            "1e0009",
            "0x10",
            "1_000",
            "1.5.2",
        ] {
            check(text, true);
        }
    }

    #[test]
    fn it_stops_where_the_number_does() {
        assert_eq!(exact(b"12.5e1 1700"), Some((125.0, 6)));
        assert_eq!(exact(b"12,5"), Some((12.0, 2)));
    }
}
