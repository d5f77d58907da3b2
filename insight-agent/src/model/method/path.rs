//! Does a message have what a rule speaks of? Paths held against descriptors.

use crate::model::field_path::{FieldPath, Step};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

/// What a step leads to.
enum At {
    Message(MessageDescriptor),
    /// A list of a field's elements, or a map.
    Field(FieldDescriptor),
    Scalar,
    /// JSON has a form of its own here (timestamps, wrappers, `Any`, `Struct`): anything may be below it.
    Open,
}

/// The path with the names that descriptors have; `camelCase` names are understood too.
///
/// **Errors**: the first step that leads nowhere.
pub(super) fn normalised(message: &MessageDescriptor, path: &FieldPath) -> Result<FieldPath, String> {
    let mut steps = Vec::new();
    let mut at = of_message(message.clone());
    for step in path.steps() {
        let (step, next) = match (at, step) {
            (At::Open, step) => (step.clone(), At::Open),
            (At::Scalar, _) => return Err("there is nothing below a field that is no message".to_owned()),
            (At::Message(message), Step::Name(name) | Step::Key(name)) => {
                let field = message
                    .get_field_by_name(name)
                    .or_else(|| message.get_field_by_json_name(name))
                    .ok_or_else(|| no_field(&message, name))?;
                (Step::Name(field.name().to_owned()), of_field(field))
            }
            (At::Message(message), Step::Index(_)) => {
                return Err(format!("{} is no list", message.full_name()));
            }
            (At::Field(field), Step::Name(key) | Step::Key(key)) if field.is_map() => {
                (Step::Key(key.clone()), of_entry(&field))
            }
            (At::Field(field), Step::Index(index)) if field.is_list() => {
                (Step::Index(*index), of_kind(&field.kind()))
            }
            (At::Field(field), _) if field.is_map() => {
                return Err(format!("{} is a map: name a key, as {}[\"KEY\"]", field.name(), field.name()));
            }
            (At::Field(field), _) => {
                return Err(format!("{} is a list: name an element, as {}[0]", field.name(), field.name()));
            }
        };
        steps.push(step);
        at = next;
    }
    Ok(steps.into())
}

fn no_field(message: &MessageDescriptor, name: &str) -> String {
    let known = super::listed(message.fields().map(|field| field.name().to_owned()));
    format!("{} has no field {name:?} (it has: {known})", message.full_name())
}

fn of_field(field: FieldDescriptor) -> At {
    if field.is_map() || field.is_list() { At::Field(field) } else { of_kind(&field.kind()) }
}

/// A map's values.
fn of_entry(field: &FieldDescriptor) -> At {
    match field.kind() {
        Kind::Message(entry) => of_kind(&entry.map_entry_value_field().kind()),
        _ => At::Scalar,
    }
}

fn of_kind(kind: &Kind) -> At {
    match kind {
        Kind::Message(message) => of_message(message.clone()),
        _ => At::Scalar,
    }
}

fn of_message(message: MessageDescriptor) -> At {
    if message.package_name() == "google.protobuf" && message.full_name() != "google.protobuf.Empty" {
        At::Open
    } else {
        At::Message(message)
    }
}
