//! The waterfall for people: one line per phase and per ledger entry, with a bar on a common scale.

use super::report::{OutcomeWords, Report, latency, outcome_words};
use super::{method, report};
use crate::model::ledger::{Evidence, PathLedger};
use crate::model::outcome::{Failure, GrpcStatus};
use crate::model::plan::ProbePlan;
use crate::model::sample::{Outcome, ProbeSample};
use std::fmt::Write;
use std::time::Duration;

/// Columns of a bar; with name, figure and source a line stays within 100.
const BAR: usize = 40;

/// Everything that `probe` prints. Writing into a `String` cannot fail, so results are dropped.
pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    let plan = &report.plan;
    let (name, through) = (&plan.route.name, through(plan));
    let _ = writeln!(out, "{name}{through}  {} {}", plan.mode.as_str(), plan.call.method());
    if report.fell_back {
        let _ = writeln!(
            out,
            "no Insight receiver there: asked for its health instead, so there is no service time"
        );
    }
    let _ = writeln!(out);
    fresh(&mut out, &report.fresh);
    reused(&mut out, report);
    if let Some(sample) = report.typical() {
        match report.ledger(sample) {
            Some(ledger) => ledger_lines(&mut out, &ledger),
            None => phase_lines(&mut out, sample),
        }
        rulers(&mut out, sample);
        method::stream_line(&mut out, sample);
    }
    method::answer_lines(&mut out, report);
    out
}

/// What stands behind the address of what goes through a proxy.
pub(super) fn through(plan: &ProbePlan) -> String {
    report::proxy_url(plan).map_or_else(String::new, |url| format!(" through {url}"))
}

fn fresh(out: &mut String, sample: &ProbeSample) {
    let _ = writeln!(out, "fresh connection    {}", verdict(sample));
    phase_lines(out, sample);
    let _ = writeln!(out);
}

/// The phases as a waterfall: each bar starts where the one before it ended.
fn phase_lines(out: &mut String, sample: &ProbeSample) {
    let whole: Duration = sample.phases.named().iter().filter_map(|(_, phase)| *phase).sum();
    let mut start = Duration::ZERO;
    for (name, phase) in sample.phases.named() {
        if let Some(phase) = phase {
            let bar = bar(start, phase, whole);
            let _ = writeln!(out, "  {name:<34} {:>10}  {bar}", milliseconds(phase.as_secs_f64()));
            start += phase;
        }
    }
}

fn reused(out: &mut String, report: &Report) {
    let total = report.reused.len();
    let mut good: Vec<Duration> =
        report.reused.iter().filter(|s| s.is_measurement()).filter_map(ProbeSample::total).collect();
    good.sort_unstable();
    let _ = write!(out, "reused connection   {} of {total} good", good.len());
    if let (Some(least), Some(most)) = (good.first(), good.last()) {
        let median = good[(good.len() - 1) / 2];
        let [least, median, most] =
            [*least, median, *most].map(|latency| milliseconds(latency.as_secs_f64()));
        let _ = write!(out, ", min {least} ms, median {median} ms, max {most} ms");
    }
    let _ = writeln!(out);
    // A path that is down fails alike each time: say it once.
    let mut failures: Vec<(String, usize)> = Vec::new();
    for sample in report.reused.iter().filter(|sample| matches!(sample.outcome, Outcome::Failed(_))) {
        let text = verdict(sample);
        match failures.iter_mut().find(|(known, _)| *known == text) {
            Some((_, count)) => *count += 1,
            None => failures.push((text, 1)),
        }
    }
    for (text, count) in failures {
        let _ = writeln!(out, "  {count} × {text}");
    }
}

fn verdict(sample: &ProbeSample) -> String {
    let OutcomeWords { outcome, status, failure } = outcome_words(sample);
    let total =
        latency(sample).map(|t| format!("  {} ms", milliseconds(t.as_secs_f64()))).unwrap_or_default();
    match failure {
        Some(Failure { class, phase, detail, .. }) => {
            format!("{outcome} {status} ({}, in phase {}): {detail}", class.as_str(), phase.as_str())
        }
        None if sample.answer.status != GrpcStatus::Ok => format!("{outcome} {status}{total}"),
        None => format!("{outcome}{total}"),
    }
}

/// The ledger of the median request, also as a waterfall.
fn ledger_lines(out: &mut String, ledger: &PathLedger) {
    let whole = Duration::from_nanos(u64::try_from(ledger.end_to_end.ns).unwrap_or(0));
    let mut start = Duration::ZERO;
    for segment in &ledger.segments {
        let Some((figure, evidence)) = segment.figure.zip(segment.evidence) else {
            let _ = writeln!(out, "  {:<34} {:>10}  {:BAR$}  no evidence", segment.name, "—", "");
            continue;
        };
        let length = Duration::from_nanos(u64::try_from(figure.ns).unwrap_or(0));
        let mut source = evidence_words(evidence).to_owned();
        if figure.above_ns >= 100_000 {
            let _ = write!(source, ", ±{} ms", milliseconds(figure.above_ns as f64 / 1e9));
        }
        if !segment.merged.is_empty() {
            let _ = write!(source, ", covers silent {}", segment.merged.join(", "));
        }
        if segment.inconsistent {
            source.push_str(", INCONSISTENT");
        }
        let figure = milliseconds(figure.seconds());
        let _ = writeln!(out, "  {:<34} {figure:>10}  {}  {source}", segment.name, bar(start, length, whole));
        start += length;
    }
    let unexplained = milliseconds(ledger.unexplained.seconds());
    let _ = writeln!(out, "  {:<34} {unexplained:>10}", "unexplained");
    let _ = writeln!(out, "  {:<34} {:>10}", "end to end", milliseconds(ledger.end_to_end.seconds()));
}

fn rulers(out: &mut String, sample: &ProbeSample) {
    let rulers = &sample.rulers;
    let show = |ruler: Option<Duration>| {
        ruler.map_or_else(|| "—".to_owned(), |ruler| format!("{} ms", milliseconds(ruler.as_secs_f64())))
    };
    let rpc = sample.phases.to_first_byte();
    let _ = writeln!(
        out,
        "\nrulers on one connection: kernel ACK {} (min {}), PING {}, RPC {}",
        show(rulers.ack),
        show(rulers.ack_min),
        show(rulers.ping),
        show(rpc)
    );
    if let Some(wait) = sample.prober_wait.filter(|wait| *wait > Duration::from_millis(1)) {
        let wait = milliseconds(wait.as_secs_f64());
        let _ = writeln!(out, "this prober itself waited {wait} ms for a CPU meanwhile");
    }
}

fn evidence_words(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Handshake => "TCP handshake",
        Evidence::HopHeader => "the hop's header",
        Evidence::HeaderDifference => "two headers' difference",
        Evidence::Receiver => "the receiver's clock",
        Evidence::Prober => "this prober's clock",
        Evidence::Difference => "difference",
        Evidence::Kernel => "the hop's kernel",
        Evidence::RttFloor => "smallest round trip",
        Evidence::LinkProbe => "a link probe",
        Evidence::Exchange => "response - turnaround",
        Evidence::ServerStats => "the service's gRPC library",
    }
}

/// `[start, start + length)` of `whole`, in columns; anything above zero shows.
fn bar(start: Duration, length: Duration, whole: Duration) -> String {
    if whole.is_zero() {
        return " ".repeat(BAR);
    }
    let column = |at: Duration| ((at.as_secs_f64() / whole.as_secs_f64() * BAR as f64) as usize).min(BAR);
    let from = column(start).min(BAR - 1);
    let to = column(start + length).max(from + usize::from(!length.is_zero()));
    format!("{}{}{}", " ".repeat(from), "█".repeat(to - from), " ".repeat(BAR - to))
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.3}", seconds * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stay_within_their_columns_and_show_what_is_there() {
        let ms = Duration::from_millis;
        for (start, length, whole) in [(0, 10, 10), (9, 1, 10), (10, 0, 10), (0, 0, 0), (5, 100, 10)] {
            let bar = bar(ms(start), ms(length), ms(whole));
            assert_eq!(bar.chars().count(), BAR, "{start} {length} {whole}");
        }
        assert!(bar(ms(9999), Duration::from_micros(1), ms(10_000)).ends_with('█'));
        assert!(!bar(ms(5), Duration::ZERO, ms(10)).contains('█'));
    }
}
