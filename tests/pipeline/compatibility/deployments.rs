//! Deployments around vLLM: their pages are read correctly, or refused by name.

use roofline::statistics::Histogram;
use roofline::units::Seconds;
use vllm_roofline_exporter::sample::engine::{Counter, Gauge};
use vllm_roofline_exporter::sample::page::PageError;

use super::prompts::Watched;
use super::server::Server;
use super::{before_all, read, recorded, refusal, steady};

/// vLLM 0.9 to 0.11.0 with several API servers.
#[test]
fn a_gauge_once_per_process_costs_itself() {
    let page = recorded("v0.10.2-api2-a");
    let engines = read(&page);
    assert_eq!(engines.len(), 2);
    assert_eq!(
        engines[0].gauges.get(Gauge::KvCacheUsage),
        Some(0.2),
        "by its former name"
    );
    let without: String = page
        .lines()
        .filter(|line| !line.contains("gpu_cache_usage"))
        .map(|line| line.to_owned() + "\n")
        .collect();
    let missing = &read(&without)[0].missing;
    let usage = missing
        .iter()
        .find(|input| input.metric == "kv_cache_usage_perc")
        .unwrap();
    assert!(
        usage.why.as_ref().unwrap().contains("several API servers"),
        "{usage}"
    );
}

#[test]
fn rays_replicas_are_told_apart() {
    for (name, prefixes) in [
        ("ray60", ["rep0/", "rep1/"]),
        ("ray49", ["rep0/", "rep1/"]),
        ("ray_colon", ["rep0/", "rep1/"]),
        ("ray_noid", ["0634c4aa", "7a66d118"]),
    ] {
        let engines = read(&recorded(name));
        assert_eq!(engines.len(), 2, "{name}");
        for (engine, prefix) in engines.iter().zip(prefixes) {
            assert!(
                engine.key.engine.starts_with(prefix),
                "{name}: {}",
                engine.key.engine
            );
            assert!(engine.single_api_server && engine.process_started.is_none());
            let latency = engine.histograms.inter_token_latency.as_ref().unwrap();
            assert_eq!((latency.count, latency.mean()), (1200.0, None), "{name}");
        }
    }
    let engines = read(&recorded("ray60"));
    assert_eq!(
        engines[0].kv_capacity_tokens(),
        Some(16_000.0),
        "each replica has its own blocks"
    );
}

/// vLLM 0.12's logger in two replicas of Ray Serve 2.60 (tests/real-vllm/ray_serve.py).
#[test]
fn a_page_of_rays_own_agent_is_read() {
    let engines = read(&recorded("ray60-serve"));
    assert_eq!(engines.len(), 2);
    for engine in &engines {
        let prompts = engine.counters.get(Counter::PromptTokens).unwrap();
        let observed = |histogram: &Option<Histogram>| histogram.as_ref().unwrap().count;
        let requests = observed(&engine.histograms.time_to_first_token);
        assert!((prompts / requests - 1000.0).abs() < 1e-9);
        assert_eq!(engine.gauges.get(Gauge::Running), Some(2.0));
        assert_eq!(engine.published_every, Seconds(10.0));
        let missing: Vec<_> = engine.missing.iter().map(|input| input.metric).collect();
        assert_eq!(missing, ["cache_config_info"]);
    }
}

/// A page that Ray publishes every ten seconds shows no stall while the engine works, and shows one when it stalls.
#[test]
fn rays_pauses_are_no_stalls() {
    let mut server = Server::new(32, steady());
    let mut watched = Watched::new();
    let mut page = String::new();
    let look = |watched: &mut Watched, page: &str, time: f64| {
        watched.look(
            &page
                .replace("vllm:", "ray_vllm_")
                .replace("engine=", "ReplicaId=\"r\",engine="),
            time,
        );
    };
    for second in 0..60 {
        server.run_until(f64::from(second));
        if second % 10 == 0 {
            page = server.page();
        }
        look(&mut watched, &page, server.now);
    }
    let account = &watched.engine().totals;
    assert_eq!(account.stalled, Seconds::ZERO);
    assert!(account.busy.0 > 45.0, "{:?}", account.busy);
    for _ in 0..30 {
        server.now += 1.0;
        look(&mut watched, &page, server.now);
    }
    assert!(watched.engine().totals.stalled.0 >= 15.0);
}

/// 200 requests in 7 s, none of which the gauges show.
#[test]
fn a_pooling_server_is_busy_while_it_runs() {
    let after = recorded("pool");
    let idle = before_all(&after);
    let mut watched = Watched::new();
    watched.look(&idle, 0.0);
    watched.look(&after, 7.0);
    watched.look(&after, 12.0);
    let account = &watched.engine().totals;
    assert_eq!(
        (account.busy, account.tokens.prefill, account.tokens.decode),
        (Seconds(7.0), 100_000.0, 0.0)
    );
}

#[test]
fn other_servers_are_refused_by_name() {
    assert!(matches!(
        refusal(&recorded("router2")),
        PageError::Router(_)
    ));
    for (page, name) in [
        (recorded("nim1b"), "NIM 1"),
        (
            "sglang:num_running_reqs{model_name=\"m\"} 1.0\n".to_owned(),
            "SGLang",
        ),
        (
            "trtllm_request_success_total{model_name=\"m\"} 1.0\n".to_owned(),
            "TensorRT-LLM",
        ),
        ("tgi_queue_size 0\n".to_owned(), "Text Generation Inference"),
        ("vllm_roofline_up 1\n".to_owned(), "own page"),
        ("dynamo_frontend_requests_total 1\n".to_owned(), "Dynamo"),
    ] {
        let error = refusal(&page);
        assert_eq!(error.reason(), "other_server", "{name}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

/// The Rust front end has neither `process_*` nor `cache_config_info`, and is one process.
#[test]
fn the_rust_front_end_is_one_server() {
    let server = Server::new(32, steady());
    let own = |line: &&str| line.starts_with("vllm:") && !line.contains("cache_config_info");
    let page = server.page();
    let lines: Vec<_> = page.lines().filter(own).collect();
    let several = lines.join("\n") + "\n";
    assert!(!read(&several)[0].single_api_server);
    let engines = read(&(several + "# EOF\n"));
    assert!(engines[0].single_api_server);
    let missing: Vec<_> = engines[0]
        .missing
        .iter()
        .map(|input| input.metric)
        .collect();
    assert_eq!(missing, ["cache_config_info"]);
}

#[test]
fn adapters_are_noticed() {
    let page = Server::new(32, steady()).page();
    let with = |names: &str| {
        format!(
            "{page}vllm:lora_requests_info{{max_lora=\"4\",running_lora_adapters=\"{names}\",waiting_lora_adapters=\"\"}} 1.0\n"
        )
    };
    let used = |page: &str| {
        read(page)[0]
            .adapters
            .map(|used| (used.running, used.last.0))
    };
    assert_eq!(used(&with("a,b")), Some((2.0, 1.0)));
    assert_eq!(used(&with("")), Some((0.0, 0.0)));
    assert_eq!(used(&page), None);
    let later = "vllm:lora_requests_info{max_lora=\"4\",running_lora_adapters=\"c\",waiting_lora_adapters=\"a\"} 2.0\n";
    assert_eq!(used(&(with("a,b") + later)), Some((1.0, 2.0)));
}
