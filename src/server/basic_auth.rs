//! HTTP basic authentication (RFC 7617) against bcrypt hashes.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Paths open to everyone: the kubelet has no password, and they tell nothing.
const OPEN: [&str; 2] = ["/-/healthy", "/-/ready"];
/// Compared with when the user is unknown, so that an unknown user takes as long as a wrong password. It is the hash of nothing known.
const NOBODY: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

/// The users, and what is already known to be right.
#[derive(Clone, Debug)]
pub(super) struct Doorkeeper(Arc<Known>);

#[derive(Debug)]
struct Known {
    users: BTreeMap<String, String>,
    /// Keyed hashes of credentials that were found right: bcrypt is made to be slow, and Prometheus asks every few seconds.
    right: Mutex<HashSet<[u64; 2]>>,
    keys: [RandomState; 2],
    /// One comparison at a time: guessing must not take the cores away from vLLM.
    comparing: tokio::sync::Mutex<()>,
}

impl Doorkeeper {
    /// Lets in `users`, given with the bcrypt hashes of their passwords.
    #[must_use]
    pub(super) fn new(users: BTreeMap<String, String>) -> Self {
        Self(Arc::new(Known {
            users,
            right: Mutex::default(),
            keys: [RandomState::new(), RandomState::new()],
            comparing: tokio::sync::Mutex::default(),
        }))
    }

    async fn lets_in(&self, authorization: &str) -> bool {
        let Some((user, password)) = credentials(authorization) else {
            return false;
        };
        let known = Arc::clone(&self.0);
        let token = known
            .keys
            .each_ref()
            .map(|key| key.hash_one((&user, &password)));
        if known.remembers(&token) {
            return true;
        }
        let _one_at_a_time = known.comparing.lock().await;
        let comparison = Arc::clone(&known);
        let right = tokio::task::spawn_blocking(move || comparison.is_right(&user, &password));
        let right = right.await.unwrap_or(false);
        if right {
            known.remember(token);
        }
        right
    }
}

impl Known {
    fn is_right(&self, user: &str, password: &str) -> bool {
        let hash = self.users.get(user);
        let matches = bcrypt::verify(password, hash.map_or(NOBODY, String::as_str));
        hash.is_some() && matches.unwrap_or(false)
    }

    fn remembers(&self, token: &[u64; 2]) -> bool {
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.contains(token)
    }

    /// There is one right password a user, so what is remembered stays small.
    fn remember(&self, token: [u64; 2]) {
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.insert(token);
    }
}

/// User and password of an `Authorization: Basic` header.
fn credentials(authorization: &str) -> Option<(String, String)> {
    let (scheme, encoded) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Answers 401 to requests without a right user and password.
pub(super) async fn check(
    State(door): State<Doorkeeper>,
    request: Request,
    next: Next,
) -> Response {
    let open = OPEN.contains(&request.uri().path());
    let authorization = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if open || door.lets_in(authorization).await {
        return next.run(request).await;
    }
    let challenge = [(WWW_AUTHENTICATE, "Basic realm=\"vllm-roofline-exporter\"")];
    (StatusCode::UNAUTHORIZED, challenge, "Unauthorized\n").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> String {
        format!("Basic {}", BASE64.encode(text))
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_known_user_opens() {
        let hash = bcrypt::hash("se:cret", 4).unwrap();
        let door = Doorkeeper::new([("prometheus".to_owned(), hash)].into());
        for _ in 0..2 {
            assert!(door.lets_in(&header("prometheus:se:cret")).await);
        }
        for wrong in [
            "prometheus:secret",
            "prometheus:",
            "somebody:se:cret",
            "",
            "se:cret",
        ] {
            assert!(!door.lets_in(&header(wrong)).await, "{wrong}");
        }
        assert!(!door.lets_in("").await);
        assert!(!door.lets_in("Bearer x").await);
        assert!(!door.lets_in("Basic %%%").await);
    }

    #[test]
    fn the_hash_for_nobody_is_one() {
        assert!(NOBODY.parse::<bcrypt::HashParts>().is_ok());
    }
}
