//! The columns: what each measurement must have said of a row.

use super::inject::{CONNECTS, DATAGRAMS, PROBES, RESETS};
use super::judge::{self, Events, Evidence, Known, Verdict, milliseconds};
use super::phases::Happened;
use super::reading::Span;
use super::rows::{HOLD, LINK, Pattern, Proxy, Row, THINK};
use crate::bench::statistics::percentile;
use insight_common::kernel::loss::Measurement;

/// A judged measurement of a row.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Cell {
    /// Its name.
    pub measurement: &'static str,
    /// What became of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// Every column: all that is measured, but for the table that the others share.
pub fn columns() -> impl Iterator<Item = Measurement> {
    Measurement::ALL.into_iter().filter(|measurement| *measurement != Measurement::Sockets)
}

/// Judges a row.
pub fn judge(row: Row, happened: &Happened) -> Vec<Cell> {
    let verdict = |measurement| match measurement {
        Measurement::Sockets => Verdict::Nothing("the table that the others share"),
        Measurement::QdiscWait => Verdict::Nothing("needs a device that the configuration names"),
        Measurement::SocketRtt => socket_rtt(happened),
        Measurement::ReceiveWait => receive_wait(row, happened),
        Measurement::Turnaround => turnaround(row, happened),
        Measurement::Response => response(row, happened),
        Measurement::Residence => residence(row, happened),
        Measurement::Connect => connect(row, happened),
        Measurement::AcceptWait => accept_wait(happened),
        Measurement::Retransmits => retransmits(happened),
        Measurement::SendBlocked => send_blocked(happened),
        Measurement::Resets => resets(happened),
        Measurement::Drops => drops(happened),
        Measurement::RunqueueWait => runqueue_wait(happened),
        Measurement::SoftirqWait => softirq_wait(happened),
    };
    columns()
        .map(|measurement| Cell { measurement: measurement.name(), verdict: verdict(measurement) })
        .collect()
}

const ORIGIN: (&str, &str) = ("peer", "origin");
const CALLERS: (&str, &str) = ("peer", "callers");

/// From a request on the link to its answer on it.
fn answered() -> f64 {
    (THINK + LINK).as_secs_f64()
}

/// What requests come to on the callers' side.
const fn downstream(row: Row, requests: f64) -> Events {
    match row.pattern() {
        Pattern::Streams(_) => Events::Shared(requests),
        _ => Events::Each(requests),
    }
}

/// What they come to on the origin's side, where some proxies share connections.
const fn upstream(row: Row, requests: f64) -> Events {
    match row.proxy() {
        Proxy::Haproxy | Proxy::WorkStealing => Events::Shared(requests),
        Proxy::Nginx | Proxy::NginxTls | Proxy::NginxPerRequest | Proxy::HaproxyTcp => Events::Each(requests),
    }
}

/// The floor is the link's round trip and that of a veth, and no sample is below the link's.
fn socket_rtt(happened: &Happened) -> Verdict {
    let floor = |role, (label, peer)| {
        happened.calm.gauge("insight_socket_rtt_floor_seconds", &[("role", role), (label, peer)])
    };
    let judged = |found: Option<f64>, known: Known| match found {
        None => Verdict::Refused("no clean sample".to_owned()),
        Some(found) => judge::around(found, known),
    };
    let origin = judged(floor("connected", ORIGIN), Known::exactly(LINK.as_secs_f64())).of("origin");
    let callers = judged(floor("accepted", CALLERS), Known { least: 0.0, most: 0.001 }).of("callers");
    let samples = happened.whole.histogram("insight_socket_rtt_seconds", &[ORIGIN]);
    let short = judge::below(&samples, LINK.as_secs_f64());
    let short = match short > 0.0 {
        true => Verdict::Wrong(format!("{short:.0} samples shorter than the link")),
        false => Verdict::Nothing("none is shorter"),
    };
    Verdict::all(vec![origin, callers, short])
}

/// The probes that asked while the proxy was stopped waited as long; with traffic, nobody longer.
fn receive_wait(row: Row, happened: &Happened) -> Verdict {
    let family = "insight_socket_receive_wait_seconds";
    let known = Known { least: happened.stop.least, most: happened.stop.most };
    let probes = f64::from(2 * PROBES);
    let accepted = happened.quiet.histogram(family, &[("role", "accepted")]);
    let exact = judge::cluster(&accepted, known, probes, probes);
    let known = Known { least: known.least * 0.9, most: known.most };
    let busy = happened.stopped.histogram(family, &[]);
    let most = match row.pattern() {
        // Each request has connections of its own, on both sides.
        Pattern::PerRequest(rate) => f64::from(rate),
        // One downstream, and upstream as many as the proxy has opened.
        _ => 2.0 * happened.seen_stopped.connections.max(8.0),
    };
    let busy = judge::cluster_up_to(&busy, known, 1.0, most).of("under load");
    Verdict::all(vec![exact, busy])
}

/// The CPU time that a request costs its proxy more than one that it does nothing with. **Unit**: s.
fn burnt(row: Row, happened: &Happened) -> f64 {
    let cost = |span: &Span, requests: f64| span.used() / requests;
    let more = cost(&happened.calm, happened.seen.requests)
        - cost(&happened.stopped, happened.seen_stopped.requests);
    if row.burns() { more.max(0.0) } else { 0.0 }
}

/// On the callers' side: the origin's time, and what the proxy computes or holds; the callers saw it.
fn turnaround(row: Row, happened: &Happened) -> Verdict {
    let requests = downstream(row, happened.seen.requests);
    let evidence =
        happened.calm.evidence("turnaround", "insight_socket_turnaround_seconds", &[CALLERS], requests);
    let held = if row.proxy() == Proxy::WorkStealing { HOLD.as_secs_f64() } else { 0.0 };
    let known = match row.pattern() {
        // The callers see the end of an answer, and this is its beginning.
        Pattern::Streaming { .. } => Known::exactly(answered()),
        // Behind 99 others, the end of a turn.
        Pattern::Streams(_) => Known { least: answered(), most: happened.seen.median },
        _ => {
            let least = answered() + held + burnt(row, happened);
            Known { least, most: happened.seen.median.max(least) }
        }
    };
    judge::durations(&evidence, known)
}

/// On the origin's side: its time and the link's, also while the proxy is stopped.
fn response(row: Row, happened: &Happened) -> Verdict {
    let judged = |span: &Span, requests| {
        let evidence =
            span.evidence("response", "insight_socket_response_seconds", &[ORIGIN], upstream(row, requests));
        judge::durations(&evidence, Known::exactly(answered()))
    };
    let calm = judged(&happened.calm, happened.seen.requests);
    let stopped = judged(&happened.stopped, happened.seen_stopped.requests).of("while stopped");
    Verdict::all(vec![calm, stopped])
}

/// Up: what the proxy computed, as the callers saw it. Down: next to nothing.
fn residence(row: Row, happened: &Happened) -> Verdict {
    let beyond = (happened.seen.median - answered()).max(0.0);
    let judged = |direction: &'static str, known: Known| {
        let label = ("direction", direction);
        let evidence = happened.calm.evidence(
            "residence",
            "insight_forward_residence_seconds",
            &[label],
            Events::Unknown,
        );
        let pairs = happened.calm.by("insight_forward_pairs_total", &[label], "outcome");
        judge::paired(&evidence, &pairs, known).of(direction)
    };
    let up = match (row.proxy(), row.pattern()) {
        (Proxy::WorkStealing, _) => Known::exactly(HOLD.as_secs_f64()),
        _ if row.burns() => {
            let burnt = burnt(row, happened);
            Known { least: burnt.min(beyond), most: beyond.max(burnt) }
        }
        // What the callers saw contains the whole stream.
        (_, Pattern::Streaming { .. }) => Known { least: 0.0, most: 0.001 },
        _ => Known { least: 0.0, most: beyond },
    };
    Verdict::all(vec![judged("up", up), judged("down", Known { least: 0.0, most: 0.001 })])
}

/// What a tenth of the connections took longer than, by who opened them. **Unit**: s.
fn late(connects: &[f64]) -> f64 {
    let mut ns: Vec<u64> = connects.iter().map(|seconds| (seconds * 1e9) as u64).collect();
    percentile(&mut ns, 0.9).unwrap_or(0) as f64 / 1e9
}

/// As many as the kernel has opened; those to the origin as long as who connected saw it.
fn connect(row: Row, happened: &Happened) -> Verdict {
    let family = "insight_tcp_connect_seconds";
    let failures = happened.whole.counter("insight_tcp_connect_failures_total", &[]);
    let seen = happened.whole.histogram(family, &[]).count + failures;
    let [least, most] = happened.whole.node("ActiveOpens");
    let all = judge::count(seen, least, most).of("opened");
    // Before packets get lost, so that no SYN is sent twice.
    let samples = happened.quiet.histogram(family, &[ORIGIN]);
    let known = Known { least: LINK.as_secs_f64(), most: late(&happened.connects).max(LINK.as_secs_f64()) };
    let events = Events::Each(f64::from(CONNECTS));
    let took = judge::durations(&Evidence { samples, lost: judge::Lost::new(), events }, known);
    let requests = match row.pattern() {
        Pattern::PerRequest(_) => {
            let found = happened.calm.histogram(family, &[ORIGIN]).count;
            judge::count(found, happened.seen.requests, happened.seen.requests).of("one a request:")
        }
        _ => Verdict::Nothing("connections are kept"),
    };
    Verdict::all(vec![took, requests, all])
}

/// Those that were opened while the proxy was stopped waited as long, and the queue has each once.
fn accept_wait(happened: &Happened) -> Verdict {
    let known = Known { least: happened.stop.least, most: happened.stop.most };
    let samples = happened.quiet.histogram("insight_tcp_accept_wait_seconds", &[CALLERS]);
    // A proxy that says nothing before it has read has not used the early ones either.
    let waits = judge::cluster(&samples, known, f64::from(PROBES), f64::from(2 * PROBES));
    let queued = happened.whole.counter("insight_listen_queued_total", &[]);
    let [least, most] = happened.whole.node("PassiveOpens");
    Verdict::all(vec![waits, judge::count(queued, least, most).of("queued")])
}

/// As many as the kernel has counted, where packets got lost; none elsewhere.
fn retransmits(happened: &Happened) -> Verdict {
    let family = "insight_tcp_retransmits_total";
    // What could not be sent is counted by the kernel, and was not sent.
    let known = |span: &Span| {
        let ([least, most], [_, failed]) = (span.node("RetransSegs"), span.node("TCPRetransFail"));
        [(least - failed).max(0.0), most]
    };
    let [least, most] = known(&happened.whole);
    if least <= 0.0 {
        return Verdict::Wrong("no segment was sent again: nothing was injected".to_owned());
    }
    let all = judge::seen(happened.whole.counter(family, &[]), least, most);
    // On CPUs that are free, nothing is late, and nothing gets lost.
    let [least, most] = known(&happened.calm);
    let calm = judge::count(happened.calm.counter(family, &[]), least, most);
    Verdict::all(vec![all, calm.of("before")])
}

/// The caller who did not read held the proxy up for as long, and nobody was held up longer.
fn send_blocked(happened: &Happened) -> Verdict {
    let samples = happened.quiet.histogram("insight_socket_send_blocked_seconds", &[("role", "accepted")]);
    let known = Known { least: happened.stall.least, most: happened.stall.most };
    judge::cluster(&samples, known, 1.0, 1.0)
}

/// As many as were sent; not more than the kernels say.
fn resets(happened: &Happened) -> Verdict {
    let family = "insight_tcp_resets_total";
    let received = |span: &Span| span.counter(family, &[("direction", "received"), CALLERS]);
    let injected = f64::from(RESETS);
    let found =
        judge::count(received(&happened.quiet), injected, happened.quiet.far("OutRsts").max(injected));
    let sent = happened.whole.counter(family, &[("direction", "sent")]);
    let [_, most] = happened.whole.node("OutRsts");
    Verdict::all(vec![found.of("received"), judge::count(sent, 0.0, most).of("sent")])
}

/// The datagrams that nobody waited for, and segments of connections that were over.
fn drops(happened: &Happened) -> Verdict {
    let found = happened.quiet.counter("insight_packet_drops_total", &[("class", "no_socket")]);
    let sent = f64::from(DATAGRAMS);
    judge::count(found, sent, sent + happened.quiet.node("OutRsts")[1] + happened.quiet.far("OutRsts"))
}

/// As long as the scheduler's own account says.
fn runqueue_wait(happened: &Happened) -> Verdict {
    let found = happened.rough.histogram("insight_runqueue_wait_seconds", &[]);
    let known = happened.rough.waited();
    if known < 0.010 {
        return Verdict::Wrong(format!("the proxy waited {}: nothing was injected", milliseconds(known)));
    }
    judge::account(found.sum, known)
}

/// Every run that the kernel has counted is a sample or a loss.
fn softirq_wait(happened: &Happened) -> Verdict {
    let evidence =
        happened.whole.evidence("softirq_wait", "insight_softirq_wait_seconds", &[], Events::Unknown);
    let ([least, most], lost) = (happened.whole.softirqs(), evidence.lost.values().sum::<f64>());
    let found = judge::count(evidence.samples.count + lost, 0.98 * least, 1.02 * most);
    match judge::below(&evidence.samples, 0.001) {
        most if most < 0.5 * evidence.samples.count => {
            Verdict::Wrong("more than half are said to have waited 1 ms".to_owned())
        }
        _ => found,
    }
}
