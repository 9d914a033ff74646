//! The sampler under paused time: tests wait for no tick, and windows have exactly their nominal length.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::config::flags::SettingsFlags;

/// Output tokens between two ticks.
const TOKENS_PER_TICK: u64 = 40;

/// Time advances only in [`Sampled::tick`], even during socket operations: tokio advances a paused clock by itself when no task can run,
/// unless a blocking task is running.
struct StillTime {
    _release: oneshot::Sender<()>,
}

impl StillTime {
    fn begin() -> Self {
        let (release, held) = oneshot::channel();
        tokio::task::spawn_blocking(move || held.blocking_recv());
        Self { _release: release }
    }
}

/// A vLLM whose page shows `generated` tokens, or that accepts connections and never answers.
#[derive(Clone, Default)]
struct ScriptedVllm {
    generated: Arc<Mutex<u64>>,
    hangs: Arc<Mutex<bool>>,
}

impl ScriptedVllm {
    async fn serve(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(self.clone().answer(stream));
        }
    }

    async fn answer(self, mut stream: TcpStream) {
        let mut request = [0; 16 << 10];
        while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
            if *self.hangs.lock().unwrap() {
                std::future::pending::<()>().await;
            }
            let page = self.page();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", page.len());
            if stream.write_all((head + &page).as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn page(&self) -> String {
        let labels = "{engine=\"0\",model_name=\"m\"}";
        let generated = *self.generated.lock().unwrap();
        format!(
            "process_start_time_seconds 1\nvllm:num_requests_running{labels} 1\nvllm:num_requests_waiting{labels} 0\n\
             vllm:prompt_tokens_total{labels} 8\nvllm:generation_tokens_total{labels} {generated}\n"
        )
    }
}

/// A running sampler, and its sources.
struct Sampled {
    vllm: ScriptedVllm,
    orders: mpsc::Sender<ReloadCommand>,
    published: Receiver,
    settings: Settings,
    _still: StillTime,
}

impl Sampled {
    async fn start() -> Self {
        let still = StillTime::begin();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let flags = SettingsFlags {
            vllm_url: Some(vec![format!("http://{}", listener.local_addr().unwrap())]),
            ..SettingsFlags::default()
        };
        let settings = Settings::load(&flags).unwrap();
        let vllm = ScriptedVllm::default();
        tokio::spawn(vllm.clone().serve(listener));
        let gpu = GpuSource::None("a test has none".to_owned());
        let tables = settings.tables().unwrap();
        let (sampler, published) = Sampler::new(settings.clone(), &tables, gpu).unwrap();
        let (orders, ordered) = mpsc::channel(1);
        tokio::spawn(sampler.run(reload(), ordered));
        let mut sampled = Self {
            vllm,
            orders,
            published,
            settings,
            _still: still,
        };
        sampled.published.changed().await.unwrap();
        sampled
    }

    /// The snapshot after `time` with `tokens` generated.
    async fn after(&mut self, time: Duration, tokens: u64) -> Arc<Published> {
        *self.vllm.generated.lock().unwrap() += tokens;
        tokio::time::advance(time).await;
        self.published.changed().await.unwrap();
        self.published.borrow_and_update().clone().unwrap()
    }

    async fn tick(&mut self) -> Arc<Published> {
        self.after(self.settings.tick.0, TOKENS_PER_TICK).await
    }
}

fn reload() -> Reload {
    Reload {
        successful: true,
        last_success: now(),
    }
}

fn figures(published: &Published) -> (f64, f64) {
    let window = published.snapshot.engines[0].window.as_ref().unwrap();
    (
        window.seconds.0,
        window.output_tokens_per_second.unwrap_or_default(),
    )
}

#[tokio::test(start_paused = true)]
async fn windows_are_of_the_length_that_they_say() {
    let mut sampled = Sampled::start().await;
    for _ in 0..20 {
        sampled.tick().await;
    }
    let window = sampled.settings.window.0.as_secs_f64();
    let rate = TOKENS_PER_TICK as f64 / sampled.settings.tick.0.as_secs_f64();
    let published = sampled.tick().await;
    assert_eq!(figures(&published), (window, rate));
    assert!(
        published
            .snapshot
            .discards
            .values()
            .all(|&count| count == 0)
    );
}

#[tokio::test(start_paused = true)]
async fn ticks_that_were_missed_are_not_made_up_for() {
    let mut sampled = Sampled::start().await;
    sampled.tick().await;
    let before = now();
    let late = sampled
        .after(sampled.settings.tick.0 * 4, 4 * TOKENS_PER_TICK)
        .await;
    assert_eq!(
        late.snapshot.time,
        before + sampled.settings.tick.seconds() * 4.0
    );
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert!(!sampled.published.has_changed().unwrap());
    let decoded = sampled.tick().await.snapshot.engines[0]
        .totals
        .tokens
        .decode;
    assert!(
        (decoded - 6.0 * TOKENS_PER_TICK as f64).abs() < 1e-9,
        "{decoded}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_vllm_that_hangs_is_down_and_its_figures_go() {
    let mut sampled = Sampled::start().await;
    sampled.tick().await;
    *sampled.vllm.hangs.lock().unwrap() = true;
    // There is no snapshot during a read, and a read lasts up to its timeout.
    let mut shown = Vec::new();
    while shown.len() < 4 {
        tokio::time::advance(Duration::from_millis(100)).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        if sampled.published.has_changed().unwrap() {
            let published = sampled.published.borrow_and_update().clone().unwrap();
            let snapshot = &published.snapshot;
            shown.push((
                snapshot.sources[0].is_up(),
                snapshot.engines[0].window.is_some(),
            ));
        }
    }
    // (is it up, does it show figures): a page or two may be late.
    let expected = [(false, true), (false, true), (false, false), (false, false)];
    assert_eq!(shown, expected);
}

#[tokio::test(start_paused = true)]
async fn a_reload_changes_the_tick() {
    let mut sampled = Sampled::start().await;
    sampled.tick().await;
    let mut settings = sampled.settings.clone();
    settings.tick = "5s".parse().unwrap();
    let url = settings.vllm_url.iter().next().unwrap().clone();
    let vllm = VllmSource::new(&url, &settings.vllm_request_options()).unwrap();
    let update = SettingsUpdate {
        servers: vec![ServerUpdate {
            url,
            vllm,
            is_new: false,
        }],
        gpu: None,
        tables: settings.tables().unwrap(),
        facts_changed: false,
        settings: settings.clone(),
    };
    let command = ReloadCommand {
        reload: reload(),
        settings_update: Some(Box::new(update)),
    };
    sampled.orders.send(command).await.unwrap();
    tokio::task::yield_now().await;
    sampled.settings = settings;
    let before = now();
    let published = sampled.tick().await;
    assert_eq!(published.snapshot.time - before, Seconds(5.0));
}
