//! What the agent says at an instant, beside what the kernel says itself.

use super::judge::{Evidence, Lost};
use crate::bench::apart::Site;
use crate::bench::process::Process;
use crate::demo::poll;
use anyhow::{Context, Result};
use insight_e2e::exposition::{Exposition, Histogram};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

/// Counters of TCP in a network namespace, by name. **Source**: `/proc/net/snmp`.
type Snmp = BTreeMap<String, f64>;

/// Everything at an instant. Taken while nothing goes on: the agent reads its maps once a second.
#[derive(Debug, Clone)]
pub struct Reading {
    page: Exposition,
    node: Snmp,
    far: Snmp,
    softirqs: f64,
    waited: f64,
    used: f64,
}

impl Reading {
    /// Takes one.
    ///
    /// # Errors
    /// The agent does not answer with a page, or the kernel's files are not there.
    pub fn take(site: &Site, metrics: SocketAddr, proxy: &Process) -> Result<Self> {
        let page = site.at_node(|| poll::get(metrics, "/metrics"))??;
        let page = String::from_utf8(page).context("read the page as text")?;
        // This process has threads in several namespaces.
        let snmp = || fs::read_to_string("/proc/thread-self/net/snmp").context("read /proc/net/snmp");
        let softirqs = fs::read_to_string("/proc/softirqs").context("read /proc/softirqs")?;
        let account = proxy.cpu().context("the kernel keeps no account of waiting (schedstat)")?;
        Ok(Self {
            page: Exposition::parse(&page)?,
            node: tcp(&site.at_node(snmp)??),
            far: tcp(&site.at_far(snmp)??),
            softirqs: runs(&softirqs),
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

fn tcp(snmp: &str) -> Snmp {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Tcp:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let values = values.split_whitespace().map(|value| value.parse().unwrap_or(0.0));
    names.split_whitespace().map(str::to_owned).zip(values).collect()
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
        events: Option<f64>,
    ) -> Evidence {
        Evidence {
            samples: self.histogram(name, labels),
            lost: self.by("insight_lost_total", &[("measurement", measurement)], "loss"),
            events,
        }
    }

    /// A gauge, at the end. **None**: the page has none.
    pub fn gauge(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.after.page.value(name, labels)
    }

    /// What the kernel has counted in the namespace of the node.
    pub fn node(&self, name: &str) -> f64 {
        added(&self.before.node, &self.after.node, name)
    }

    /// The same in that of callers and origin.
    pub fn far(&self, name: &str) -> f64 {
        added(&self.before.far, &self.after.far, name)
    }

    /// Runs of softirqs, by the kernel's own count.
    pub fn softirqs(&self) -> f64 {
        self.after.softirqs - self.before.softirqs
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
        Reading { page, node: Snmp::new(), far: Snmp::new(), softirqs: 0.0, waited: 0.0, used: 0.0 }
    }

    #[test]
    fn the_kernels_tables_are_read_by_name() {
        let snmp = "Ip: A B\nIp: 1 2\nTcp: MaxConn RetransSegs OutRsts\nTcp: -1 12 7\nUdp: x\nUdp: 1\n";
        let tcp = tcp(snmp);
        assert_eq!((tcp["RetransSegs"], tcp["OutRsts"]), (12.0, 7.0));
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
        let evidence = span.evidence("a", "a_seconds", &[], None);
        assert_eq!((evidence.samples.count, evidence.samples.sum), (7.0, 7.0));
        assert_eq!((evidence.lost["opening"], evidence.lost["overlapped"]), (7.0, 5.0));
        assert_eq!(span.histogram("b_seconds", &[]).count, 0.0);
    }
}
