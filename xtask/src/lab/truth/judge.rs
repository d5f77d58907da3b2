//! What was measured against what is known: verdicts. Pure.

use insight_e2e::exposition::Histogram;
use std::collections::BTreeMap;

/// A figure may be off by this share of the truth: what a bucket of the kernel's histogram is wide,
/// and a tenth for a machine that does other work.
const SHARE_OFF: f64 = 0.17;

/// And by so much besides: a thread that was not scheduled at once. **Unit**: s.
const OFF: f64 = 0.001;

/// Below this share of its events a measurement has refused.
const LEAST_MEASURED: f64 = 0.05;

/// Events of which this share is neither measured nor counted as lost have disappeared.
const MOST_MISSING: f64 = 0.05;

/// Samples of which this share is not near the truth, while the median is, are wrong all the same.
const MOST_STRAY: f64 = 0.25;

/// A direction is paired from here on, as the agent's ledger has it.
pub const LEAST_PAIRED_SHARE: f64 = 0.5;

/// What became of a cell.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "verdict", content = "why", rename_all = "snake_case")]
pub enum Verdict {
    /// As it is known to be.
    Right(String),
    /// No figure, and the reason is counted.
    Refused(String),
    /// A figure that is not true, or events that are nowhere.
    Wrong(String),
    /// There is nothing to measure.
    Nothing(&'static str),
}

impl Verdict {
    /// Whether it is the one that must not be.
    pub const fn is_wrong(&self) -> bool {
        matches!(self, Self::Wrong(_))
    }

    /// What it says.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Right(why) | Self::Refused(why) | Self::Wrong(why) => Some(why),
            Self::Nothing(_) => None,
        }
    }

    /// One verdict out of several of the same cell: wrong if any is, refused if all are.
    pub fn all(verdicts: Vec<Self>) -> Self {
        let worst = |verdict: &Self| match verdict {
            Self::Wrong(_) => 3,
            Self::Right(_) => 2,
            Self::Refused(_) => 1,
            Self::Nothing(_) => 0,
        };
        let rank = verdicts.iter().map(worst).max().unwrap_or(0);
        let of = |wanted: i32| {
            let held = verdicts.iter().filter(move |verdict| worst(verdict) == wanted);
            held.filter_map(Self::why).map(str::to_owned).collect::<Vec<_>>()
        };
        let texts = |wanted: i32| of(wanted).join("; ");
        let refused = || of(1).into_iter().map(|why| format!("; refused: {why}")).collect::<String>();
        match rank {
            3 => Self::Wrong(texts(3)),
            2 => Self::Right(texts(2) + &refused()),
            1 => Self::Refused(texts(1)),
            _ => verdicts.into_iter().next().unwrap_or(Self::Nothing("nothing was judged")),
        }
    }

    /// With words before what it says.
    pub fn of(self, what: &str) -> Self {
        match self {
            Self::Right(text) => Self::Right(format!("{what} {text}")),
            Self::Refused(text) => Self::Refused(format!("{what} {text}")),
            Self::Wrong(text) => Self::Wrong(format!("{what} {text}")),
            nothing @ Self::Nothing(_) => nothing,
        }
    }
}

/// What is known of a duration: it lies between these. **Unit**: s.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Known {
    /// At least.
    pub least: f64,
    /// At most.
    pub most: f64,
}

impl Known {
    /// Exactly so long.
    pub const fn exactly(seconds: f64) -> Self {
        Self { least: seconds, most: seconds }
    }

    /// What a figure may be.
    fn allowed(self) -> (f64, f64) {
        (self.least * (1.0 - SHARE_OFF) - OFF, self.most * (1.0 + SHARE_OFF) + OFF)
    }

    fn text(self) -> String {
        match self.least == self.most {
            true => milliseconds(self.least),
            false => format!("{} to {}", milliseconds(self.least), milliseconds(self.most)),
        }
    }
}

/// What was lost, by kind.
pub type Lost = BTreeMap<String, f64>;

/// Samples of a measurement, with what must have come to samples or losses.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// What was measured.
    pub samples: Histogram,
    /// What was counted as lost.
    pub lost: Lost,
    /// Events that happened.
    pub events: Events,
}

/// How many times there was something to measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Events {
    /// So many, each of which must be a sample or a loss.
    Each(f64),
    /// So many requests, of which several may come to one event: they share connections.
    Shared(f64),
    /// As many as there are samples and losses.
    Unknown,
}

/// Judges durations: refused, or most of them near what is known, and every event accounted for.
pub fn durations(evidence: &Evidence, known: Known) -> Verdict {
    let Evidence { samples, lost, events } = evidence;
    let lost_sum: f64 = lost.values().sum();
    let all = match *events {
        Events::Each(events) | Events::Shared(events) => events,
        Events::Unknown => samples.count + lost_sum,
    };
    if let Events::Each(events) = events
        && samples.count + lost_sum < (1.0 - MOST_MISSING) * events
    {
        return Verdict::Wrong(format!(
            "{:.0} samples and {lost_sum:.0} losses of {events:.0} events",
            samples.count
        ));
    }
    if samples.count < LEAST_MEASURED * all || samples.count == 0.0 {
        return match lost_sum > 0.0 {
            true => {
                let (least, most) = known.allowed();
                let stray = samples.count - count_between(samples, least, most);
                let stray = if stray > 0.0 { format!("; {stray:.0} false samples") } else { String::new() };
                Verdict::Refused(match events {
                    Events::Shared(_) => shared(samples.count, lost, all) + &stray,
                    _ => losses(lost, all) + &stray,
                })
            }
            false => Verdict::Wrong("no sample and no loss".to_owned()),
        };
    }
    let (least, most) = known.allowed();
    let Some((low, high)) = median(samples) else {
        return Verdict::Wrong("samples without buckets".to_owned());
    };
    let found = between(low, high);
    let measured = samples.count / all;
    let rest = match measured < 0.9 && lost_sum > 0.0 {
        true => format!(" ({} measured; {})", percent(measured), losses(lost, all)),
        false => String::new(),
    };
    if high < least || low > most {
        return Verdict::Wrong(format!("{found} of {}{rest}", known.text()));
    }
    let stray = 1.0 - count_between(samples, least, most) / samples.count;
    if stray > MOST_STRAY {
        let stray = percent(stray);
        return Verdict::Wrong(format!("{found} of {}, but {stray} elsewhere{rest}", known.text()));
    }
    Verdict::Right(format!("{found} of {}{rest}", known.text()))
}

/// Judges a direction of a forwarder: refused below the share that the ledger asks for.
pub fn paired(evidence: &Evidence, pairs: &Lost, known: Known) -> Verdict {
    let all: f64 = pairs.values().sum();
    let paired = pairs.get("paired").copied().unwrap_or(0.0);
    if all == 0.0 {
        return Verdict::Wrong("no write was seen".to_owned());
    }
    if paired <= LEAST_PAIRED_SHARE * all {
        return Verdict::Refused(format!("{} of writes paired", percent(paired / all)));
    }
    let judged =
        durations(&Evidence { lost: Lost::new(), events: Events::Unknown, ..evidence.clone() }, known);
    match judged {
        Verdict::Right(text) => Verdict::Right(format!("{text} ({} paired)", percent(paired / all))),
        other => other,
    }
}

/// Judges one figure.
pub fn around(found: f64, known: Known) -> Verdict {
    let (least, most) = known.allowed();
    let text = format!("{} of {}", milliseconds(found), known.text());
    match (least..=most).contains(&found) {
        true => Verdict::Right(text),
        false => Verdict::Wrong(text),
    }
}

/// Samples that certainly are shorter than a bound, by whole buckets, and by more than an eighth of
/// it: what the kernel rounds. **Unit** of the bound: s.
pub fn below(samples: &Histogram, bound: f64) -> f64 {
    let held = samples.buckets.iter().take_while(|(upper, _)| *upper < bound * 0.875);
    held.last().map_or(0.0, |(_, below)| *below)
}

/// As [`cluster`], where what is inside may lie anywhere in its bucket.
pub fn cluster_up_to(samples: &Histogram, known: Known, least: f64, most: f64) -> Verdict {
    inside(samples, known, least, most).map_or_else(|wrong| wrong, |(what, ..)| Verdict::Right(what))
}

/// Judges samples that must lie together in the buckets around what is known, `least` to `most` of
/// them, and none above.
pub fn cluster(samples: &Histogram, known: Known, least: f64, most: f64) -> Verdict {
    let (what, first, last) = match inside(samples, known, least, most) {
        Ok(found) => found,
        Err(wrong) => return wrong,
    };
    let (allowed_low, allowed_high) = known.allowed();
    let (low, high) = mean_inside(samples, first, last);
    if high < allowed_low || low > allowed_high {
        return Verdict::Wrong(format!("{} on average, of {}", between(low, high), known.text()));
    }
    Verdict::Right(what)
}

/// The buckets, by their first and last, that hold what is known, if as many samples are in them as
/// must be, and none is longer.
fn inside(
    samples: &Histogram,
    known: Known,
    least: f64,
    most: f64,
) -> Result<(String, usize, usize), Verdict> {
    let at = |bound: f64| samples.buckets.iter().position(|(le, _)| *le >= bound);
    let (Some(first), Some(last)) = (at(known.least), at(known.most)) else {
        return Err(Verdict::Wrong("there are no samples".to_owned()));
    };
    let below = first.checked_sub(1).map_or(0.0, |at| samples.buckets[at].1);
    let inside = samples.buckets[last].1 - below;
    let above = samples.count - samples.buckets[last].1;
    let what = format!("{inside:.0} waits of {}", known.text());
    if above > 0.0 {
        return Err(Verdict::Wrong(format!("{what}, {above:.0} longer")));
    }
    if inside < least || inside > most {
        let expected = if least == most { format!("{least:.0}") } else { format!("{least:.0} to {most:.0}") };
        return Err(Verdict::Wrong(format!("{what}, {expected} were made")));
    }
    Ok((what, first, last))
}

/// Judges a count.
pub fn count(found: f64, least: f64, most: f64) -> Verdict {
    let known = match least == most {
        true => format!("{least:.0}"),
        false => format!("{least:.0} to {most:.0}"),
    };
    match (least..=most).contains(&found) {
        true => Verdict::Right(format!("{found:.0} of {known}")),
        false => Verdict::Wrong(format!("{found:.0} of {known}")),
    }
}

/// Judges a count of events that happen on their own: none may be invented, and at most a twentieth be
/// missing, which the words show.
pub fn seen(found: f64, least: f64, most: f64) -> Verdict {
    match count(found, (1.0 - MOST_MISSING) * least, most) {
        Verdict::Right(_) if least == most => Verdict::Right(format!("{found:.0} of {least:.0}")),
        Verdict::Right(_) => Verdict::Right(format!("{found:.0} of {least:.0} to {most:.0}")),
        other => other,
    }
}

/// Judges a sum of time against the kernel's own account. **Unit**: s.
pub fn account(found: f64, known: f64) -> Verdict {
    let text = format!("{} of {}", milliseconds(found), milliseconds(known));
    let (least, most) = Known::exactly(known).allowed();
    match (least..=most).contains(&found) {
        true => Verdict::Right(text),
        false => Verdict::Wrong(text),
    }
}

/// Between which values the mean of the samples in the median's bucket lies. **None**: no samples.
fn median(samples: &Histogram) -> Option<(f64, f64)> {
    let at = samples.buckets.iter().position(|(_, below)| *below >= samples.count / 2.0)?;
    (samples.count > 0.0).then(|| mean_inside(samples, at, at))
}

/// Between which values the mean of the samples in buckets `first` to `last` lies: of the others only
/// the bounds are known, of all of them the exact sum.
fn mean_inside(samples: &Histogram, first: usize, last: usize) -> (f64, f64) {
    let (mut least, mut most, mut inside) = (samples.sum, samples.sum, 0.0);
    let (mut lower, mut before) = (0.0, 0.0);
    for (at, (upper, below)) in samples.buckets.iter().enumerate() {
        let held = below - before;
        match (first..=last).contains(&at) {
            true => inside += held,
            false if held > 0.0 => {
                most -= held * lower;
                least -= held * upper;
            }
            false => {}
        }
        (lower, before) = (*upper, *below);
    }
    let bucket_low = first.checked_sub(1).map_or(0.0, |at| samples.buckets[at].0);
    let bucket_high = samples.buckets[last].0;
    ((least / inside).max(bucket_low), (most / inside).min(bucket_high))
}

/// A value that lies somewhere between these: one figure where they are close, for the middle of a bucket
/// looks like a measurement. **Unit**: s.
fn between(low: f64, high: f64) -> String {
    match high <= low * (1.0 + SHARE_OFF) {
        true => milliseconds(f64::midpoint(low, high)),
        false => format!("{} to {}", milliseconds(low), milliseconds(high)),
    }
}

/// Samples in every bucket that shares values with `least` to `most`.
fn count_between(samples: &Histogram, least: f64, most: f64) -> f64 {
    let (mut lower, mut before, mut inside) = (0.0, 0.0, 0.0);
    for (upper, below) in &samples.buckets {
        if *upper >= least && lower <= most {
            inside += below - before;
        }
        (lower, before) = (*upper, *below);
    }
    inside
}

/// The kinds of loss, the largest first, as shares.
fn losses(lost: &Lost, all: f64) -> String {
    let mut kinds: Vec<_> = lost.iter().filter(|(_, count)| **count > 0.0).collect();
    kinds.sort_by(|a, b| b.1.total_cmp(a.1));
    // One event may be many where requests share a connection.
    let share = |count: f64| if count <= all { percent(count / all) } else { format!("{count:.0}") };
    kinds.iter().map(|(kind, count)| format!("{kind} {}", share(**count))).collect::<Vec<_>>().join(", ")
}

/// The same where one may be of many requests.
fn shared(samples: f64, lost: &Lost, requests: f64) -> String {
    let kinds = lost.iter().filter(|(_, count)| **count > 0.0);
    let kinds: Vec<_> = kinds.map(|(kind, count)| format!("{kind} {count:.0}")).collect();
    format!("{samples:.0} samples of {requests:.0} requests that share connections; {}", kinds.join(", "))
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

/// A duration for people. **Unit** of the argument: s.
pub fn milliseconds(seconds: f64) -> String {
    let ms = seconds * 1e3;
    match ms {
        _ if ms >= 99.95 => format!("{ms:.0} ms"),
        _ if ms >= 0.95 => format!("{ms:.1} ms"),
        _ => format!("{ms:.3} ms"),
    }
}

#[cfg(test)]
mod tests;
