//! Basic authentication against bcrypt hashes, without burning a CPU per scrape.

use super::super::Secret;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Hashes computed at once. bcrypt is made to be slow (cost 10: about 50 ms of CPU); somebody who
/// tries passwords must not take all CPUs from the probes. A user who got in before does not wait.
const HASHING: usize = 1;

/// The users who may read.
pub(super) struct Users {
    users: BTreeMap<String, User>,
    /// Whose hash an unknown user's password is compared with, so that it takes as long as a wrong
    /// password: the one with the highest cost.
    costliest: String,
    hashing: Semaphore,
}

struct User {
    hash: String,
    /// The password that was right last time; a scrape with it again needs no bcrypt.
    proven: Mutex<Option<Secret>>,
}

impl Users {
    /// Takes checked hashes by user name; not empty.
    pub(super) fn new(hashes: BTreeMap<String, String>) -> Self {
        let cost = |hash: &&String| bcrypt::HashParts::from_str(hash).map_or(0, |parts| parts.get_cost());
        let costliest = hashes.values().max_by_key(cost).cloned().unwrap_or_default();
        let users = hashes.into_iter().map(|(name, hash)| (name, User { hash, proven: Mutex::default() }));
        Self { users: users.collect(), costliest, hashing: Semaphore::new(HASHING) }
    }

    /// Whether the request carries a user's name and password.
    pub(super) async fn admit(&self, headers: &HeaderMap) -> bool {
        let Some((name, password)) = credentials(headers) else { return false };
        let user = self.users.get(&name);
        if user.is_some_and(|u| u.is_proven(&password)) {
            return true;
        }
        let Ok(_turn) = self.hashing.acquire().await else { return false };
        // While this request waited, another one may have proven the same password.
        if user.is_some_and(|u| u.is_proven(&password)) {
            return true;
        }
        let hash = user.map_or(&self.costliest, |u| &u.hash).clone();
        let (right, password) = hashed(password, hash).await;
        match user.filter(|_| right) {
            Some(user) => {
                user.prove(&password);
                true
            }
            None => false,
        }
    }
}

impl User {
    fn is_proven(&self, password: &[u8]) -> bool {
        let proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        proven.as_ref().is_some_and(|secret| secret.matches(password))
    }

    fn prove(&self, password: &[u8]) {
        *self.proven.lock().unwrap_or_else(PoisonError::into_inner) = Some(Secret::new(password));
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.users.keys()).finish()
    }
}

/// Compares on a thread that may block; gives the password back.
async fn hashed(password: Vec<u8>, hash: String) -> (bool, Vec<u8>) {
    let compare = move || (bcrypt::verify(&password, &hash).unwrap_or(false), password);
    tokio::task::spawn_blocking(compare).await.unwrap_or_default()
}

/// Name and password of an `Authorization` header (RFC 7617, section 2). **None**: there is no
/// such header, or two, or one that cannot be read.
fn credentials(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, encoded) = value.as_bytes().split_at_checked("Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let mut name = STANDARD.decode(encoded.trim_ascii()).ok()?;
    let colon = name.iter().position(|&b| b == b':')?;
    let password = name.split_off(colon + 1);
    name.truncate(colon);
    Some((String::from_utf8(name).ok()?, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lowest cost that there is.
    const COST: u32 = 4;

    fn users() -> Users {
        let hash = |password: &str, cost| bcrypt::hash(password, cost).unwrap();
        Users::new(BTreeMap::from([
            ("alice".to_owned(), hash("wonder:land", COST)),
            ("bob".to_owned(), hash("builder", COST + 1)),
        ]))
    }

    fn request(authorization: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, authorization.parse().unwrap())])
    }

    async fn admits(users: &Users, name: &str, password: &str) -> bool {
        let encoded = STANDARD.encode(format!("{name}:{password}"));
        users.admit(&request(&format!("Basic {encoded}"))).await
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_known_user_is_admitted() {
        let users = users();
        for _ in 0..2 {
            assert!(admits(&users, "alice", "wonder:land").await);
            assert!(admits(&users, "bob", "builder").await);
            assert!(!admits(&users, "alice", "builder").await);
            assert!(!admits(&users, "mallory", "builder").await, "bob's is the hash that unknown users get");
            assert!(!admits(&users, "alice", "").await);
            assert!(!admits(&users, "", "").await);
        }
    }

    #[tokio::test]
    async fn proven_password_does_not_wait_for_a_hash() {
        let users = users();
        assert!(admits(&users, "alice", "wonder:land").await);
        let _turn = users.hashing.acquire().await.unwrap();
        let again = admits(&users, "alice", "wonder:land");
        assert!(tokio::time::timeout(std::time::Duration::from_secs(10), again).await.unwrap());
    }

    #[tokio::test]
    async fn unreadable_header_admits_nobody() {
        let users = users();
        for text in ["", "Basic", "Basic ", "Basic ???", "Basic YWxpY2U=", "Bearer YWxpY2U6d29uZGVyOmxhbmQ="]
        {
            assert!(!users.admit(&request(text)).await, "{text:?}");
        }
        let mut two = request("Basic YWxpY2U6d29uZGVyOmxhbmQ=");
        assert!(users.admit(&two).await);
        two.append(header::AUTHORIZATION, "Basic YWxpY2U6d29uZGVyOmxhbmQ=".parse().unwrap());
        assert!(!users.admit(&two).await);
    }

    #[test]
    fn unknown_users_meet_the_highest_cost() {
        let users = users();
        assert_eq!(bcrypt::HashParts::from_str(&users.costliest).unwrap().get_cost(), COST + 1);
    }

    #[test]
    fn debug_shows_names_only() {
        assert_eq!(format!("{:?}", users()), "{\"alice\", \"bob\"}");
    }
}
