//! Next hops that cannot be reached, or never come to speak.

use crate::case::{Case, DEADLINE, assert_ended_at, assert_one_shot, assert_says, at, bad, ends};
use insight_e2e::agent::Site;
use insight_e2e::peers::raw::RawPeer;
use insight_e2e::peers::tcp::{BlackHole, Closing, Silent};

#[test]
fn what_is_not_reached_ends_in_its_phase_and_at_its_deadline() {
    let site = Site::new();
    let (refused, hole, silent, closing, ssh) =
        (at(&site, 3), at(&site, 4), at(&site, 5), at(&site, 6), at(&site, 7));
    let _hole = BlackHole::start(site.loopback.at_v4(4, crate::case::PORT));
    let _silent = Silent::start(silent);
    let _closing = Closing::start(closing);
    // A double: it accepts, and speaks something else.
    let _ssh = RawPeer::start(ssh, |talk| {
        talk.write(b"SSH-2.0-OpenSSH_9.2p1\r\n")?;
        talk.hang()
    });
    let faults = [
        ("refused", refused, ends("refused", "connect", "UNAVAILABLE")),
        ("hole", hole, ends("connect_timeout", "connect", "DEADLINE_EXCEEDED")),
        ("silent", silent, ends("no_settings", "http2", "DEADLINE_EXCEEDED")),
        ("closing", closing, ends("no_settings", "http2", "UNAVAILABLE")),
        ("ssh", ssh, ends("protocol", "http2", "INTERNAL")),
    ];
    let mut case = Case::start(&site, |config| {
        faults.iter().fold(config, |config, (name, address, _)| bad(config, name, &address.to_string(), ""))
    });
    for (name, address, how) in faults {
        let detail = case.assert_fails(name, how);
        assert_says(&detail, &[&address.to_string()]);
    }
    for name in ["hole", "silent"] {
        case.assert_deadline_is_kept(name, DEADLINE);
    }
    case.assert_good_goes_on();
    for (name, address, how) in faults {
        let report = assert_one_shot(&site, &address.to_string(), &[], how);
        if matches!(name, "hole" | "silent") {
            assert_ended_at(&report, DEADLINE);
        }
    }
}

#[test]
fn a_link_to_a_process_that_is_stuck_keeps_its_handshakes() {
    let site = Site::new();
    let silent = at(&site, 3);
    let _silent = Silent::start(silent);
    let mut case = Case::start(&site, |config| {
        config.tables(&format!(
            "[[probe]]\nname = \"stuck\"\ntarget = \"eu\"\nmode = \"link\"\naddress = \"{silent}\"\nto = \"m\"\n\
             interval = \"100ms\"\ndeadline = \"200ms\""
        ))
    });
    let pings = [("probe", "stuck"), ("connection", "reused"), ("class", "no_settings"), ("phase", "http2")];
    case.agent.wait_for("failed PINGs", |seen| {
        seen.sum("insight_probe_failures_total", &pings).filter(|count| *count >= 3.0)
    });
    let seen = case.assert_good_goes_on();
    assert_eq!(seen.sum("insight_probe_failures_total", &[pings[0], ("connection", "fresh")]), None);
    let pinged = seen.histogram("insight_link_rtt_seconds", &[("to", "m"), ("ruler", "ping")]);
    assert!(pinged.is_none_or(|all| all.count == 0.0), "a failure was recorded as a round trip");
}
