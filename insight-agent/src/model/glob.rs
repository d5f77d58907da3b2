//! Patterns: `*` stands for any characters or none, `?` for one, and a backslash takes its meaning from the
//! character behind it.

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Vec<Part>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Char(char),
    One,
    Any,
}

impl Glob {
    /// Reads a pattern. Every text is one: a backslash at the end stands for itself.
    pub fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let part = match c {
                '*' => Part::Any,
                '?' => Part::One,
                '\\' => Part::Char(chars.next().unwrap_or('\\')),
                c => Part::Char(c),
            };
            // Several stars in a row say what one says.
            if part != Part::Any || parts.last() != Some(&Part::Any) {
                parts.push(part);
            }
        }
        Self(parts)
    }

    /// Whether it is a pattern at all, and not one text.
    pub fn is_pattern(&self) -> bool {
        self.0.iter().any(|part| !matches!(part, Part::Char(_)))
    }

    /// Whether the whole text is as the pattern says. Letter case counts.
    ///
    /// **Cost**: at most the product of both lengths: only the last star is tried again.
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut part) = (0, 0);
        // Where the last star stands, and up to where it has taken the text.
        let mut star: Option<(usize, usize)> = None;
        while at < text.len() {
            match self.0.get(part) {
                Some(Part::Any) => {
                    star = Some((part, at));
                    part += 1;
                }
                Some(Part::One) => (at, part) = (at + 1, part + 1),
                Some(Part::Char(c)) if *c == text[at] => (at, part) = (at + 1, part + 1),
                _ => {
                    let Some((star_part, taken)) = star else { return false };
                    star = Some((star_part, taken + 1));
                    (at, part) = (taken + 1, star_part + 1);
                }
            }
        }
        self.0[part..].iter().all(|part| *part == Part::Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_and_question_marks_stand_for_characters() {
        for (pattern, text) in [
            ("orders-*", "orders-1"),
            ("orders-*", "orders-"),
            ("*.json", ".json"),
            ("a*b*c", "a-b-b-c"),
            ("?", "é"),
            ("", ""),
            ("*", ""),
            (r"\*", "*"),
            (r"a\", r"a\"),
        ] {
            assert!(Glob::parse(pattern).matches(text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("orders-*", "Orders-1"), ("?", ""), ("a*b", "a-c"), (r"\*", "x"), ("", "x"), ("a", "ab")]
        {
            assert!(!Glob::parse(pattern).matches(text), "{pattern} {text}");
        }
    }

    /// What the pattern means, without care for cost.
    fn slow(parts: &[Part], text: &[char]) -> bool {
        match (parts.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((Part::Any, rest)), _) => (0..=text.len()).any(|taken| slow(rest, &text[taken..])),
            (Some((Part::One, rest)), Some((_, more))) => slow(rest, more),
            (Some((Part::Char(c), rest)), Some((first, more))) => c == first && slow(rest, more),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_match_is_what_the_definition_says(pattern in "[ab*?\\\\]{0,8}", text in "[ab*]{0,10}") {
            let glob = Glob::parse(&pattern);
            let chars: Vec<_> = text.chars().collect();
            prop_assert_eq!(glob.matches(&text), slow(&glob.0, &chars));
        }

        #[test]
        fn a_text_without_signs_matches_itself_alone(text in "[a-z.-]{0,12}", other in "[a-z.-]{0,12}") {
            prop_assert!(Glob::parse(&text).matches(&text));
            prop_assert_eq!(Glob::parse(&text).matches(&other), text == other);
        }
    }
}
