//! Parsed lines and their errors.

use super::*;

/// Parses `page` and compares its lines and its errors (`!`) with `expected`.
#[track_caller]
fn check(page: &str, expected: &[&str]) {
    check_lines(Lines::new(page), expected);
}

#[track_caller]
fn check_lines(lines: Lines<'_>, expected: &[&str]) {
    let said: Vec<_> = lines
        .map(|line| line.map_or_else(|error| format!("! {error}"), |line| line.to_string()))
        .collect();
    assert_eq!(said, expected);
}

#[test]
fn metadata_and_samples() {
    check(
        "# HELP vllm:a_total Tokens, all of them.\n# TYPE vllm:a_total counter\nvllm:a_total{engine=\"0\",le=\"+Inf\"} 12\n",
        &[
            "# HELP vllm:a_total Tokens, all of them.",
            "# TYPE vllm:a_total counter",
            "vllm:a_total{engine=\"0\",le=\"+Inf\"} 12.0",
        ],
    );
    check(
        "#HELP a\n # TYPE\ta\thistogram \n#\tHELP b c\\\\d\\ne\\x",
        &[
            "# HELP a ",
            "# TYPE a histogram",
            "# HELP b c\\\\d\\ne\\\\x",
        ],
    );
}

#[test]
fn lines_that_say_nothing() {
    check("", &[]);
    check("\n\r\n \t\n\r", &[]);
    check("# EOF\n# UNIT a seconds\n#\n# a comment\n#TYPES a b\n", &[]);
}

#[test]
fn line_ends() {
    check("a 1\r\nb 2\r\n\r\nc 3", &["a 1.0", "b 2.0", "c 3.0"]);
    check(
        "# HELP a b\r\n# TYPE a gauge\r\na{b=\"c\"} 1\r",
        &["# HELP a b", "# TYPE a gauge", "a{b=\"c\"} 1.0"],
    );
    check(
        "a 1\rb 2",
        &["! line 1, column 4: expected a timestamp in whole milliseconds, found `\u{fffd}b 2`"],
    );
}

#[test]
fn labels_may_be_empty_spaced_or_end_in_a_comma() {
    check("a{} 1", &["a 1.0"]);
    check("a { } 1", &["a 1.0"]);
    check("a{b=\"\"} 1", &["a{b=\"\"} 1.0"]);
    check("a{b=\"c\",} 1", &["a{b=\"c\"} 1.0"]);
    check(
        "\t a\t{ b = \"c\" ,\td=\"e\" , }\t1 ",
        &["a{b=\"c\",d=\"e\"} 1.0"],
    );
    check("a{b=\"{},= #\"}1", &["a{b=\"{},= #\"} 1.0"]);
}

#[test]
fn timestamps_and_exemplars() {
    check(
        "a 1 1700000000123\na{b=\"c\"} 2\t-5 \n",
        &["a 1.0 1700000000123", "a{b=\"c\"} 2.0 -5"],
    );
    check(
        "a 1 # {id=\"x\"} 0.5\na 2 7 # {id=\"x\"} 0.5 6",
        &["a 1.0", "a 2.0 7"],
    );
}

/// `line` is invalid at `column`, and the lines around it are still parsed.
#[track_caller]
fn check_bad(line: &str, column: usize, expected: &str) {
    let found = match &line[column - 1..] {
        "" => "the end of the line".to_owned(),
        rest => format!("`{rest}`"),
    };
    let error = format!("! line 2, column {column}: expected {expected}, found {found}");
    for end in ["\n", "\r\n"] {
        let page = ["a 1", line, "b 2"].join(end);
        check(&page, &["a 1.0", &error, "b 2.0"]);
    }
    let page = ["a 1", line].join("\n");
    check(&page, &["a 1.0", &error]);
}

#[test]
fn a_bad_line_has_its_place_and_the_next_is_read() {
    let name = "a metric name";
    check_bad(r#"{b="c"} 1"#, 1, name);
    check_bad(" 1a 1", 2, name);
    check_bad("a-b 1", 2, name);
    check_bad("aé 1", 2, name);
    check_bad("# HELP", 7, name);
    check_bad("# HELP a-b c", 9, name);
    check_bad(r#"a{0="d"} 1"#, 3, "a label name");
    check_bad(r#"a{b:c="d"} 1"#, 4, "`=` and a quoted label value");
    check_bad("a{b=d} 1", 5, "`=` and a quoted label value");
    check_bad(r#"a{b="c} 1"#, 5, "a closing quote");
    check_bad(
        r#"a{b="\q"} 1"#,
        6,
        r#"one of the escapes `\\`, `\"` and `\n`"#,
    );
    check_bad(r#"a{b="c\"#, 7, r#"one of the escapes `\\`, `\"` and `\n`"#);
    check_bad(r#"a{b="c";d="e"} 1"#, 8, "`,` or `}`");
    check_bad(r#"a{b="c" 1"#, 9, "`,` or `}`");
    check_bad(r#"a{b="c","#, 9, "`,` or `}`");
    check_bad("a{", 3, "`,` or `}`");
    check_bad("a", 2, "a number");
    check_bad(r#"a{b="c"} "#, 10, "a number");
    check_bad("a 1.5.2", 3, "a number");
    check_bad("a 1 2.5", 5, "a timestamp in whole milliseconds");
    check_bad("a 1 2 3", 7, "the end of the line");
    check_bad("a 1 # b", 5, "the end of the line");
    check_bad("# TYPE a number", 10, "a metric type");
    check_bad("# TYPE a", 9, "a metric type");
    check_bad("# TYPE a gauge b", 16, "the end of the line");
}

#[test]
fn errors_show_a_long_or_unprintable_page_safely() {
    let long = "?\x1b[31m".repeat(40);
    let error = Lines::new(&long).next().unwrap().unwrap_err();
    let shown = "?\u{fffd}[31m"
        .repeat(40)
        .chars()
        .take(80)
        .collect::<String>();
    assert_eq!(*error.found, format!("`{shown}…`"));
}

#[test]
fn what_the_last_line_was_does_not_matter() {
    check(
        "a{b=\"c\",d=\"e\"} 1\na{b=\"c\",d=\"f\"} 2\nab{b=\"c\"} 3\na 4\na{d=\"e\",b=\"c\"} 5\na{b=\"c\"d=\"e\"} 6\na{b=\"c\"} 7",
        &[
            "a{b=\"c\",d=\"e\"} 1.0",
            "a{b=\"c\",d=\"f\"} 2.0",
            "ab{b=\"c\"} 3.0",
            "a 4.0",
            "a{d=\"e\",b=\"c\"} 5.0",
            "! line 6, column 8: expected `,` or `}`, found `d=\"e\"} 6`",
            "a{b=\"c\"} 7.0",
        ],
    );
}

#[test]
fn only_what_is_needed() {
    check_lines(
        Lines::new("# TYPE vllm:a gauge\nvllm:a 1\n!!\npython_info 2\n vllm:a{b=\"c\"} 3\nray_vllm_a 4\nvllm:a x\n\nvllm:aa 5")
            .only(&["vllm:", "ray_vllm_"]),
        &[
            "vllm:a 1.0",
            "vllm:a{b=\"c\"} 3.0",
            "ray_vllm_a 4.0",
            "! line 7, column 8: expected a number, found `x`",
            "vllm:aa 5.0",
        ],
    );
}

#[test]
fn limits_stop_the_page() {
    let limits = PageLimits {
        page_bytes: 40,
        line_bytes: 8,
        series: 3,
    };
    #[track_caller]
    fn check(page: &str, limits: PageLimits, expected: &[&str]) {
        check_lines(Lines::new(page).within(limits), expected);
    }
    check(
        "a 1\r\nb 23456\nc 3\n",
        limits,
        &["a 1.0", "b 23456.0", "c 3.0"],
    );
    check(
        &"a 1\n".repeat(11),
        limits,
        &["! line 1, column 1: page too large, found 44 where 40 are allowed"],
    );
    for long in ["b 2345678", "# comment", "?????????", "# TYPE a "] {
        check(
            &format!("a 1\n{long}\nc 3\n"),
            limits,
            &[
                "a 1.0",
                "! line 2, column 1: line too long, found 9 where 8 are allowed",
            ],
        );
    }
    check(
        "a 1\n?\n#\n\n# HELP b\nc 3\nd 4\n",
        PageLimits {
            line_bytes: 9,
            ..limits
        },
        &[
            "a 1.0",
            "! line 2, column 1: expected a metric name, found `?`",
            "# HELP b ",
            "! line 6, column 1: too many series, found 4 where 3 are allowed",
        ],
    );
}

#[test]
fn labels_are_found_whatever_their_form() {
    for text in [
        r#"a{ab="1",b="x\"y",le="2"} 0"#,
        r#"a{ ab="1" ,b="x\"y",le="2",} 0"#,
    ] {
        let Some(Ok(Line::Sample(sample))) = Lines::new(text).next() else {
            panic!("`{text}` is a sample");
        };
        let labels = sample.labels;
        assert_eq!(labels.get("b").as_deref(), Some("x\"y"));
        assert_eq!(labels.get("le").as_deref(), Some("2"));
        assert_eq!(labels.get("a"), None);
        assert_eq!(labels.get(""), None);
        let names: Vec<_> = labels.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["ab", "b", "le"]);
    }
}

#[test]
fn a_page_is_text_or_says_where_not() {
    assert_eq!(utf8("é 1".as_bytes()), Ok("é 1"));
    let error = utf8(b"a 1\nb\xff 2").unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 2, column 2: expected UTF-8, found byte 0xff"
    );
}
