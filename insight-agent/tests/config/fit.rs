//! Values that are good each, but do not fit together; and what is only warned of.

use super::support::{AGENT, BLACK, ROUTE, WHITE, errors_of, inserted, one_error, replaced, warnings_of};

#[test]
fn hops_that_are_referred_to_exist() {
    let text = inserted(ROUTE, "envoy_hop = \"mediary-c\"");
    one_error(
        &text,
        "8: route.envoy_hop = \"mediary-c\": no hop of this route",
        "did you mean \"mediary-a\"?",
    );
    let text = inserted(ROUTE, "kong_hop = \"mediary-c\"");
    one_error(
        &text,
        "8: route.kong_hop = \"mediary-c\": no hop of this route",
        "did you mean \"mediary-a\"?",
    );
    let text = inserted(ROUTE, "server_timing.edge = { hop = \"mediaryb\", figure = \"upstream\" }");
    let start = "8: route.server_timing.edge.hop = \"mediaryb\": no hop of this route";
    one_error(&text, start, "did you mean \"mediary-b\"?");
    let text = inserted(ROUTE, "server_timing.edge = { hop = \"mediary-b\", figure = \"up\" }");
    one_error(&text, "8: route.server_timing.edge.figure = \"up\": no such choice", "downstream, upstream");
    let text = inserted(ROUTE, "server_timing.edge = \"mediary-b\"");
    one_error(&text, "8: route.server_timing.edge: expected a table, found a string", "write { hop = ");
    let text = inserted(ROUTE, "server_timing.\"a b\" = { hop = \"mediary-b\", figure = \"upstream\" }");
    one_error(&text, "8: route.server_timing.a b: no Server-Timing metric", "letters and digits");
}

#[test]
fn load_metrics_are_few_distinct_names() {
    let metrics = |list: &str| inserted(BLACK, &format!("load_metrics = {list}"));
    one_error(&metrics("[\"a\", \"a\"]"), "18: probe.load_metrics = ", "name each metric once");
    one_error(&metrics("[\"a b\"]"), "18: probe.load_metrics = ", "letters, digits, points");
    let nine: Vec<String> = (0..9).map(|at| format!("m{at}")).collect();
    one_error(&metrics(&format!("{nine:?}")), "18: probe.load_metrics = ", "name at most 8");
    assert_eq!(warnings_of(&metrics(&format!("{:?}", &nine[1..]))), Vec::<String>::new());
}

#[test]
fn probes_refer_to_routes_that_exist() {
    let text = replaced(12, "route = \"eu-gs\"");
    one_error(&text, "12: probe.route = \"eu-gs\": no [[route]] has this name", "did you mean \"eu-sg\"?");
    let text = "[agent]\nregion = \"eu\"\n[[probe]]\nname = \"a\"\ntarget = \"b\"\nmode = \"white-box\"\nroute = \"c\"\n";
    one_error(text, "7: probe.route = \"c\": no [[route]]", "add a [[route]] with this name");
    let text = inserted(WHITE, "address = \"a:1\"");
    one_error(&text, "13: probe.address = \"a:1\": route and address exclude each other", "remove one");
    let text = inserted(WHITE, "authority = \"a\"");
    one_error(&text, "13: probe.authority = \"a\": this belongs to a probe with an address", "[[route]]");
    let text = inserted(WHITE, "tls = {}");
    one_error(&text, "13: probe.tls: this belongs to a probe with an address", "[[route]]");
}

#[test]
fn keys_of_the_other_mode_are_refused() {
    for (line, key) in [("method = \"/a.B/C\"", "method"), ("health_service = \"a\"", "health_service")] {
        let errors = errors_of(&inserted(WHITE, line)).to_string();
        let expected = format!(
            "{}: a white-box probe has no {key}; remove it, or set mode = \"black-box\"",
            line.split_once(" = ")
                .map(|(_, value)| format!("insight.toml:13: probe.{key} = {value}"))
                .unwrap()
        );
        assert!(errors.contains(&expected), "expected {expected}\nfound {errors}");
    }
    one_error(
        &inserted(BLACK, "delay = \"1s\""),
        "18: probe.delay = \"1s\": a black-box probe has no delay",
        "set mode = \"white-box\"",
    );
}

#[test]
fn the_health_check_and_other_methods_have_their_own_keys() {
    let text = inserted(BLACK, "method = \"/a.B/C\"\nhealth_service = \"x\"");
    one_error(&text, "19: probe.health_service = \"x\": only the health check", "remove one of the two");
    let text = inserted(BLACK, "request_base64 = \"AAAA\"");
    one_error(&text, "18: probe.request_base64: the health check's request is built", "probe.health_service");
    let text = inserted(BLACK, "method = \"/a.B/C\"\nrequest_base64 = \"A\"");
    one_error(&text, "19: probe.request_base64: not base64", "standard base64");
}

#[test]
fn times_fit_together() {
    let text = inserted(WHITE, "interval = \"3s\"");
    one_error(
        &text,
        "13: probe.interval = \"3s\": a window of 5s holds less than two samples",
        "at most \"2500ms\", or set probing.window to \"6s\"",
    );
    // Both probes have the default interval; the window is what the user wrote.
    let text = inserted(AGENT, "[probing]\nwindow = \"1s\"");
    one_error(&text, "5: probing.window = \"1s\": less than two samples", "at least \"2s\"");
    let text = inserted(WHITE, "delay = \"6s\"");
    one_error(&text, "13: probe.delay = \"6s\": longer than the deadline of 5s", "longer probe.deadline");
}

#[test]
fn two_listeners_need_two_ports() {
    let text = inserted(AGENT, "[metrics]\nlisten = \"127.0.0.1:9\"\n[grpc]\nlisten = \"127.0.0.1:9\"");
    let start = "7: grpc.listen = \"127.0.0.1:9\": metrics.listen = \"127.0.0.1:9\" takes the same";
    one_error(&text, start, "a port of its own");
    // The other listener has its default, so the line that was written is the one to change.
    let text = inserted(AGENT, "[metrics]\nlisten = \"127.0.0.1:19749\"");
    one_error(&text, "5: metrics.listen = \"127.0.0.1:19749\": grpc.listen", "a port of its own");
}

#[test]
fn an_open_admin_listener_needs_a_token_or_an_accepted_risk() {
    let open = "[admin]\nlisten = \"0.0.0.0:19748\"";
    one_error(
        &inserted(AGENT, open),
        "5: admin.listen = \"0.0.0.0:19748\": it is reachable from other hosts",
        "set admin.token_file, or admin.insecure = true to accept the risk, or listen on loopback",
    );
    let warnings = warnings_of(&inserted(AGENT, &format!("{open}\ninsecure = true")));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].starts_with("insight.toml:6: admin.insecure = true: anyone who reaches 0.0.0.0:19748")
    );
    assert_eq!(warnings_of(&inserted(AGENT, "[admin]\ninsecure = true")), Vec::<String>::new());
}

#[test]
fn an_open_receiver_without_reports_is_neither_error_nor_warning() {
    let open = "[grpc]\nlisten = \"[::]:19749\"\nreports = false";
    assert_eq!(warnings_of(&inserted(AGENT, open)), Vec::<String>::new());
}

#[test]
fn a_route_that_sends_the_service_warns_of_probes_without_one() {
    let warnings = warnings_of(&inserted(ROUTE, "metadata = { x-target-service = \"{service}\" }"));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("insight.toml:9: probe.service: empty"), "{warnings:?}");
}

#[test]
fn a_probe_that_would_pile_up_on_a_path_that_hangs_is_a_warning() {
    let warnings = warnings_of(&inserted(WHITE, "interval = \"100ms\""));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let start =
        "insight.toml:13: probe.interval = \"100ms\": on a path that hangs, 150 samples are under way";
    assert!(warnings[0].starts_with(start), "{warnings:?}");
    assert!(warnings[0].contains("set probing.max_in_flight to 150, a longer interval"), "{warnings:?}");
    // As many as fit, and a pile that no setting of max_in_flight would hold.
    let fits = inserted(AGENT, "[probing]\nmax_in_flight = 150");
    let fits = fits.replace("mode = \"white-box\"", "mode = \"white-box\"\ninterval = \"100ms\"");
    assert_eq!(warnings_of(&fits), Vec::<String>::new());
    let warnings = warnings_of(&inserted(WHITE, "interval = \"10ms\""));
    assert!(warnings[0].contains("; set a longer interval"), "{warnings:?}");
}
