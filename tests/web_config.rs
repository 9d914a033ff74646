//! TLS and basic authentication by a web configuration file, asked by a real client.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail that way"
)]

mod support;

use std::path::{Path, PathBuf};

use assert_cmd::cargo::cargo_bin_cmd;
use reqwest::{Client, StatusCode};
use support::Exporter;
use tempfile::TempDir;

/// A web configuration file with `text`.
fn config(directory: &TempDir, text: &str) -> PathBuf {
    let file = directory.path().join("web.yaml");
    std::fs::write(&file, text).unwrap();
    file
}

fn start(config: &Path) -> Exporter {
    vllm_roofline_exporter::crypto::install();
    Exporter::start(&["demo", "--web.config.file", config.to_str().unwrap()])
}

#[tokio::test]
async fn only_who_has_the_password_reads_the_pages() {
    let directory = TempDir::new().unwrap();
    let hash = bcrypt::hash("opensesame", 4).unwrap();
    let file = config(
        &directory,
        &format!("basic_auth_users: {{prometheus: \"{hash}\"}}\n"),
    );
    let exporter = start(&file);
    let base = format!("http://{}", exporter.address);
    let client = Client::new();
    let get = |path: &str, password: Option<&str>| {
        let request = client.get(format!("{base}{path}"));
        let request = match password {
            Some(password) => request.basic_auth("prometheus", Some(password)),
            None => request,
        };
        async { request.send().await.unwrap() }
    };
    for path in ["/metrics", "/", "/api/v1/config", "/nowhere"] {
        let refused = get(path, None).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert!(
            refused.headers()["www-authenticate"]
                .to_str()
                .unwrap()
                .starts_with("Basic")
        );
        assert_eq!(
            get(path, Some("opensesamo")).await.status(),
            StatusCode::UNAUTHORIZED
        );
    }
    assert_eq!(get("/-/healthy", None).await.status(), StatusCode::OK);
    exporter.wait_for("/-/ready", 10, |page| page == "ready\n");
    let page = get("/metrics", Some("opensesame")).await;
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.text().await.unwrap().contains("vllm_roofline_up"));
}

#[tokio::test]
async fn pages_are_served_over_tls_with_the_certificate_of_the_file() {
    let directory = TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(directory.path().join("server.crt"), made.cert.pem()).unwrap();
    std::fs::write(
        directory.path().join("server.key"),
        made.signing_key.serialize_pem(),
    )
    .unwrap();
    let tls = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n";
    let exporter = start(&config(&directory, tls));
    let trusted = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let client = Client::builder()
        .tls_certs_only([trusted])
        .resolve("localhost", exporter.address)
        .build()
        .unwrap();
    let url = format!("https://localhost:{}/-/healthy", exporter.address.port());
    assert_eq!(
        client.get(&url).send().await.unwrap().text().await.unwrap(),
        "healthy\n"
    );
    let plain = format!("http://{}/-/healthy", exporter.address);
    assert!(Client::new().get(plain).send().await.is_err());
}

#[test]
fn a_file_that_cannot_be_used_stops_the_start() {
    let directory = TempDir::new().unwrap();
    for (text, told) in [
        (
            "basic_auth_users: {prometheus: opensesame}\n",
            "no bcrypt hash",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, min_version: TLS13}\n",
            "min_version",
        ),
        (
            "basic_auth_users: {a: b}\nbasic_auth_users: {}\n",
            "basic_auth_users",
        ),
    ] {
        let file = config(&directory, text);
        let output = cargo_bin_cmd!()
            .args([
                "serve",
                "--config.check",
                "--web.config.file",
                file.to_str().unwrap(),
            ])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(told) && said.contains("web.yaml"), "{said}");
        assert!(!said.contains("opensesame"));
    }
    let output = cargo_bin_cmd!()
        .args([
            "serve",
            "--config.check",
            "--web.config.file",
            "nowhere.yaml",
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let output = cargo_bin_cmd!()
        .args(["serve", "--config.check"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
}
