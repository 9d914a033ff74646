//! Result files of other tools.

use crate::dynamic::support::{Answer, FIXTURES, MODEL, dynamic, fixture, number};

#[test]
fn every_tools_file_is_measured_against_a_prediction() {
    for name in FIXTURES {
        let analysis = dynamic(&format!(
            "--results {} --model {MODEL} --gpu H100",
            fixture(name)
        ));
        let run = &analysis["runs"][0];
        assert_eq!(run["modelled"]["basis"], "client_counts", "{name}");
        let rows = run["comparisons"][0]["rows"].as_array().unwrap();
        let figures: Vec<_> = rows
            .iter()
            .map(|row| row["figure"].as_str().unwrap())
            .collect();
        assert_eq!(
            figures,
            [
                "output_tokens_per_second",
                "ttft_p50_seconds",
                "tpot_p50_seconds"
            ],
            "{name}"
        );
        for row in rows {
            let (measured, expected) = (number(row, "/measured"), number(row, "/expected"));
            assert!((number(row, "/measured_over_expected") - measured / expected).abs() < 1e-9);
            // These results are of a tiny model on a CPU: they cannot beat the bound of 8 billion parameters on an H100.
            assert!(
                (0.0..=1.0).contains(&number(row, "/share_of_bound"))
                    || row["figure"] != "output_tokens_per_second"
            );
        }
        let phases: Vec<_> = run["bottlenecks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|found| found["phase"].clone())
            .collect();
        assert_eq!(phases, ["prefill", "decode"], "{name}");
        assert_eq!(
            run["verdicts"].as_array().unwrap().len(),
            3,
            "{name}: no GPU utilisation is measured here"
        );
        let time = run["modelled"]["time_seconds"].as_object().unwrap();
        let total: f64 = time.values().map(|part| part.as_f64().unwrap()).sum();
        assert!(
            (total / number(run, "/duration_seconds") - 1.0).abs() < 1e-9,
            "{name}"
        );
    }
}

#[test]
fn work_counted_from_requests_is_that_of_single_steps() {
    let analysis = dynamic(&format!(
        "--results {} --model {MODEL} --gpu H100",
        fixture("vllm-0.32-bench-serve-detailed.json")
    ));
    let modelled = &analysis["runs"][0]["modelled"];
    // 6 prompts of 64 tokens and 6 × 11 decoded tokens: 2 FLOPs per parameter without the embedding, attention negligible.
    let linear = 2.0 * 7.5e9 * f64::from(6 * (64 + 11));
    // A prompt needs logits only for its last token, which saves some.
    let share = number(modelled, "/flops") / linear;
    assert!((0.93..1.0).contains(&share), "{share}");
    // Weights are read at least once per prompt and decode step; no more than two requests share a step.
    let weights = 16.06e9;
    let reads = number(modelled, "/hbm_bytes") / weights;
    assert!(
        (6.0 + 33.0 - 1.0..6.0 + 66.0 + 3.0).contains(&reads),
        "{reads}"
    );
}

#[test]
fn without_a_gpu_and_a_model_percentiles_and_verdicts_remain() {
    for flags in [
        "",
        "--gpu none",
        "--gpu H100",
        &format!("--model {MODEL} --gpu none"),
    ] {
        let analysis = dynamic(&format!("--results {} {flags}", fixture(FIXTURES[0])));
        let run = &analysis["runs"][0];
        assert!((number(run, "/measured/ttft/p50_seconds") - 0.031_883_330_5).abs() < 1e-9);
        assert_eq!(run["verdicts"][1]["standing"], "good");
        assert_eq!(run["comparisons"], serde_json::json!([]));
        assert_eq!(run["roofs"].as_array().unwrap().len(), 0);
        assert!(
            !analysis["notes"].as_array().unwrap().is_empty(),
            "{flags}: what is missing is named"
        );
    }
}

#[test]
fn targets_are_the_users_and_can_be_set() {
    let standing = |flags: &str| {
        let analysis = dynamic(&format!("--results {} {flags}", fixture(FIXTURES[0])));
        analysis["runs"][0]["verdicts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|verdict| verdict["standing"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    // 194 tokens/s, TTFT 31.9 ms, TPOT 5.3 ms.
    assert_eq!(standing(""), ["fair", "good", "good"]);
    let strict = "--throughput-good 1000 --throughput-bad 195 --ttft-good 10ms --ttft-bad 30ms --tpot-good 1ms --tpot-bad 6ms";
    assert_eq!(standing(strict), ["bad", "bad", "fair"]);
}

#[test]
fn several_files_and_appended_runs_are_runs_of_one_analysis() {
    let analysis = dynamic(&format!(
        "--results {} {}",
        fixture(FIXTURES[0]),
        fixture(FIXTURES[2])
    ));
    let tools: Vec<_> = analysis["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["source"]["tool"].clone())
        .collect();
    assert_eq!(tools, ["vllm bench serve", "GuideLLM"]);
    assert_eq!(analysis["runs"][1]["source"]["file"], fixture(FIXTURES[2]));
}

#[test]
fn the_table_has_what_the_json_has() {
    let results = fixture(FIXTURES[1]);
    let answer = Answer::of(&[
        "dynamic",
        "--results",
        &results,
        "--model",
        MODEL,
        "--gpu",
        "H100",
    ]);
    answer.end.unwrap();
    for expected in [
        "22.0 ms",
        "205",
        "bound by",
        "as the tool printed them",
        "measured/expected",
        "good above 200, bad below 150",
        "advice",
    ] {
        assert!(answer.out.contains(expected), "{expected}:\n{}", answer.out);
    }
}

#[test]
fn a_prediction_made_before_is_compared_and_its_load_checked() {
    let desk = crate::dynamic::support::Desk::new();
    let predict = |batch: &str| {
        let line = [
            "static",
            "--model",
            MODEL,
            "--gpu",
            "H100",
            "--batch",
            batch,
            "--input-len",
            "64",
            "--output-len",
            "12",
            "--format",
            "json",
        ];
        let answer = Answer::of(&line);
        answer.end.unwrap();
        desk.write("static.json", &answer.out)
    };
    let results = fixture(FIXTURES[1]);
    let file = predict("2");
    let analysis = dynamic(&format!("--results {results} --static {file}"));
    assert_eq!(
        analysis["configuration"]["total_params"], 8_030_261_248_u64,
        "taken from the prediction"
    );
    let comparisons = analysis["runs"][0]["comparisons"].as_array().unwrap();
    assert_eq!(comparisons.len(), 1);
    assert_eq!(comparisons[0]["against"], "static");

    let file = predict("64");
    let analysis = dynamic(&format!(
        "--results {results} --static {file} --model {MODEL} --gpu H100"
    ));
    let run = &analysis["runs"][0];
    let against: Vec<_> = run["comparisons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["against"].clone())
        .collect();
    assert_eq!(against, ["static", "measured_load"]);
    assert!(
        run["caveats"].to_string().contains("another load"),
        "{}",
        run["caveats"]
    );
}
