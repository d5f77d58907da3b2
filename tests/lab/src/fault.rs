//! The faults a run can be given: each one place, one size, one way back.

use crate::spin::MAX_THREADS;
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
    /// `mediary-a-busy` (default 6): this many threads compute in mediary-a's own cpu cgroup, on
    /// its CPU, for 5 minutes at most. Only in namespaces.
    MediaryABusy(u32),
    /// `mediary-a-throttled` (default 20 ms): the CPU time that mediary-a's cpu cgroup gets in
    /// each 100 ms. Only in namespaces.
    MediaryAThrottled(Duration),
}

impl Fault {
    /// The names, in their text form, of the faults that every run can be given.
    pub const NAMES: [&'static str; 4] = ["wan-delay", "gateway-slow", "service-slow", "mediary-a-down"];

    /// The names of the further faults of a run in namespaces.
    pub const NAMESPACE_NAMES: [&'static str; 2] = ["mediary-a-busy", "mediary-a-throttled"];

    /// Whether only a run in namespaces can be given it.
    pub const fn needs_namespaces(&self) -> bool {
        matches!(self, Fault::MediaryABusy(_) | Fault::MediaryAThrottled(_))
    }

    /// The name without the size.
    pub const fn name(&self) -> &'static str {
        match self {
            Fault::WanDelay(_) => Self::NAMES[0],
            Fault::GatewaySlow(_) => Self::NAMES[1],
            Fault::ServiceSlow(_) => Self::NAMES[2],
            Fault::MediaryADown => Self::NAMES[3],
            Fault::MediaryABusy(_) => Self::NAMESPACE_NAMES[0],
            Fault::MediaryAThrottled(_) => Self::NAMESPACE_NAMES[1],
        }
    }

    /// The time this fault adds to a request; `None` for a fault that is not a delay.
    pub const fn added(&self) -> Option<Duration> {
        match self {
            Fault::WanDelay(d) | Fault::GatewaySlow(d) | Fault::ServiceSlow(d) => Some(*d),
            Fault::MediaryADown | Fault::MediaryABusy(_) | Fault::MediaryAThrottled(_) => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::WanDelay(size)
            | Fault::GatewaySlow(size)
            | Fault::ServiceSlow(size)
            | Fault::MediaryAThrottled(size) => write!(f, "{}={}", self.name(), format_duration(*size)),
            Fault::MediaryABusy(threads) => write!(f, "{}={threads}", self.name()),
            Fault::MediaryADown => f.write_str(self.name()),
        }
    }
}

impl FromStr for Fault {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Fault> {
        let (name, given) = match text.split_once('=') {
            Some((name, size)) => (name, Some(size)),
            None => (text, None),
        };
        if name == "mediary-a-busy" {
            let threads = given.map_or(Ok(6), str::parse).ok().filter(|n| (1..=MAX_THREADS).contains(n));
            return match threads {
                Some(threads) => Ok(Fault::MediaryABusy(threads)),
                None => bail!("fault {text:?}: expected a number of threads from 1 to {MAX_THREADS}"),
            };
        }
        let size = given.map(parse_duration).transpose()?;
        let or = |default_ms| size.unwrap_or(Duration::from_millis(default_ms));
        match name {
            "wan-delay" => Ok(Fault::WanDelay(or(40))),
            "gateway-slow" => Ok(Fault::GatewaySlow(or(30))),
            "service-slow" => Ok(Fault::ServiceSlow(or(30))),
            "mediary-a-down" if size.is_some() => {
                bail!("fault {text:?}: mediary-a-down takes no duration; write \"mediary-a-down\"")
            }
            "mediary-a-down" => Ok(Fault::MediaryADown),
            "mediary-a-throttled" => {
                let quota = or(20);
                // The kernel's own least quota; at 100 ms one CPU is not limited any more.
                if quota < Duration::from_millis(1) || quota > Duration::from_millis(100) {
                    bail!("fault {text:?}: expected a CPU time from 1ms to 100ms in each 100 ms");
                }
                Ok(Fault::MediaryAThrottled(quota))
            }
            _ => bail!(
                "fault {text:?}: no such fault; there are {}, {}",
                Self::NAMES.join(", "),
                Self::NAMESPACE_NAMES.join(", ")
            ),
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
            Fault::MediaryABusy(8),
            Fault::MediaryAThrottled(Duration::from_millis(35)),
        ];
        for fault in all {
            assert_eq!(fault.to_string().parse::<Fault>().unwrap(), fault);
        }
    }

    #[test]
    fn a_name_alone_takes_the_documented_default() {
        assert_eq!("wan-delay".parse::<Fault>().unwrap(), Fault::WanDelay(Duration::from_millis(40)));
        assert_eq!("mediary-a-busy".parse::<Fault>().unwrap(), Fault::MediaryABusy(6));
        assert_eq!("gateway-slow".parse::<Fault>().unwrap(), Fault::GatewaySlow(Duration::from_millis(30)));
    }

    #[test]
    fn wrong_text_is_refused_and_says_what_would_be_right() {
        for (text, hint) in [
            ("wan", "wan-delay"),
            ("wan-delay=40", "needs a unit"),
            ("mediary-a-down=1s", "takes no duration"),
            ("mediary-a-busy=0", "from 1 to"),
            ("mediary-a-throttled=2s", "1ms to 100ms"),
        ] {
            let message = text.parse::<Fault>().unwrap_err().to_string();
            assert!(message.contains(hint), "{message}");
        }
    }
}
