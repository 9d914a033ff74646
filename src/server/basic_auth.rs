//! HTTP basic authentication (RFC 7617) against bcrypt hashes.
//!
//! bcrypt is made to be slow, and two things follow. What was found right is remembered, since Prometheus asks every few seconds. And
//! guessing must not take the cores away from vLLM: one comparison runs at a time, a wrong one is followed by a pause, and who finds
//! too many waiting is turned away.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::access::PasswordHash;

/// Paths open to everyone: the kubelet has no password, and they tell nothing.
const OPEN: [&str; 2] = ["/-/healthy", "/-/ready"];
/// Comparisons that may wait for their turn.
const MOST_WAITING: usize = 8;
/// A wrong password is followed by a pause of so many times what its comparison took: guessing costs a tenth of a core at most.
const PAUSE: u32 = 9;

/// The users, and what is already known to be right.
#[derive(Clone, Debug)]
pub(super) struct Doorkeeper(Arc<Known>);

#[derive(Debug)]
struct Known {
    users: BTreeMap<String, PasswordHash>,
    /// For each user the fingerprint of the password that was found right. One each: bcrypt reads 72 bytes of a password, so that
    /// many longer ones are right.
    right: Mutex<BTreeMap<String, Fingerprint>>,
    keys: [RandomState; 2],
    waiting: Arc<Semaphore>,
    comparing: tokio::sync::Mutex<()>,
}

/// 128 bits of keyed hash (`SipHash`). The keys are random and never leave the process, so nobody can aim at a fingerprint, and what
/// the time of a comparison tells of one says nothing of a password.
type Fingerprint = [u64; 2];

/// What is answered to a name and a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Right,
    Wrong,
    /// Too many wait to be told.
    Busy,
}

impl Doorkeeper {
    /// Lets in `users`, given with the bcrypt hashes of their passwords; nobody is needed where there are none.
    #[must_use]
    pub(super) fn of(users: &BTreeMap<String, PasswordHash>) -> Option<Self> {
        let known = || Known {
            users: users.clone(),
            right: Mutex::default(),
            keys: [RandomState::new(), RandomState::new()],
            waiting: Arc::new(Semaphore::new(MOST_WAITING)),
            comparing: tokio::sync::Mutex::default(),
        };
        (!users.is_empty()).then(|| Self(Arc::new(known())))
    }

    async fn judge(&self, authorization: &str) -> Verdict {
        let Some((user, password)) = credentials(authorization) else {
            return Verdict::Wrong;
        };
        let known = Arc::clone(&self.0);
        let fingerprint = known.fingerprint(&user, &password);
        if known.remembers(&user, fingerprint) {
            return Verdict::Right;
        }
        let Ok(place) = Arc::clone(&known.waiting).try_acquire_owned() else {
            return Verdict::Busy;
        };
        // A task of its own: who hangs up must not get around the order and the pause.
        let comparison = tokio::spawn(async move {
            let _place = place;
            let _one_at_a_time = known.comparing.lock().await;
            let (comparing, name) = (Arc::clone(&known), user.clone());
            let started = Instant::now();
            let right = tokio::task::spawn_blocking(move || comparing.is_right(&name, &password));
            if right.await.unwrap_or(false) {
                known.remember(user, fingerprint);
                Verdict::Right
            } else {
                sleep(started.elapsed() * PAUSE).await;
                Verdict::Wrong
            }
        });
        comparison.await.unwrap_or(Verdict::Wrong)
    }
}

impl Known {
    fn fingerprint(&self, user: &str, password: &str) -> Fingerprint {
        self.keys
            .each_ref()
            .map(|key| key.hash_one((user, password)))
    }

    /// An unknown user takes as long as a wrong password: it is compared with somebody's hash, whatever comes of it.
    fn is_right(&self, user: &str, password: &str) -> bool {
        let own = self.users.get(user);
        let Some(hash) = own.or_else(|| self.users.values().next()) else {
            return false;
        };
        let matches = bcrypt::verify(password, hash.as_str()).unwrap_or(false);
        own.is_some() && matches
    }

    fn remembers(&self, user: &str, fingerprint: Fingerprint) -> bool {
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.get(user) == Some(&fingerprint)
    }

    fn remember(&self, user: String, fingerprint: Fingerprint) {
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.insert(user, fingerprint);
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
pub(super) async fn check(door: &Doorkeeper, request: Request, next: Next) -> Response {
    if OPEN.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let authorization = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    match door.judge(authorization).await {
        Verdict::Right => next.run(request).await,
        Verdict::Wrong => {
            let challenge = [(WWW_AUTHENTICATE, "Basic realm=\"vllm-roofline-exporter\"")];
            (StatusCode::UNAUTHORIZED, challenge, "Unauthorized\n").into_response()
        }
        Verdict::Busy => {
            let later = [(RETRY_AFTER, "1")];
            (
                StatusCode::SERVICE_UNAVAILABLE,
                later,
                "too many passwords to check\n",
            )
                .into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> String {
        format!("Basic {}", BASE64.encode(text))
    }

    fn door() -> Doorkeeper {
        let hash = bcrypt::hash("se:cret", 4).unwrap();
        Doorkeeper::of(&[("prometheus".to_owned(), hash.into())].into()).unwrap()
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_known_user_opens() {
        let door = door();
        for _ in 0..2 {
            assert_eq!(
                door.judge(&header("prometheus:se:cret")).await,
                Verdict::Right
            );
        }
        for wrong in [
            "prometheus:secret",
            "prometheus:",
            "somebody:se:cret",
            "",
            "se:cret",
        ] {
            assert_eq!(door.judge(&header(wrong)).await, Verdict::Wrong, "{wrong}");
        }
        for wrong in ["", "Bearer x", "Basic %%%"] {
            assert_eq!(door.judge(wrong).await, Verdict::Wrong, "{wrong}");
        }
    }

    #[tokio::test]
    async fn nobody_is_no_doorkeeper() {
        assert!(Doorkeeper::of(&BTreeMap::new()).is_none());
    }

    /// Guesses hang up at once and come again: they are still compared one after the other, and no more than a few wait.
    #[tokio::test]
    async fn a_flood_of_guesses_is_turned_away_and_who_is_known_still_gets_in() {
        let door = door();
        let right = header("prometheus:se:cret");
        assert_eq!(door.judge(&right).await, Verdict::Right);
        let _comparing = door.0.comparing.lock().await;
        for guess in 0..MOST_WAITING {
            let guess = header(&format!("prometheus:{guess}"));
            let hung_up = tokio::time::timeout(std::time::Duration::ZERO, door.judge(&guess));
            assert!(hung_up.await.is_err());
        }
        assert_eq!(door.judge(&header("prometheus:guess")).await, Verdict::Busy);
        assert_eq!(door.judge(&right).await, Verdict::Right);
    }

    /// bcrypt reads 72 bytes, so that all of these are right.
    #[tokio::test]
    async fn what_is_remembered_stays_small() {
        let password = "x".repeat(72);
        let hash = bcrypt::hash(&password, 4).unwrap();
        let door = Doorkeeper::of(&[("a".to_owned(), hash.into())].into()).unwrap();
        for more in ["", "1", "2"] {
            assert_eq!(
                door.judge(&header(&format!("a:{password}{more}"))).await,
                Verdict::Right
            );
        }
        assert_eq!(door.0.right.lock().unwrap().len(), 1);
    }
}
