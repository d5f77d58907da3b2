//! The faults a run can be given: each one place, one size, one way back.

use anyhow::{Result, bail};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// One thing that is wrong in the lab. Injecting a fault of a kind that is already active
/// replaces it.
///
/// Text form: `NAME` or `NAME=DURATION` with a unit (`us`, `ms`, `s`), for example
/// `wan-delay=40ms`; without a duration the default named below applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `wan-delay` (default 40 ms): round-trip time added to the WAN link, half in each direction.
    WanDelay(Duration),
    /// `gateway-slow` (default 30 ms): time every request spends more inside gateway-b, between
    /// its arrival and its forwarding.
    GatewaySlow(Duration),
    /// `service-slow` (default 30 ms): service time added to service-b and to the Insight receiver.
    ServiceSlow(Duration),
    /// `mediary-a-down`: the process of mediary-a is killed; nothing listens on its address.
    MediaryADown,
}

impl Fault {
    /// Every fault's name in its text form.
    pub const NAMES: [&'static str; 4] = ["wan-delay", "gateway-slow", "service-slow", "mediary-a-down"];

    /// The name without the size.
    pub const fn name(&self) -> &'static str {
        match self {
            Fault::WanDelay(_) => Self::NAMES[0],
            Fault::GatewaySlow(_) => Self::NAMES[1],
            Fault::ServiceSlow(_) => Self::NAMES[2],
            Fault::MediaryADown => Self::NAMES[3],
        }
    }

    /// The time this fault adds to a request; `None` for a fault that is not a delay.
    pub const fn added(&self) -> Option<Duration> {
        match self {
            Fault::WanDelay(d) | Fault::GatewaySlow(d) | Fault::ServiceSlow(d) => Some(*d),
            Fault::MediaryADown => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.added() {
            Some(added) => write!(f, "{}={}", self.name(), format_duration(added)),
            None => f.write_str(self.name()),
        }
    }
}

impl FromStr for Fault {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Fault> {
        let (name, size) = match text.split_once('=') {
            Some((name, size)) => (name, Some(parse_duration(size)?)),
            None => (text, None),
        };
        let or = |default_ms| size.unwrap_or(Duration::from_millis(default_ms));
        match name {
            "wan-delay" => Ok(Fault::WanDelay(or(40))),
            "gateway-slow" => Ok(Fault::GatewaySlow(or(30))),
            "service-slow" => Ok(Fault::ServiceSlow(or(30))),
            "mediary-a-down" if size.is_some() => {
                bail!("fault {text:?}: mediary-a-down takes no duration; write \"mediary-a-down\"")
            }
            "mediary-a-down" => Ok(Fault::MediaryADown),
            _ => bail!("fault {text:?}: no such fault; there are {}", Self::NAMES.join(", ")),
        }
    }
}

/// Reads a duration with its unit (`us`, `ms` or `s`; fractions allowed), as in `12.5ms`.
///
/// # Errors
/// The text has no unit or no number before it, or is longer than a day.
pub fn parse_duration(text: &str) -> Result<Duration> {
    // Longest unit first: "ms" and "us" also end in "s".
    let (number, unit_s) = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)]
        .iter()
        .find_map(|(unit, seconds)| text.strip_suffix(unit).map(|number| (number, *seconds)))
        .ok_or_else(|| anyhow::anyhow!("duration {text:?}: a duration needs a unit; write \"40ms\""))?;
    match number.parse::<f64>() {
        Ok(n) if n >= 0.0 && n * unit_s <= 86_400.0 => Ok(Duration::from_secs_f64(n * unit_s)),
        _ => bail!("duration {text:?}: expected a number from 0 to one day before the unit, as in \"40ms\""),
    }
}

/// The shortest text that [`parse_duration`] reads back as the same number of microseconds.
pub fn format_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    match (micros.is_multiple_of(1_000_000), micros.is_multiple_of(1000)) {
        _ if micros == 0 => "0ms".to_owned(),
        (true, _) => format!("{}s", micros / 1_000_000),
        (_, true) => format!("{}ms", micros / 1000),
        _ => format!("{micros}us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_read_back_as_the_same_fault() {
        let all = [
            Fault::WanDelay(Duration::from_millis(40)),
            Fault::GatewaySlow(Duration::from_micros(1500)),
            Fault::ServiceSlow(Duration::from_secs(2)),
            Fault::MediaryADown,
        ];
        for fault in all {
            assert_eq!(fault.to_string().parse::<Fault>().unwrap(), fault);
        }
    }

    #[test]
    fn a_name_alone_takes_the_documented_default() {
        assert_eq!("wan-delay".parse::<Fault>().unwrap(), Fault::WanDelay(Duration::from_millis(40)));
        assert_eq!("gateway-slow".parse::<Fault>().unwrap(), Fault::GatewaySlow(Duration::from_millis(30)));
    }

    #[test]
    fn wrong_text_is_refused_and_says_what_would_be_right() {
        for (text, hint) in [
            ("wan", "wan-delay"),
            ("wan-delay=40", "needs a unit"),
            ("mediary-a-down=1s", "takes no duration"),
        ] {
            let message = text.parse::<Fault>().unwrap_err().to_string();
            assert!(message.contains(hint), "{message}");
        }
    }
}
