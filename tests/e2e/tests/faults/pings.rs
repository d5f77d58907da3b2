//! A gRPC server that enforces how often it may be sent PINGs: grpcio.

use crate::case::{Case, at, events};
use insight_e2e::agent::Site;
use insight_e2e::equipment::{Program, has};
use insight_e2e::exposition::Exposition;
use insight_e2e::process::Process;
use insight_e2e::wait::{PATIENCE, wait_until};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LINK: (&str, &str) = ("probe", "link");

fn pings(seen: &Exposition) -> f64 {
    let labels = [LINK, ("connection", "reused"), ("status", "OK")];
    seen.sum("insight_probe_results_total", &labels).unwrap_or(0.0)
}

#[test]
fn too_many_pings_double_the_interval_until_the_server_is_content() {
    if !has("too_many_pings_double_the_interval_until_the_server_is_content", &[Program::Python]) {
        return;
    }
    let site = Site::new();
    let strict = at(&site, 3);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/strict.py");
    let mut command = Command::new(Program::Python.path());
    command.arg("-B").arg(script).arg(strict.to_string());
    let mut service = Process::start("strict.py", command, &site.path("service.log"));
    wait_until("the grpcio service", PATIENCE, || {
        assert!(service.ended().is_none(), "the service ended: {}", service.log());
        service.log().contains("ready").then_some(()).ok_or_else(|| service.log())
    });

    let mut case = Case::start(&site, |config| {
        config.tables(&format!(
            "[[probe]]\nname = \"link\"\ntarget = \"eu\"\nmode = \"link\"\naddress = \"{strict}\"\nto = \"m\"\n\
             interval = \"50ms\"\ndeadline = \"2s\"\n"
        ))
    });
    // 50 ms, doubled until it is 300 ms or more: to 100, 200 and 400 ms, a GOAWAY for each.
    let interval = |seen: &Exposition| seen.value("insight_probe_ping_interval_seconds", &[LINK]);
    case.agent.wait_for("PINGs to be as rare as the server wants them", |seen| {
        interval(seen).filter(|seconds| *seconds >= 0.3)
    });
    let settled = case.agent.scrape();
    assert_eq!(interval(&settled), Some(0.4));
    assert_eq!(events(&settled, "link", "goaway", "too_many_pings"), 3.0);

    // From then on it is content, and PINGs are measured at that pace.
    let before = pings(&settled);
    std::thread::sleep(Duration::from_secs(3));
    let seen = case.agent.wait_for("five PINGs", |seen| (pings(seen) >= before + 5.0).then(|| seen.clone()));
    assert!(pings(&seen) - before < 20.0, "{} PINGs in some 3 s", pings(&seen) - before);
    assert_eq!(interval(&seen), Some(0.4));
    assert_eq!(events(&seen, "link", "goaway", "too_many_pings"), 3.0);
    let backed_off = [("measurement", "ping"), ("loss", "backed_off")];
    assert!(seen.value("insight_lost_total", &backed_off).unwrap() >= 20.0);
    // Its own PINGs are no fault of the link, and handshakes went on.
    assert_eq!(seen.sum("insight_probe_failures_total", &[LINK]), None);
    assert_eq!(case.agent.log().matches("asks for fewer PINGs").count(), 3);
    case.assert_good_goes_on();
}
