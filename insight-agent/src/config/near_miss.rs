//! Which known word did a mistyped one mean?
//!
//! An answer that is wrong is worse than none: only words within a third of their length are
//! offered.

/// The candidate nearest to `word`, if one is near enough to be offered as "did you mean".
///
/// Letter case and the difference between `-` and `_` do not count. **None**: nothing is near.
pub(super) fn near_miss<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = normalise(word);
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let known = normalise(candidate);
            let distance = edits(&word, &known);
            (distance <= (known.len().min(word.len()) / 3).max(1)).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        // One edit turns any single letter into any other: that is no resemblance.
        .filter(|(distance, candidate)| *distance < candidate.chars().count())
        .map(|(_, candidate)| candidate)
}

fn normalise(word: &str) -> Vec<char> {
    word.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).flat_map(char::to_lowercase).collect()
}

/// Fewest insertions, deletions, substitutions and swaps of neighbours between two words.
fn edits(a: &[char], b: &[char]) -> usize {
    // Rows of the usual table: two back (for swaps), the previous one, the current one.
    let mut before = vec![0; b.len() + 1];
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut current = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let substitution = previous[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            current[j] = substitution.min(previous[j] + 1).min(current[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                current[j] = current[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut previous, current);
    }
    previous[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 5] = ["interval", "deadline", "drain", "target", "token_file"];

    #[test]
    fn a_typo_finds_its_key() {
        for (typo, meant) in [
            ("intervall", "interval"),
            ("inetrval", "interval"),
            ("Deadline", "deadline"),
            ("darin", "drain"),
            ("token-file", "token_file"),
        ] {
            assert_eq!(near_miss(typo, KEYS), Some(meant), "{typo}");
        }
    }

    #[test]
    fn a_different_word_finds_nothing() {
        for word in ["", "x", "colour", "timeout"] {
            assert_eq!(near_miss(word, KEYS), None, "{word}");
        }
        assert_eq!(near_miss("x", ["s", "m"]), None);
    }

    #[test]
    fn of_two_near_words_the_nearer_wins() {
        assert_eq!(near_miss("mediary-b", ["mediary-a2", "mediary-b2"]), Some("mediary-b2"));
    }
}
