//! The queue of password comparisons. They are slow, so many may wait: peers take turns, and within a peer the order is first in, first
//! out. No client is rejected because others guess, and a repeated request joins the waiting comparison.

use std::collections::VecDeque;
use std::net::IpAddr;

use tokio::sync::oneshot;

use super::basic_auth::{Credentials, Fingerprint};

/// Maximum number of waiting guesses. As many as connections, so that only guesses of disconnected clients are dropped.
const MOST_WAITING: usize = super::connection_limit::MOST_CONNECTIONS;

/// A user name and a password to be compared, and the requests that wait for the result.
#[derive(Debug)]
pub(super) struct Guess {
    pub(super) credentials: Credentials,
    pub(super) fingerprint: Fingerprint,
    pub(super) asking: Vec<oneshot::Sender<bool>>,
}

impl Guess {
    fn is_abandoned(&self) -> bool {
        self.asking.iter().all(oneshot::Sender::is_closed)
    }
}

/// The waiting guesses.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Each peer with its guesses; the next peer is first.
    peers: VecDeque<(IpAddr, VecDeque<Guess>)>,
}

impl Turns {
    /// Queues `guess` of `peer`. If the queue is full, a guess whose clients have all disconnected is dropped, the newest of the peer with
    /// the most guesses; if there is none, `guess` is dropped, and its requests get no result.
    pub(super) fn join(&mut self, peer: IpAddr, mut guess: Guess) {
        let mut all = self.peers.iter_mut().flat_map(|(_, guesses)| guesses);
        if let Some(same) = all.find(|other| other.fingerprint == guess.fingerprint) {
            same.asking.retain(|asking| !asking.is_closed());
            same.asking.append(&mut guess.asking);
            return;
        }
        let waiting: usize = self.peers.iter().map(|(_, guesses)| guesses.len()).sum();
        if waiting >= MOST_WAITING && !self.make_room() {
            return;
        }
        match self.peers.iter_mut().find(|(known, _)| *known == peer) {
            Some((_, guesses)) => guesses.push_back(guess),
            None => self.peers.push_back((peer, [guess].into())),
        }
    }

    /// The next guess. Its peer moves to the end of the queue.
    pub(super) fn next(&mut self) -> Option<Guess> {
        let (peer, mut guesses) = self.peers.pop_front()?;
        let next = guesses.pop_front();
        if !guesses.is_empty() {
            self.peers.push_back((peer, guesses));
        }
        next
    }

    /// Returns whether a guess was dropped.
    fn make_room(&mut self) -> bool {
        let abandoned = |guesses: &VecDeque<Guess>| guesses.iter().any(Guess::is_abandoned);
        let most = self
            .peers
            .iter()
            .enumerate()
            .filter(|(_, (_, guesses))| abandoned(guesses))
            .max_by_key(|(_, (_, guesses))| guesses.len());
        let Some((place, _)) = most else {
            return false;
        };
        let guesses = &mut self.peers[place].1;
        let newest = guesses.iter().rposition(Guess::is_abandoned);
        let removed = newest.and_then(|newest| guesses.remove(newest)).is_some();
        self.peers.retain(|(_, guesses)| !guesses.is_empty());
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const SCRAPER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn guess(number: u64) -> (Guess, oneshot::Receiver<bool>) {
        let (asking, answer) = oneshot::channel();
        let guess = Guess {
            credentials: Credentials::default(),
            fingerprint: [number, 0],
            asking: vec![asking],
        };
        (guess, answer)
    }

    fn numbers(turns: &mut Turns) -> Vec<u64> {
        std::iter::from_fn(|| turns.next())
            .map(|guess| guess.fingerprint[0])
            .collect()
    }

    #[test]
    fn peers_take_turns() {
        let mut turns = Turns::default();
        for number in 0..4 {
            turns.join(FLOOD, guess(number).0);
        }
        turns.join(SCRAPER, guess(100).0);
        assert_eq!(numbers(&mut turns), [0, 100, 1, 2, 3]);
    }

    #[test]
    fn who_asks_again_keeps_its_place() {
        let mut turns = Turns::default();
        let (again, answer) = guess(0);
        for one in [guess(0).0, guess(1).0, again] {
            turns.join(FLOOD, one);
        }
        let first = turns.next().unwrap();
        assert_eq!(first.fingerprint[0], 0);
        for asking in first.asking {
            let _ = asking.send(true);
        }
        assert_eq!(answer.blocking_recv(), Ok(true));
        assert_eq!(numbers(&mut turns), [1]);
    }

    /// However many guesses disconnect and return, a waiting one keeps its place.
    #[test]
    fn whoever_hung_up_gives_way() {
        let mut turns = Turns::default();
        let (patient, _told) = guess(0);
        turns.join(FLOOD, patient);
        for number in 1..5 * MOST_WAITING as u64 {
            turns.join(FLOOD, guess(number).0);
        }
        let left = numbers(&mut turns);
        assert_eq!((left[0], left.len()), (0, MOST_WAITING));
    }

    #[test]
    fn whoever_waits_does_not_give_way() {
        let mut turns = Turns::default();
        let mut all_answers = Vec::new();
        for number in 0..MOST_WAITING as u64 {
            let (guess, answer) = guess(number);
            all_answers.push(answer);
            turns.join(FLOOD, guess);
        }
        let (one_more, answer) = guess(1 << 20);
        turns.join(SCRAPER, one_more);
        assert!(answer.blocking_recv().is_err());
        assert_eq!(numbers(&mut turns).len(), MOST_WAITING);
    }
}
