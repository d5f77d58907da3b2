//! Strings of a template: fixed text with placeholders that each endpoint fills.
//!
//! `{name}`, `{host}`, `{port}`, `{address}`, `{meta.KEY}`, `{meta.KEY:default}` and `{discovery}`; `{{` and
//! `}}` are literal braces.

use super::field::Field;
use crate::config::errors::Complaint;
use crate::model::discovery::Endpoint;

/// A string, split into fixed text and placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Fixed(String),
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
        let mut parts = Vec::new();
        let mut fixed = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            fixed.push_str(&rest[..at]);
            let (brace, after) = (&rest[at..=at], &rest[at + 1..]);
            if after.starts_with(brace) {
                fixed.push_str(brace);
                rest = &after[1..];
                continue;
            }
            let unpaired = || Complaint::new("a brace has no partner", "write {{ and }} for literal braces");
            if brace == "}" {
                return Err(unpaired());
            }
            let (word, after) = after.split_once('}').ok_or_else(unpaired)?;
            if !fixed.is_empty() {
                parts.push(Part::Fixed(std::mem::take(&mut fixed)));
            }
            parts.push(placeholder(word)?);
            rest = after;
        }
        fixed.push_str(rest);
        if !fixed.is_empty() {
            parts.push(Part::Fixed(fixed));
        }
        Ok(Self(parts))
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
                Part::Discovery => text.push_str(&fit(discovery)),
                Part::Field { field, default } => match (field.of(endpoint), default, field) {
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
            Part::Discovery => discovery,
            Part::Field { default: Some(default), .. } => default,
            Part::Field { field: Field::Address, .. } => "host.example:1",
            Part::Field { field: Field::Host, .. } => "host.example",
            Part::Field { field: Field::Meta(_), .. } if is_alone => alone,
            Part::Field { .. } => "1",
        });
        parts.collect()
    }
}

fn placeholder(word: &str) -> Result<Part, Complaint> {
    let (name, default) = match word.split_once(':') {
        Some((name, default)) => (name, Some(default.to_owned())),
        None => (word, None),
    };
    if name == "discovery" && default.is_none() {
        return Ok(Part::Discovery);
    }
    let field = Field::parse(name).map_err(|complaint| {
        let advice = format!("{}; write {{{{ and }}}} for literal braces", complaint.advice);
        Complaint::new(format!("no placeholder: {}", complaint.what), advice)
    })?;
    if default.is_some() && !matches!(field, Field::Meta(_)) {
        let what = format!("every endpoint has a {name}, so {{{name}}} needs no default");
        return Err(Complaint::new(what, format!("write {{{name}}}")));
    }
    Ok(Part::Field { field, default })
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
