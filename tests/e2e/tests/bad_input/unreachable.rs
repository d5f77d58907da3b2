//! Next hops that cannot be reached, or do not speak HTTP/2.

use crate::pair::{Pair, assert_says, bad_address};
use insight_e2e::agent::Site;
use insight_e2e::peers::tcp::{BlackHole, Closing, Silent};

#[test]
fn a_name_that_does_not_resolve_is_a_dns_failure() {
    let mut pair =
        Pair::start(Site::new(), |config| config.probe("bad", "far", "no-such-host.invalid:50051", ""));
    let detail = pair.assert_fails_as("dns", "UNAVAILABLE");
    assert_says(
        &detail,
        &["look up \"no-such-host.invalid\" for no-such-host.invalid:50051", "check the name", "resolver"],
    );
}

#[test]
fn a_port_where_nothing_listens_is_refused() {
    let site = Site::new();
    let address = bad_address(&site).to_string();
    let mut pair = Pair::start(site, |config| config.probe("bad", "far", &address, ""));
    let detail = pair.assert_fails_as("refused", "UNAVAILABLE");
    assert_says(&detail, &[&format!("connect to {address}"), "nothing listens there: check the address"]);
}

#[test]
fn a_black_hole_is_a_connect_timeout_at_the_deadline() {
    let site = Site::new();
    let address = bad_address(&site).to_string();
    let _hole = BlackHole::start(site.loopback.at_v4(3, crate::pair::PORT));
    let mut pair = Pair::start(site, |config| {
        config.probe("bad", "far", &address, "deadline = \"300ms\"\ninterval = \"100ms\"")
    });
    let detail = pair.assert_fails_as("connect_timeout", "DEADLINE_EXCEEDED");
    assert_says(&detail, &[&format!("connect to {address}: no answer within 300ms"), "SYN is unanswered"]);
}

#[test]
fn a_process_that_accepts_and_stays_silent_sends_no_settings() {
    let site = Site::new();
    let address = bad_address(&site);
    let _silent = Silent::start(address);
    let address = address.to_string();
    let mut pair = Pair::start(site, |config| config.probe("bad", "far", &address, "deadline = \"200ms\""));
    let detail = pair.assert_fails_as("no_settings", "DEADLINE_EXCEEDED");
    assert_says(
        &detail,
        &[&format!("open HTTP/2 with {address}: no answer within 200ms"), "no HTTP/2 SETTINGS", "stuck"],
    );
}

#[test]
fn a_connection_that_is_closed_at_once_sends_no_settings_either() {
    let site = Site::new();
    let address = bad_address(&site);
    let _closing = Closing::start(address);
    let address = address.to_string();
    let mut pair = Pair::start(site, |config| config.probe("bad", "far", &address, ""));
    // Whether the end or the reset of the connection is seen first is the kernel's choice.
    let detail = pair.assert_fails_as("no_settings", "UNAVAILABLE");
    assert_says(&detail, &["open HTTP/2 with", "the connection"]);
}
