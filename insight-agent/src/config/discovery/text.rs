//! Strings of a template: fixed text with placeholders that each endpoint fills.
//!
//! `{name}`, `{host}`, `{port}`, `{address}`, `{meta.KEY}`, `{meta.KEY:default}` and `{discovery}`; `{{` and
//! `}}` are literal braces.

use super::field::Field;
use crate::config::braces::{Part, split};
use crate::config::errors::Complaint;
use crate::model::discovery::Endpoint;

/// A string, split into fixed text and placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(Vec<Part<Slot>>);

/// What a placeholder stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Slot {
    /// The name of the `[[discovery]]`.
    Discovery,
    Field {
        field: Field,
        default: Option<String>,
    },
}

impl Text {
    /// Splits a string.
    ///
    /// # Errors
    /// A brace without a partner, or a placeholder that stands for nothing.
    pub(in crate::config) fn parse(text: &str) -> Result<Self, Complaint> {
        split(text, placeholder).map(Self)
    }

    /// Whether it is the same for all endpoints. Doubled braces do not make it another one.
    pub fn is_fixed(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::Fixed(_)))
    }

    /// The text for an endpoint; what is put in goes through `fit`, fixed text does not.
    ///
    /// # Errors
    /// The key of the meta that the endpoint has not, and that has no default.
    pub fn fill(
        &self,
        discovery: &str,
        endpoint: &Endpoint,
        fit: impl Fn(&str) -> String,
    ) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Fixed(fixed) => text.push_str(fixed),
                Part::Open(Slot::Discovery) => text.push_str(&fit(discovery)),
                Part::Open(Slot::Field { field, default }) => match (field.of(endpoint), default, field) {
                    (Some(value), ..) => text.push_str(&fit(&value)),
                    (None, Some(default), _) => text.push_str(&fit(default)),
                    (None, None, Field::Meta(key)) => return Err(key.clone()),
                    // Every endpoint has everything else.
                    (None, None, _) => {}
                },
            }
        }
        Ok(text)
    }

    /// What a check of the rest can be made with, before there is any endpoint. **`alone`**: what meta
    /// without a default stands for where it is the whole text.
    pub(in crate::config) fn sample(&self, discovery: &str, alone: &str) -> String {
        let is_alone = self.0.len() == 1;
        let parts = self.0.iter().map(|part| match part {
            Part::Fixed(fixed) => fixed.as_str(),
            Part::Open(Slot::Discovery) => discovery,
            Part::Open(Slot::Field { default: Some(default), .. }) => default,
            Part::Open(Slot::Field { field: Field::Address, .. }) => "host.example:1",
            Part::Open(Slot::Field { field: Field::Host, .. }) => "host.example",
            Part::Open(Slot::Field { field: Field::Meta(_), .. }) if is_alone => alone,
            Part::Open(Slot::Field { .. }) => "1",
        });
        parts.collect()
    }
}

fn placeholder(word: &str) -> Result<Slot, Complaint> {
    let (name, default) = match word.split_once(':') {
        Some((name, default)) => (name, Some(default.to_owned())),
        None => (word, None),
    };
    if name == "discovery" && default.is_none() {
        return Ok(Slot::Discovery);
    }
    let field = Field::parse(name).map_err(|complaint| {
        let advice = format!("{}; write {{{{ and }}}} for literal braces", complaint.advice);
        Complaint::new(format!("no placeholder: {}", complaint.what), advice)
    })?;
    if default.is_some() && !matches!(field, Field::Meta(_)) {
        let what = format!("every endpoint has a {name}, so {{{name}}} needs no default");
        return Err(Complaint::new(what, format!("write {{{name}}}")));
    }
    Ok(Slot::Field { field, default })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filled(text: &str) -> Result<String, String> {
        let meta = [("region".to_owned(), "sg".to_owned())].into();
        let endpoint = Endpoint { name: "orders-1".into(), host: "::1".into(), port: 443, meta };
        Text::parse(text).unwrap().fill("file", &endpoint, str::to_owned)
    }

    #[test]
    fn placeholders_are_replaced() {
        for (text, expected) in [
            ("{discovery}.{name}", "file.orders-1"),
            ("{host} {port} {address}", "::1 443 [::1]:443"),
            ("{meta.region}-{meta.zone:a:b}", "sg-a:b"),
            ("{meta.zone:}", ""),
            ("{{{name}}}", "{orders-1}"),
            ("", ""),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn meta_that_is_missing_without_a_default_is_named() {
        assert_eq!(filled("x-{meta.zone}"), Err("zone".to_owned()));
    }

    #[test]
    fn what_is_put_in_is_fitted_and_fixed_text_is_not() {
        let endpoint = Endpoint { name: "a:b".into(), host: "h".into(), port: 1, meta: [].into() };
        let text = Text::parse("x:{name}").unwrap();
        assert_eq!(text.fill("d", &endpoint, |value| value.replace(':', "-")).unwrap(), "x:a-b");
    }

    #[test]
    fn what_stands_for_nothing_is_refused_with_advice() {
        for (text, what) in [
            ("{nmae}", "nothing of an endpoint"),
            ("{meta.}", "no key follows"),
            ("{port:80}", "needs no default"),
            ("{", "no partner"),
            ("}", "no partner"),
            ("a{name", "no partner"),
            ("{a{name}}", "nothing of an endpoint"),
        ] {
            let complaint = Text::parse(text).unwrap_err();
            assert!(complaint.what.contains(what), "{text}: {complaint:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "[{}a-z:.\\PC]{0,30}") {
            if let Ok(text) = Text::parse(&text) {
                let _ = text.sample("d", "x");
            }
        }

        #[test]
        fn any_text_can_be_written_with_doubled_braces(text in "\\PC{0,20}") {
            let written = text.replace('{', "{{").replace('}', "}}");
            prop_assert_eq!(filled(&written), Ok(text));
        }

        #[test]
        fn a_value_with_braces_is_put_in_as_it_is(value in "[{}a-z]{0,10}") {
            let meta = [("k".to_owned(), value.clone())].into();
            let endpoint = Endpoint { name: "n".into(), host: "h".into(), port: 1, meta };
            let text = Text::parse("<{meta.k}>").unwrap();
            prop_assert_eq!(text.fill("d", &endpoint, str::to_owned), Ok(format!("<{value}>")));
        }
    }
}
