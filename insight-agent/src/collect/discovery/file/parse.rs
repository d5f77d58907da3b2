//! From a file's content to endpoints: pure.
//!
//! Two forms, each in TOML, JSON or YAML. Our own is a table with a list `endpoint` of `name` (default: the
//! address), `address` and `meta`; the other is a list of groups with `targets` and `labels`, as Prometheus'
//! `file_sd_configs` reads them.

use crate::model::discovery::{ENDPOINTS_MOST, Endpoint};
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `.toml`
    Toml,
    /// `.json`
    Json,
    /// `.yaml`, `.yml`, and anything else: of these three it reads most.
    Yaml,
}

impl Format {
    /// As the name's ending says.
    pub fn of(path: &Path) -> Self {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("toml") => Self::Toml,
            Some("json") => Self::Json,
            _ => Self::Yaml,
        }
    }
}

/// Why a content cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// From 1 on. **None**: nothing says which line.
    pub line: Option<usize>,
    /// What is wrong and, if it is not plain, what to do.
    pub what: String,
}

/// Reads a content. An empty one has no endpoints.
///
/// # Errors
/// The first thing that is wrong. Nothing of the content counts then: half a roster would retire the other
/// half.
pub fn parse(format: Format, content: &[u8]) -> Result<Vec<Endpoint>, ParseError> {
    let text = std::str::from_utf8(content).map_err(|error| {
        let before = &content[..error.valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        ParseError { line: Some(line), what: "not UTF-8 text".to_owned() }
    })?;
    let line_of =
        |offset: usize| 1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|b| **b == b'\n').count();
    let blank = text.trim().is_empty();
    let roster: Roster = match format {
        _ if blank => Roster(Vec::new()),
        Format::Toml => toml::from_str(text).map_err(|error: toml::de::Error| ParseError {
            line: error.span().map(|span| line_of(span.start)),
            what: error.message().to_owned(),
        })?,
        Format::Json => serde_json::from_str(text).map_err(|error| ParseError {
            line: Some(error.line()).filter(|line| *line > 0),
            what: without_place(&error.to_string()),
        })?,
        Format::Yaml => serde_yaml_ng::from_str(text).map_err(|error: serde_yaml_ng::Error| ParseError {
            line: error.location().map(|place| place.line()),
            what: without_place(&error.to_string()),
        })?,
    };
    Ok(roster.0)
}

/// The text of an error without the place that its end names, which is told in front of it.
fn without_place(text: &str) -> String {
    let end = text.rfind(" at line ").unwrap_or(text.len());
    text[..end].to_owned()
}

// ---- the forms ------------------------------------------------------------------------------

/// Either form.
struct Roster(Vec<Endpoint>);

impl<'de> Deserialize<'de> for Roster {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(RosterVisitor).map(Self)
    }
}

struct RosterVisitor;

impl<'de> Visitor<'de> for RosterVisitor {
    type Value = Vec<Endpoint>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table with a list \"endpoint\", or a list of groups with \"targets\" and \"labels\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut endpoints: Option<Vec<Endpoint>> = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != "endpoint" {
                let what = format!("unknown key \"{key}\": expected a list \"endpoint\"");
                map.next_value::<IgnoredAny>()?;
                return Err(A::Error::custom(what));
            }
            if endpoints.replace(map.next_value::<Own>()?.0).is_some() {
                return Err(A::Error::custom("a second \"endpoint\": write one list"));
            }
        }
        Ok(endpoints.unwrap_or_default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut groups: A) -> Result<Self::Value, A::Error> {
        let mut endpoints = Vec::new();
        let mut bytes = 0;
        while let Some(group) = groups.next_element::<Group>()? {
            // Each target has the labels of its group: a few bytes in the file can be many here.
            let labels: usize = group.labels.iter().map(|(key, value)| key.len() + value.0.len()).sum();
            bytes += labels * group.targets.len();
            if bytes > META_MOST {
                let what = format!("the labels of all targets are more than {} MiB", META_MOST >> 20);
                return Err(A::Error::custom(what));
            }
            for Address { host, port, text } in group.targets {
                let meta = group.labels.iter().map(|(key, value)| (key.clone(), value.0.clone()));
                endpoints.push(Endpoint { name: text, host, port, meta: meta.collect() });
            }
            refuse_too_many(endpoints.len())?;
        }
        Ok(endpoints)
    }

    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
}

/// Most bytes of the labels of all targets: six kilobytes for each of as many as there may be.
const META_MOST: usize = 64 << 20;

fn refuse_too_many<E: de::Error>(count: usize) -> Result<(), E> {
    if count > ENDPOINTS_MOST {
        return Err(E::custom(format!("more than {ENDPOINTS_MOST} endpoints")));
    }
    Ok(())
}

/// The list of our own form.
struct Own(Vec<Endpoint>);

impl<'de> Deserialize<'de> for Own {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(OwnVisitor).map(Self)
    }
}

struct OwnVisitor;

impl<'de> Visitor<'de> for OwnVisitor {
    type Value = Vec<Endpoint>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of endpoints")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut endpoints = Vec::new();
        let mut names = BTreeSet::new();
        while let Some(Entry { name, address, meta }) = list.next_element::<Entry>()? {
            let name = name.map_or(address.text, |name| name.0);
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("the name \"{name}\" occurs twice")));
            }
            let meta = meta.into_iter().map(|(key, value)| (key, value.0)).collect();
            endpoints.push(Endpoint { name, host: address.host, port: address.port, meta });
            refuse_too_many(endpoints.len())?;
        }
        Ok(endpoints)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Option<Name>,
    address: Address,
    #[serde(default)]
    meta: BTreeMap<String, Word>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    targets: Vec<Address>,
    #[serde(default)]
    labels: BTreeMap<String, Word>,
}

/// Longest name of an endpoint.
const NAME_MOST: usize = 255;

struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(TextVisitor("a name", |text: &str| {
            if text.is_empty() || text.len() > NAME_MOST || text.chars().any(char::is_control) {
                return Err(format!(
                    "{text:?} is no name: write 1 to {NAME_MOST} bytes without control characters"
                ));
            }
            Ok(Self(text.to_owned()))
        }))
    }
}

/// Reads a string further; what it refuses is told with the string's own place, and not its list's.
struct TextVisitor<F>(&'static str, F);

impl<T, F: FnOnce(&str) -> Result<T, String>> Visitor<'_> for TextVisitor<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).map_err(E::custom)
    }
}

/// A value of meta: numbers and flags are taken as they are written by most.
struct Word(String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a string, a number or a flag as value of meta")]
        enum Any {
            Text(String),
            Flag(bool),
            Whole(i64),
            Number(f64),
        }
        Ok(Self(match Any::deserialize(from)? {
            Any::Text(text) => text,
            Any::Flag(flag) => flag.to_string(),
            Any::Whole(number) => number.to_string(),
            Any::Number(number) => number.to_string(),
        }))
    }
}

struct Address {
    host: String,
    port: u16,
    /// As it is written, which is the endpoint's name where it has no other.
    text: String,
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(TextVisitor("an address", |text: &str| {
            let (host, port) = host_port(text)
                .ok_or_else(|| format!("\"{text}\" is no address: write \"host:port\", IPv6 in brackets"))?;
            Ok(Self { host, port, text: text.to_owned() })
        }))
    }
}

/// Host, IPv6 without brackets, and port. **None**: the text is no address.
fn host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().ok().map(|_| inner)?,
        None => host,
    };
    let is_name_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_name = (1..=253).contains(&host.len()) && host.chars().all(is_name_char);
    (is_name || host.contains(':') && text.starts_with('[')).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests;
