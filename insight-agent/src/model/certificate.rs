//! When do the certificates of a probe's connections end?

use serde::{Deserialize, Serialize};

/// The earliest end of each kind of certificate, in seconds since 1970. **None**: there is none of this
/// kind, or none that could be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Certificates {
    /// Of this client's chain, as it was last loaded.
    pub client: Option<i64>,
    /// Of the authorities in `ca_file`; the system's own are not looked at.
    pub ca: Option<i64>,
    /// Of the chain that the next hop showed in the last handshake.
    pub server: Option<i64>,
}

impl Certificates {
    /// The closed set of a `certificate` label.
    pub const NAMES: [&'static str; 3] = ["client", "ca", "server"];

    /// Each kind with its end.
    pub fn named(&self) -> [(&'static str, Option<i64>); 3] {
        let [client, ca, server] = Self::NAMES;
        [(client, self.client), (ca, self.ca), (server, self.server)]
    }

    /// The earlier end of each kind.
    pub fn earliest(self, other: Self) -> Self {
        let earlier = |a: Option<i64>, b: Option<i64>| a.into_iter().chain(b).min();
        Self {
            client: earlier(self.client, other.client),
            ca: earlier(self.ca, other.ca),
            server: earlier(self.server, other.server),
        }
    }
}

/// TLS files of one configuration that are loaded, as the status page shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsFilesStatus {
    /// Authorities; `null` trusts the system's.
    pub ca_file: Option<String>,
    /// The client's certificate chain; `null` without one.
    pub cert_file: Option<String>,
    /// Its private key; `null` without one.
    pub key_file: Option<String>,
    /// When the first of the client's chain ends, in seconds since 1970.
    pub client_expiry_seconds: Option<i64>,
    /// When the first of the authorities in `ca_file` ends, in seconds since 1970.
    pub ca_expiry_seconds: Option<i64>,
    /// How long ago what is in use was loaded.
    pub loaded_age_seconds: u64,
    /// How often other files could not be used since this agent's start.
    pub failures: u64,
    /// Why the present files are not in use; `null` while they are.
    pub failure: Option<String>,
}

/// What became of files that were found to be others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TlsLooked {
    /// Sets of files that are in use from now on.
    pub loaded: u64,
    /// Sets that could not be used.
    pub failed: u64,
    /// Sets in use that are not those on the disk, because those cannot be used.
    pub stale: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_end_counts_and_one_that_is_not_known_does_not() {
        let a = Certificates { client: Some(5), ca: None, server: Some(7) };
        let b = Certificates { client: Some(3), ca: None, server: None };
        let expected = Certificates { client: Some(3), ca: None, server: Some(7) };
        assert_eq!((a.earliest(b), b.earliest(a)), (expected, expected));
    }
}
