//! Values that are refused one by one: their form, their range, what they would break.

use super::support::{
    AGENT, BLACK, GOOD, ROUTE, WHITE, errors_of, inserted, one_error, replaced, warnings_of,
};

#[test]
fn the_base_of_these_cases_has_no_error() {
    assert_eq!(warnings_of(GOOD), Vec::<String>::new());
}

#[test]
fn values_of_a_wrong_form_are_refused() {
    let cases: &[(usize, &str, &str, &str)] = &[
        (WHITE, "interval = \"5\"", "probe.interval = \"5\": a duration needs a unit", "write \"5s\""),
        (WHITE, "interval = 5", "probe.interval = 5: a duration needs a unit, in quotes", "write \"5s\""),
        (WHITE, "interval = \"2 sec\"", "probe.interval = \"2 sec\": \"sec\" is no unit", "write \"2s\""),
        (
            WHITE,
            "interval = true",
            "probe.interval = true: expected a duration in quotes, found a boolean",
            "interval = \"1s\"",
        ),
        (
            WHITE,
            "request_bytes = \"64KB\"",
            "probe.request_bytes = \"64KB\": \"KB\" is no unit",
            "write \"64KiB\"",
        ),
        (WHITE, "request_bytes = 64", "probe.request_bytes = 64: a size needs a unit", "write \"64B\""),
        (
            WHITE,
            "ping = \"yes\"",
            "probe.ping = \"yes\": expected true or false, found a string",
            "ping = true",
        ),
        (WHITE, "service = \"a b\"", "probe.service = \"a b\": not a usable service name", "visible ASCII"),
        (
            AGENT,
            "log = \"info,,=x=y\"",
            "agent.log = \"info,,=x=y\": not a log filter",
            "info,insight_agent=debug",
        ),
        (
            AGENT,
            "log_format = \"jsn\"",
            "agent.log_format = \"jsn\": no such choice",
            "did you mean \"json\"?",
        ),
        (ROUTE, "authority = \"a@b\"", "route.authority: not an HTTP/2 authority", "host name"),
        (ROUTE, "origin = \"a>b\"", "route.origin = \"a>b\": not a usable name", "letters, digits"),
        (
            ROUTE,
            "tls = { server_name = \"a:1\" }",
            "route.tls.server_name = \"a:1\": not a name",
            "without a port",
        ),
        (
            BLACK,
            "method = \"pkg.S/M\"",
            "probe.method = \"pkg.S/M\": a method starts with a slash",
            "write \"/pkg.S/M\"",
        ),
        (BLACK, "method = \"/S\"", "probe.method = \"/S\": not a gRPC method", "/package.Service/Method"),
    ];
    for (after, line, start, advice) in cases {
        one_error(&inserted(*after, line), &format!("{}: {start}", after + 1), advice);
    }
    one_error(
        &inserted(AGENT, "[metrics]\nlisten = \"localhost:9\""),
        "5: metrics.listen = \"localhost:9\": not an IP address with a port",
        "\"127.0.0.1:9\" for this host only",
    );
}

#[test]
fn values_out_of_range_are_refused_with_the_range() {
    for (after, line, key, range) in [
        (AGENT, "[grpc]\nmax_delay = \"61s\"", "grpc.max_delay = \"61s\"", "0s to 1m"),
        (AGENT, "[grpc]\nmax_payload = \"65MiB\"", "grpc.max_payload = \"65MiB\"", "0B to 64MiB"),
        (AGENT, "[probing]\nwindow = \"999ms\"", "probing.window = \"999ms\"", "1s to 5m"),
        (AGENT, "[probing]\nwindow = \"301s\"", "probing.window = \"301s\"", "1s to 5m"),
        (AGENT, "[probing]\nvoid_share = 0", "probing.void_share = 0", "above 0, up to 1"),
        (AGENT, "[probing]\nvoid_share = 1.1", "probing.void_share = 1.1", "above 0, up to 1"),
        (AGENT, "[probing]\nvoid_share = nan", "probing.void_share = nan", "above 0, up to 1"),
        (AGENT, "[probing]\nmax_in_flight = 0", "probing.max_in_flight = 0", "1 to 1024"),
        (AGENT, "[probing]\nmax_in_flight = -1", "probing.max_in_flight = -1", "1 to 1024"),
        (WHITE, "# \ninterval = \"9ms\"", "probe.interval = \"9ms\"", "10ms to 1h"),
        (WHITE, "# \ndeadline = \"0s\"", "probe.deadline = \"0s\"", "1ns to 1h"),
        (WHITE, "# \ndrain = \"61s\"", "probe.drain = \"61s\"", "0s to 1m"),
        (WHITE, "# \ndelay = \"61s\"", "probe.delay = \"61s\"", "0s to 1m"),
        (WHITE, "# \nrequest_bytes = \"65MiB\"", "probe.request_bytes = \"65MiB\"", "0B to 64MiB"),
    ] {
        one_error(&inserted(after, line), &format!("{}: {key}: out of range", after + 2), range);
    }
}

#[test]
fn addresses_are_refused_with_the_form_that_is_meant() {
    for (address, what, advice) in [
        ("mediary-a", "the port is missing", "host:port"),
        ("mediary-a:http", "the port is not a number", "host:port"),
        ("2001:db8::1:443", "an IPv6 address needs brackets", "\"[2001:db8::1]:443\""),
        ("https://mediary-a:443/", "an address has no scheme", "write \"mediary-a:443\", and set tls"),
        ("a b:1", "the host is neither", "host:port"),
    ] {
        let text = replaced(6, &format!("address = \"{address}\""));
        one_error(&text, &format!("6: route.address = \"{address}\": {what}"), advice);
    }
}

#[test]
fn required_keys_are_asked_for_with_an_example() {
    for (line, start, advice) in [
        (2, "1: agent.region: required in [agent]", "region = \"eu\""),
        (6, "4: route.address: required in [[route]]", "address = \"mediary-a.example:50051\""),
        (9, "8: probe.name: required in [[probe]]", "name = \"sg\""),
        (10, "8: probe.target: required in [[probe]]", "target = \"sg\""),
        (11, "8: probe.mode: required in [[probe]]", "mode = \"white-box\""),
        (12, "8: probe: the probe goes nowhere", "add route = \"NAME\" of a [[route]], or address"),
    ] {
        one_error(&replaced(line, ""), start, advice);
    }
    // One mistake, one error: the typo's answer names the key already.
    one_error(&replaced(10, "traget = \"sg\""), "10: probe.traget: unknown key", "did you mean \"target\"?");
    one_error("", "1: agent.region: required in [agent]", "region = \"eu\"");
}

#[test]
fn names_of_regions_probes_and_hops_are_checked() {
    one_error(&replaced(2, "region = \"EU\""), "2: agent.region = \"EU\": not a usable region", "lower-case");
    one_error(
        &replaced(10, "target = \"s g\""),
        "10: probe.target = \"s g\": not a usable region",
        "lower-case",
    );
    one_error(
        &replaced(9, "name = \"a/b\""),
        "9: probe.name = \"a/b\": not a usable name",
        "letters, digits",
    );
    one_error(
        &replaced(14, "name = \"sg\""),
        "14: probe.name = \"sg\": this name is taken by line 9",
        "of its own",
    );
    let text = inserted(ROUTE, "[[route]]\nname = \"eu-sg\"\naddress = \"a:1\"");
    one_error(&text, "9: route.name = \"eu-sg\": this name is taken by line 5", "of its own");
}

#[test]
fn hops_are_few_unique_and_not_the_service() {
    let many: Vec<_> = (0..15).map(|index| format!("\"h{index}\"")).collect();
    for (hops, what, advice) in [
        ("[\"service\"]", "\"service\" is the name of every ledger's last entry", "in between"),
        ("[\"a\", \"b\", \"a\"]", "\"a\" occurs twice", "once, in path order"),
        ("[\"a>b\"]", "\"a>b\" is not a usable name", "letters, digits"),
        (&format!("[{}]", many.join(", ")), "15 hops are more than a ledger holds", "at most 14"),
        ("[1]", "expected a list of strings", "hops = ["),
        ("[\"eu-1\"]", "the origin \"eu-1\" is also a hop", "set route.origin"),
    ] {
        let text = replaced(7, &format!("hops = {hops}"));
        let errors = errors_of(&text).to_string();
        assert!(errors.starts_with("insight.toml:7: route.hops = ["), "{errors}");
        assert!(
            errors.contains(what) && errors.contains(advice),
            "expected {what}; {advice}\nfound {errors}"
        );
    }
}

#[test]
fn metadata_that_breaks_the_protocol_is_refused() {
    for (name, what, advice) in [
        ("\"X-Target\"", "HTTP/2 names are lower case", "write \"x-target\""),
        ("\":path\"", "a name with a colon belongs to HTTP/2", "route.authority"),
        ("\"a b\"", "not a metadata name", "lower-case letters"),
        ("grpc-timeout", "names that start with grpc-", "another name"),
        ("key-bin", "a -bin name carries binary values", "drop the -bin suffix"),
        ("te", "the connection sets this header itself", "remove it"),
        ("content-type", "the connection sets this header itself", "remove it"),
        ("connection", "the connection sets this header itself", "remove it"),
        ("transfer-encoding", "the connection sets this header itself", "remove it"),
        ("x-insight-probe", "every probe carries this by itself", "remove it"),
    ] {
        let text = inserted(ROUTE, &format!("[route.metadata]\n{name} = \"value\""));
        let bare = name.trim_matches('"');
        one_error(&text, &format!("9: route.metadata.{bare}: {what}"), advice);
    }
    for (value, what, advice) in [
        ("\"{regoin}\"", "unknown placeholder {regoin}", "did you mean \"region\"?"),
        ("\"{region\"", "a brace has no partner", "{{ and }}"),
        ("\"caf\\u00e9\"", "character 4 is not visible ASCII", "letters, digits"),
        ("\"a\\tb\"", "character 2 is not visible ASCII", "letters, digits"),
        ("\" a\"", "a space stands at an end", "remove it"),
        ("5", "expected a string, found an integer", "in quotes"),
    ] {
        let text = inserted(ROUTE, &format!("[route.metadata]\nx-a = {value}"));
        one_error(&text, &format!("9: route.metadata.x-a: {what}"), advice);
    }
}

#[test]
fn values_that_may_be_secrets_are_never_printed() {
    for text in [
        inserted(ROUTE, "[route.metadata]\nauthorization = \"Bearer hunter2 {x}\""),
        inserted(ROUTE, "[route.metadata]\nauthorization-bin = \"hunter2\""),
        inserted(AGENT, "[admin]\ntoken = \"hunter2\""),
        inserted(BLACK, "method = \"/a.B/C\"\nrequest_base64 = \"hunter2 \""),
        inserted(BLACK, "request_base64 = \"aHVudGVyMg==\""),
        inserted(AGENT, "token = \"hunter2"),
        replaced(6, "address = \"https://me:hunter2@a:1\""),
        replaced(6, "address = \"me:hunter2@a:1\""),
        inserted(ROUTE, "authority = \"me:hunter2@a\""),
    ] {
        let errors = errors_of(&text).to_string();
        assert!(!errors.contains("hunter2") && !errors.contains("aHVudGVyMg"), "{errors}");
    }
}

#[test]
fn connections_are_named_once_and_not_left_out() {
    for (list, what, advice) in [
        ("[]", "the list is empty", "\"reused\", \"fresh\" or both"),
        ("[\"fresh\", \"fresh\"]", "\"fresh\" occurs twice", "once"),
        ("[\"resued\"]", "\"resued\" is no kind of connection", "did you mean \"reused\"?"),
        ("\"fresh\"", "expected a list of strings, found a string", "connections = ["),
    ] {
        let text = inserted(WHITE, &format!("connections = {list}"));
        one_error(&text, &format!("13: probe.connections = {list}: {what}"), advice);
    }
}
