//! The whole agent: `[kernel]` in its file, a late reader on this host, and what a scrape shows.

use crate::support::{ANSWER, Bench, REQUEST};
use insight_common::kernel::loss::Measurement;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const DELAY: Duration = Duration::from_millis(30);

/// Ends with the test.
pub struct Running(Child);

impl Running {
    /// The agent with this configuration.
    pub fn start(file: &Path) -> Self {
        let mut agent = Command::new(env!("CARGO_BIN_EXE_insight-agent"));
        Self(agent.args(["run", "--config"]).arg(file).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has noticed then.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// One page of the metrics listener. `None`: it does not listen yet.
fn scrape(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut page = String::new();
    stream.read_to_string(&mut page).ok()?;
    Some(page)
}

fn value(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

fn is_in_state(page: &str, measurement: &str, state: &str) -> bool {
    let labels = [format!("measurement=\"{measurement}\""), format!("state=\"{state}\"")];
    let mut lines = page.lines().filter(|line| line.starts_with("insight_measurement_state{"));
    lines.any(|line| labels.iter().all(|label| line.contains(label)))
}

/// State and reason of each measurement. Empty: it does not listen yet.
pub fn states(port: u16) -> BTreeMap<String, (String, String)> {
    let page = scrape(port).unwrap_or_default();
    let label = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let lines = page.lines().filter(|line| line.starts_with("insight_measurement_state{"));
    let states = lines.filter_map(|line| {
        Some((label(line, "measurement")?, (label(line, "state")?, label(line, "reason")?)))
    });
    states.collect()
}

/// Waits for a page that `shows` something, with `act` before every look.
fn wait_for<T>(port: u16, what: &str, mut act: impl FnMut(), shows: impl Fn(&str) -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut page = None;
    loop {
        act();
        if let Some(found) = page.as_deref().and_then(&shows) {
            return found;
        }
        assert!(Instant::now() < deadline, "no {what} in {}", page.unwrap_or_default());
        std::thread::sleep(Duration::from_millis(50));
        page = scrape(port);
    }
}

#[test]
fn a_late_reader_shows_on_the_agents_metrics_page() {
    let name = "a_late_reader_shows_on_the_agents_metrics_page";
    // For its port, and to skip where the kernel cannot.
    let Some(bench) = Bench::start(name, &[Measurement::Turnaround], |_| {}) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("insight.toml");
    let (metrics, admin, grpc) = (free_port(), free_port(), free_port());
    let text = format!(
        "[agent]\nregion = \"eu\"\nname = \"node\"\n[probing]\nwindow = \"1s\"\n\
         [metrics]\nlisten = \"127.0.0.1:{metrics}\"\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n\
         [grpc]\nlisten = \"127.0.0.1:{grpc}\"\n[kernel]\nenabled = true\nhttp2 = false\n\
         [[kernel.peer]]\nname = \"lab\"\nnetworks = [\"127.0.0.0/8\"]\nports = [\"{}\"]\n",
        bench.port
    );
    std::fs::write(&file, text).unwrap();
    let _agent = Running::start(&file);

    wait_for(
        metrics,
        "active turnaround",
        || (),
        |page| is_in_state(page, "turnaround", "active").then_some(()),
    );
    let (mut near, mut far) = bench.connect();
    let mut rounds = 0_u32;
    let mut seen = Duration::ZERO;
    let exchange = || {
        let asked = Instant::now();
        near.write_all(&REQUEST).unwrap();
        std::thread::sleep(DELAY);
        far.read_exact(&mut [0; REQUEST.len()]).unwrap();
        far.write_all(&ANSWER).unwrap();
        near.read_exact(&mut [0; ANSWER.len()]).unwrap();
        (rounds, seen) = (rounds + 1, seen.max(asked.elapsed()));
    };
    let (count, sum) = wait_for(metrics, "five turnarounds", exchange, |page| {
        let count = value(page, "insight_socket_turnaround_seconds_count{forwarder=\"other\",peer=\"lab\"}")?;
        (count >= 5.0).then(|| {
            (count, value(page, "insight_socket_turnaround_seconds_sum{forwarder=\"other\",peer=\"lab\"}"))
        })
    });
    assert!(count < f64::from(rounds), "the first exchange is left out: {count} of {rounds}");
    let mean = sum.unwrap() / count;
    let bounds = DELAY.as_secs_f64() * 0.95..seen.as_secs_f64() + 0.001;
    assert!(bounds.contains(&mean), "{mean} s is not in {bounds:?}");
    let page = scrape(metrics).unwrap();
    assert!(is_in_state(&page, "residence", "disabled"), "no forwarder is configured: {page}");
    assert!(is_in_state(&page, "seeding", "active"), "{page}");
    assert!(value(&page, "insight_sockets_seeded_total{role=\"accepted\"}").is_some(), "{page}");
    assert!(
        value(&page, "insight_socket_rtt_floor_seconds{forwarder=\"other\",peer=\"lab\",role=\"connected\"}")
            .is_some(),
        "{page}"
    );
    assert!(
        value(&page, "insight_socket_receive_wait_seconds_count{forwarder=\"other\",role=\"accepted\"}")
            .is_some(),
        "{page}"
    );
}

#[test]
fn a_peer_group_by_host_is_the_addresses_that_the_host_has() {
    let name = "a_peer_group_by_host_is_the_addresses_that_the_host_has";
    let Some(bench) = Bench::start(name, &[Measurement::Connect], |_| {}) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("insight.toml");
    let (metrics, admin, grpc) = (free_port(), free_port(), free_port());
    let text = format!(
        "[agent]\nregion = \"eu\"\nname = \"node\"\n\
         [metrics]\nlisten = \"127.0.0.1:{metrics}\"\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n\
         [grpc]\nlisten = \"127.0.0.1:{grpc}\"\n[kernel]\nmeasurements = [\"connect\"]\n\
         [[kernel.peer]]\nname = \"lab\"\nhosts = [\"localhost\"]\nports = [\"{}\"]\n\
         [[kernel.peer]]\nname = \"gone\"\nhosts = [\"no-such-host.invalid\"]\n",
        bench.port
    );
    std::fs::write(&file, text).unwrap();
    let _agent = Running::start(&file);
    let active = |page: &str| is_in_state(page, "connect", "active").then_some(());
    wait_for(metrics, "active connect", || (), active);
    wait_for(
        metrics,
        "a connection to the host",
        || drop(bench.connect()),
        |page| {
            value(page, "insight_tcp_connect_seconds_count{forwarder=\"other\",peer=\"lab\"}")
                .filter(|count| *count > 0.0)
        },
    );
    let failures =
        |page: &str| value(page, "insight_peer_lookup_failures_total").filter(|count| *count > 0.0);
    wait_for(metrics, "a failed look-up of the other host", || (), failures);
}

#[test]
fn a_new_file_replaces_the_kernel_measurements_and_a_bad_one_nothing() {
    let name = "a_new_file_replaces_the_kernel_measurements_and_a_bad_one_nothing";
    let Some(bench) = Bench::start(name, &[Measurement::Connect], |_| {}) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("insight.toml");
    let (metrics, admin, grpc) = (free_port(), free_port(), free_port());
    let write = |measurements: &str| {
        let text = format!(
            "[agent]\nregion = \"eu\"\nname = \"node\"\n\
             [metrics]\nlisten = \"127.0.0.1:{metrics}\"\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n\
             [grpc]\nlisten = \"127.0.0.1:{grpc}\"\n\
             [kernel]\nreloadable = true\nmeasurements = {measurements}\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    write("[\"connect\"]");
    let agent = Running::start(&file);
    let hang_up = || kill(Pid::from_raw(agent.0.id() as i32), Signal::SIGHUP).unwrap();
    let only = |on: &'static str, off: &'static str| {
        move |page: &str| {
            (is_in_state(page, on, "active") && is_in_state(page, off, "disabled")).then_some(())
        }
    };
    wait_for(metrics, "connect alone", || (), only("connect", "resets"));

    write("[\"resets\", 7]");
    hang_up();
    write("[\"no_such_measurement\"]");
    hang_up();
    std::thread::sleep(Duration::from_secs(1));
    wait_for(metrics, "connect alone still", || (), only("connect", "resets"));

    write("[\"resets\", \"connect\", \"-connect\"]");
    hang_up();
    wait_for(metrics, "resets alone", || (), only("resets", "connect"));
    let reset = || {
        let (near, far) = bench.connect();
        setsockopt(&near, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
        drop((near, far));
    };
    wait_for(metrics, "a reset", reset, |page| {
        let sent = "insight_tcp_resets_total{forwarder=\"other\",peer=\"other\",direction=\"sent\"}";
        value(page, sent).filter(|count| *count > 0.0)
    });
    write("[\"connect\"]");
    hang_up();
    wait_for(metrics, "connect alone again", || (), only("connect", "resets"));
}
