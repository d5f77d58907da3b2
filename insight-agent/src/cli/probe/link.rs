//! `probe --mode link`: round trips to the next hop, for people and for programs.

use super::progress::Progress;
use super::report;
use crate::collect::probe::LinkProbe;
use crate::model::burst::min_median_max;
use crate::model::connection_event::ConnectionEvent;
use crate::model::plan::{Connection, ProbePlan};
use crate::model::sample::{Outcome, ProbeSample};
use serde_json::{Value, json};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Handshakes and PINGs in turn.
pub(super) struct LinkReport {
    plan: Arc<ProbePlan>,
    /// **None**: they would be the proxy's.
    handshakes: Option<Vec<ProbeSample>>,
    /// **None**: none were to be sent.
    pings: Option<Vec<ProbeSample>>,
    /// PINGs left out because the peer asked for fewer.
    backed_off: usize,
    /// What happened on the connection for PINGs besides, with how often.
    events: Vec<(Connection, ConnectionEvent, u64)>,
}

/// Takes `count` samples of each ruler, one of each per `interval`.
pub(super) async fn measure(plan: ProbePlan, count: u32, interval: Duration) -> Result<LinkReport, String> {
    let probe = LinkProbe::new(Arc::new(plan)).map_err(|error| error.to_string())?;
    let plan = Arc::clone(probe.plan());
    let pings = plan.ping.then(Vec::new);
    let handshakes = plan.route.dial.proxy.is_none().then(Vec::new);
    let mut report = LinkReport { plan, handshakes, pings, backed_off: 0, events: Vec::new() };
    let mut scheduled = tokio::time::interval(interval.max(Duration::from_millis(1)));
    // A slow answer shall not be followed by a burst.
    scheduled.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut progress = Progress::new(count);
    for done in 0..count {
        progress.at(done);
        let tick = scheduled.tick().await.into_std();
        if let Some(handshakes) = &mut report.handshakes {
            handshakes.extend(probe.sample(Connection::Fresh, tick).await.0);
        }
        if let Some(pings) = &mut report.pings {
            match probe.sample(Connection::Reused, Instant::now()).await.0 {
                Some(ping) => pings.push(ping),
                None => report.backed_off += 1,
            }
        }
    }
    drop(progress);
    let events = probe.take_events(Connection::Reused);
    report.events = events.into_iter().map(|(event, count)| (Connection::Reused, event, count)).collect();
    Ok(report)
}

/// How often a ruler was applied, and what it read.
struct Spread {
    sent: usize,
    /// In rising order.
    read: Vec<Duration>,
}

impl Spread {
    fn of(samples: &[ProbeSample], ruler: impl Fn(&ProbeSample) -> Option<Duration>) -> Self {
        let mut read: Vec<_> = samples.iter().filter(|s| s.is_measurement()).filter_map(ruler).collect();
        read.sort_unstable();
        Self { sent: samples.len(), read }
    }

    fn to_json(&self) -> Value {
        let [min, median, max] = match min_median_max(&self.read) {
            Some(figures) => figures.map(|figure| Value::from(figure.as_secs_f64())),
            None => [const { Value::Null }; 3],
        };
        let good = self.read.len();
        json!({
            "sent": self.sent, "good": good,
            "min_seconds": min, "median_seconds": median, "max_seconds": max,
        })
    }

    fn to_text(&self, name: &str, answered_by: &str) -> String {
        let mut line = format!("{name:<10} {} of {} good", self.read.len(), self.sent);
        if let Some(figures) = min_median_max(&self.read) {
            let [min, median, max] = figures.map(|figure| format!("{:.3}", figure.as_secs_f64() * 1e3));
            let _ = write!(line, ", min {min} ms, median {median} ms, max {max} ms");
        }
        format!("{line}  ({answered_by})\n")
    }
}

impl LinkReport {
    pub(super) fn plan(&self) -> &Arc<ProbePlan> {
        &self.plan
    }

    pub(super) fn samples(&self) -> impl Iterator<Item = &ProbeSample> {
        self.handshakes.iter().chain(&self.pings).flatten()
    }

    pub(super) fn events(&self) -> &[(Connection, ConnectionEvent, u64)] {
        &self.events
    }

    fn exit_code(&self) -> u8 {
        report::exit_code(self.samples())
    }

    fn handshake(&self) -> Option<Spread> {
        Some(Spread::of(self.handshakes.as_ref()?, |sample| sample.rulers.handshake))
    }

    fn connect(&self) -> Option<Spread> {
        Some(Spread::of(self.handshakes.as_ref()?, |sample| sample.phases.connect))
    }

    fn ping(&self) -> Option<Spread> {
        Some(Spread::of(self.pings.as_ref()?, |sample| sample.rulers.ping))
    }

    /// Each different failure once: its ruler, status, class, phase, text, and how often it occurred.
    fn failures(&self) -> Vec<(&'static str, [&str; 4], usize)> {
        let mut found: Vec<(&'static str, [&str; 4], usize)> = Vec::new();
        for sample in self.samples() {
            let Outcome::Failed(failure) = &sample.outcome else { continue };
            let ruler = if sample.connection == Connection::Fresh { "handshake" } else { "ping" };
            let words = [
                failure.status.as_str(),
                failure.class.as_str(),
                failure.phase.as_str(),
                failure.detail.as_str(),
            ];
            match found.iter_mut().find(|known| known.0 == ruler && known.1 == words) {
                Some(known) => known.2 += 1,
                None => found.push((ruler, words, 1)),
            }
        }
        found
    }

    pub(super) fn to_json(&self) -> Value {
        let failure = |(ruler, [status, class, phase, detail], count): (&str, [&str; 4], usize)| json!({ "ruler": ruler, "status": status, "failure_class": class, "failure_phase": phase, "detail": detail, "count": count });
        json!({
            "address": self.plan.route.name,
            "ip": report::ip_word(&self.plan),
            "proxy": report::proxy_url(&self.plan),
            "mode": self.plan.mode,
            "handshake": self.handshake().map(|handshake| handshake.to_json()),
            "connect": self.connect().map(|connect| connect.to_json()),
            "ping": self.ping().map(|ping| ping.to_json()),
            "pings_backed_off": self.backed_off,
            "connection_events": report::events_json(&self.events),
            "failures": self.failures().into_iter().map(failure).collect::<Vec<_>>(),
            "exit_code": self.exit_code(),
        })
    }

    pub(super) fn render(&self) -> String {
        let through = super::text::through(&self.plan);
        let mut out = format!("{}{through}  link: no request is made\n\n", self.plan.route.name);
        for (name, spread, answered_by) in [
            ("handshake", self.handshake(), "the next kernel, on its clock of the SYN"),
            ("connect", self.connect(), "the same, as this process waited for it"),
        ] {
            if let Some(spread) = spread {
                out.push_str(&spread.to_text(name, answered_by));
            }
        }
        if let Some(ping) = self.ping() {
            out.push_str(&ping.to_text("ping", "the next process' event loop"));
        }
        if self.backed_off > 0 {
            let _ = writeln!(out, "  {} PINGs were left out: the peer asked for fewer", self.backed_off);
        }
        for (ruler, [status, class, phase, detail], count) in self.failures() {
            let _ =
                writeln!(out, "  {count} × {ruler} failed {status} ({class}, in phase {phase}): {detail}");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::report::{ALL_FAILED, SOME_FAILED};
    use super::*;
    use crate::cli::probe::{ProbeArgs, Seen};
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn arguments(address: &str, more: &[&str]) -> Box<ProbeArgs> {
        let words = ["insight-agent", "probe", address, "--mode", "link", "--interval", "10ms"];
        match Cli::try_parse_from(words.iter().chain(more)).unwrap().command {
            Command::Probe(args) => args,
            other => panic!("{other:?}"),
        }
    }

    async fn found(address: &str, more: &[&str]) -> LinkReport {
        match crate::cli::probe::measure(&arguments(address, more)).await.unwrap().0.pop().unwrap() {
            Seen::Link(report) => report,
            Seen::Rpc(_) => panic!("a request was made"),
        }
    }

    #[tokio::test]
    async fn handshakes_alone_measure_a_plain_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let report = found(&address, &["--count", "3", "--no-ping"]).await;
        let json = report.to_json();
        assert_eq!((&json["handshake"]["good"], &json["ping"]), (&json!(3), &Value::Null));
        assert!(json["connect"]["min_seconds"].as_f64() >= json["handshake"]["min_seconds"].as_f64());
        assert_eq!((report.exit_code(), &json["exit_code"]), (0, &json!(0)));
        assert!(report.render().contains("handshake  3 of 3 good, min "), "{}", report.render());
    }

    #[tokio::test]
    async fn exit_codes_tell_some_from_all_and_failures_are_said_once() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        // It accepts (the kernel does), but no process speaks HTTP/2.
        let report = found(&address, &["--count", "2", "--deadline", "100ms"]).await;
        assert_eq!(report.exit_code(), SOME_FAILED);
        let json = report.to_json();
        assert_eq!(
            (&json["handshake"]["good"], &json["ping"]["sent"], &json["ping"]["good"]),
            (&json!(2), &json!(2), &json!(0))
        );
        assert_eq!(json["failures"][0]["failure_class"], "no_settings");
        assert_eq!(json["failures"][0]["count"], 2);
        assert!(
            report.render().contains("  2 × ping failed DEADLINE_EXCEEDED (no_settings, in phase http2)"),
            "{}",
            report.render()
        );
        drop(listener);
        let report = found(&address, &["--count", "2"]).await;
        assert_eq!(report.exit_code(), ALL_FAILED);
        assert_eq!(report.to_json()["handshake"]["median_seconds"], Value::Null);
    }

    #[tokio::test]
    async fn options_of_requests_are_refused() {
        for more in
            [["-H", "a=b"], ["--hops", "a"], ["--authority", "a"], ["--service", "a"], ["--method", "/a.B/C"]]
        {
            let refused = crate::cli::probe::measure(&arguments("127.0.0.1:1", &more)).await;
            let error = refused.err().unwrap_or_else(|| panic!("{more:?} was taken"));
            assert!(error.contains("--mode link makes none: remove it"), "{error}");
        }
    }
}
