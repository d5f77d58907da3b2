//! `insight-agent discover` and `check-config`: what would come of a file?

use super::{PORT, config};
use insight_e2e::agent::Site;
use serde_json::json;

#[test]
fn discover_prints_rosters_and_what_each_endpoint_would_become() {
    let site = Site::new();
    let text = "[[endpoint]]\nname = \"a\"\naddress = \"h:1\"\nmeta = { zone = \"z\" }\n\
        [[endpoint]]\naddress = \"i:2\"\n[[endpoint]]\nname = \"out\"\naddress = \"j:3\"\n";
    site.write("a.toml", text);
    let file = "file = { paths = [\"a.toml\"] }";
    let config = config(file, "name = \"{meta.zone}-{name}\"\nwhere = [\"name != out\"]").render(&site);
    site.write("insight.toml", &config);
    let done = site.execute(&["discover", "--config", "insight.toml"]);
    assert_eq!(done.code, 0, "{done:?}");
    let expected = [
        "d (file): 3 endpoints\n",
        "  a  h:1\n    meta.file.path = ",
        "    -> probe z-a\n",
        "(missing_meta): it has no meta.zone",
        "    -- no [[probe]] of line ",
        "    -- passes the filters of no template\n",
    ];
    for part in expected {
        assert!(done.stdout.contains(part), "no {part:?} in {}", done.stdout);
    }

    let done = site.execute(&["discover", "--config", "insight.toml", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    let endpoints = json["discoveries"][0]["endpoints"].as_array().unwrap();
    assert_eq!(endpoints[0]["made"][0]["name"], "z-a");
    assert_eq!(endpoints[1]["name"], "i:2");
    assert_eq!(endpoints[1]["dropped"][0]["reason"], "missing_meta");
    assert_eq!((&endpoints[2]["made"], &endpoints[2]["dropped"]), (&json!([]), &json!([])));
}

#[test]
fn discover_tells_sources_that_fail_or_say_nothing_by_its_exit_code() {
    let site = Site::new();
    let silent = std::net::UdpSocket::bind(site.loopback.at(53, PORT)).unwrap();
    let dns = format!(
        "dns = {{ names = [\"x.lab.example.\"], port = 1, server = \"{}\", timeout = \"1m\" }}",
        silent.local_addr().unwrap()
    );
    for (source, told) in [
        ("file = { paths = [\"missing.json\"] }", "failed (unreachable): read "),
        (&dns, "failed (timeout): "),
    ] {
        site.write("insight.toml", &config(source, "").render(&site));
        let done = site.execute(&["discover", "--config", "insight.toml", "--timeout", "300ms"]);
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.stdout.contains("not known") && done.stdout.contains(told), "{}", done.stdout);
    }
    site.write("insight.toml", "[[discovery]]\n");
    let done = site.execute(&["discover", "--config", "insight.toml"]);
    assert_eq!(done.code, 2, "{done:?}");
    assert!(done.stderr.contains("insight.toml:1: discovery"), "{}", done.stderr);
}

#[test]
fn check_config_reads_the_files_that_templates_name() {
    let site = Site::new();
    site.write("ca.pem", "no PEM");
    let file = "file = { paths = [\"a.toml\"] }";
    site.write("insight.toml", &config(file, "tls = { ca_file = \"ca.pem\" }").render(&site));
    let done = site.execute(&["check-config", "insight.toml"]);
    assert_eq!(done.code, 2, "{done:?}");
    assert!(done.stderr.contains("tls.ca_file"), "{}", done.stderr);
}
