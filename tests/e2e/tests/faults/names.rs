//! Names that do not resolve, with a real dnsmasq and a real unbound as the resolvers of an agent that
//! has a `resolv.conf` of its own, in a mount namespace of its own.

use crate::case::{Case, DEADLINE, PORT, assert_kept, assert_says, bad, ends};
use crate::servers::{dnsmasq, unbound};
use insight_e2e::agent::{Config, Site};
use insight_e2e::equipment::{Program, has};
use insight_e2e::exposition::Exposition;
use insight_e2e::process::Process;
use insight_lab::skip::{SkipReason, skip};
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

/// unbound, asked first.
const FIRST: u8 = 53;
/// dnsmasq, asked when the first one fails or is silent.
const SECOND: u8 = 54;

/// The program in a mount namespace in which `/etc/resolv.conf` is another file.
fn with_resolver(site: &Site) -> Command {
    let text = format!(
        "nameserver {}\nnameserver {}\noptions timeout:1 attempts:1\n",
        site.loopback.ip(FIRST),
        site.loopback.ip(SECOND)
    );
    let file = site.write("resolv.conf", &text);
    let mut command = Command::new("unshare");
    let script = "mount --bind \"$0\" \"$(readlink -f /etc/resolv.conf)\" && exec \"$@\"";
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(file);
    command
}

/// Both servers. unbound knows `good.test`, is silent about `slow.test` and `hung.test`, fails on
/// `servfail.test`, as dnsmasq refuses to be asked about it, and knows that nothing else exists. dnsmasq knows `slow.test` and nothing else.
fn resolvers(site: &Site) -> [Process; 2] {
    let ip = |host| site.loopback.ip(host);
    let (first, second): (Ipv4Addr, Ipv4Addr) = (ip(FIRST), ip(SECOND));
    let good = ip(2);
    let lines = format!(
        "  local-zone: \"good.test.\" static\n  local-data: \"good.test. 0 IN A {good}\"\n\
         \x20 local-zone: \"nx.test.\" static\n  local-zone: \"servfail.test.\" transparent\n\
         \x20 local-zone: \"slow.test.\" always_deny\n  local-zone: \"hung.test.\" always_deny\n"
    );
    let clauses = format!("forward-zone:\n  name: \"servfail.test.\"\n  forward-addr: {second}\n");
    [unbound(site, first, &lines, &clauses), dnsmasq(site, second, &[("slow.test", good)])]
}

fn can(name: &str) -> bool {
    if !nix::unistd::geteuid().is_root() {
        skip(name, SkipReason::Missing("a mount namespace needs root"));
        return false;
    }
    has(name, &[Program::Dnsmasq, Program::Unbound])
}

fn threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

fn good_answers(seen: &Exposition) -> f64 {
    seen.sum("insight_probe_results_total", &[("probe", "named"), ("status", "OK")]).unwrap_or(0.0)
}

fn mean_phase(seen: &Exposition, of: &[(&str, &str)]) -> f64 {
    let figure = |name| seen.value(&format!("insight_probe_phase_seconds_{name}"), of).unwrap();
    figure("sum") / figure("count")
}

#[test]
fn names_that_do_not_resolve_hold_up_neither_other_names_nor_threads() {
    if !can("names_that_do_not_resolve_hold_up_neither_other_names_nor_threads") {
        return;
    }
    let site = Site::new();
    let servers = resolvers(&site);
    let (good, config) = Case::good(&site);
    let named = |config: Config, name: &str, host: &str, lines: &str| {
        bad(config, name, &format!("{host}:{PORT}"), lines)
    };
    // A lookup for each sample of a fresh connection; ten names would not do, there are four of them.
    let config = named(config, "named", "good.test", "interval = \"50ms\"");
    let config = named(config, "nx", "nx.test", "");
    let config = named(config, "servfail", "servfail.test", "");
    let config = named(config, "slow", "slow.test", "");
    let config = named(config, "hung", "hung.test", "interval = \"20ms\"");
    let config = named(config, "patient", "slow.test", "deadline = \"5s\"\ninterval = \"500ms\"");
    let mut case = Case::of(good, site.start_through(with_resolver(&site), &config));
    let pid = case.agent.process.pid();

    let (unknown, silent) = (ends("dns", "dns", "UNAVAILABLE"), ends("dns", "dns", "DEADLINE_EXCEEDED"));
    assert_says(&case.assert_fails("nx", unknown), &["look up \"nx.test\"", "Name or service not known"]);
    let detail = case.assert_fails("servfail", unknown);
    assert_says(&detail, &["look up \"servfail.test\"", "Temporary failure in name resolution"]);
    assert_says(&case.assert_fails("hung", silent), &["the resolver does not answer"]);
    // Who joined a lookup fails at its end, if that was too late for whoever asked alone.
    let took = case.took("hung");
    let alone: Vec<_> = took.iter().copied().filter(|took| *took >= DEADLINE).collect();
    assert_kept(&alone, DEADLINE);
    assert!(alone.len() * 2 > took.len(), "{took:?}");
    // The answer comes after a second, which is more than this probe's deadline, however it was waited for.
    case.assert_fails("slow", silent);
    assert_eq!(case.agent.probe_status("slow")["ok"], 0);

    // Whoever has the patience sees how long it takes, whether they asked or joined.
    let phase = [("probe", "patient"), ("connection", "fresh"), ("phase", "dns")];
    let seen = case.agent.wait_for("slow names that resolve", |seen| {
        let count = seen.value("insight_probe_phase_seconds_count", &phase)?;
        (count >= 3.0).then(|| seen.clone())
    });
    let mean = mean_phase(&seen, &phase);
    assert!(mean > 0.95, "{mean} s, and the first server is given up after 1 s");

    // One lookup of a name at a time, and what was not asked is counted. A thread waits for each name.
    let seen = case.assert_good_goes_on();
    let skipped = [("measurement", "dns"), ("loss", "skipped")];
    assert!(seen.value("insight_lost_total", &skipped).unwrap() >= 20.0, "{:?}", servers[0]);
    let most = (0..20).map(|_| {
        std::thread::sleep(Duration::from_millis(50));
        threads(pid)
    });
    let most = most.max().unwrap();
    println!("{most} threads");
    assert!(most <= 16, "{most} threads; before, each of 50 samples a second had one");

    // Nobody waited for them: the named probe has no failure, and its lookups took no second.
    let before = good_answers(&seen);
    let seen = case.agent.wait_for("the named probe to go on", |seen| {
        (good_answers(seen) >= before + 20.0).then(|| seen.clone())
    });
    assert_eq!(seen.sum("insight_probe_failures_total", &[("probe", "named")]), None);
    let phase = [("probe", "named"), ("connection", "fresh"), ("phase", "dns")];
    let mean = mean_phase(&seen, &phase);
    assert!(mean < 0.3, "{mean} s for a name that is answered at once");
    drop(case);
    drop(servers);
}
