//! A method whose messages are known: JSON to the bytes of its request, and bytes of its answers to JSON.
//!
//! Pure: where the descriptors come from (a file, the service itself) is its callers' business. Errors never
//! repeat a value of the request, which may be a secret; they say its place.

#[cfg(test)]
pub(crate) mod fixtures;
mod json;
mod path;
#[cfg(test)]
mod tests;

use super::expect::Expectations;
use super::field_path::FieldPath;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use prost_types::FileDescriptorProto;
use serde_json::Value;
use std::fmt;
use std::path::{Path, PathBuf};

pub use json::Misfit;

/// Most bytes of descriptors that are read: an image of all of Google's public interfaces takes 12 MB.
pub const DESCRIPTOR_BYTES_MOST: usize = 16 << 20;

/// Messages of services, out of a file that `protoc --include_imports --descriptor_set_out` or `buf build`
/// has written.
#[derive(Clone)]
pub struct DescriptorSet {
    path: PathBuf,
    bytes: Vec<u8>,
    pool: DescriptorPool,
}

impl DescriptorSet {
    /// Reads what a file holds; `path` is what it is called in messages.
    ///
    /// # Errors
    /// [`MethodError::Descriptors`]: it is no descriptor set, is not complete, or is too large.
    pub fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self, MethodError> {
        if bytes.len() > DESCRIPTOR_BYTES_MOST {
            let most = DESCRIPTOR_BYTES_MOST >> 20;
            return Err(MethodError::Descriptors(format!("it is larger than {most} MiB")));
        }
        let pool = DescriptorPool::decode(&*bytes)
            .map_err(|error| MethodError::Descriptors(one_line(&error.to_string())))?;
        Ok(Self { path: path.to_owned(), bytes, pool })
    }

    /// Where it comes from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The descriptors.
    pub fn pool(&self) -> &DescriptorPool {
        &self.pool
    }
}

impl PartialEq for DescriptorSet {
    /// The same messages, out of the same file.
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && self.bytes == other.bytes
    }
}

impl Eq for DescriptorSet {}

impl fmt::Debug for DescriptorSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DescriptorSet").field(&self.path).finish()
    }
}

/// All of a service's files as one pool; the order does not matter.
///
/// # Errors
/// [`MethodError::Descriptors`]: they do not fit together, or one is missing.
pub fn pool_of(files: Vec<FileDescriptorProto>) -> Result<DescriptorPool, MethodError> {
    let mut pool = DescriptorPool::new();
    let added = pool.add_file_descriptor_protos(files);
    added.map_err(|error| MethodError::Descriptors(one_line(&error.to_string())))?;
    Ok(pool)
}

/// Why a method cannot be called with what is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    /// The descriptors cannot be used.
    #[error("the descriptors cannot be used: {0}")]
    Descriptors(String),
    /// They have no such service. The second text: which they have.
    #[error("there is no service {0:?} (there are: {1})")]
    NoService(String, String),
    /// The service has no such method. The third text: which it has.
    #[error("the service {0:?} has no method {1:?} (it has: {2})")]
    NoMethod(String, String, String),
    /// Its requests are a stream.
    #[error("{0} takes a stream of requests, and a probe sends one: name a unary or server-streaming method")]
    ClientStreaming(String),
    /// The JSON does not fit the request's message.
    #[error("the request does not fit {message}: {misfit}")]
    Request {
        /// The message's full name.
        message: String,
        /// What does not fit, and where.
        misfit: Misfit,
    },
    /// A rule speaks of a field that the answer cannot have.
    #[error("the rule on field {path} does not fit {message}: {why}")]
    Field {
        /// The answer's message.
        message: String,
        /// The rule's path.
        path: FieldPath,
        /// What is wrong with it.
        why: String,
    },
}

/// A method, its request, and how its answers are read.
#[derive(Clone)]
pub struct Method {
    descriptor: MethodDescriptor,
    request: Vec<u8>,
    /// With the fields' names as the descriptors have them.
    expect: Expectations,
}

impl fmt::Debug for Method {
    /// What it sends may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Method").field(&self.descriptor.full_name()).finish()
    }
}

impl Method {
    /// The method `/package.Service/Method` of these descriptors, with `request` as JSON.
    ///
    /// # Errors
    /// See [`MethodError`].
    pub fn new(
        pool: &DescriptorPool,
        method: &str,
        request: &str,
        expect: &Expectations,
    ) -> Result<Self, MethodError> {
        let (service_name, method_name) = split(method);
        let service = pool.get_service_by_name(service_name).ok_or_else(|| {
            let known = listed(pool.services().map(|service| service.full_name().to_owned()));
            MethodError::NoService(service_name.to_owned(), known)
        })?;
        let descriptor = service.methods().find(|method| method.name() == method_name).ok_or_else(|| {
            let known = listed(service.methods().map(|method| method.name().to_owned()));
            MethodError::NoMethod(service_name.to_owned(), method_name.to_owned(), known)
        })?;
        if descriptor.is_client_streaming() {
            return Err(MethodError::ClientStreaming(method.to_owned()));
        }
        let input = descriptor.input();
        let request = json::read(&input, request)
            .map_err(|misfit| MethodError::Request { message: input.full_name().to_owned(), misfit })?
            .encode_to_vec();
        let mut expect = expect.clone();
        for rule in &mut expect.rules {
            if let super::expect::Subject::Field(path) = &mut rule.subject {
                *path = path::normalised(&descriptor.output(), path).map_err(|why| MethodError::Field {
                    message: descriptor.output().full_name().to_owned(),
                    path: path.clone(),
                    why,
                })?;
            }
        }
        Ok(Self { descriptor, request, expect })
    }

    /// Whether it answers with a stream of messages.
    pub fn is_streaming(&self) -> bool {
        self.descriptor.is_server_streaming()
    }

    /// The serialised request, without the gRPC length prefix.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// What is expected of its answers.
    pub fn expect(&self) -> &Expectations {
        &self.expect
    }

    /// A message of an answer as JSON, with the fields' names as the descriptors have them; a field without
    /// presence is there with its default.
    ///
    /// # Errors
    /// What of the bytes is no such message. Nothing of them is repeated.
    pub fn answer(&self, message: &[u8]) -> Result<Value, String> {
        let output = self.descriptor.output();
        let name = output.full_name().to_owned();
        let message = DynamicMessage::decode(output, message).map_err(|error| error.to_string())?;
        json::write(&message).map_err(|error| format!("{name} as JSON: {error}"))
    }
}

/// Service and method of a path.
pub fn split(method: &str) -> (&str, &str) {
    method.trim_start_matches('/').rsplit_once('/').unwrap_or((method, ""))
}

/// Names, or as many as an error can bear.
fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    const MOST: usize = 8;
    let more = names.len().saturating_sub(MOST);
    let mut text = names.take(MOST).collect::<Vec<_>>().join(", ");
    if text.is_empty() {
        text.push_str("none");
    }
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
