//! The label values of one series, as a key.

use std::cmp::Ordering;

/// `N` label values in one text: a target has dozens of series, and each is kept as long as the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Labels<const N: usize> {
    text: Box<str>,
    /// Where each value ends.
    ends: [u32; N],
}

impl<const N: usize> Labels<N> {
    pub(super) fn of(values: [&str; N]) -> Self {
        let mut end = 0_u32;
        let ends = values.map(|value| {
            // No label is of 4 GiB.
            end = end.saturating_add(u32::try_from(value.len()).unwrap_or(u32::MAX));
            end
        });
        Self { text: values.concat().into(), ends }
    }

    pub(super) fn values(&self) -> [&str; N] {
        let mut begin = 0;
        self.ends.map(|end| {
            let value = self.text.get(begin..end as usize).unwrap_or_default();
            begin = end as usize;
            value
        })
    }
}

impl<const N: usize> Ord for Labels<N> {
    /// By the first value, then by the next.
    fn cmp(&self, other: &Self) -> Ordering {
        self.values().cmp(&other.values())
    }
}

impl<const N: usize> PartialOrd for Labels<N> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn labels_keep_their_values_and_are_ordered_as_these_are(
            one in any::<[String; 3]>(), other in any::<[String; 3]>(), swap in 0..3_usize,
        ) {
            let [one, mut other] = [one, other];
            // Some are the same.
            other[swap].clone_from(&one[swap]);
            let [one, other] = [one.each_ref().map(String::as_str), other.each_ref().map(String::as_str)];
            let (key, next) = (Labels::of(one), Labels::of(other));
            prop_assert_eq!(key.values(), one);
            prop_assert_eq!(key.cmp(&next), one.cmp(&other));
            prop_assert_eq!(key == next, one == other);
        }
    }

    #[test]
    fn values_that_read_the_same_together_are_not_the_same() {
        assert_ne!(Labels::of(["ab", "c"]), Labels::of(["a", "bc"]));
    }
}
