//! What a Kubernetes API server says of endpoint slices, read without any I/O.
//!
//! Source: `discovery.k8s.io/v1`, and "Kubernetes API Concepts" for lists, watches, bookmarks and `Status`.

use crate::collect::discovery::json::{self, ParseError, or_empty};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The label of a slice that names its service.
pub(super) const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Which state of the cluster it shows; a watch goes on from there.
    pub version: String,
    /// What to ask the next page with. **None**: this is the last one.
    pub next: Option<String>,
    /// Its slices.
    pub slices: Vec<Slice>,
}

/// One line of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A slice that is new, or another one than it was.
    Applied(Box<Slice>),
    /// A slice that has gone, or does not match the selector any more.
    Deleted(Box<Slice>),
    /// Nothing changed up to this state.
    Bookmark {
        /// The state, as of [`Page::version`].
        version: String,
    },
    /// The watch has failed.
    Error(Status),
}

/// Why a request or a watch failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// The HTTP status that it stands for; 0 if it says none.
    #[serde(default, deserialize_with = "or_empty")]
    pub code: u16,
    /// One word, such as `Expired`.
    #[serde(default, deserialize_with = "or_empty")]
    pub reason: String,
    /// A sentence.
    #[serde(default, deserialize_with = "or_empty")]
    pub message: String,
}

impl Status {
    /// Whether the state that was asked for is not kept any more, so that only a new list can help.
    pub fn is_gone(&self) -> bool {
        self.code == 410 || self.reason == "Expired" || self.reason == "Gone"
    }
}

/// A part of a service's endpoints, all with the same ports.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Slice {
    pub(super) metadata: Metadata,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) address_type: String,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) endpoints: Vec<SliceEndpoint>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) ports: Vec<Port>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) name: String,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) namespace: String,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) resource_version: String,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SliceEndpoint {
    /// All of them lead to the same place.
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) addresses: Vec<String>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) conditions: Conditions,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) node_name: String,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) zone: String,
    pub(super) target_ref: Option<TargetRef>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

impl Conditions {
    /// The API: what is unknown is ready.
    pub(super) fn ready(&self) -> bool {
        self.ready.unwrap_or(true)
    }

    /// The API: what is unknown is as ready. Unlike ready it may be true while terminating.
    pub(super) fn serving(&self) -> bool {
        self.serving.unwrap_or_else(|| self.ready())
    }

    /// The API: what is unknown is not terminating.
    pub(super) fn terminating(&self) -> bool {
        self.terminating.unwrap_or(false)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct TargetRef {
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) kind: String,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Port {
    /// Empty where a service has one port without a name.
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) name: String,
    /// None is any port.
    pub(super) port: Option<i64>,
    /// None is TCP.
    pub(super) protocol: Option<String>,
}

/// One page of a list of endpoint slices.
///
/// # Errors
/// It is no list of endpoint slices.
pub fn parse_page(body: &[u8]) -> Result<Page, ParseError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ListMeta {
        resource_version: String,
        #[serde(rename = "continue", default, deserialize_with = "or_empty")]
        next: String,
    }
    #[derive(Deserialize)]
    struct List {
        metadata: ListMeta,
        #[serde(default, deserialize_with = "or_empty")]
        items: Vec<Slice>,
    }
    let List { metadata, items } = json::parse(body, "a list of endpoint slices")?;
    let next = Some(metadata.next).filter(|next| !next.is_empty());
    Ok(Page { version: metadata.resource_version, next, slices: items })
}

/// One line of a watch over endpoint slices.
///
/// # Errors
/// It is no event, or one of a kind that is not known.
pub fn parse_event(line: &[u8]) -> Result<Event, ParseError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "UPPERCASE")]
    enum Kind {
        Added,
        Modified,
        Deleted,
        Bookmark,
        Error,
    }
    #[derive(Deserialize)]
    struct Line {
        #[serde(rename = "type")]
        kind: Kind,
    }
    #[derive(Deserialize)]
    struct Of<T> {
        object: T,
    }
    // A bookmark has nothing but its version.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        resource_version: String,
    }
    #[derive(Deserialize)]
    struct Marked {
        metadata: Version,
    }
    // What the object is depends on the kind, which need not stand first: two passes.
    let Line { kind } = json::parse(line, "an event of a watch")?;
    Ok(match kind {
        Kind::Added | Kind::Modified => {
            Event::Applied(json::parse::<Of<_>>(line, "an event with an endpoint slice")?.object)
        }
        Kind::Deleted => {
            Event::Deleted(json::parse::<Of<_>>(line, "an event with an endpoint slice")?.object)
        }
        Kind::Bookmark => {
            let marked: Of<Marked> = json::parse(line, "a bookmark")?;
            Event::Bookmark { version: marked.object.metadata.resource_version }
        }
        Kind::Error => Event::Error(json::parse::<Of<_>>(line, "an event with a status")?.object),
    })
}

/// The body of an answer that says no; what is no status says nothing.
pub(super) fn parse_status(body: &[u8]) -> Status {
    serde_json::from_slice(body).unwrap_or_default()
}
