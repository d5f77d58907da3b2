//! Answers that are none: cut short, endless, or too slow. All of the peers are doubles.

use crate::case::{Case, assert_ended_at, assert_one_shot, assert_says, at, bad, ends, one_shot, patience};
use insight_e2e::agent::Site;
use insight_e2e::peers::grpc::{Deed, Peer, Reply};
use insight_e2e::peers::raw::{END_STREAM, Over, RawPeer, SERVING, Talk, frame_bytes, header_block, kind};
use std::time::Duration;

#[test]
fn answers_without_their_end_are_told_apart() {
    let site = Site::new();
    let [only, none, empty, hang] = [3, 4, 5, 6].map(|host| at(&site, host));
    let _only = Peer::start(only, |_| Reply::grpc_status(14, "draining").into());
    let _none = RawPeer::start(none, |talk| {
        talk.greet(&[])?;
        loop {
            let stream = talk.request()?;
            talk.good_headers(stream)?;
            talk.send(kind::DATA, END_STREAM, stream, &SERVING)?;
        }
    });
    let _empty = RawPeer::start(empty, |talk| {
        talk.greet(&[])?;
        loop {
            let stream = talk.request()?;
            talk.good_headers(stream)?;
            talk.send(kind::DATA, 0, stream, &SERVING)?;
            talk.headers(stream, &[("x-trailer", "1")], END_STREAM)?;
        }
    });
    let _hang = Peer::start(hang, |_| Deed::Hang);
    let faults = [
        ("trailers-only", only, ends("status", "response", "UNAVAILABLE"), "draining"),
        ("no-trailers", none, ends("protocol", "response", "UNKNOWN"), "no grpc-status"),
        ("no-status", empty, ends("protocol", "response", "UNKNOWN"), "no grpc-status"),
        ("hang", hang, ends("deadline", "wait", "DEADLINE_EXCEEDED"), "no answer within"),
    ];
    let mut case = Case::start(&site, |config| {
        faults.iter().fold(config, |config, (name, address, ..)| bad(config, name, &address.to_string(), ""))
    });
    for (name, _, how, says) in faults {
        assert_says(&case.assert_fails(name, how), &[says]);
    }
    case.assert_deadline_is_kept("hang", patience());
    case.assert_good_goes_on();
    for (name, address, how, _) in faults {
        let report = assert_one_shot(&site, &address.to_string(), &[], how);
        if name == "hang" {
            assert_ended_at(&report, patience());
        }
    }
}

/// Writes a byte each 100 ms, until the other side goes.
fn drip(talk: &mut Talk, bytes: &[u8]) -> Result<(), Over> {
    for byte in bytes {
        talk.write(&[*byte])?;
        talk.pause(Duration::from_millis(100))?;
    }
    talk.hang()
}

#[test]
fn a_byte_each_tenth_of_a_second_does_not_put_the_deadline_off() {
    let site = Site::new();
    let [settings, head, body] = [3, 4, 5].map(|host| at(&site, host));
    let _settings = RawPeer::start(settings, |talk| drip(talk, &frame_bytes(kind::SETTINGS, 0, 0, &[])));
    let _head = RawPeer::start(head, |talk| {
        talk.greet(&[])?;
        let stream = talk.request()?;
        let list = header_block(&[(":status", "200"), ("content-type", "application/grpc")]);
        drip(talk, &frame_bytes(kind::HEADERS, 4, stream, &list))
    });
    let _body = RawPeer::start(body, |talk| {
        talk.greet(&[])?;
        let stream = talk.request()?;
        talk.good_headers(stream)?;
        drip(talk, &[[0, 0, 1, kind::DATA, 0].as_slice(), &stream.to_be_bytes(), &[0]].concat().repeat(100))
    });
    let late = |class, phase| ends(class, phase, "DEADLINE_EXCEEDED");
    let faults = [
        // Three bytes of a frame say nothing about it; the fourth, its type, comes within the deadline.
        ("head", head, late("deadline", "wait")),
        ("body", body, late("deadline", "response")),
    ];
    let mut case = Case::start(&site, |config| {
        let config = bad(config, "settings", &settings.to_string(), "deadline = \"250ms\"\nping = false");
        faults.iter().fold(config, |config, (name, address, _)| {
            bad(config, name, &address.to_string(), "ping = false")
        })
    });
    for (name, _, how) in faults {
        case.assert_fails_on(name, "fresh", how);
        case.assert_deadline_is_kept(name, patience());
    }
    case.assert_fails("settings", late("no_settings", "http2"));
    case.assert_deadline_is_kept("settings", Duration::from_millis(250));
    case.assert_good_goes_on();
    for (_, address, how) in faults {
        // Behind the first answer the others wait in vain on the reused connection.
        let report = one_shot(&site, &address.to_string(), &["--no-ping"]);
        let fresh = &report["samples"][0];
        assert_eq!([&fresh["failure_class"], &fresh["failure_phase"]], [how.class, how.phase], "{fresh}");
        assert_ended_at(&report, patience());
    }
}

/// The most memory that a process has had, in bytes.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn sixteen_mebibytes_of_headers_cost_a_sample_and_no_memory() {
    const HEADERS: usize = 16 << 20;
    let site = Site::new();
    let endless = at(&site, 3);
    let _endless = RawPeer::start(endless, |talk| {
        talk.greet(&[])?;
        let stream = talk.request()?;
        // Fields of 100 bytes each in frames of 16 KiB; the block never ends before all of it is sent.
        let field = header_block(&[("x-filler", &"x".repeat(100))]);
        let block = field.repeat(16_384 / field.len());
        talk.send(kind::HEADERS, 0, stream, &header_block(&[(":status", "200")]))?;
        for _ in 0..HEADERS / block.len() {
            talk.send(kind::CONTINUATION, 0, stream, &block)?;
        }
        talk.hang()
    });
    let mut case = Case::start(&site, |config| bad(config, "endless", &endless.to_string(), ""));
    case.assert_good_goes_on();
    let before = peak_memory(case.agent.process.pid());
    let how = ends("protocol", "wait", "INTERNAL");
    let detail = case.assert_fails("endless", how);
    assert_says(&detail, &["headers"]);
    case.agent.wait_for("twenty failures", |seen| {
        seen.sum("insight_probe_failures_total", &[("probe", "endless")]).filter(|count| *count >= 20.0)
    });
    case.assert_good_goes_on();
    let grown = peak_memory(case.agent.process.pid()).saturating_sub(before);
    println!("it grew by {} KiB", grown / 1024);
    // Of more than 300 MiB that it was sent: windows, a bounded list for each, and slack for the allocator.
    assert!(grown < 24 << 20, "it grew by {} KiB", grown / 1024);
    assert_one_shot(&site, &endless.to_string(), &[], how);
}
