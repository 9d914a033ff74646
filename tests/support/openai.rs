//! A server with the `OpenAI` interface, with scripted timing and faults.

#![allow(dead_code, reason = "each program uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test may fail that way, and waits by the clock"
)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Answer {
    /// All requested tokens, each when due.
    Tokens { first: Duration, gap: Duration },
    /// All requested tokens at once, several per chunk.
    Chunks(u32),
    /// This status.
    Status(u16),
    /// This many tokens, then the connection closes.
    CutAfter(u32),
    /// This many tokens, then an error in the stream.
    ErrorAfter(u32),
    /// Endless tokens.
    EndlessTokens,
    /// 400, with an endless message.
    EndlessRefusal,
    /// Bytes that are not a stream.
    Nonsense,
    /// No answer.
    Silence,
}

/// Tokens without delay.
pub(crate) const AT_ONCE: Answer = Answer::Tokens {
    first: Duration::ZERO,
    gap: Duration::ZERO,
};

/// The server's own log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Bodies of the requests for tokens.
    pub(crate) bodies: Mutex<Vec<Value>>,
    /// Seconds between the tokens of each answer as they were written.
    pub(crate) gaps: Mutex<Vec<f64>>,
}

/// A server that runs as long as its runtime, or until it is stopped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) log: Arc<Log>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Serves the model `fake`; request number `n` gets the answer `answers(n)`.
    pub(crate) async fn start(answers: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", answers).await
    }

    /// The same at `address`.
    pub(crate) async fn start_at(
        address: &str,
        answers: impl Fn(usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Log::default());
        let (shared, answers) = (Arc::clone(&log), Arc::new(answers));
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let (log, answers) = (Arc::clone(&shared), Arc::clone(&answers));
                connections.spawn(async move {
                    // A client that disconnects ends only its own connection.
                    let _ = connection(stream, &log, &*answers).await;
                });
            }
        });
        Self {
            address,
            log,
            accepting,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Closes the port and every connection.
    pub(crate) fn stop(&self) {
        self.accepting.abort();
    }
}

async fn connection(
    stream: TcpStream,
    log: &Log,
    answers: &(impl Fn(usize) -> Answer + ?Sized),
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some((path, body)) = request(&mut stream).await? {
        match path.as_str() {
            "/v1/models" => {
                let models = json!({"data": [{"id": "fake", "owned_by": "vllm"}]});
                plain(&mut stream, 200, &models).await?;
            }
            "/health" => plain(&mut stream, 200, &json!({})).await?,
            "/tokenize" => plain(&mut stream, 200, &json!({"count": 512})).await?,
            "/v1/completions" | "/v1/chat/completions" => {
                let number = {
                    let mut bodies = log.bodies.lock().unwrap();
                    bodies.push(body.clone());
                    bodies.len() - 1
                };
                if !answer(&mut stream, answers(number), &body, log).await? {
                    return Ok(());
                }
            }
            _ => plain(&mut stream, 404, &json!({})).await?,
        }
    }
    Ok(())
}

/// The path and the body of the next request; `None` when the client is done.
async fn request(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<(String, Value)>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some((
        path,
        serde_json::from_slice(&body).unwrap_or_default(),
    )))
}

async fn plain(
    stream: &mut BufReader<TcpStream>,
    status: u16,
    body: &Value,
) -> std::io::Result<()> {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await
}

/// Answers one request; returns whether the connection continues.
async fn answer(
    stream: &mut BufReader<TcpStream>,
    answer: Answer,
    body: &Value,
    log: &Log,
) -> std::io::Result<bool> {
    let wanted = body["max_tokens"]
        .as_u64()
        .or_else(|| body["max_completion_tokens"].as_u64())
        .map_or(1, |wanted| u32::try_from(wanted).unwrap());
    match answer {
        Answer::Tokens { first, gap } => {
            let writer = TokenWriter::begin(stream, body).await?;
            let gaps = writer.all_when_due(wanted, first, gap).await?;
            log.gaps.lock().unwrap().extend(gaps);
        }
        Answer::Chunks(size) => {
            let mut writer = TokenWriter::begin(stream, body).await?;
            let mut left = wanted;
            while left > 0 {
                let now = size.min(left);
                writer.tokens(now).await?;
                left -= now;
            }
            writer.end().await?;
        }
        Answer::Status(status) => {
            plain(
                stream,
                status,
                &json!({"error": {"message": "as configured"}}),
            )
            .await?;
        }
        Answer::CutAfter(tokens) => {
            let mut writer = TokenWriter::begin(stream, body).await?;
            for _ in 0..tokens {
                writer.tokens(1).await?;
            }
            return Ok(false);
        }
        Answer::ErrorAfter(tokens) => {
            let mut writer = TokenWriter::begin(stream, body).await?;
            for _ in 0..tokens {
                writer.tokens(1).await?;
            }
            writer
                .event(&json!({"error": {"message": "the engine died"}}))
                .await?;
            writer.chunk("").await?;
        }
        Answer::EndlessTokens => {
            let mut writer = TokenWriter::begin(stream, body).await?;
            loop {
                writer.tokens(1).await?;
            }
        }
        Answer::EndlessRefusal => endless_refusal(stream).await?,
        Answer::Nonsense => plain(stream, 200, &json!("hello")).await?,
        Answer::Silence => std::future::pending::<()>().await,
    }
    Ok(true)
}

/// 400, with a message until the client disconnects.
async fn endless_refusal(stream: &mut BufReader<TcpStream>) -> std::io::Result<()> {
    stream
        .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        .await?;
    loop {
        stream.write_all(&[b'a'; 4096]).await?;
    }
}

/// Writes an answer as server-sent events in HTTP chunks.
struct TokenWriter<'a> {
    stream: &'a mut BufReader<TcpStream>,
    chat: bool,
    continuous: bool,
    prompt_tokens: usize,
    tokens: u32,
}

impl<'a> TokenWriter<'a> {
    /// The whole answer, each token when it is due; the seconds between them as they were written.
    async fn all_when_due(
        mut self,
        wanted: u32,
        first: Duration,
        gap: Duration,
    ) -> std::io::Result<Vec<f64>> {
        let start = Instant::now() + first;
        let mut before: Option<Instant> = None;
        let mut gaps = Vec::with_capacity(wanted as usize);
        for number in 0..wanted {
            let due = start + gap * number;
            if due > Instant::now() {
                sleep_until(due).await;
            }
            let written = Instant::now();
            self.tokens(1).await?;
            gaps.extend(before.map(|before| (written - before).as_secs_f64()));
            before = Some(written);
        }
        self.end().await?;
        Ok(gaps)
    }

    async fn begin(stream: &'a mut BufReader<TcpStream>, body: &Value) -> std::io::Result<Self> {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        let chat = body.get("messages").is_some();
        let mut writer = Self {
            stream,
            chat,
            continuous: body["stream_options"]["continuous_usage_stats"] == true,
            prompt_tokens: body["prompt"].as_array().map_or(1, Vec::len),
            tokens: 0,
        };
        if chat {
            let role = json!({"choices": [{"delta": {"role": "assistant", "content": ""}}]});
            writer.with_usage(role).await?;
        }
        Ok(writer)
    }

    async fn tokens(&mut self, count: u32) -> std::io::Result<()> {
        self.tokens += count;
        let choice = if self.chat {
            json!({"delta": {"content": "word "}, "finish_reason": null})
        } else {
            json!({"text": "word ", "finish_reason": null})
        };
        self.with_usage(json!({"choices": [choice]})).await
    }

    async fn with_usage(&mut self, mut event: Value) -> std::io::Result<()> {
        if self.continuous {
            event["usage"] = self.usage();
        }
        self.event(&event).await
    }

    async fn end(mut self) -> std::io::Result<()> {
        let closing = json!({"choices": [], "usage": self.usage()});
        self.event(&closing).await?;
        self.chunk("data: [DONE]\n\n").await?;
        self.chunk("").await
    }

    fn usage(&self) -> Value {
        json!({"prompt_tokens": self.prompt_tokens, "completion_tokens": self.tokens})
    }

    async fn event(&mut self, event: &Value) -> std::io::Result<()> {
        self.chunk(&format!("data: {event}\n\n")).await
    }

    async fn chunk(&mut self, text: &str) -> std::io::Result<()> {
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        self.stream.write_all(chunk.as_bytes()).await
    }
}
