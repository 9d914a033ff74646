//! The two comparisons: answers under load, and the cost of an almost idle server.

use std::time::Duration;

use tokio::time::{Instant, interval};

use crate::server::Server;

/// Duration of the load on each server per turn, and number of turns.
const SLICE: Duration = Duration::from_secs(2);
const ROUNDS: usize = 10;
/// Duration of the steady-state measurement.
const STEADY: Duration = Duration::from_secs(60);

/// Response times of a server.
struct Answers {
    p50: Vec<f64>,
    p99: Vec<f64>,
    requests: usize,
    busy: Duration,
}

/// `GET /metrics` at 1,000 requests per second. The servers take turns, so that other load on the machine affects all of them; a percentile
/// is the median over its turns.
pub(crate) async fn latencies(client: &reqwest::Client, servers: &[&Server]) -> anyhow::Result<()> {
    let mut answers: Vec<_> = servers
        .iter()
        .map(|_| Answers {
            p50: Vec::new(),
            p99: Vec::new(),
            requests: 0,
            busy: Duration::ZERO,
        })
        .collect();
    for _ in 0..ROUNDS {
        for (server, answers) in servers.iter().zip(&mut answers) {
            let before = server.usage()?.0;
            let sorted = slice(client, &server.url).await?;
            answers.busy += server.usage()?.0 - before;
            answers.requests += sorted.len();
            answers.p50.push(percentile(&sorted, 0.5));
            answers.p99.push(percentile(&sorted, 0.99));
        }
    }
    for (server, mut answers) in servers.iter().zip(answers) {
        let name = server.name;
        println!(
            "p50 at 1,000/s, {name}\t{:.3}\tms",
            median(&mut answers.p50)
        );
        println!(
            "p99 at 1,000/s, {name}\t{:.3}\tms",
            median(&mut answers.p99)
        );
        let each = answers.busy.as_secs_f64() / answers.requests as f64;
        println!("CPU per answer, {name}\t{:.1}\tµs", each * 1e6);
    }
    Ok(())
}

/// Response times in milliseconds, sorted.
async fn slice(client: &reqwest::Client, url: &str) -> anyhow::Result<Vec<f64>> {
    let mut ticks = interval(Duration::from_millis(1));
    let mut requests = Vec::new();
    let started = Instant::now();
    while started.elapsed() < SLICE {
        ticks.tick().await;
        let request = client.get(url).send();
        requests.push(tokio::spawn(async move {
            let sent = Instant::now();
            let answer = request.await?.error_for_status()?;
            answer.bytes().await?;
            Ok::<_, reqwest::Error>(sent.elapsed().as_secs_f64() * 1e3)
        }));
    }
    let mut took = Vec::with_capacity(requests.len());
    for request in requests {
        took.push(request.await??);
    }
    took.sort_by(f64::total_cmp);
    Ok(took)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    percentile(values, 0.5)
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index within the slice"
    )]
    let place = ((sorted.len() - 1) as f64 * share) as usize;
    sorted[place]
}

/// CPU and memory while each server is scraped once a second.
pub(crate) async fn steady_state(
    client: &reqwest::Client,
    servers: &[&Server],
) -> anyhow::Result<()> {
    let mut before = Vec::new();
    for server in servers {
        before.push(server.usage()?.0);
    }
    let mut ticks = interval(Duration::from_secs(1));
    let started = Instant::now();
    while started.elapsed() < STEADY {
        ticks.tick().await;
        for server in servers {
            client.get(&server.url).send().await?.bytes().await?;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    for (server, before) in servers.iter().zip(before) {
        let (busy, rss) = server.usage()?;
        let share = (busy - before).as_secs_f64() / seconds * 100.0;
        println!("steady CPU, {}\t{share:.3}\t% of a core", server.name);
        println!("resident, {}\t{rss:.1}\tMiB", server.name);
    }
    Ok(())
}
