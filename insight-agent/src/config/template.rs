//! Metadata values with placeholders: every forwarding layer has its own convention for telling
//! where a request shall go, so none is built in.

use super::braces::{Part, split};
use super::errors::{Complaint, offer};

/// What a placeholder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    /// `{region}`: the probe's target region.
    Region,
    /// `{service}`: the probe's service.
    Service,
    /// `{probe}`: the probe's name.
    Probe,
    /// `{source}`: this agent's region.
    Source,
}

const PLACEHOLDERS: [(&str, Placeholder); 4] = [
    ("region", Placeholder::Region),
    ("service", Placeholder::Service),
    ("probe", Placeholder::Probe),
    ("source", Placeholder::Source),
];

/// A metadata value, split into fixed text and placeholders. `{{` and `}}` are literal braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part<Placeholder>>);

impl Template {
    /// Splits a value. The complaint never repeats the value, which may carry a credential.
    pub(super) fn parse(text: &str) -> Result<Self, Complaint> {
        split(text, placeholder).map(Self)
    }

    /// Whether the placeholder occurs.
    pub fn uses(&self, placeholder: Placeholder) -> bool {
        self.0.contains(&Part::Open(placeholder))
    }

    /// The value with every placeholder replaced.
    pub fn fill<'a>(&self, meaning: impl Fn(Placeholder) -> &'a str) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Fixed(text) => text.as_str(),
            Part::Open(placeholder) => meaning(*placeholder),
        });
        parts.collect()
    }
}

fn placeholder(word: &str) -> Result<Placeholder, Complaint> {
    let found = PLACEHOLDERS.iter().find(|(name, _)| *name == word);
    found.map(|(_, placeholder)| *placeholder).ok_or_else(|| {
        // A JSON value with a password in it has braces too: only a plain word is repeated.
        let is_word = word.len() <= 20 && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let what = match is_word {
            true => format!("unknown placeholder {{{word}}}"),
            false => "the text between braces is no placeholder".into(),
        };
        let advice = offer(word, PLACEHOLDERS.iter().map(|(name, _)| *name));
        Complaint::new(what, format!("{advice}; write {{{{ and }}}} for literal braces"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filled(text: &str) -> String {
        Template::parse(text).unwrap().fill(|placeholder| match placeholder {
            Placeholder::Region => "sg",
            Placeholder::Service => "orders",
            Placeholder::Probe => "p1",
            Placeholder::Source => "eu",
        })
    }

    #[test]
    fn placeholders_are_replaced() {
        assert_eq!(filled("{source}-{region}/{service}?{probe}"), "eu-sg/orders?p1");
        assert_eq!(filled(""), "");
    }

    #[test]
    fn doubled_braces_are_literal() {
        assert_eq!(filled("{{\"to\":\"{region}\"}}"), "{\"to\":\"sg\"}");
    }

    #[test]
    fn an_unknown_placeholder_is_answered_with_the_nearest() {
        let complaint = Template::parse("a-{regoin}").unwrap_err();
        assert_eq!(complaint.what, "unknown placeholder {regoin}");
        assert!(complaint.advice.starts_with("did you mean \"region\"?"), "{}", complaint.advice);
    }

    #[test]
    fn text_between_braces_that_may_be_a_secret_is_not_repeated() {
        let complaint = Template::parse("{\"password\":\"hunter2\"}").unwrap_err();
        assert!(!format!("{complaint:?}").contains("hunter2"), "{complaint:?}");
    }

    #[test]
    fn an_unpaired_brace_is_refused() {
        for text in ["{", "}", "a{region", "region}", "{{}", "{}}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_without_braces_stays_as_it_is(text in "[^{}]*") {
            prop_assert_eq!(filled(&text), text);
        }

        #[test]
        fn arbitrary_text_never_panics(text in "[{}a-z\\PC]*") {
            let _ = Template::parse(&text);
        }
    }
}
