//! The tables of docs/compatibility.md, each row compared with the program's output for such a page.

use roofline::engine::EngineFacts;
use vllm_roofline_exporter::meter::caveats::caveats;
use vllm_roofline_exporter::sample::engine::EngineTotals;
use vllm_roofline_exporter::sample::page::PageError;

use super::prompts::{Watched, starved};
use super::releases::{release, releases};
use super::server::Server;
use super::{before_all, recorded, refusal};

/// The program's verdict on `page`, in the words of the tables.
fn verdict_on(page: &str) -> String {
    let mut watched = Watched::new();
    match vllm_roofline_exporter::sample::page::read(page, roofline::units::Seconds(1.0)) {
        Err(error) => return refused(&error),
        Ok(_) => watched.look(&before_all(&without_lines(page, "lora_requests_info")), 1.0),
    }
    watched.look(page, 9.0);
    said_of(&watched)
}

fn refused(error: &PageError) -> String {
    format!("refused: `{}`", error.reason())
}

fn said_of(watched: &Watched) -> String {
    let engine = watched.engine();
    let latest = engine.latest.as_ref().unwrap();
    let caveats = caveats(&engine.totals, &EngineFacts::default());
    // A page contains neither model nor GPU.
    let mut of_page = caveats
        .iter()
        .filter(|caveat| !caveat.contains("is not known"));
    let rough = of_page.clone().any(|caveat| caveat.contains("are rough"));
    let most = of_page
        .clone()
        .any(|caveat| caveat.ends_with("are upper bounds"));
    let known = if rough {
        "rough"
    } else if most {
        "upper bound"
    } else {
        "right"
    };
    let caveat = if of_page.next().is_some() {
        ", with a caveat"
    } else {
        ""
    };
    format!("{known}{caveat}{}", without(latest))
}

fn without(latest: &EngineTotals) -> String {
    let missing = latest
        .missing
        .iter()
        .map(|input| format!(", without `{}`", input.metric));
    let means = latest
        .histograms
        .time_to_first_token
        .as_ref()
        .is_some_and(|times| times.sum_of_midpoints);
    missing
        .chain(means.then(|| ", without means".to_owned()))
        .collect()
}

/// The program's verdict on a simulated server with a full KV cache.
fn verdict_when_full(minor: u32) -> String {
    let mut server = Server::new(minor, starved(0.5));
    let mut watched = Watched::new();
    for second in 1..=60 {
        server.run_until(f64::from(second));
        watched.look(&server.page(), server.now);
    }
    // Preempted requests are computed again, which has a caveat in every release.
    said_of(&watched)
}

fn of_releases(within: impl Fn(u32) -> bool) -> Vec<String> {
    let minor = |version: &str| version.split('.').nth(1).unwrap().parse().unwrap();
    let chosen = releases()
        .iter()
        .filter(|release| !release.is_old_engine() && within(minor(&release.version)));
    chosen.map(|release| verdict_on(&release.page)).collect()
}

fn with(page: &str, more: &str) -> String {
    format!("{page}{more}\n")
}

fn fixture(name: &str) -> String {
    std::fs::read_to_string(format!("tests/fixtures/vllm/{name}")).unwrap()
}

/// The program's output for pages like those of a row.
fn said(row: &str) -> Vec<String> {
    said_of_release(row)
        .or_else(|| said_of_deployment(row))
        .or_else(|| said_of_other(row))
        .unwrap_or_else(|| panic!("no page shows the row `{row}`"))
}

fn said_of_release(row: &str) -> Option<Vec<String>> {
    Some(match row {
        "0.16 and later" => of_releases(|minor| minor >= 16),
        "0.8 to 0.15" => of_releases(|minor| minor < 16),
        "0.13 to 0.15, the KV cache full" => (13..16).map(verdict_when_full).collect(),
        "0.8 to 0.12, the KV cache full" => (8..13).map(verdict_when_full).collect(),
        "0.8, the old engine" => vec![verdict_on(release("0.8.5-v0"))],
        "0.6, 0.7" => {
            let without_share = without_lines(release("0.8.5-v0"), "gpu_prefix_cache_hit_rate");
            vec![verdict_on(&without_share)]
        }
        "0.9, 0.10, several API servers" => vec![verdict_on(&several_api_servers())],
        "0.11.0, several API servers" => {
            let page = without_lines(&several_api_servers(), "gpu_cache_usage_perc");
            vec![verdict_on(&page)]
        }
        "0.11.2 and later, several API servers" => {
            vec![verdict_on(&fixture("vllm-0.32.0-cpu-api2-after-load.prom"))]
        }
        _ => return None,
    })
}

fn said_of_deployment(row: &str) -> Option<Vec<String>> {
    let newest = release("0.32.0");
    let page = match row {
        "Data parallelism" => fixture("vllm-0.32.0-cpu-dp2.prom"),
        "Speculative decoding" => fixture("vllm-0.32.0-cpu-specdecode-ngram.prom"),
        "Rust front end" => rust_front_end(newest),
        "Embedding, pooling, reranking" => recorded("pool"),
        "LoRA" => with(
            newest,
            "vllm:lora_requests_info{max_lora=\"4\",running_lora_adapters=\"a\",waiting_lora_adapters=\"\"} 1.0",
        ),
        "Ray Serve LLM" => by_way_of_ray(newest),
        "NIM 2"
        | "KServe, llm-d, AIBrix, production-stack: a pod of vLLM"
        | "OpenShift, behind a proxy with a token" => newest.to_owned(),
        "Dynamo" => with(
            newest,
            "dynamo_component_requests_total{dynamo_component=\"backend\"} 3.0",
        ),
        _ => return None,
    };
    Some(vec![verdict_on(&page)])
}

/// The name prefix of each server's page.
const SERVERS: [(&str, &[&str]); 4] = [
    (
        "llm-d's and other gateways' endpoint picker",
        &["inference_pool_average_kv_cache_utilization"],
    ),
    (
        "SGLang, TensorRT-LLM, Triton, TGI, llama.cpp, LMDeploy, LiteLLM",
        &[
            "sglang:num_running_reqs",
            "trtllm_request_success_total",
            "nv_inference_count",
            "tgi_queue_size",
            "llamacpp:requests_processing",
            "lmdeploy:num_requests_running",
            "litellm_requests_metric_total",
        ],
    ),
    ("A dcgm-exporter", &["DCGM_FI_DEV_SM_CLOCK"]),
    (
        "vLLM with `--disable-log-stats`",
        &["process_start_time_seconds"],
    ),
];

fn said_of_other(row: &str) -> Option<Vec<String>> {
    let pages = match row {
        "Router of production-stack" => ["router1", "router2"].map(recorded).to_vec(),
        "NIM 1" => ["nim1a", "nim1b"].map(recorded).to_vec(),
        _ => {
            let (_, names) = SERVERS.iter().find(|(server, _)| *server == row)?;
            names.iter().map(|name| format!("{name} 1.0\n")).collect()
        }
    };
    Some(pages.iter().map(|page| refused(&refusal(page))).collect())
}

/// The page of 0.10.2; it was recorded with only the logger, which had no cache information.
fn several_api_servers() -> String {
    let facts = "vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"1000\"} 1.0";
    with(&recorded("v0.10.2-api2-a"), facts)
}

fn without_lines(page: &str, name: &str) -> String {
    page.lines()
        .filter(|line| !line.contains(name))
        .map(|line| line.to_owned() + "\n")
        .collect()
}

/// With the names and labels of Ray's agent; the recorded Ray pages contain only part of the metrics.
fn by_way_of_ray(page: &str) -> String {
    let labelled = page.replace('{', "{ReplicaId=\"r\",WorkerId=\"w\",");
    labelled.replace("vllm:", "ray_vllm_")
}

/// It writes no process metrics, no cache facts, and the OpenMetrics format.
fn rust_front_end(page: &str) -> String {
    let own = |line: &&str| {
        line.starts_with("vllm:")
            && !line.contains("cache_config_info")
            && !line.contains("_created")
    };
    let lines: String = page
        .lines()
        .filter(own)
        .map(|line| line.to_owned() + "\n")
        .collect();
    lines + "# EOF\n"
}

#[test]
fn every_row_says_what_the_program_says() {
    let document = std::fs::read_to_string("docs/compatibility.md").unwrap();
    let mut rows = 0;
    for line in document.lines().filter(|line| line.starts_with("| ")) {
        let [row, verdict, _] = line
            .trim_matches('|')
            .split(" | ")
            .map(str::trim)
            .collect::<Vec<_>>()[..]
        else {
            continue;
        };
        if verdict == "Verdict" {
            continue;
        }
        rows += 1;
        for said in said(row) {
            assert_eq!(said, verdict, "{row}");
        }
    }
    assert!(rows > 20, "{rows} rows: are the tables read?");
}
