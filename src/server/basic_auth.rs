//! HTTP basic authentication (RFC 7617) against bcrypt hashes.
//!
//! bcrypt is slow by design, with two consequences. Verified credentials are cached, because Prometheus scrapes every few seconds. And
//! guessing must not take CPU time from vLLM: one comparison runs at a time, a wrong one is followed by a pause, and the others are queued.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use super::connection_limit::Peer;
use super::turns::{Guess, Turns};
use super::web_config::PasswordHash;

/// Paths without authentication: the kubelet has no password, and they expose nothing.
const OPEN: [&str; 2] = ["/-/healthy", "/-/ready"];
/// Pause after a wrong password, as a multiple of the comparison's time: guessing costs at most a tenth of a core.
const PAUSE: u32 = 9;

/// The users, and the verified credentials.
#[derive(Clone, Debug)]
pub(super) struct BasicAuth(Arc<KnownUsers>);

#[derive(Debug)]
struct KnownUsers {
    users: BTreeMap<String, User>,
    /// For each user, the fingerprint of the verified password. Only one per user: bcrypt uses 72 bytes of a password, so many longer ones
    /// are valid.
    right: Mutex<BTreeMap<String, Fingerprint>>,
    keys: [RandomState; 2],
    /// The queue of comparisons, while there is one.
    waiting: Mutex<Option<Turns>>,
}

#[derive(Debug)]
struct User {
    hash: PasswordHash,
    /// How many times longer the slowest comparison of all users takes.
    slower: u32,
}

/// 128 bits of keyed hash (`SipHash`). The keys are random and never leave the process, so an attacker cannot aim at a fingerprint, and the
/// timing of a comparison reveals nothing about a password.
pub(super) type Fingerprint = [u64; 2];

/// A name and a password.
#[derive(Default, Hash)]
pub(super) struct Credentials {
    user: String,
    password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("<secret>")
    }
}

/// The outcome of an authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AuthOutcome {
    Right,
    Wrong,
    /// Too many requests are queued.
    Busy,
}

impl BasicAuth {
    /// Admits `users`, given with the bcrypt hashes of their passwords; without users there is no authentication.
    #[must_use]
    pub(super) fn of(users: &BTreeMap<String, PasswordHash>) -> Option<Self> {
        let highest = users.values().map(PasswordHash::cost).max()?;
        let user = |hash: &PasswordHash| User {
            slower: 2_u32.saturating_pow(highest - hash.cost()),
            hash: hash.clone(),
        };
        Some(Self(Arc::new(KnownUsers {
            users: users
                .iter()
                .map(|(name, hash)| (name.clone(), user(hash)))
                .collect(),
            right: Mutex::default(),
            keys: [RandomState::new(), RandomState::new()],
            waiting: Mutex::default(),
        })))
    }

    async fn judge(&self, peer: IpAddr, authorization: &str) -> AuthOutcome {
        let Some(credentials) = Credentials::in_header(authorization) else {
            return AuthOutcome::Wrong;
        };
        let fingerprint = self.0.fingerprint(&credentials);
        if self.0.remembers(&credentials.user, fingerprint) {
            return AuthOutcome::Right;
        }
        let (asking, outcome) = oneshot::channel();
        self.join(
            peer,
            Guess {
                credentials,
                fingerprint,
                asking: vec![asking],
            },
        );
        match outcome.await {
            Ok(true) => AuthOutcome::Right,
            Ok(false) => AuthOutcome::Wrong,
            Err(_) => AuthOutcome::Busy,
        }
    }

    /// `guess` is queued, on a task of its own: a client that disconnects must not bypass the order and the pause.
    fn join(&self, peer: IpAddr, guess: Guess) {
        let mut waiting = held(&self.0.waiting);
        let nobody_compares = waiting.is_none();
        waiting.get_or_insert_default().join(peer, guess);
        if nobody_compares {
            tokio::spawn(Arc::clone(&self.0).compare_all());
        }
    }
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl KnownUsers {
    /// Compares one guess after the other, until the queue is empty.
    async fn compare_all(self: Arc<Self>) {
        while let Some(Guess {
            credentials,
            fingerprint,
            asking,
        }) = self.next()
        {
            if self.remembers(&credentials.user, fingerprint) {
                tell(asking, true);
                continue;
            }
            let (known, user) = (Arc::clone(&self), credentials.user.clone());
            let slower = self.users.get(&user).map_or(1, |user| user.slower);
            let started = Instant::now();
            let right = tokio::task::spawn_blocking(move || known.is_right(&credentials)).await;
            if right.unwrap_or(false) {
                self.remember(user, fingerprint);
                tell(asking, true);
                continue;
            }
            let took = started.elapsed();
            tokio::spawn(tell_later(
                asking,
                started + took * (PAUSE + 1).saturating_mul(slower),
            ));
            sleep(took * PAUSE).await;
        }
    }

    /// The next guess; `None` if the queue is empty, and then the next client starts comparing again.
    fn next(&self) -> Option<Guess> {
        let mut waiting = held(&self.waiting);
        let next = waiting.as_mut().and_then(Turns::next);
        if next.is_none() {
            *waiting = None;
        }
        next
    }

    fn fingerprint(&self, credentials: &Credentials) -> Fingerprint {
        self.keys.each_ref().map(|key| key.hash_one(credentials))
    }

    /// An unknown user takes as long as a wrong password: it is compared with the slowest hash, and the result is ignored; a user with a
    /// faster hash gets the answer equally late.
    fn is_right(&self, Credentials { user, password }: &Credentials) -> bool {
        let own = self.users.get(user);
        let slowest = || self.users.values().find(|user| user.slower == 1);
        let Some(User { hash, .. }) = own.or_else(slowest) else {
            return false;
        };
        let matches = bcrypt::verify(password, hash.as_str()).unwrap_or(false);
        own.is_some() && matches
    }

    fn remembers(&self, user: &str, fingerprint: Fingerprint) -> bool {
        held(&self.right).get(user) == Some(&fingerprint)
    }

    fn remember(&self, user: String, fingerprint: Fingerprint) {
        held(&self.right).insert(user, fingerprint);
    }
}

fn tell(asking: Vec<oneshot::Sender<bool>>, right: bool) {
    for asking in asking {
        // Fails if the client has disconnected.
        let _ = asking.send(right);
    }
}

async fn tell_later(asking: Vec<oneshot::Sender<bool>>, time: Instant) {
    sleep_until(time).await;
    tell(asking, false);
}

impl Credentials {
    /// The credentials in an `Authorization: Basic` header.
    fn in_header(authorization: &str) -> Option<Self> {
        let (scheme, encoded) = authorization.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = String::from_utf8(BASE64.decode(encoded.trim()).ok()?).ok()?;
        let (user, password) = decoded.split_once(':')?;
        Some(Self {
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }
}

/// Answers 401 to requests without valid credentials.
pub(super) async fn check(door: &BasicAuth, request: Request, next: Next) -> Response {
    if OPEN.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let authorization = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let peer = request.extensions().get::<Peer>();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0);
    match door.judge(peer, authorization).await {
        AuthOutcome::Right => next.run(request).await,
        AuthOutcome::Wrong => {
            let challenge = [(WWW_AUTHENTICATE, "Basic realm=\"vllm-roofline-exporter\"")];
            (StatusCode::UNAUTHORIZED, challenge, "Unauthorized\n").into_response()
        }
        AuthOutcome::Busy => {
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

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn header(text: &str) -> String {
        format!("Basic {}", BASE64.encode(text))
    }

    fn door() -> BasicAuth {
        let hash = bcrypt::hash("se:cret", 4).unwrap();
        BasicAuth::of(&[("prometheus".to_owned(), hash.into())].into()).unwrap()
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_known_user_opens() {
        let door = door();
        for _ in 0..2 {
            assert_eq!(
                door.judge(PEER, &header("prometheus:se:cret")).await,
                AuthOutcome::Right
            );
        }
        for wrong in [
            "prometheus:secret",
            "prometheus:",
            "somebody:se:cret",
            "",
            "se:cret",
        ] {
            assert_eq!(
                door.judge(PEER, &header(wrong)).await,
                AuthOutcome::Wrong,
                "{wrong}"
            );
        }
        for wrong in ["", "Bearer x", "Basic %%%"] {
            assert_eq!(door.judge(PEER, wrong).await, AuthOutcome::Wrong, "{wrong}");
        }
    }

    #[tokio::test]
    async fn nobody_is_no_doorkeeper() {
        assert!(BasicAuth::of(&BTreeMap::new()).is_none());
    }

    /// Guessing clients disconnect at once and return: none bypasses the queue, and the right password is still accepted, from the same
    /// peer and for the first time.
    #[tokio::test]
    async fn guesses_do_not_lock_out_the_right_password() {
        let door = door();
        let guesses = (0..20).map(|guess| {
            let guess = header(&format!("prometheus:{guess}"));
            let hung_up = guess.ends_with('=');
            let door = door.clone();
            async move {
                let verdict = door.judge(PEER, &guess);
                if hung_up {
                    let _ = tokio::time::timeout(std::time::Duration::ZERO, verdict).await;
                } else {
                    assert_eq!(verdict.await, AuthOutcome::Wrong);
                }
            }
        });
        let guesses: Vec<_> = guesses.map(tokio::spawn).collect();
        tokio::task::yield_now().await;
        let right = header("prometheus:se:cret");
        assert_eq!(door.judge(PEER, &right).await, AuthOutcome::Right);
        for guess in guesses {
            guess.await.unwrap();
        }
        assert!(held(&door.0.waiting).is_none(), "nobody waits for nothing");
    }

    /// The response time must not reveal the names of users.
    #[test]
    fn a_name_is_not_told_by_the_time_of_its_answer() {
        let hash = |cost| PasswordHash::from(bcrypt::hash("x", cost).unwrap());
        let users = [("fast", hash(4)), ("slow", hash(7))];
        let door = BasicAuth::of(&users.map(|(name, hash)| (name.to_owned(), hash)).into());
        let users = &door.unwrap().0.users;
        assert_eq!((users["fast"].slower, users["slow"].slower), (8, 1));
    }

    /// bcrypt uses 72 bytes, so all of these are valid.
    #[tokio::test]
    async fn what_is_remembered_stays_small() {
        let password = "x".repeat(72);
        let hash = bcrypt::hash(&password, 4).unwrap();
        let door = BasicAuth::of(&[("a".to_owned(), hash.into())].into()).unwrap();
        for more in ["", "1", "2"] {
            assert_eq!(
                door.judge(PEER, &header(&format!("a:{password}{more}")))
                    .await,
                AuthOutcome::Right
            );
        }
        assert_eq!(door.0.right.lock().unwrap().len(), 1);
    }
}
