//! Messages from and to JSON, as protobuf's own mapping has it, with errors that say the place.

use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;
use std::fmt;

/// What of a JSON text does not fit a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The field or element, such as `items[0].id`; `.` is the whole.
    pub path: String,
    /// 1-based line of the text.
    pub line: usize,
    /// 1-based column.
    pub column: usize,
    /// What was found and what belongs there, without the value itself.
    pub what: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, column, what } = self;
        write!(f, "at {path} (line {line}, column {column}): {what}")
    }
}

/// The message that a JSON text describes; a field that it does not have is an error.
pub(super) fn read(message: &MessageDescriptor, text: &str) -> Result<DynamicMessage, Misfit> {
    let mut json = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let read = DynamicMessage::deserialize_with_options(message.clone(), tracked, &options);
    let misfit = |error: serde_json::Error, path: String| {
        let (line, column) = (error.line(), error.column());
        Misfit { path, line, column, what: without_value(&error.to_string()) }
    };
    let read = read.map_err(|error| misfit(error, track.path().to_string()))?;
    json.end().map_err(|error| misfit(error, ".".to_owned()))?;
    Ok(read)
}

/// As [`super::Method::answer`] has it.
pub(super) fn write(message: &DynamicMessage) -> Result<Value, String> {
    let options = SerializeOptions::new()
        .skip_default_fields(false)
        .use_proto_field_name(true)
        .stringify_64_bit_integers(false);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|error| without_value(&error.to_string()))
}

/// A message of serde without the value that it quotes, and without the place, which is told apart:
/// `invalid type: string "x", expected …` becomes `invalid type: string, expected …`.
fn without_value(text: &str) -> String {
    let text = text.rsplit_once(" at line ").map_or(text, |(text, _)| text);
    let quoted = text.split_once(": ").filter(|(kind, _)| kind.starts_with("invalid "));
    let Some((kind, rest)) = quoted else { return text.to_owned() };
    let Some((found, expected)) = rest.rsplit_once(", expected ") else { return kind.to_owned() };
    let found = found.split([' ', '`', '"']).next().unwrap_or_default();
    format!("{kind}: {found}, expected {expected}")
}
