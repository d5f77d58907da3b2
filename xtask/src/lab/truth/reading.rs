//! What the agent says at an instant, beside what the kernel says itself.

use super::judge::{Events, Evidence, Lost};
use crate::bench::apart::Site;
use crate::bench::process::Process;
use crate::bench::scrapes::pause;
use crate::demo::poll;
use anyhow::{Context, Result};
use insight_e2e::exposition::{Exposition, Histogram};
use insight_lab::Interrupt;
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

/// The agent reads its maps once a second: the second reading after an event has it.
const SETTLE: Duration = Duration::from_millis(2200);

/// Counters of TCP in a network namespace, by name. **Source**: `/proc/net/snmp`,
/// `/proc/net/netstat`.
type Snmp = BTreeMap<String, f64>;

/// Everything at an instant. Taken while nothing goes on: the agent reads its maps once a second.
#[derive(Debug, Clone)]
pub struct Reading {
    page: Exposition,
    /// Before the agent read its maps, and after.
    node: [Snmp; 2],
    far: Snmp,
    /// Likewise.
    softirqs: [f64; 2],
    waited: f64,
    used: f64,
}

impl Reading {
    /// Waits until all that has happened is on the page, and takes one.
    ///
    /// # Errors
    /// The agent does not answer with a page, the kernel's files are not there, or Ctrl-C.
    pub fn take(site: &Site, metrics: SocketAddr, proxy: &Process, interrupt: &Interrupt) -> Result<Self> {
        let softirqs = || fs::read_to_string("/proc/softirqs").context("read /proc/softirqs");
        // This process has threads in several namespaces.
        let file = |name: &str| {
            let path = format!("/proc/thread-self/net/{name}");
            fs::read_to_string(&path).with_context(|| format!("read {path}"))
        };
        let snmp = || -> Result<Snmp> { Ok(tcp(&(file("snmp")? + &file("netstat")?))) };
        let early = (runs(&softirqs()?), site.at_node(snmp)??);
        pause(SETTLE, interrupt)?;
        let page = site.at_node(|| poll::get(metrics, "/metrics"))??;
        let page = String::from_utf8(page).context("read the page as text")?;
        let account = proxy.cpu().context("the kernel keeps no account of waiting (schedstat)")?;
        Ok(Self {
            page: Exposition::parse(&page)?,
            node: [early.1, site.at_node(snmp)??],
            far: site.at_far(snmp)??,
            softirqs: [early.0, runs(&softirqs()?)],
            waited: account.waited_ns as f64 / 1e9,
            used: account.used_ns as f64 / 1e9,
        })
    }
}

/// Softirqs whose waits the agent measures, as the kernel calls them.
const VECTORS: [&str; 5] = ["TIMER", "NET_TX", "NET_RX", "SCHED", "RCU"];

/// Their runs so far, over all CPUs.
fn runs(softirqs: &str) -> f64 {
    let rows = softirqs.lines().filter_map(|line| line.trim().split_once(':'));
    let wanted = rows.filter(|(name, _)| VECTORS.contains(name));
    wanted
        .flat_map(|(_, counts)| counts.split_whitespace())
        .filter_map(|count| count.parse::<f64>().ok())
        .sum()
}

/// The tables of TCP in those files: a line of names, a line of values.
fn tcp(text: &str) -> Snmp {
    let wanted = |line: &str| {
        let (table, rest) = line.split_once(':')?;
        matches!(table, "Tcp" | "TcpExt").then(|| rest.to_owned())
    };
    let lines: Vec<_> = text.lines().filter_map(wanted).collect();
    let pairs = lines.chunks_exact(2).flat_map(|pair| {
        let values = pair[1].split_whitespace().map(|value| value.parse().unwrap_or(0.0));
        pair[0].split_whitespace().map(str::to_owned).zip(values).collect::<Vec<_>>()
    });
    pairs.collect()
}

/// What happened between two readings.
#[derive(Debug, Clone)]
pub struct Span {
    before: Reading,
    after: Reading,
}

impl Span {
    /// Between these.
    pub const fn new(before: Reading, after: Reading) -> Self {
        Self { before, after }
    }

    /// What was added to a histogram. Empty, if the page has none.
    pub fn histogram(&self, name: &str, labels: &[(&str, &str)]) -> Histogram {
        let after = self.after.page.histogram(name, labels);
        let before = self.before.page.histogram(name, labels);
        let empty = Histogram { buckets: Vec::new(), sum: 0.0, count: 0.0 };
        match (after, before) {
            (Some(after), Some(before)) => after.since(&before).unwrap_or(empty),
            (Some(after), None) => after,
            (None, _) => empty,
        }
    }

    /// What was added to a counter.
    pub fn counter(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let of = |reading: &Reading| reading.page.sum(name, labels).unwrap_or(0.0);
        of(&self.after) - of(&self.before)
    }

    /// What was added to the samples of a counter, by the value of a label.
    pub fn by(&self, name: &str, labels: &[(&str, &str)], key: &str) -> Lost {
        let samples = self.after.page.samples(name, labels).filter_map(|sample| sample.labels.get(key));
        let value = |value: &String| {
            let labels = [labels, &[(key, value.as_str())]].concat();
            (value.clone(), self.counter(name, &labels))
        };
        samples.map(value).collect()
    }

    /// Samples and losses of a measurement. `events` as in [`Evidence`].
    pub fn evidence(
        &self,
        measurement: &str,
        name: &str,
        labels: &[(&str, &str)],
        events: Events,
    ) -> Evidence {
        Evidence {
            samples: self.histogram(name, labels),
            lost: self.by("insight_lost_total", &[("measurement", measurement)], "loss"),
            events,
        }
    }

    /// A gauge, at the end; the least of several. **None**: the page has none.
    pub fn gauge(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.after.page.samples(name, labels).map(|sample| sample.value).reduce(f64::min)
    }

    /// What the kernel has counted in the namespace of the node: at least and at most, for the page is
    /// not of this instant, and came over a connection of its own.
    pub fn node(&self, name: &str) -> [f64; 2] {
        let ([early, late], [early_after, late_after]) = (&self.before.node, &self.after.node);
        [added(late, early_after, name), added(early, late_after, name)]
    }

    /// The same in that of callers and origin.
    pub fn far(&self, name: &str) -> f64 {
        added(&self.before.far, &self.after.far, name)
    }

    /// Runs of softirqs, by the kernel's own count: at least and at most, for they never rest, and
    /// the page is not of this instant.
    pub fn softirqs(&self) -> [f64; 2] {
        let ([early, late], [early_after, late_after]) = (self.before.softirqs, self.after.softirqs);
        [early_after - late, late_after - early]
    }

    /// How long the proxy's threads waited for a CPU, by the scheduler's own account. **Unit**: s.
    pub fn waited(&self) -> f64 {
        self.after.waited - self.before.waited
    }

    /// How long they had one. **Unit**: s.
    pub fn used(&self) -> f64 {
        self.after.used - self.before.used
    }
}

fn added(before: &Snmp, after: &Snmp, name: &str) -> f64 {
    let of = |snmp: &Snmp| snmp.get(name).copied().unwrap_or(0.0);
    of(after) - of(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(page: &str) -> Reading {
        let page = Exposition::parse(page).unwrap();
        Reading {
            page,
            node: [Snmp::new(), Snmp::new()],
            far: Snmp::new(),
            softirqs: [0.0; 2],
            waited: 0.0,
            used: 0.0,
        }
    }

    #[test]
    fn the_kernels_tables_are_read_by_name() {
        let snmp = "Ip: A B\nIp: 1 2\nTcp: MaxConn RetransSegs OutRsts\nTcp: -1 12 7\nUdp: x\nUdp: 1\n\
                    TcpExt: TCPRetransFail\nTcpExt: 3\n";
        let tcp = tcp(snmp);
        assert_eq!((tcp["RetransSegs"], tcp["OutRsts"], tcp["TCPRetransFail"]), (12.0, 7.0, 3.0));
        let table = "        CPU0  CPU1\n TIMER:  10  20\n NET_RX: 1 2\n HRTIMER: 100 100\n";
        assert_eq!(runs(table), 33.0);
    }

    #[test]
    fn a_span_is_what_was_added_and_what_is_new_counts_whole() {
        let page = |count: u32, more: &str| {
            reading(&format!(
                "# TYPE a_seconds histogram\na_seconds_bucket{{le=\"1\"}} {count}\na_seconds_bucket{{le=\"+Inf\"}} \
                 {count}\na_seconds_sum {count}\na_seconds_count {count}\n# TYPE insight_lost_total counter\n\
                 insight_lost_total{{measurement=\"a\",loss=\"opening\"}} {count}\n{more}"
            ))
        };
        let new = "insight_lost_total{measurement=\"a\",loss=\"overlapped\"} 5\n";
        let span = Span::new(page(3, ""), page(10, new));
        let evidence = span.evidence("a", "a_seconds", &[], Events::Unknown);
        assert_eq!((evidence.samples.count, evidence.samples.sum), (7.0, 7.0));
        assert_eq!((evidence.lost["opening"], evidence.lost["overlapped"]), (7.0, 5.0));
        assert_eq!(span.histogram("b_seconds", &[]).count, 0.0);
    }
}
