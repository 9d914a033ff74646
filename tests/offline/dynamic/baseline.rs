//! Comparisons before and after a change.

use serde_json::{Value, json};

use crate::dynamic::support::{Desk, MODEL, dynamic, fixture, number};

/// A result of our own load test: `requests` of 100 tokens each, `concurrency` at a time, `token` seconds per token.
fn load(concurrency: u32, token: f64, requests: u32) -> Value {
    let e2e = 0.05 + token * 99.0;
    let slots = f64::from(concurrency);
    let requests: Vec<Value> = (0..requests)
        .map(|number| {
            // Slight variation, the same every time.
            let factor = 1.0 + 0.02 * (f64::from(number) * 0.7).sin();
            json!({
                "start_seconds": f64::from(number / concurrency) * e2e, "input_tokens": 128, "output_tokens": 100,
                "ttft_seconds": 0.05 * factor, "itl_seconds": vec![token * factor; 99], "e2e_seconds": e2e * factor, "error": null,
            })
        })
        .collect();
    let duration = requests.len() as f64 / slots * e2e;
    json!({
        "schema": 1, "tool": "vllm-roofline-exporter", "version": "0.1.0", "started_at": 1.0, "url": "http://127.0.0.1:8000/", "model": "demo",
        "api": "completions",
        "load": {"mode": "closed", "concurrency": concurrency, "request_rate": null, "burstiness": null, "input_len": null, "output_len": null, "shared_prefix_len": 0},
        "warmup_requests": 0, "duration_seconds": duration, "interrupted": false, "completed": requests.len(), "failed": 0, "errors": {},
        "client": {"cpu_seconds": 0.1, "event_lag_p99_seconds": 0.0001}, "requests": requests,
    })
}

fn analysis(desk: &Desk, name: &str, loads: &[Value], flags: &str) -> Value {
    let files: Vec<String> = loads
        .iter()
        .enumerate()
        .map(|(place, load)| desk.write(&format!("{name}-{place}.json"), &load.to_string()))
        .collect();
    let output = desk.name(&format!("{name}.json"));
    dynamic(&format!(
        "--results {} --model {MODEL} --gpu H100 --output {output} {flags}",
        files.join(" ")
    ))
}

fn outcomes(analysis: &Value) -> Vec<(String, String)> {
    let changes = analysis["baseline"]["pairs"][0]["changes"]
        .as_array()
        .unwrap();
    let shown = changes.iter().map(|change| {
        (
            change["figure"].as_str().unwrap().to_owned(),
            change["outcome"].as_str().unwrap().to_owned(),
        )
    });
    shown.collect()
}

#[test]
fn twice_the_same_is_noise_and_a_third_faster_is_better() {
    let desk = Desk::new();
    analysis(&desk, "old", &[load(8, 0.010, 200)], "");
    let baseline = format!("--baseline {}", desk.name("old.json"));
    let same = analysis(&desk, "same", &[load(8, 0.010, 200)], &baseline);
    assert!(
        outcomes(&same)
            .iter()
            .all(|(_, outcome)| outcome == "within_noise"),
        "{:?}",
        outcomes(&same)
    );

    let faster = analysis(&desk, "faster", &[load(8, 0.0067, 200)], &baseline);
    let outcomes = outcomes(&faster);
    for figure in [
        "output_tokens_per_second",
        "tpot_p50_seconds",
        "e2e_p50_seconds",
    ] {
        assert!(
            outcomes.contains(&(figure.to_owned(), "better".to_owned())),
            "{outcomes:?}"
        );
    }
    assert!(
        outcomes.contains(&("ttft_p50_seconds".to_owned(), "within_noise".to_owned())),
        "{outcomes:?}"
    );
    let slower = analysis(&desk, "slower", &[load(8, 0.015, 200)], &baseline);
    assert!(self::outcomes(&slower).contains(&("tpot_p50_seconds".to_owned(), "worse".to_owned())));
}

#[test]
fn repeats_give_the_noise_from_run_to_run() {
    let desk = Desk::new();
    let scattered = |mean: f64| [0.8, 1.0, 1.2].map(|factor| load(8, mean * factor, 100));
    analysis(&desk, "old", &scattered(0.010), "");
    let baseline = format!("--baseline {}", desk.name("old.json"));
    let new = analysis(&desk, "new", &scattered(0.011), &baseline);
    let pair = &new["baseline"]["pairs"][0];
    assert_eq!(
        (&pair["repeats_before"], &pair["repeats_after"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(pair["changes"][0]["before"]["basis"], "repeats");
    assert!(
        outcomes(&new)
            .iter()
            .all(|(_, outcome)| outcome == "within_noise"),
        "{:?}",
        outcomes(&new)
    );
}

#[test]
fn an_advice_that_was_taken_is_held_to_its_effect() {
    let desk = Desk::new();
    let old = analysis(&desk, "old", &[load(8, 0.0066, 200)], "");
    let advised = old["runs"][0]["advice"].as_array().unwrap();
    let more = advised
        .iter()
        .find(|advice| {
            advice["do"]
                .as_str()
                .unwrap()
                .contains("requests at a time")
        })
        .unwrap();
    let (before, after) = (number(more, "/before"), number(more, "/after"));
    let wanted: u32 = more["do"]
        .as_str()
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();

    // As many requests as advised, each as slow as predicted.
    let token = f64::from(wanted) / after;
    let flags = format!(
        "--baseline {} --max-num-seqs {wanted}",
        desk.name("old.json")
    );
    let new = analysis(&desk, "new", &[load(wanted, token, 4 * wanted)], &flags);
    let pair = &new["baseline"]["pairs"][0];
    assert_eq!(pair["before"], "concurrency 8");
    let effects = pair["predicted"].as_array().unwrap();
    let of = |part: &str| {
        effects
            .iter()
            .find(|effect| effect["do"].as_str().unwrap().contains(part))
            .unwrap()
    };
    assert_eq!(
        of("requests at a time")["arrival"],
        "arrived",
        "{}",
        of("requests at a time")
    );
    assert!((number(of("requests at a time"), "/predicted_factor") - after / before).abs() < 1e-9);
    assert_eq!(of("checkpoint")["arrival"], "not_taken");
    let changed = new["baseline"]["changed"].to_string();
    assert!(changed.contains("max-num-seqs"), "{changed}");
}

#[test]
fn loads_that_differ_are_not_compared() {
    let desk = Desk::new();
    let name = |name: &str| fixture(name);
    let old = desk.name("old.json");
    dynamic(&format!(
        "--results {} {} --output {old}",
        name("vllm-0.32-bench-serve.json"),
        name("guidellm-0.8.1-concurrent.json")
    ));
    let [one, other] = [load(4, 0.01, 50), load(16, 0.01, 64)];
    let new = analysis(&desk, "new", &[one, other], &format!("--baseline {old}"));
    assert_eq!(new["baseline"]["pairs"], json!([]));
    assert_eq!(
        new["baseline"]["only_after"],
        json!(["concurrency 4", "concurrency 16"])
    );
}
