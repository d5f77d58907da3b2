//! What filters and placeholders can name of an endpoint.

use crate::config::errors::{Complaint, offer};
use crate::model::discovery::Endpoint;
use std::borrow::Cow;

/// A part of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// `name`: unique within its roster.
    Name,
    /// `host`: a name or an IP address, IPv6 without brackets.
    Host,
    /// `port`
    Port,
    /// `address`: host and port, IPv6 in brackets.
    Address,
    /// `meta.KEY`: what the source says of it.
    Meta(String),
}

const WORDS: [&str; 5] = ["name", "host", "port", "address", "meta.KEY"];

impl Field {
    /// Reads its name.
    ///
    /// # Errors
    /// No such field, with the nearest one.
    pub(in crate::config) fn parse(word: &str) -> Result<Self, Complaint> {
        let strange = |c: char| c.is_whitespace() || c.is_control() || "{}'\"".contains(c);
        match word {
            "name" => Ok(Self::Name),
            "host" => Ok(Self::Host),
            "port" => Ok(Self::Port),
            "address" => Ok(Self::Address),
            _ => match word.strip_prefix("meta.") {
                Some("") => {
                    Err(Complaint::new("no key follows \"meta.\"", "write meta.KEY, such as meta.region"))
                }
                Some(key) if key.contains(strange) => {
                    let what = format!("\"{word}\" has a space, a quote or a brace in it");
                    Err(Complaint::new(what, "write meta.KEY with the key as the source names it"))
                }
                Some(key) => Ok(Self::Meta(key.to_owned())),
                None => {
                    Err(Complaint::new(format!("\"{word}\" is nothing of an endpoint"), offer(word, WORDS)))
                }
            },
        }
    }

    /// What an endpoint has there. **None**: its source does not say; only of meta.
    pub fn of<'e>(&self, endpoint: &'e Endpoint) -> Option<Cow<'e, str>> {
        match self {
            Self::Name => Some(Cow::Borrowed(&endpoint.name)),
            Self::Host => Some(Cow::Borrowed(&endpoint.host)),
            Self::Port => Some(Cow::Owned(endpoint.port.to_string())),
            Self::Address => Some(Cow::Owned(endpoint.address())),
            Self::Meta(key) => endpoint.meta.get(key).map(|value| Cow::Borrowed(value.as_str())),
        }
    }
}
