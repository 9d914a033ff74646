//! A server under test, as a separate process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;

/// A server under test, stopped with the benchmark.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    process: Child,
    pub(crate) url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only if it has already ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Starts `command`, which prints its address to stderr after `says`.
    pub(crate) fn start(
        name: &'static str,
        command: &mut Command,
        says: &str,
    ) -> anyhow::Result<Self> {
        let mut process = command
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let mut lines = BufReader::new(process.stderr.take().context("no stderr")?).lines();
        let url = loop {
            let line = lines.next().with_context(|| format!("{name} ended"))??;
            if let Some((_, rest)) = line.split_once(says) {
                let address = rest.split_whitespace().next().unwrap_or_default();
                let address = address.trim_start_matches("http://");
                break format!("http://{}/metrics", address.trim_end_matches("/metrics"));
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { name, process, url })
    }

    /// CPU time so far and memory in use in MiB, from /proc.
    pub(crate) fn usage(&self) -> anyhow::Result<(Duration, f64)> {
        let id = self.process.id();
        // Nanoseconds on a core; the tick counters of `stat` have a resolution of hundredths of a second.
        let mut busy = 0;
        for task in std::fs::read_dir(format!("/proc/{id}/task"))? {
            let schedstat = std::fs::read_to_string(task?.path().join("schedstat"))?;
            busy += schedstat
                .split(' ')
                .next()
                .unwrap_or_default()
                .parse::<u64>()?;
        }
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let rss = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        let kib: f64 = rss.trim().trim_end_matches(" kB").parse()?;
        Ok((Duration::from_nanos(busy), kib / 1024.0))
    }
}
