//! Searches text eight bytes at a time.
//!
//! A `u64` holds eight lanes; a mask has the high bit set in each lane that matches. Names and label values are short, so one or two words
//! decide where a byte loop would branch at every byte.

const LOW: u64 = splat(0x01);
const HIGH: u64 = splat(0x80);

/// The end of the name that begins at `at`; a metric name may contain colons.
#[inline]
pub(super) fn name_end<const COLON: bool>(text: &[u8], at: usize) -> usize {
    find(text, at, |word| !names::<COLON>(word) & HIGH)
}

/// The position of the first `byte` from `at` on, or the end of `text`.
#[inline]
pub(super) fn byte(byte: u8, text: &[u8], at: usize) -> usize {
    find(text, at, |word| equal(word, byte))
}

/// The end of the label value around `at`, or its first escape: the first quote, backslash or line end.
#[inline]
pub(super) fn value_end(text: &[u8], at: usize) -> usize {
    find(text, at, |word| {
        equal(word, b'"') | equal(word, b'\\') | equal(word, b'\n')
    })
}

/// The position of the first byte from `at` on that `matches` marks, or the end of `text`.
#[inline]
fn find(text: &[u8], mut at: usize, matches: impl Fn(u64) -> u64) -> usize {
    while let Some(lanes) = text.get(at..).and_then(<[u8]>::first_chunk) {
        match matches(u64::from_le_bytes(*lanes)) {
            0 => at += 8,
            found => return at + first(found),
        }
    }
    let mut lanes = [0; 8];
    for (lane, byte) in lanes.iter_mut().zip(text.iter().skip(at)) {
        *lane = *byte;
    }
    match matches(u64::from_le_bytes(lanes)) {
        0 => text.len(),
        found => text.len().min(at + first(found)),
    }
}

/// The first lane of a non-empty mask.
#[inline]
const fn first(mask: u64) -> usize {
    (mask.trailing_zeros() / 8) as usize
}

/// Lanes equal to `byte`. After the first match, lanes may match falsely; the first one is correct.
#[inline]
const fn equal(word: u64, byte: u8) -> u64 {
    let difference = word ^ splat(byte);
    difference.wrapping_sub(LOW) & !difference & HIGH
}

/// Lanes that are valid in a name.
#[inline]
const fn names<const COLON: bool>(word: u64) -> u64 {
    let ascii = word & !HIGH;
    let letters = between(ascii | splat(0x20), b'a', b'z');
    let digits = between(ascii, b'0', if COLON { b':' } else { b'9' });
    (letters | digits | between(ascii, b'_', b'_')) & !word
}

/// Lanes with ASCII from `from` to `to`.
#[inline]
const fn between(ascii: u64, from: u8, to: u8) -> u64 {
    (ascii + splat(0x80 - from)) & !(ascii + splat(0x7f - to)) & HIGH
}

const fn splat(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The search, from every position of a text with `found` at every position, agrees with a byte loop.
    #[track_caller]
    fn check(search: impl Fn(&[u8], usize) -> usize, stops: impl Fn(u8) -> bool) {
        for found in 0..=u8::MAX {
            for place in 0..20 {
                let mut text = *b"abcdefghijklmnopqrst";
                text[place] = found;
                for start in 0..=text.len() {
                    let plain = text[start..].iter().position(|byte| stops(*byte));
                    let right = plain.map_or(text.len(), |at| start + at);
                    assert_eq!(
                        search(&text, start),
                        right,
                        "{found:#x} at {place} from {start}"
                    );
                }
            }
        }
    }

    #[test]
    fn searches_agree_with_byte_loops() {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        check(name_end::<false>, |byte| !is_name(byte));
        check(name_end::<true>, |byte| !is_name(byte) && byte != b':');
        check(value_end, |byte| b"\"\\\n".contains(&byte));
        check(|text, at| byte(b'=', text, at), |byte| byte == b'=');
    }

    #[test]
    fn the_first_of_neighbours_is_found() {
        assert_eq!(value_end(b"abc\"#\"\\\n", 0), 3);
        assert_eq!(byte(b'=', b"==", 1), 1);
        assert_eq!(byte(b'=', b"a", 9), 1);
    }
}
