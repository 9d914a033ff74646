//! Hostile pages: none is accepted, none costs unbounded memory, and none leaves data behind.

use std::io::Write;
use std::net::TcpStream;

use flate2::Compression;
use flate2::write::GzEncoder;

use vllm_roofline_exporter::sample::page::{MOST_ENGINES, MOST_LABEL_BYTES};

use crate::support::{Exporter, ok, value};
use crate::vllm::{Vllm, engine, request};
use crate::{assert_sound, decoded, failures, serve_every, up};

/// Maximum memory for all of them together, in KiB. A page has at most 6 MiB, is read into a buffer that doubles, and the allocator keeps
/// freed memory.
const MOST_MEMORY: u64 = 64 << 10;

/// Long enough to send the largest page over a busy loopback.
const TICK: &str = "1s";

fn start(vllm: &Vllm) -> Exporter {
    serve_every(TICK, &vllm.url)
}

fn repeated(line: impl Fn(usize) -> String, times: usize) -> String {
    (0..times).map(line).collect()
}

/// The series on `page`, without their values.
fn series(page: &str) -> Vec<&str> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap().0).collect()
}

fn gzip_bomb() -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&vec![b'\n'; 256 << 20]).unwrap();
    let packed = packed.finish().unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        packed.len()
    );
    [head.as_bytes(), &packed].concat()
}

/// An endless page.
fn endless(mut stream: TcpStream) {
    request(&mut stream);
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
    let line = "vllm:a 1\n".repeat(10_000);
    while stream.write_all(line.as_bytes()).is_ok() {}
}

/// Pages, and the reason for which each is refused.
fn hostile_pages() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let good = engine("m", "0", 1);
    let running = |labels: &str| format!("vllm:num_requests_running{{{labels}}} 1.0\n");
    let long = "a".repeat(40 << 10);
    let descending = |bucket: usize| {
        let le = 1_000_000 - bucket;
        format!("vllm:iteration_tokens_total_bucket{{le=\"{le}\"}} 1.0\n")
    };
    vec![
        (
            "a million series",
            ok(&repeated(|_| "vllm:a 1\n".to_owned(), 1_000_000)),
            "too_large",
        ),
        (
            "five thousand engines",
            ok(&repeated(
                |engine| running(&format!("engine=\"{engine}\"")),
                5000,
            )),
            "too_many_engines",
        ),
        (
            "cache facts of five thousand engines",
            ok(&(good.clone()
                + &repeated(
                    |engine| format!("vllm:cache_config_info{{engine=\"{engine}\"}} 1.0\n"),
                    5000,
                ))),
            "too_many_engines",
        ),
        (
            "engines with labels of 40 KiB",
            ok(&repeated(
                |engine| running(&format!("engine=\"{engine}\",model_name=\"{long}\"")),
                20,
            )),
            "too_large",
        ),
        (
            "a line of ten thousand labels",
            ok(&(good.clone() + &running(&repeated(|label| format!("a{label}=\"\","), 10_000)))),
            "too_large",
        ),
        (
            "a histogram of a hundred thousand buckets",
            ok(&(good.clone() + &repeated(descending, 100_000))),
            "too_large",
        ),
        ("a gzip bomb", gzip_bomb(), "too_large"),
    ]
}

#[test]
fn hostile_pages_are_refused_and_leave_nothing_behind() {
    let vllm = Vllm::start();
    let exporter = start(&vllm);
    exporter.wait_for("/metrics", 20, |page| up(page) == Some(1.0));
    let mut tokens = 2000;
    vllm.generate(tokens);
    let before = exporter.wait_for("/metrics", 20, |page| decoded(page) == Some(1000.0));
    let (resident, _) = exporter.memory();

    let mut refused = |name: &str, reason: &str| {
        let counted = |page: &str| failures(page, reason);
        let earlier = counted(&exporter.get("/metrics").1);
        let during = exporter.wait_for("/metrics", 60, |page| counted(page) > earlier);
        assert_eq!(up(&during), Some(0.0), "{name}");
        assert!(during.len() < 2 * before.len(), "{name}: {during}");
        let log = exporter.log();
        let longest = log.lines().map(str::len).max();
        assert!(longest < Some(2000), "{name} floods the log");
        tokens += 10;
        vllm.generate(tokens);
        let expected = Some(tokens as f64 - 1000.0);
        let after = exporter.wait_for("/metrics", 60, |page| decoded(page) == expected);
        assert_eq!(up(&after), Some(1.0), "{name}");
        let known = series(&before);
        let left: Vec<_> = series(&after)
            .into_iter()
            .filter(|series| !known.contains(series))
            .collect();
        assert!(left.is_empty(), "{name} leaves {left:?} behind");
        assert_sound(&after);
    };
    for (name, page, reason) in hostile_pages() {
        vllm.answer(page);
        refused(name, reason);
    }
    vllm.behave(|_, stream| endless(stream));
    refused("a page without an end", "too_large");

    let (_, most) = exporter.memory();
    assert!(
        most - resident < MOST_MEMORY,
        "{resident} KiB before, {most} KiB at most"
    );
}

/// A good engine plus six megabytes of irrelevant series, and labels that consist of escapes.
#[test]
fn huge_pages_and_deep_escapes_are_read() {
    let vllm = Vllm::start();
    let foreign = repeated(|number| format!("python_gc_{number} 1.0\n"), 280_000);
    let name = "\\\\\\\"".repeat(5000);
    vllm.answer(ok(&(foreign + &engine(&name, "0", 1))));
    let exporter = start(&vllm);
    let page = exporter.wait_for("/metrics", 60, |page| up(page) == Some(1.0));
    let labels = format!("model_name=\"{name}\"");
    assert!(value(&page, "vllm_roofline_engine_state", &labels).is_some());
    let (page, errors) = vllm_roofline_exporter::exposition::Exposition::parse(&page);
    assert_eq!(errors, []);
    assert!(page.families.len() > 10);
    let (_, most) = exporter.memory();
    assert!(most < 2 * MOST_MEMORY, "{most} KiB");

    vllm.generate(5);
    let after = exporter.wait_for("/metrics", 60, |page| page.contains("model_name=\"m\""));
    assert!(!after.contains("\\\\"), "{after}");
}

/// The maximum number of engines, with labels of the maximum length: our own page stays within its limit.
#[test]
fn the_largest_page_is_read_within_bounds() {
    let vllm = Vllm::start();
    let exporter = start(&vllm);
    exporter.wait_for("/metrics", 60, |page| up(page) == Some(1.0));
    let (resident, _) = exporter.memory();
    let name = "m".repeat(MOST_LABEL_BYTES / MOST_ENGINES - 3);
    let engines = repeated(|number| engine(&name, &number.to_string(), 1), MOST_ENGINES);
    vllm.answer(ok(&engines));
    let states = "vllm_roofline_engine_state{";
    let all = exporter.wait_for("/metrics", 60, |page| page.matches(states).count() > 128);
    assert_eq!(all.matches(states).count(), 5 * MOST_ENGINES);
    for path in ["/", "/api/v1/snapshot"] {
        assert_eq!(exporter.get(path).0, 200, "{path}");
    }
    vllm.answer(ok(&(engines + &engine("m", "one more", 1))));
    exporter.wait_for("/metrics", 60, |page| {
        failures(page, "too_many_engines") > 0.0
    });
    let (_, most) = exporter.memory();
    assert!(
        most - resident < MOST_MEMORY,
        "{resident} KiB before, {most} KiB at most"
    );
    vllm.generate(5);
    exporter.wait_for("/metrics", 60, |page| page.matches(states).count() == 5);
}

/// Each of several servers has its share of the engines: a server above its share is rejected, and does not reduce another's.
#[test]
fn a_server_of_too_many_engines_takes_none_from_another() {
    let (flood, well) = (Vllm::start(), Vllm::start());
    let engines = |count| {
        ok(&repeated(
            |number| engine("m", &number.to_string(), 1),
            count,
        ))
    };
    flood.answer(engines(MOST_ENGINES / 2 + 1));
    let exporter = Exporter::start(&[
        "serve",
        "--gpu-source",
        "none",
        "--vllm-url",
        &flood.url,
        "--vllm-url",
        &well.url,
    ]);
    let of = |server: &Vllm| format!("target=\"{}\"", server.url);
    let refused = format!("reason=\"too_many_engines\",{}", of(&flood));
    let page = exporter.wait_for("/metrics", 20, |page| {
        value(page, "vllm_roofline_source_errors_total", &refused) > Some(0.0)
            && value(page, "vllm_roofline_up", &of(&well)) == Some(1.0)
    });
    assert_eq!(page.matches("vllm_roofline_engine_state{").count(), 5);
    flood.answer(engines(MOST_ENGINES / 2));
    exporter.wait_for("/metrics", 20, |page| {
        let states = page.matches("vllm_roofline_engine_state{").count();
        states == 5 * (MOST_ENGINES / 2 + 1)
    });
}

/// An impossible counter value counts as absent: a sum would keep it forever.
#[test]
fn values_that_cannot_be_are_left_out() {
    let vllm = Vllm::start();
    let exporter = crate::serve(&vllm.url);
    exporter.wait_for("/metrics", 20, |page| up(page) == Some(1.0));
    let mut tokens = 1000;
    for value in ["NaN", "+Inf", "-Inf", "-7.0", "1e308"] {
        let labels = "{engine=\"0\",model_name=\"m\"}";
        let missing = "metric=\"generation_tokens_total\"";
        vllm.answer(ok(&format!(
            "process_start_time_seconds 1.0\nvllm:num_requests_running{labels} 1.0\nvllm:num_requests_waiting{labels} {value}\nvllm:generation_tokens_total{labels} {value}\nvllm:inter_token_latency_seconds_sum{labels} {value}\nvllm:inter_token_latency_seconds_count{labels} {value}\n"
        )));
        let during = exporter.wait_for("/metrics", 20, |page| {
            crate::support::value(page, "vllm_roofline_missing_input", missing) == Some(1.0)
        });
        assert_sound(&during);
        tokens += 10;
        vllm.generate(tokens);
        let expected = Some(tokens as f64 - 1000.0);
        let after = exporter.wait_for("/metrics", 20, |page| decoded(page) == expected);
        assert_sound(&after);
    }
}
