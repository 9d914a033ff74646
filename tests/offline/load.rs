//! Loads on a server with known timing and faults.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::float_cmp,
    reason = "a test may fail that way; numbers are passed on, not computed"
)]

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::openai::{AT_ONCE, Answer, Server};
use loadtest::load::client::client_builder;
use loadtest::load::prompt::{PromptSource, Synthetic};
use loadtest::load::run::{Api, Mode};
use loadtest::load::settings::{Arrivals, LengthDistribution, RunLimit};
use loadtest::load::{self, LoadError, LoadRun, LoadSettings};

const LONG: Duration = Duration::from_secs(60);

/// This many requests, four at a time, of 20 prompt and 8 output tokens.
fn settings(url: &str, requests: u32) -> LoadSettings {
    vllm_roofline_exporter::crypto::install();
    LoadSettings {
        url: format!("{url}/").parse().unwrap(),
        shown_url: format!("{url}/"),
        // No CA is loaded for a server on this machine.
        http: client_builder().tls_certs_only([]).build().unwrap(),
        authorization: None,
        api: Api::Completions,
        model: None,
        arrivals: Arrivals::Closed { concurrency: 4 },
        limit: RunLimit {
            requests: Some(requests),
            duration: None,
        },
        grace: LONG,
        request_timeout: LONG,
        give_up_after: Duration::from_millis(500),
        warmup_requests: 0,
        prompts: PromptSource::Synthetic(Synthetic {
            input: LengthDistribution::Fixed(20),
            output: LengthDistribution::Fixed(8),
            prefix_len: 0,
            prefixes: 1,
        }),
        respect_eos: false,
        extra_body: serde_json::Map::new(),
        seed: 1,
    }
}

async fn run(settings: &LoadSettings) -> LoadRun {
    load::run(settings, pending(), |_| {}).await.unwrap()
}

fn errors<const N: usize>(errors: [(&str, u32); N]) -> BTreeMap<String, u32> {
    errors
        .into_iter()
        .map(|(kind, count)| (kind.to_owned(), count))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_token_of_every_request_is_seen() {
    let (first, gap) = (Duration::from_millis(20), Duration::from_millis(5));
    let server = Server::start(move |_| Answer::Tokens { first, gap }).await;
    let settings = LoadSettings {
        arrivals: Arrivals::Closed { concurrency: 16 },
        warmup_requests: 3,
        ..settings(&server.url(), 48)
    };
    let run = run(&settings).await;
    assert_eq!((run.completed, run.failed, run.interrupted), (48, 0, false));
    assert_eq!(server.log.bodies.lock().unwrap().len(), 48 + 3);
    assert_eq!(run.model, "fake");
    assert_eq!(run.load.input_len.unwrap().mean, 20.0);
    for request in &run.requests {
        assert_eq!((request.input_tokens, request.output_tokens), (20, 8));
        assert_eq!(request.itl_seconds.len(), 7);
        // The server is never early, so no token arrives before it is due.
        assert!(request.ttft_seconds.unwrap() >= 0.020);
        assert!(request.e2e_seconds >= 0.020 + 7.0 * 0.005);
        let parts = request.ttft_seconds.unwrap() + request.itl_seconds.iter().sum::<f64>();
        assert!((parts - request.e2e_seconds).abs() < 1e-9);
    }
    let ends = run
        .requests
        .iter()
        .map(|request| request.start_seconds + request.e2e_seconds);
    let last = ends.fold(0.0, f64::max);
    assert!((run.duration_seconds - (last - run.requests[0].start_seconds)).abs() < 1e-9);
    assert!(run.client.cpu_seconds > 0.0 && run.client.event_lag_p99_seconds > 0.0);
    let text = serde_json::to_string(&run).unwrap();
    let read: LoadRun = serde_json::from_str(&text).unwrap();
    assert_eq!(read.requests, run.requests);
}

#[tokio::test]
async fn several_tokens_in_a_chunk_are_counted_and_chat_roles_are_not() {
    let server = Server::start(|_| Answer::Chunks(3)).await;
    for api in [Api::Completions, Api::Chat] {
        let run = run(&LoadSettings {
            api,
            ..settings(&server.url(), 2)
        })
        .await;
        for request in &run.requests {
            assert_eq!(request.output_tokens, 8, "{api:?}");
            assert_eq!(request.itl_seconds.len(), 2, "{api:?}");
        }
    }
    let bodies = server.log.bodies.lock().unwrap();
    assert_eq!(bodies[0]["prompt"].as_array().unwrap().len(), 20);
    assert_eq!(bodies[0]["ignore_eos"], true);
    // The server reports 512 tokens for 256 words.
    let words = bodies[2]["messages"][0]["content"].as_str().unwrap();
    assert_eq!(words.split(' ').count(), 10);
}

#[tokio::test]
async fn failures_are_counted_by_kind_and_the_rest_is_kept() {
    let server = Server::start(|number| match number % 8 {
        0 => Answer::Status(429),
        1 => Answer::Status(503),
        2 => Answer::CutAfter(3),
        3 => Answer::ErrorAfter(2),
        4 => Answer::Nonsense,
        5 => Answer::Silence,
        _ => AT_ONCE,
    })
    .await;
    let run = run(&LoadSettings {
        request_timeout: Duration::from_millis(300),
        arrivals: Arrivals::Closed { concurrency: 8 },
        ..settings(&server.url(), 16)
    })
    .await;
    let expected = errors([
        ("bad_stream", 2),
        ("http_429", 2),
        ("http_503", 2),
        ("stream_cut", 2),
        ("stream_error", 2),
        ("timeout", 2),
    ]);
    assert_eq!(
        (run.errors.clone(), run.completed, run.failed),
        (expected, 4, 12)
    );
    let cut = run
        .requests
        .iter()
        .find(|request| request.error.as_deref() == Some("stream_cut"));
    let cut = cut.unwrap();
    assert_eq!((cut.output_tokens, cut.itl_seconds.len()), (3, 2));
    assert_eq!(cut.tpot_seconds(), None);
}

#[tokio::test]
async fn a_storm_of_refusals_is_not_answered_with_a_storm_of_requests() {
    let server = Server::start(|_| Answer::Status(503)).await;
    let run = run(&LoadSettings {
        limit: RunLimit {
            requests: None,
            duration: Some(Duration::from_secs(1)),
        },
        ..settings(&server.url(), 1)
    })
    .await;
    assert_eq!(run.completed, 0);
    // Four workers that pause 100, 200, 400, 800 ms send at most four requests each in a second.
    assert!((4..=16).contains(&run.failed), "{}", run.failed);
}

/// Neither delays the run, and neither is kept in memory.
#[tokio::test]
async fn answers_without_end_are_cut_off() {
    let server = Server::start(|_| Answer::EndlessTokens).await;
    let run = run(&settings(&server.url(), 4)).await;
    assert_eq!(run.errors, errors([("bad_stream", 4)]));
    for request in &run.requests {
        assert!(request.itl_seconds.len() < 1000);
    }

    let server = Server::start(|_| Answer::EndlessRefusal).await;
    let settings = LoadSettings {
        warmup_requests: 1,
        ..settings(&server.url(), 4)
    };
    let refused = load::run(&settings, pending(), |_| {}).await.unwrap_err();
    let message = refused.to_string();
    assert!(
        message.contains("http_400") && message.ends_with("aaa") && message.len() < 500,
        "{message}"
    );
}

#[tokio::test]
async fn a_server_that_dies_ends_the_run_with_what_there_is() {
    let server = Server::start(|number| if number < 6 { AT_ONCE } else { Answer::Silence }).await;
    let killed = AtomicBool::new(false);
    let settings = LoadSettings {
        limit: RunLimit {
            requests: None,
            duration: Some(LONG),
        },
        ..settings(&server.url(), 1)
    };
    let run = load::run(&settings, pending(), |progress| {
        if progress.completed == 6 && !killed.swap(true, Ordering::Relaxed) {
            server.stop();
        }
    })
    .await
    .unwrap();
    assert!(run.interrupted);
    assert_eq!(run.completed, 6);
    assert_eq!(run.errors.get("stream_cut"), Some(&4), "{:?}", run.errors);
    assert!(run.errors["connect"] >= 4, "{:?}", run.errors);
}

#[tokio::test]
async fn an_interrupt_keeps_what_has_ended_and_cancels_the_rest() {
    let server = Server::start(|number| if number < 5 { AT_ONCE } else { Answer::Silence }).await;
    let (interrupt, interrupted) = tokio::sync::oneshot::channel::<()>();
    let interrupt = std::sync::Mutex::new(Some(interrupt));
    let settings = settings(&server.url(), 100);
    let ended = async {
        let _ = interrupted.await;
    };
    let run = load::run(&settings, ended, |progress| {
        if progress.completed == 5 {
            drop(interrupt.lock().unwrap().take());
        }
    })
    .await
    .unwrap();
    assert!(run.interrupted);
    assert_eq!((run.completed, run.errors), (5, errors([("cancelled", 4)])));
}

#[tokio::test]
async fn when_the_time_is_over_running_requests_may_end_within_the_grace() {
    let slow = Answer::Tokens {
        first: Duration::from_millis(300),
        gap: Duration::ZERO,
    };
    let server =
        Server::start(move |number| if number == 0 { Answer::Silence } else { slow }).await;
    let run = run(&LoadSettings {
        limit: RunLimit {
            requests: None,
            duration: Some(Duration::from_millis(200)),
        },
        grace: Duration::from_secs(1),
        ..settings(&server.url(), 1)
    })
    .await;
    assert_eq!((run.completed, run.errors), (3, errors([("cancelled", 1)])));
    assert!(!run.interrupted);
}

#[tokio::test]
async fn an_open_loop_sends_whatever_the_server_does() {
    let server = Server::start(|_| Answer::Silence).await;
    let run = run(&LoadSettings {
        arrivals: Arrivals::Open {
            rate: 100.0,
            burstiness: 1.0,
            most: None,
        },
        request_timeout: Duration::from_millis(500),
        ..settings(&server.url(), 50)
    })
    .await;
    assert_eq!(
        (run.load.mode, run.load.request_rate),
        (Mode::Open, Some(100.0))
    );
    assert_eq!(run.errors, errors([("timeout", 50)]));
    let last = run.requests.last().unwrap().start_seconds;
    assert!(
        last >= 0.5,
        "the last request is due after 50/100 s: {last}"
    );
}

#[tokio::test]
async fn an_open_loop_with_a_limit_holds_later_requests_back() {
    let slow = Answer::Tokens {
        first: Duration::from_millis(50),
        gap: Duration::ZERO,
    };
    let server = Server::start(move |_| slow).await;
    let run = run(&LoadSettings {
        arrivals: Arrivals::Open {
            rate: 1000.0,
            burstiness: 1.0,
            most: Some(2),
        },
        ..settings(&server.url(), 10)
    })
    .await;
    assert_eq!(run.completed, 10);
    for request in &run.requests {
        let alongside = run.requests.iter().filter(|other| {
            other.start_seconds <= request.start_seconds
                && request.start_seconds < other.start_seconds + other.e2e_seconds
        });
        assert!(alongside.count() <= 2);
    }
}

#[tokio::test]
async fn what_cannot_begin_is_told_apart() {
    let server = Server::start(|_| Answer::Status(400)).await;
    let failed =
        async |settings: LoadSettings| load::run(&settings, pending(), |_| {}).await.unwrap_err();
    let nobody = failed(settings("http://127.0.0.1:1", 1)).await;
    assert!(matches!(nobody, LoadError::Unreachable { .. }) && !nobody.is_usage());
    let wrong = failed(LoadSettings {
        model: Some("other".to_owned()),
        ..settings(&server.url(), 1)
    })
    .await;
    assert!(wrong.is_usage());
    assert!(wrong.to_string().contains("it serves fake"), "{wrong}");
    let refused = failed(LoadSettings {
        warmup_requests: 2,
        ..settings(&server.url(), 1)
    })
    .await;
    assert!(refused.is_usage());
    assert!(
        refused.to_string().contains("(http_400): as configured"),
        "{refused}"
    );
}
