//! The vLLM on this host, found by its process if no URL is configured.

use std::process::{Child, Command, Stdio};

use crate::support::{Answering, Exporter, ok, value};

/// An idle process with the command line of a vLLM server. It ends with the value.
struct ServerProcess(Child);

impl ServerProcess {
    fn start(port: &str) -> Self {
        // The words after the script are its arguments, which it ignores. It reads a pipe that is never written.
        let line = ["-c", "read nothing", "vllm", "serve", "m", "--port", port];
        let mut command = Command::new("sh");
        command.args(line).stdin(Stdio::piped());
        Self(command.spawn().unwrap())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn serve_without_a_url_takes_the_vllm_on_this_host_and_says_so() {
    let labels = "{engine=\"0\",model_name=\"m\"}";
    let server = Answering::with(ok(&format!(
        "process_start_time_seconds 1.0\nvllm:num_requests_running{labels} 3.0\nvllm:num_requests_waiting{labels} 0.0\nvllm:generation_tokens_total{labels} 1.0\n"
    )));
    let port = server.url.rsplit_once(':').unwrap().1;
    let _process = ServerProcess::start(port);
    let exporter = Exporter::start(&["serve", "--gpu-source", "none", "--gpu", "H100"]);
    let log = exporter.log();
    assert!(
        log.contains(&format!("vLLM found at {}", server.url)),
        "{log}"
    );
    exporter.wait_for("/metrics", 20, |page| {
        value(page, "vllm_roofline_up", "") == Some(1.0)
    });
    let snapshot: serde_json::Value =
        serde_json::from_str(&exporter.get("/api/v1/snapshot").1).unwrap();
    assert_eq!(snapshot["vllm_url"], server.url.as_str());
    assert_eq!(snapshot["engines"][0]["now"]["running"], 3.0);
}
