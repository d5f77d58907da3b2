//! A real agent with thousands of probes, each with a connection of its own.

use super::{Bench, READY_WITHIN, free};
use crate::bench::http::Connection;
use crate::bench::page;
use crate::bench::process::Process;
use crate::demo::poll;
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What the receiver's certificate is for.
const NAME: &str = "receiver.test";

/// With so few, what an agent holds is its own.
const FEW: u32 = 100;

/// With so many at most over TLS: the receiver keeps more of each connection than the prober.
const TLS_TARGETS: u32 = 4_000;

/// How long connecting all of them may take.
const CONNECTED_WITHIN: Duration = Duration::from_secs(120);

/// What so many probes cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scale {
    pub targets: u32,
    /// Good samples for each second of CPU time of the whole agent.
    pub probes_per_second_per_core: f64,
    /// Resident memory for each target more, after two pages of metrics were read.
    pub bytes_per_target: f64,
    /// The same over TLS, with [`TLS_TARGETS`] at most.
    pub bytes_per_tls_target: f64,
    /// 99th percentile of the schedule lag at half of that rate on one core, as the upper bound of its
    /// bucket. **None**: beyond the last bound.
    pub lag_p99_seconds: Option<f64>,
    /// Good samples a second in the first part, of as many as were due.
    pub probes_per_second: f64,
    /// Due in the second part, by which the lag was measured.
    pub half_load_probes_per_second: f64,
    /// Samples that were skipped or failed in either.
    pub lost: f64,
}

/// Runs agents one after the other: with few targets, with all of them at one sample a second each, and with all
/// of them at half of what a core can do; then with few and with many over TLS.
pub fn measure(bench: &Bench<'_>, targets: u32, watched: Duration) -> Result<Scale> {
    let stopwatch = bench.stopwatch(&[], false)?;
    let second = Duration::from_secs(1);
    let short = Duration::from_secs(2);
    let plain = Receiver { address: stopwatch.address, authority: None };
    let few = Seen::of(bench, &plain, FEW, second, short)?;
    let all = Seen::of(bench, &plain, targets, second, watched)?;
    let per_core = all.good / all.cpu.as_secs_f64();
    let interval = Duration::from_secs_f64(f64::from(targets) / (per_core / 2.0));
    // What a configuration can say.
    let interval =
        Duration::from_millis(u64::try_from(interval.as_millis()).unwrap_or(1_000).clamp(50, 60_000));
    let half = Seen::of(bench, &plain, targets, interval, watched)?;
    drop(stopwatch);
    let (_process, secure) = Receiver::with_tls(bench)?;
    let tls_targets = targets.min(TLS_TARGETS);
    // Half as often: a handshake takes the CPU of a hundred samples.
    let few_tls = Seen::of(bench, &secure, FEW, second * 2, short)?;
    let all_tls = Seen::of(bench, &secure, tls_targets, second * 2, short)?;
    Ok(Scale {
        targets,
        probes_per_second_per_core: per_core,
        bytes_per_target: (all.resident - few.resident) / f64::from(targets - FEW),
        bytes_per_tls_target: (all_tls.resident - few_tls.resident) / f64::from(tls_targets - FEW),
        lag_p99_seconds: half.lag_p99,
        probes_per_second: all.good / all.took.as_secs_f64(),
        half_load_probes_per_second: f64::from(targets) / interval.as_secs_f64(),
        lost: all.lost + half.lost,
    })
}

/// Who is asked.
struct Receiver {
    address: SocketAddr,
    /// Whose certificates are trusted. **None**: plaintext.
    authority: Option<PathBuf>,
}

impl Receiver {
    /// An agent with TLS, and its process.
    fn with_tls(bench: &Bench<'_>) -> Result<(Process, Self)> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).context("make a certificate")?;
        let certificate = write(bench, "receiver.pem", &made.cert.pem())?;
        let key = write(bench, "receiver.key", &made.signing_key.serialize_pem())?;
        let [metrics, admin, grpc] = [free()?, free()?, free()?];
        let text = format!(
            "{}max_connections = 16384\nmax_connections_per_peer = 16384\n\
             [grpc.tls]\ncert_file = {certificate:?}\nkey_file = {key:?}\n",
            agent([metrics, admin, grpc])
        );
        let process = start(bench, "receiver", &text, metrics)?;
        Ok((process, Self { address: grpc, authority: Some(certificate) }))
    }

    /// The route to it.
    fn route(&self) -> String {
        let tls = self
            .authority
            .as_ref()
            .map(|file| format!("[route.tls]\nca_file = {file:?}\nserver_name = \"{NAME}\"\n"));
        format!("[[route]]\nname = \"all\"\naddress = \"{}\"\n{}", self.address, tls.unwrap_or_default())
    }
}

/// Writes a file of the bench.
fn write(bench: &Bench<'_>, name: &str, text: &str) -> Result<PathBuf> {
    let path = bench.launcher.folder.join(name);
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// An agent with this configuration, once it is ready.
fn start(bench: &Bench<'_>, name: &'static str, config: &str, metrics: SocketAddr) -> Result<Process> {
    let path = write(bench, &format!("{name}.toml"), config)?;
    let arguments = ["run".into(), "--config".into(), path];
    let mut agent = bench.launcher.start(name, &[], bench.agent, arguments)?;
    agent.wait_until(
        "answered",
        READY_WITHIN,
        bench.interrupt,
        || Ok(poll::get(metrics, "/-/ready").ok()),
    )?;
    Ok(agent)
}

/// The beginning of an agent's configuration, up to the keys of its gRPC listener.
fn agent([metrics, admin, grpc]: [SocketAddr; 3]) -> String {
    format!(
        "[agent]\nregion = \"eu\"\nname = \"bench\"\nlog = \"warn\"\n[metrics]\nlisten = \"{metrics}\"\n\
         [admin]\nlisten = \"{admin}\"\n[kernel]\nenabled = false\n[host]\nenabled = false\n\
         [grpc]\nlisten = \"{grpc}\"\n"
    )
}

/// What an agent did while it was watched.
struct Seen {
    took: Duration,
    cpu: Duration,
    good: f64,
    lost: f64,
    /// **Unit**: bytes.
    resident: f64,
    lag_p99: Option<f64>,
}

impl Seen {
    fn of(
        bench: &Bench<'_>,
        receiver: &Receiver,
        targets: u32,
        interval: Duration,
        watched: Duration,
    ) -> Result<Self> {
        eprintln!("{targets} targets, each asked every {interval:?}");
        let [metrics, admin, grpc] = [free()?, free()?, free()?];
        let text = config([metrics, admin, grpc], receiver, targets, interval);
        let mut agent = start(bench, "agent", &text, metrics)?;
        agent.wait_until("had an answer to every probe", CONNECTED_WITHIN, bench.interrupt, || {
            let answered = good(&read(metrics)?);
            Ok((answered >= f64::from(targets)).then_some(()))
        })?;
        // All have connected; the last ones have just had their first answer.
        ensure!(!bench.interrupt.wait(interval.max(Duration::from_secs(2))), "interrupted");
        let (began, before, cpu) = (Instant::now(), read(metrics)?, agent.cpu_time()?);
        ensure!(!bench.interrupt.wait(watched), "interrupted");
        let (used, took, after) = (agent.cpu_time()? - cpu, began.elapsed(), read(metrics)?);
        let more = |of: fn(&str) -> f64| of(&after) - of(&before);
        Ok(Self {
            took,
            // The first page was made before its time was read, the second one after.
            cpu: used,
            good: more(good),
            lost: more(lost),
            resident: resident(&agent)?,
            lag_p99: lag_p99(&before, &after),
        })
    }
}

fn read(metrics: SocketAddr) -> Result<String> {
    let page = Connection::open(metrics)?.get("/metrics", "Connection: close\r\n")?;
    Ok(String::from_utf8_lossy(&page.body).into_owned())
}

fn good(page: &str) -> f64 {
    page::sum(page, "insight_probe_results_total", &[("status", "OK")]).unwrap_or(0.0)
}

/// Samples that were not sent, or came to nothing.
fn lost(page: &str) -> f64 {
    let all = page::sum(page, "insight_probe_results_total", &[]).unwrap_or(0.0);
    all - good(page) + page::sum(page, "insight_probe_skipped_total", &[]).unwrap_or(0.0)
}

/// Of the lags between two pages. **None**: it is beyond the last bound.
fn lag_p99(before: &str, after: &str) -> Option<f64> {
    const FAMILY: &str = "insight_probe_schedule_lag_seconds_bucket";
    let below = |page: &str, bound: &str| page::sum(page, FAMILY, &[("le", bound)]).unwrap_or(0.0);
    let all = below(after, "+Inf") - below(before, "+Inf");
    let bounds = after.lines().filter(|line| line.starts_with(FAMILY)).filter_map(|line| {
        let (_, rest) = line.split_once("le=\"")?;
        Some(rest.split_once('"')?.0.to_owned())
    });
    let mut bounds: Vec<_> = bounds.filter_map(|bound| Some((bound.parse::<f64>().ok()?, bound))).collect();
    bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    bounds.dedup_by(|a, b| a.1 == b.1);
    let found = bounds.iter().find(|(_, bound)| below(after, bound) - below(before, bound) >= all * 0.99)?;
    Some(found.0).filter(|bound| bound.is_finite())
}

/// **Unit**: bytes.
fn resident(agent: &Process) -> Result<f64> {
    let path = format!("/proc/{}/status", agent.pid());
    let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
    Ok(kib.with_context(|| format!("{path} has no VmRSS"))? * 1024.0)
}

fn config(listeners: [SocketAddr; 3], receiver: &Receiver, targets: u32, interval: Duration) -> String {
    let mut text = format!(
        "{}[probing]\nwindow = \"{}s\"\n{}",
        agent(listeners),
        // Two samples at least, and a round figure.
        (interval.as_secs() * 2).max(10),
        receiver.route()
    );
    for target in 0..targets {
        // Writing to a String cannot fail. Ten paths.
        let _ = write!(
            text,
            "[[probe]]\nname = \"target-{target}\"\ntarget = \"region-{}\"\nroute = \"all\"\n\
             mode = \"white-box\"\ninterval = \"{}ms\"\nping = false\nconnections = [\"reused\"]\n",
            target % 10,
            interval.as_millis()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(counts: [u32; 3]) -> String {
        let line = |le: &str, count: u32| {
            format!("insight_probe_schedule_lag_seconds_bucket{{target=\"a\",le=\"{le}\"}} {count}\n")
        };
        [line("0.001", counts[0]), line("0.01", counts[1]), line("+Inf", counts[2])].concat()
    }

    #[test]
    fn the_lag_is_the_bound_below_which_99_of_100_are() {
        let nothing = page([0, 0, 0]);
        assert_eq!(lag_p99(&nothing, &page([99, 100, 100])), Some(0.001));
        assert_eq!(lag_p99(&nothing, &page([98, 100, 100])), Some(0.01));
        assert_eq!(lag_p99(&nothing, &page([98, 98, 100])), None);
        assert_eq!(lag_p99(&page([0, 0, 50]), &page([99, 100, 150])), Some(0.001));
    }

    #[test]
    fn a_configuration_has_a_table_for_each_target() {
        let address: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let secure = Receiver { address, authority: Some("/ca.pem".into()) };
        let text = config([address; 3], &secure, 12, Duration::from_millis(1500));
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(table["route"][0]["tls"]["ca_file"].as_str(), Some("/ca.pem"));
        let probes = table["probe"].as_array().unwrap();
        assert_eq!((probes.len(), probes[11]["interval"].as_str()), (12, Some("1500ms")));
    }

    #[test]
    fn skipped_and_failed_samples_are_lost() {
        let page = "insight_probe_results_total{status=\"OK\"} 7\n\
                    insight_probe_results_total{status=\"UNAVAILABLE\"} 2\ninsight_probe_skipped_total{probe=\"a\"} 3\n";
        assert_eq!((good(page), lost(page)), (7.0, 5.0));
    }
}
