//! A number with a unit, as written in the configuration: the part that durations and sizes share.

/// Why a text is not a quantity of the wanted sort.
///
/// The text of the error is the *what*; [`QuantityError::advice`] is the *what to do*.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Digits alone: whether `5` is seconds or milliseconds is not ours to guess.
    #[error("a {sort} needs a unit")]
    NoUnit {
        /// "duration" or "size".
        sort: &'static str,
        /// The text with the most likely unit.
        suggestion: String,
    },
    /// A unit that does not exist, or is spelled otherwise.
    #[error("\"{unit}\" is no unit of a {sort}")]
    UnknownUnit {
        /// "duration" or "size".
        sort: &'static str,
        /// The unit as found.
        unit: String,
        /// What to write instead.
        suggestion: String,
    },
    /// No number in front of the unit, or a sign, or two points.
    #[error("a {sort} starts with a number without sign")]
    NoNumber {
        /// "duration" or "size".
        sort: &'static str,
        /// An example.
        suggestion: String,
    },
    /// Digits beyond the smallest unit (1 ns, 1 B).
    #[error("a {sort} is a whole number of {smallest}")]
    TooFine {
        /// "duration" or "size".
        sort: &'static str,
        /// The smallest unit's name.
        smallest: &'static str,
    },
    /// More than 64 bits hold.
    #[error("this {sort} is beyond any range")]
    TooLarge {
        /// "duration" or "size".
        sort: &'static str,
    },
}

impl QuantityError {
    /// What to do about it: lower case, no full stop.
    pub fn advice(&self) -> String {
        match self {
            Self::NoUnit { suggestion, .. }
            | Self::UnknownUnit { suggestion, .. }
            | Self::NoNumber { suggestion, .. } => suggestion.clone(),
            Self::TooFine { .. } => "write fewer digits after the point".into(),
            Self::TooLarge { .. } => "write a smaller number".into(),
        }
    }
}

/// A family of units, the smallest first.
pub(super) struct Units {
    /// "duration" or "size".
    pub sort: &'static str,
    /// Name and length in the smallest unit, ascending.
    pub units: &'static [(&'static str, u64)],
    /// Other spellings, only to answer them with the right one.
    pub misspelled: &'static [(&'static str, &'static str)],
    /// The unit most likely meant by a bare number.
    pub likely: &'static str,
    /// The plural name of the smallest unit.
    pub smallest: &'static str,
}

impl Units {
    /// The quantity in the smallest unit.
    ///
    /// A fraction is allowed where the result is whole (`"0.5s"`).
    pub fn parse(&self, text: &str) -> Result<u64, QuantityError> {
        let sort = self.sort;
        let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (number, unit) = (&text[..end], text[end..].trim_start());
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || fraction.contains('.') || (fraction.is_empty() && number.contains('.')) {
            let suggestion = format!("write a number and a unit, such as \"5{}\"", self.likely);
            return Err(QuantityError::NoNumber { sort, suggestion });
        }
        if unit.is_empty() {
            return Err(QuantityError::NoUnit {
                sort,
                suggestion: format!("write \"{number}{}\"", self.likely),
            });
        }
        let Some((_, scale)) = self.units.iter().find(|(name, _)| *name == unit) else {
            return Err(QuantityError::UnknownUnit {
                sort,
                unit: unit.into(),
                suggestion: self.respell(number, unit),
            });
        };
        let too_large = || QuantityError::TooLarge { sort };
        let whole =
            whole.parse::<u64>().map_err(|_| too_large())?.checked_mul(*scale).ok_or_else(too_large)?;
        whole.checked_add(self.fraction(fraction, *scale)?).ok_or_else(too_large)
    }

    /// The part after the point, in the smallest unit.
    fn fraction(&self, digits: &str, scale: u64) -> Result<u64, QuantityError> {
        let too_fine = || QuantityError::TooFine { sort: self.sort, smallest: self.smallest };
        let digits = digits.trim_end_matches('0');
        // An hour in nanoseconds has 13 digits; 18 more leave u128 (38 digits) room for the product.
        if digits.len() > 18 {
            return Err(too_fine());
        }
        let numerator = match digits {
            "" => return Ok(0),
            digits => u128::from(scale).checked_mul(digits.parse::<u128>().map_err(|_| too_fine())?),
        };
        let (numerator, denominator) = (numerator.ok_or_else(too_fine)?, 10u128.pow(digits.len() as u32));
        if !numerator.is_multiple_of(denominator) {
            return Err(too_fine());
        }
        u64::try_from(numerator / denominator).map_err(|_| QuantityError::TooLarge { sort: self.sort })
    }

    /// The shortest exact way to write an amount of the smallest unit: the largest unit that divides it.
    pub fn render(&self, amount: u64) -> String {
        let mut dividing = self.units.iter().rev().filter(|(_, scale)| amount.is_multiple_of(*scale));
        match dividing.next() {
            // Zero divides by everything; "0s" reads better than "0h".
            Some((name, scale)) if amount > 0 => format!("{}{name}", amount / scale),
            _ => format!("{amount}{}", self.likely),
        }
    }

    fn respell(&self, number: &str, unit: &str) -> String {
        match self.misspelled.iter().find(|(wrong, _)| wrong.eq_ignore_ascii_case(unit)) {
            Some((_, right)) => format!("write \"{number}{right}\""),
            None => {
                let names: Vec<_> = self.units.iter().map(|(name, _)| *name).collect();
                format!("write one of the units {}", names.join(", "))
            }
        }
    }
}
