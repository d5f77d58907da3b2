//! The picture at the sizes people have, written out.

use super::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use serde_json::json;

fn status() -> Status {
    let segment = |name: &str, ms: Option<f64>, source: &str| {
        json!({"name": name, "seconds": ms.map(|ms| ms / 1e3), "bound_seconds": 0.00005, "source": ms.map(|_| source),
               "population": "probe", "count": 10})
    };
    serde_json::from_value(json!({
        "agent": {"uptime_seconds": 9.0, "window_seconds": 1.0},
        "paths": [{"source": "eu", "target": "sg", "cross_region_latency_ms": 22.4, "ledgers": [{
            "kind": "probe", "probe": "sg-insight", "count": 10, "age_seconds": 0.2, "end_to_end_seconds": 0.0225,
            "unexplained_seconds": -0.00002,
            "segments": [
                segment("link:eu>mediary-a", Some(0.081), "handshake"),
                segment("hop:mediary-a", Some(0.412), "hop_header"),
                segment("link:mediary-a>mediary-b", Some(20.31), "header_difference"),
                segment("hop:mediary-b", None, ""),
                segment("link:mediary-b>gateway-b", Some(0.1), "header_difference"),
                segment("hop:gateway-b", Some(0.377), "hop_header"),
                segment("link:gateway-b>service", Some(0.1), "header_difference"),
                segment("service", Some(0.05), "receiver"),
                segment("transfer", Some(0.02), "prober"),
            ]}]}],
        "probes": [
            {"probe": "sg-insight", "mode": "white-box", "connection": "reused", "sent": 90, "ok": 90,
             "latency": {"mean_seconds": 0.0225, "p50_seconds": 0.0224, "p99_seconds": 0.031}},
            {"probe": "sg-service", "mode": "black-box", "connection": "fresh", "sent": 12, "ok": 7,
             "failures": {"unavailable": 4, "deadline": 1}},
        ],
        "measurements": [
            {"node": "eu", "name": "probe", "state": "active", "reason": ""},
            {"node": "eu", "name": "tcp_info", "state": "failed", "reason": "refused"},
        ],
    }))
    .unwrap()
}

fn view() -> View {
    View {
        status: Some(status()),
        forwarder: "nginx".into(),
        elapsed: Duration::from_secs(9),
        duration: Some(Duration::from_secs(30)),
        hint: "q quits".into(),
        ..View::default()
    }
}

fn shown(view: &View, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, view)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(row).collect()
}

#[track_caller]
fn assert_picture(found: &[String], expected: &str) {
    let found = found.join("\n");
    assert_eq!(found.trim_end(), expected.trim_matches('\n'), "\n{found}\n");
}

#[test]
fn everything_fits_80_by_24() {
    let lines = shown(&view(), 80, 24);
    assert_picture(
        &lines,
        "
 Insight  eu → sg  median 22.40 ms                             nginx  9 of 30 s

 eu ──────── mediary-a ═ WAN ══ mediary-b ──────── gateway-b ──────── service
     0.081     0.412    20.31       —      0.100     0.377    0.100    0.050

 sg-insight, last window        ms  share             evidence                n
 link:eu>mediary-a           0.081  ▏                 handshake              10
 hop:mediary-a               0.412  ▎                 hop_header             10
 link:mediary-a>mediary-b    20.31  ███████████████▍  header_difference      10
 hop:mediary-b                   —                    —                      10
 link:mediary-b>gateway-b    0.100  ▏                 header_difference      10
 hop:gateway-b               0.377  ▎                 hop_header             10
 link:gateway-b>service      0.100  ▏                 header_difference      10
 service                     0.050  ▏                 receiver               10
 transfer                    0.020  ▏                 prober                 10
 unexplained                -0.020
 end to end                  22.50                    prober                 10

 probes since start         sent     ok   p50 ms   p99 ms  mean ms  failed
 sg-insight reused            90     90    22.40    31.00    22.50  none
 sg-service fresh             12      7        —        —        —  1 deadline…

 measurements  eu  1 active · failed tcp_info (refused)
 no fault · no background load                                          q quits
",
    );
}

/// The status of a run in namespaces: the nodes report, one of them not for a while.
fn status_with_reports() -> Status {
    let segment = |name: &str, ms: Option<f64>, source: &str, population: &str, node: &str, age: f64| {
        json!({"name": name, "seconds": ms.map(|ms| ms / 1e3), "source": ms.map(|_| source), "node": node,
               "population": population, "count": ms.map_or(0, |_| 1139), "age_seconds": age})
    };
    let window = json!({
    "kind": "window", "probe": "sg-insight", "count": 10, "age_seconds": 0.7, "end_to_end_seconds": 0.0225,
    "unexplained_seconds": 0.0011,
    "segments": [
        segment("link:eu>mediary-a", Some(0.075), "rtt_floor", "all", "eu", 0.7),
        segment("hop:mediary-a", Some(0.122), "kernel", "all", "mediary-a", 0.7),
        segment("link:mediary-a>mediary-b", Some(20.18), "link_probe", "probe", "mediary-a", 0.7),
        segment("hop:mediary-b", None, "", "all", "mediary-b", 34.2),
        segment("link:mediary-b>gateway-b", Some(0.015), "link_probe", "probe", "mediary-b", 0.7),
        segment("hop:gateway-b", Some(0.2), "kernel", "all", "gateway-b", 0.7),
        segment("service", Some(0.05), "receiver", "probe", "eu", 0.7),
    ]});
    let mut status = status();
    status.paths[0].ledgers.push(serde_json::from_value(window).unwrap());
    for (node, name, state, reason) in [
        ("mediary-a", "residence", "active", ""),
        ("mediary-a", "socket_rtt", "active", ""),
        ("mediary-b", "socket_rtt", "failed", "no_cgroup"),
    ] {
        let measurement = json!({"node": node, "name": name, "state": state, "reason": reason});
        status.measurements.push(serde_json::from_value(measurement).unwrap());
    }
    status
}

#[test]
fn with_reports_both_ledgers_stand_side_by_side_in_80_columns() {
    let view = View { status: Some(status_with_reports()), ..view() };
    assert_picture(
        &shown(&view, 80, 24),
        "
 Insight  eu → sg  median 22.40 ms                             nginx  9 of 30 s

 eu ──────── mediary-a ═ WAN ══ mediary-b ──────── gateway-b ──────── service
     0.081     0.412    20.31       —      0.100     0.377    0.100    0.050

 sg-insight, ms             probe  window  evidence (*: all)            n   age
 link:eu>mediary-a          0.081   0.075  handshake/rtt_floor*   10/1.1k  0.7s
 hop:mediary-a              0.412   0.122  header/kernel*         10/1.1k  0.7s
 link:mediary-a>mediary-b   20.31   20.18  difference/link_probe  10/1.1k  0.7s
 hop:mediary-b                  —       —  —/—                       10/0   34s
 link:mediary-b>gateway-b   0.100   0.015  difference/link_probe  10/1.1k  0.7s
 hop:gateway-b              0.377   0.200  header/kernel*         10/1.1k  0.7s
 link:gateway-b>service     0.100       —  difference/—              10/—
 service                    0.050   0.050  receiver/receiver      10/1.1k  0.7s
 transfer                   0.020       —  prober/—                  10/—
 unexplained               -0.020   1.100
 end to end                 22.50   22.50  prober                   10/10  0.7s
 probes since start         sent     ok   p50 ms   p99 ms  mean ms  failed
 sg-insight reused            90     90    22.40    31.00    22.50  none
 sg-service fresh             12      7        —        —        —  1 deadline…
 measurements  eu         1 active · failed tcp_info (refused)
               mediary-a  all 2 active
               mediary-b  0 active · failed socket_rtt (no_cgroup)
 no fault · no background load                                          q quits
",
    );
}

#[test]
fn with_room_each_node_has_a_line_and_evidence_its_full_name() {
    let view = View { status: Some(status_with_reports()), ..view() };
    assert_picture(
        &shown(&view, 110, 32),
        "
 Insight  eu → sg  median 22.40 ms                                                           nginx  9 of 30 s

 eu ─────────────── mediary-a ═════ WAN ═════ mediary-b ─────────────── gateway-b ─────────────── service
         0.081        0.412        20.31          —          0.100        0.377        0.100       0.050

 sg-insight, ms              probe   window  share           evidence (*: all traffic)               n    age
 link:eu>mediary-a           0.081    0.075  ▏               handshake / rtt_floor*            10/1.1k   0.7s
 hop:mediary-a               0.412    0.122  ▎               hop_header / kernel*              10/1.1k   0.7s
 link:mediary-a>mediary-b    20.31    20.18  █████████████▌  header_difference / link_probe    10/1.1k   0.7s
 hop:mediary-b                   —        —                  — / —                                10/0    34s
 link:mediary-b>gateway-b    0.100    0.015  ▏               header_difference / link_probe    10/1.1k   0.7s
 hop:gateway-b               0.377    0.200  ▎               hop_header / kernel*              10/1.1k   0.7s
 link:gateway-b>service      0.100        —  ▏               header_difference / —                10/—
 service                     0.050    0.050  ▏               receiver / receiver               10/1.1k   0.7s
 transfer                    0.020        —  ▏               prober / —                           10/—
 unexplained                -0.020    1.100
 end to end                  22.50    22.50                  prober                              10/10   0.7s

 probes since start         sent     ok   p50 ms   p99 ms  mean ms  failed
 sg-insight reused            90     90    22.40    31.00    22.50  none
 sg-service fresh             12      7        —        —        —  1 deadline, 4 unavailable

 measurements  eu         1 active · failed tcp_info (refused)
               mediary-a  all 2 active
               mediary-b  0 active · failed socket_rtt (no_cgroup)
 no fault · no background load                                                                        q quits
",
    );
}

/// The same where the hops' hosts tell what their forwarders had of their CPUs, two of them in part.
fn status_with_hosts() -> Status {
    let mut status = status_with_reports();
    let hosts = [
        ("hop:mediary-a", json!({"busy_ratio": 0.973, "throttled_ratio": 0.0, "run_delay_ratio": 1.84})),
        ("hop:mediary-b", json!({"busy_ratio": 0.0, "throttled_ratio": null, "run_delay_ratio": 0.0})),
        ("hop:gateway-b", json!({"busy_ratio": null, "throttled_ratio": 0.84})),
    ];
    for (name, host) in hosts {
        let mut segments = status.paths[0].ledgers[1].segments.iter_mut();
        let segment = segments.find(|segment| segment.name == name).unwrap();
        segment.host = serde_json::from_value(host).unwrap();
    }
    status
}

#[test]
fn a_hosts_figures_stand_between_the_ledgers_and_the_probes_and_unknown_ones_are_dashes() {
    let view = View { status: Some(status_with_hosts()), ..view() };
    let lines = shown(&view, 110, 35);
    let from = lines.iter().position(|line| line.starts_with(" end to end")).unwrap();
    assert_picture(
        &lines[from..],
        "
 end to end                  22.50    22.50                  prober                              10/10   0.7s

 cpus          mediary-a     busy  97 %  throttled  0.0 s/s  run delay  1.8 s/s
               mediary-b     busy   0 %  throttled    — s/s  run delay  0.0 s/s
               gateway-b     busy   — %  throttled  0.8 s/s  run delay    — s/s

 probes since start         sent     ok   p50 ms   p99 ms  mean ms  failed
 sg-insight reused            90     90    22.40    31.00    22.50  none
 sg-service fresh             12      7        —        —        —  1 deadline, 4 unavailable

 measurements  eu         1 active · failed tcp_info (refused)
               mediary-a  all 2 active
               mediary-b  0 active · failed socket_rtt (no_cgroup)
 no fault · no background load                                                                        q quits
",
    );
}

#[test]
fn in_80_by_24_the_busiest_host_stands_alone() {
    let view = View { status: Some(status_with_hosts()), ..view() };
    let lines = shown(&view, 80, 24);
    let from = lines.iter().position(|line| line.starts_with(" end to end")).unwrap();
    assert_picture(
        &lines[from..],
        "
 end to end                 22.50   22.50  prober                   10/10  0.7s
 cpus          mediary-a     busy  97 %  throttled  0.0 s/s  run delay  1.8 s/s
 probes since start         sent     ok   p50 ms   p99 ms  mean ms  failed
 sg-insight reused            90     90    22.40    31.00    22.50  none
 sg-service fresh             12      7        —        —        —  1 deadline…
 measurements  eu         1 active · failed tcp_info (refused)
               mediary-a  all 2 active
               mediary-b  0 active · failed socket_rtt (no_cgroup)
 no fault · no background load                                          q quits
",
    );
}

#[test]
fn a_low_terminal_keeps_the_ledgers_and_the_keys() {
    let mut status = status_with_reports();
    for _ in 0..3 {
        status.probes.extend(status.probes.clone());
    }
    let view = View { status: Some(status), ..view() };
    for height in [19, 21, 24, 40] {
        let lines = shown(&view, 80, height);
        let text = lines.join("\n");
        assert!(text.contains("hop:gateway-b") && text.contains("end to end"), "{height}:\n{text}");
        assert!(lines[..].iter().any(|line| line.ends_with("q quits")), "{height}:\n{text}");
    }
    assert!(shown(&view, 80, 24).join("\n").contains("more, in a taller window"));
}

#[test]
fn before_the_first_answer_nothing_is_invented() {
    let lines = shown(&View { status: None, ..view() }, 80, 12);
    assert_picture(
        &lines,
        "
 Insight  — → —  median — ms                                   nginx  9 of 30 s

 eu ──────── mediary-a ═ WAN ══ mediary-b ──────── gateway-b ──────── service


 waiting for the first complete window

 no fault · no background load                                          q quits
",
    );
}

#[test]
fn a_wide_terminal_shows_the_bounds() {
    let lines = shown(&view(), 120, 30);
    assert!(lines.iter().any(|line| line.contains('±')), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("20.31    0.050")), "{lines:#?}");
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for status in [status(), status_with_reports(), status_with_hosts()] {
        let notice = Some("the agent does not answer: ".repeat(9));
        let view = View { status: Some(status), notice, ..view() };
        for width in [80, 81, 99, 100, 101, 133] {
            for line in view.lines(width, 24) {
                assert!(line.width() <= usize::from(width), "{width}: {line:?}");
            }
        }
    }
}

#[test]
fn faults_notices_and_merged_hops_are_said() {
    let mut view = view();
    view.faults = vec!["wan-delay=40ms".into()];
    view.coming = Some((vec!["mediary-a-down".into()], Duration::from_secs(5)));
    view.background_rps = 50.0;
    view.notice = Some("prometheus: http://127.40.0.9:9090".into());
    if let Some(status) = &mut view.status {
        status.paths[0].ledgers[0].segments[1].merged = vec!["x".into()];
    }
    let text = shown(&view, 100, 30).join("\n");
    for part in [
        "fault wan-delay=40ms, mediary-a-down at 5 s",
        "background 50 requests/s",
        "http://127.40.0.9:9090",
        "(with x)",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn without_colour_no_cell_has_one() {
    let mut terminal = Terminal::new(TestBackend::new(100, 30)).unwrap();
    let mut view = view();
    view.faults = vec!["wan-delay=40ms".into()];
    let mut coloured = |colour| {
        let view = View { colour, ..view.clone() };
        terminal.draw(|frame| draw(frame, &view)).unwrap();
        terminal.backend().buffer().content().iter().any(|cell| cell.fg != Color::Reset)
    };
    assert!(coloured(true));
    assert!(!coloured(false));
}

#[test]
fn figures_keep_their_digits_and_never_become_zero_for_none() {
    let shown = [None, Some(0.0), Some(-0.0000001), Some(0.0000812), Some(0.0203), Some(0.1234), Some(1.5)];
    assert_eq!(shown.map(milliseconds), ["—", "0.000", "0.000", "0.081", "20.30", "123.4", "1500"]);
    assert_eq!(milliseconds(Some(-0.0003)), "-0.300");
}

#[test]
fn text_that_is_cut_says_so() {
    assert_eq!(clip("mediary", 7), "mediary");
    assert_eq!(clip("mediary", 4), "med…");
    assert_eq!(clip("mediary", 0), "");
}
