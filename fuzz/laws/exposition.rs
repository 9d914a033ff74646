//! The exposition parser: its results lie within the page, and print and parse to the same; a filtered parse gives the same part.

use std::borrow::Cow;
use std::ops::Range;

use vllm_roofline_exporter::exposition::{Exposition, Line, Lines, utf8};

const PREFIXES: [&str; 2] = ["vllm:", "a"];

/// `data` as a page.
pub fn holds(data: &[u8]) {
    let page = match utf8(data) {
        Ok(page) => page,
        Err(error) => return assert!(error.line >= 1 && error.column >= 1, "{error}"),
    };
    let mut wanted = Vec::new();
    for line in Lines::new(page) {
        match line {
            Ok(line) => {
                stays_on(page.as_bytes().as_ptr_range(), &line);
                reads_back(&line);
                if let Line::Sample(sample) = line
                    && PREFIXES
                        .iter()
                        .any(|prefix| sample.name.starts_with(prefix))
                {
                    wanted.push(format!("{sample:?}"));
                }
            }
            Err(error) => assert!(error.line <= 1 + page.lines().count(), "{error}"),
        }
    }
    let only = Lines::new(page).only(&PREFIXES).filter_map(Result::ok);
    let only: Vec<_> = only
        .map(|line| match line {
            Line::Sample(sample) => format!("{sample:?}"),
            other => panic!("{other} is no sample"),
        })
        .collect();
    assert_eq!(only, wanted);
    let (exposition, errors) = Exposition::parse(page);
    let samples = Lines::new(page)
        .filter(|line| matches!(line, Ok(Line::Sample(_))))
        .count();
    assert!(exposition.samples().count() <= samples);
    assert!(exposition.samples().count() + errors.len() >= samples);
}

/// Names and values are slices of the page, except values with escapes.
fn stays_on(page: Range<*const u8>, line: &Line<'_>) {
    let check = |piece: &str| {
        let piece = piece.as_bytes().as_ptr_range();
        assert!(page.start <= piece.start && piece.end <= page.end, "{line}");
    };
    check(line.name());
    match line {
        Line::Help {
            text: Cow::Borrowed(text),
            ..
        } => check(text),
        Line::Sample(sample) => {
            for (name, value) in sample.labels.iter() {
                check(name);
                if let Cow::Borrowed(value) = value {
                    check(value);
                }
            }
        }
        _ => {}
    }
}

fn reads_back(line: &Line<'_>) {
    let printed = line.to_string();
    let again: Vec<_> = Lines::new(&printed).collect();
    let [Ok(again)] = again.as_slice() else {
        panic!("{printed} becomes {again:?}");
    };
    // Labels are equal if their texts are equal, so their values are compared; NaN equals itself only as text.
    assert_eq!(said(again), said(line));
}

fn said(line: &Line<'_>) -> String {
    match line {
        Line::Sample(sample) => {
            let labels: Vec<_> = sample.labels.iter().collect();
            format!(
                "{} {labels:?} {:?} {:?}",
                sample.name, sample.value, sample.timestamp
            )
        }
        other => format!("{other:?}"),
    }
}
