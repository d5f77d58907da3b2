//! Unknown keys, wrong brackets, wrong syntax; and that one run shows every error.

use super::support::{AGENT, BLACK, GOOD, ROUTE, WHITE, errors_of, inserted, one_error};

#[test]
fn unknown_keys_are_refused_with_what_was_meant() {
    for (after, line, start, advice) in [
        (
            WHITE,
            "intervall = \"1s\"",
            "probe.intervall: unknown key",
            "did you mean \"interval\"? allowed here: name, target",
        ),
        (WHITE, "zzz = 1", "probe.zzz: unknown key", "allowed here: name, target"),
        (
            BLACK,
            "hops = []",
            "probe.hops: unknown key; it belongs to [[route]]",
            "allowed here: name, target",
        ),
        (
            AGENT,
            "token_file = \"x\"",
            "agent.token_file: unknown key; it belongs to [admin] or [grpc] or [discovery.consul] or [discovery.kubernetes] or [[node]]",
            "move it there",
        ),
        (AGENT, "[prboing]", "prboing: unknown key", "did you mean \"probing\"?"),
        (ROUTE, "tls = { cafile = \"x\" }", "route.tls.cafile: unknown key", "did you mean \"ca_file\"?"),
    ] {
        let text = inserted(after, line);
        let errors = errors_of(&text).to_string();
        assert!(errors.starts_with(&format!("insight.toml:{}: {start}", after + 1)), "{errors}");
        assert!(errors.contains(advice), "expected {advice}\nfound {errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
    let text = format!("region = \"eu\"\n{GOOD}");
    one_error(&text, "1: region: unknown key; it belongs to [agent]", "move it there");
}

#[test]
fn tables_with_the_wrong_number_of_brackets_are_explained() {
    let text = GOOD.replacen("[[route]]", "[route]", 1);
    let errors = errors_of(&text).to_string();
    assert!(errors.contains("insight.toml:4: route: one table stands where a list"), "{errors}");
    assert!(errors.contains("write [[route]], once for each route"), "{errors}");
    let text = "[agent]\nregion = \"eu\"\n[probe]\nname = \"a\"\n";
    one_error(text, "3: probe: one table stands where a list", "write [[probe]], once for each probe");
    let text = "[[agent]]\nregion = \"eu\"\n";
    let errors = errors_of(text).to_string();
    assert!(errors.contains("insight.toml:1: agent: a list of tables stands"), "{errors}");
    one_error(
        &format!("metrics = 1\n{GOOD}"),
        "1: metrics: expected a table, found an integer",
        "write [metrics]",
    );
}

#[test]
fn all_errors_are_reported_at_once_in_the_order_of_their_lines() {
    let text = GOOD
        .replace("\"eu\"", "\"EU\"")
        .replace("127.0.0.1:50051", "nowhere")
        .replace("\"white-box\"", "\"whitebox\"")
        .replace("127.0.0.1:50052", "127.0.0.1");
    let errors = errors_of(&format!("{text}drian = \"1s\"\ninterval = \"1\"\n"));
    let found: Vec<_> =
        errors.iter().map(|error| (error.line.unwrap(), error.key.clone().unwrap())).collect();
    let expected = [
        (2, "agent.region"),
        (6, "route.address"),
        (11, "probe.mode"),
        (17, "probe.address"),
        (18, "probe.drian"),
        (19, "probe.interval"),
    ];
    assert_eq!(found, expected.map(|(line, key)| (line, key.to_owned())), "{errors}");
}

#[test]
fn every_syntax_error_has_its_line() {
    let errors = errors_of("[agent]\nregion = eu\nname = \"a\nlog = \"info\"\nlog = \"debug\"\n");
    let lines: Vec<_> = errors.iter().map(|error| error.line).collect();
    assert!(lines.contains(&Some(2)) && lines.contains(&Some(3)) && lines.contains(&Some(5)), "{errors}");
    for error in errors.iter() {
        assert!(error.to_string().contains(": not valid TOML: "), "{error}");
    }
}
