//! Peers that do not take a request: HTTP/2 windows and TCP windows that stay closed. Doubles.

use crate::case::{
    Case, assert_ended_at, assert_one_shot, assert_says, at, bad_white_box, ends, events, patience,
};
use insight_e2e::agent::Site;
use insight_e2e::peers::raw::{INITIAL_WINDOW_SIZE, RawPeer, kind};
use std::time::Duration;

#[test]
fn a_window_that_stays_closed_is_a_deadline_of_the_request() {
    let site = Site::new();
    let [closed, default, stopped, full] = [3, 4, 5, 6].map(|host| at(&site, host));
    let _closed = RawPeer::start(closed, |talk| {
        talk.greet(&[(INITIAL_WINDOW_SIZE, 0)])?;
        talk.keep_alive()
    });
    // The window that every connection begins with has room for 65,535 bytes, and is never opened again.
    let _default = RawPeer::start(default, |talk| {
        talk.greet(&[])?;
        talk.keep_alive()
    });
    // Two that let HTTP/2 send what it likes and then do not read it: the TCP window closes.
    let stop = |talk: &mut insight_e2e::peers::raw::Talk| {
        talk.greet(&[(INITIAL_WINDOW_SIZE, 0x7fff_ffff)])?;
        talk.send(kind::WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes())?;
        talk.hang()
    };
    let _stopped = RawPeer::narrow(site.loopback.at_v4(5, crate::case::PORT), 4096, stop);
    let _full = RawPeer::narrow(site.loopback.at_v4(6, crate::case::PORT), 4096, stop);
    let how = ends("deadline", "request", "DEADLINE_EXCEEDED");
    let faults = [
        ("closed", closed, "64KiB", Some("http2_window")),
        ("default", default, "64KiB", Some("http2_window")),
        // This host's own socket takes it all, so that nothing has to wait in the process.
        ("stopped", stopped, "64KiB", None),
        ("full", full, "4MiB", Some("socket")),
    ];
    let mut case = Case::start(&site, |config| {
        faults.iter().fold(config, |config, (name, address, bytes, _)| {
            // One at a time on a connection: a request behind another one would wait for that one.
            let lines = format!(
                "request_bytes = \"{bytes}\"\ninterval = \"500ms\"\ndeadline = \"300ms\"\ndrain = \"100ms\"\n\
                 ping = false"
            );
            bad_white_box(config, name, &address.to_string(), &lines)
        })
    });
    for (name, ..) in faults {
        let detail = case.assert_fails(name, how);
        assert_says(&detail, &["the request is not sent", "HTTP/2 or TCP window"]);
        case.assert_deadline_is_kept(name, Duration::from_millis(400));
    }
    let seen = case.assert_good_goes_on();
    for (name, _, _, reason) in faults {
        if let Some(reason) = reason {
            assert!(events(&seen, name, "send_stall", reason) >= 3.0, "{name}: {reason}");
        }
    }
    for (_, address, bytes, _) in faults {
        let more = ["--mode", "white-box", "--request-bytes", bytes, "--no-ping"];
        assert_ended_at(&assert_one_shot(&site, &address.to_string(), &more, how), patience());
    }
}
