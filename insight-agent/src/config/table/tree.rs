//! Tables whose strings are replaced before they are read.

use serde::Deserialize;
use std::borrow::Cow;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

/// A table in TOML, without places.
///
/// **None**: it cannot be written, of which no table is known that could be read.
pub fn written(table: &DeTable<'_>) -> Option<String> {
    let table = toml::Table::deserialize(Deserializer::from(Spanned::new(0..0, table.clone()))).ok()?;
    toml::to_string(&table).ok()
}

/// The string at a key, which may be one of a table below: `tls.server_name`. **None**: none is there.
pub fn string_at<'t>(table: &'t DeTable<'_>, path: &str) -> Option<&'t str> {
    match path.split_once('.') {
        Some((key, rest)) => string_at(table.get(key)?.get_ref().as_table()?, rest),
        None => table.get(path)?.get_ref().as_str(),
    }
}

/// Puts a string there; the place in the text stays that of what it replaces. A table below that is not
/// there stays so.
pub fn set_string(table: &mut DeTable<'_>, path: &'static str, text: String) {
    match path.split_once('.') {
        Some((key, rest)) => {
            if let Some(DeValue::Table(below)) = table.get_mut(key).map(Spanned::get_mut) {
                set_string(below, rest, text);
            }
        }
        None => {
            let text = DeValue::String(Cow::Owned(text));
            match table.get_mut(path) {
                Some(value) => *value.get_mut() = text,
                None => {
                    table.insert(Spanned::new(0..0, Cow::Borrowed(path)), Spanned::new(0..0, text));
                }
            }
        }
    }
}
