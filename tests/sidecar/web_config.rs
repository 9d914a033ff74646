//! TLS and basic authentication from a web configuration file, tested with a real client.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail that way"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::Exporter;
use assert_cmd::cargo::cargo_bin_cmd;
use reqwest::{Certificate, Client, ClientBuilder, Identity, Response, StatusCode, tls};
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

/// A new certificate for `localhost`, in the configured files.
fn certify(directory: &TempDir) -> Certificate {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let write =
        |name: &str, text: String| std::fs::write(directory.path().join(name), text).unwrap();
    write("server.crt", made.cert.pem());
    write("server.key", made.signing_key.serialize_pem());
    Certificate::from_pem(made.cert.pem().as_bytes()).unwrap()
}

/// Requests a page from `exporter` on a new connection, trusting only `certificate`.
async fn ask(
    exporter: &Exporter,
    certificate: &Certificate,
    builder: ClientBuilder,
) -> reqwest::Result<Response> {
    ask_for("-/healthy", exporter, certificate, builder).await
}

async fn ask_for(
    path: &str,
    exporter: &Exporter,
    certificate: &Certificate,
    builder: ClientBuilder,
) -> reqwest::Result<Response> {
    let client = builder
        .tls_certs_only([certificate.clone()])
        .resolve("localhost", exporter.address)
        .build()?;
    let url = format!("https://localhost:{}/{path}", exporter.address.port());
    client.get(url).send().await
}

/// Waits until `exporter` presents `certificate`.
async fn wait_for(exporter: &Exporter, certificate: &Certificate) {
    let shown = async {
        while ask(exporter, certificate, Client::builder()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), shown)
        .await
        .expect("not shown");
}

const TLS: &str = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n";

#[tokio::test]
async fn pages_are_served_over_tls_and_a_rotated_certificate_is_taken_up() {
    let directory = TempDir::new().unwrap();
    let first = certify(&directory);
    let exporter = start(&config(&directory, TLS));
    let answer = ask(&exporter, &first, Client::builder()).await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "healthy\n");
    let plain = format!("http://{}/-/healthy", exporter.address);
    assert!(Client::new().get(plain).send().await.is_err());

    let second = certify(&directory);
    exporter.hangup();
    wait_for(&exporter, &second).await;
    assert!(ask(&exporter, &first, Client::builder()).await.is_err());

    // Half of a rotation is not used, and the other half is detected without a signal.
    let key = std::fs::read(directory.path().join("server.key")).unwrap();
    let third = certify(&directory);
    let next = std::fs::read(directory.path().join("server.key")).unwrap();
    std::fs::write(directory.path().join("server.key"), key).unwrap();
    exporter.hangup();
    exporter.wait_for_log("configuration not reloaded");
    ask(&exporter, &second, Client::builder()).await.unwrap();
    let successful = async |certificate: &Certificate, is: &str| {
        let expected = format!("\nvllm_roofline_config_last_reload_successful {is}\n");
        let expected = async {
            loop {
                let page = ask_for("metrics", &exporter, certificate, Client::builder()).await;
                if page.unwrap().text().await.unwrap().contains(&expected) {
                    break;
                }
            }
        };
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, expected)
            .await
            .expect("not shown");
    };
    successful(&second, "0").await;
    std::fs::write(directory.path().join("server.key"), next).unwrap();
    wait_for(&exporter, &third).await;
    successful(&third, "1").await;
}

#[tokio::test]
async fn a_rotated_password_is_taken_up_and_the_old_one_is_forgotten() {
    let directory = TempDir::new().unwrap();
    let users = |password: &str| {
        let hash = bcrypt::hash(password, 4).unwrap();
        format!("basic_auth_users: {{prometheus: \"{hash}\"}}\n")
    };
    let file = config(&directory, &users("first"));
    let exporter = start(&file);
    let url = format!("http://{}/", exporter.address);
    let status = |password: &'static str| {
        let request = Client::new()
            .get(&url)
            .basic_auth("prometheus", Some(password));
        async { request.send().await.unwrap().status() }
    };
    assert_eq!(status("first").await, StatusCode::OK);
    std::fs::write(&file, users("second")).unwrap();
    exporter.hangup();
    let renewed = async { while status("second").await != StatusCode::OK {} };
    tokio::time::timeout(Duration::from_secs(20), renewed)
        .await
        .expect("not renewed");
    assert_eq!(status("first").await, StatusCode::UNAUTHORIZED);
    // Removing all protection is an ordinary change; enabling TLS needs another listener.
    certify(&directory);
    std::fs::write(&file, TLS).unwrap();
    exporter.hangup();
    exporter.wait_for_log("https takes a restart");
    assert_eq!(status("second").await, StatusCode::OK);
    std::fs::write(&file, "{}").unwrap();
    exporter.hangup();
    let opened =
        async { while Client::new().get(&url).send().await.unwrap().status() != StatusCode::OK {} };
    tokio::time::timeout(Duration::from_secs(20), opened)
        .await
        .expect("not opened");
}

#[tokio::test]
async fn only_clients_with_a_certificate_of_the_ca_are_served() {
    let directory = TempDir::new().unwrap();
    let server = certify(&directory);
    let client = rcgen::generate_simple_self_signed(["prometheus".to_owned()]).unwrap();
    std::fs::write(directory.path().join("clients.crt"), client.cert.pem()).unwrap();
    let identity = |made: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        let pem = made.cert.pem() + &made.signing_key.serialize_pem();
        Client::builder().identity(Identity::from_pem(pem.as_bytes()).unwrap())
    };
    let stranger = rcgen::generate_simple_self_signed(["prometheus".to_owned()]).unwrap();
    let asks = |auth: &str| {
        format!(
            "tls_server_config: {{cert_file: server.crt, key_file: server.key, client_auth_type: {auth}, client_ca_file: clients.crt, min_version: TLS13}}\n"
        )
    };
    let file = config(&directory, &asks("RequireAndVerifyClientCert"));
    let exporter = start(&file);
    assert!(ask(&exporter, &server, identity(&client)).await.is_ok());
    assert!(ask(&exporter, &server, identity(&stranger)).await.is_err());
    assert!(ask(&exporter, &server, Client::builder()).await.is_err());
    let old = identity(&client).tls_version_max(tls::Version::TLS_1_2);
    assert!(ask(&exporter, &server, old).await.is_err());
    std::fs::write(&file, asks("VerifyClientCertIfGiven")).unwrap();
    exporter.hangup();
    wait_for(&exporter, &server).await;
    assert!(ask(&exporter, &server, identity(&client)).await.is_ok());
    assert!(ask(&exporter, &server, identity(&stranger)).await.is_err());
}

#[tokio::test]
async fn answers_carry_the_headers_that_are_set() {
    let directory = TempDir::new().unwrap();
    let headers = "http_server_config: {headers: {X-Frame-Options: deny, Content-Security-Policy: \"default-src 'none'\", X-XSS-Protection: \"\"}}\n";
    let exporter = start(&config(&directory, headers));
    for path in ["/", "/metrics", "/nowhere"] {
        let url = format!("http://{}{path}", exporter.address);
        let answer = Client::new().get(url).send().await.unwrap();
        assert_eq!(answer.headers()["x-frame-options"], "deny", "{path}");
        assert_eq!(
            answer.headers()["content-security-policy"],
            "default-src 'none'"
        );
        assert!(!answer.headers().contains_key("x-xss-protection"));
    }
}

#[test]
fn a_file_that_cannot_be_used_stops_the_start() {
    let directory = TempDir::new().unwrap();
    for (text, expected) in [
        (
            "basic_auth_users: {prometheus: opensesame}\n",
            "no bcrypt hash",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, curve_preferences: [CurveP256]}\n",
            "curve_preferences",
        ),
        (
            "tls_server_config: {cert_file: a.crt, key_file: b.key}\n",
            "b.key",
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
        assert!(
            said.contains(expected) && said.contains("web.yaml"),
            "{said}"
        );
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
