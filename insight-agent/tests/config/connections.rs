//! How connections reach their next hop: slots, versions of IP, UNIX sockets and proxies.

use super::support::{GOOD, ROUTE, WHITE, inserted, one_error, replaced, warnings_of};
use insight_agent::config::Config;
use insight_agent::model::dial::IpVersion;
use insight_agent::model::plan::{Connection, ProbePlan};

fn plans(text: &str) -> Vec<ProbePlan> {
    Config::parse(text, "insight.toml")
        .unwrap_or_else(|errors| panic!("{errors}\n{text}"))
        .config
        .probe_plans()
}

#[test]
fn a_probe_has_one_reused_connection_unless_it_says_otherwise() {
    assert_eq!(plans(GOOD).iter().map(|plan| plan.slots).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(plans(&inserted(WHITE, "reused_connections = 16"))[0].slots, 16);
    for bad in ["0", "17"] {
        let start = format!("13: probe.reused_connections = {bad}: out of range");
        one_error(&inserted(WHITE, &format!("reused_connections = {bad}")), &start, "1 to 16");
    }
    one_error(
        &inserted(WHITE, "connections = [\"fresh\"]\nreused_connections = 2"),
        "14: probe.reused_connections = 2: this probe has no reused connection",
        "add \"reused\"",
    );
}

#[test]
fn both_versions_are_two_probes_with_names_that_nothing_else_can_have() {
    let plans = plans(&replaced(17, "address = \"dual.example:1\"\nip = \"both\""));
    let named: Vec<_> = plans.iter().map(|plan| (plan.name.as_str(), plan.route.dial.ip)).collect();
    let expected = [("sg", IpVersion::Any), ("direct/ipv4", IpVersion::V4), ("direct/ipv6", IpVersion::V6)];
    assert_eq!(named, expected);
    let text = replaced(14, "name = \"direct/ipv4\"");
    one_error(&text, "14: probe.name = \"direct/ipv4\": not a usable name", "letters, digits");
}

#[test]
fn an_address_that_is_written_out_has_one_version() {
    let with = |ip: &str| replaced(17, &format!("address = \"127.0.0.1:50052\"\nip = \"{ip}\""));
    assert_eq!(plans(&with("4"))[1].route.dial.ip, IpVersion::V4);
    for ip in ["6", "both"] {
        let start = format!("18: probe.ip = \"{ip}\": the connection goes to 127.0.0.1, which is IPv4");
        one_error(&with(ip), &start, "remove ip");
    }
}

#[test]
fn a_unix_socket_is_an_address_of_probes_and_routes_without_port_and_host() {
    let plan = plans(&replaced(17, "address = \"unix:/run/orders.sock\"")).remove(1);
    assert_eq!(plan.route.unix(), Some("/run/orders.sock"));
    assert_eq!(
        (plan.route.address(), plan.route.authority.as_str()),
        ("unix:/run/orders.sock".into(), "localhost")
    );
    let plan = plans(&replaced(6, "address = \"unix:@mediary\"")).remove(0);
    assert_eq!((plan.route.unix(), plan.route.port), (Some("@mediary"), 0));
    let start = "17: probe.address = \"unix:orders\": the path of a UNIX socket begins with a slash";
    one_error(&replaced(17, "address = \"unix:orders\""), start, "unix:@name");
    let text = replaced(17, "address = \"unix:/a\"\nip = \"4\"");
    one_error(&text, "18: probe.ip = \"4\": a UNIX socket has no IP address", "remove ip");
    let link = "[agent]\nregion = \"eu\"\n[[probe]]\nname = \"l\"\ntarget = \"eu\"\nmode = \"link\"\nto = \"a\"\naddress = \"unix:/a\"\n";
    one_error(link, "6: probe.mode = \"link\": a link probe measures a network", "black-box");
}

#[test]
fn a_proxy_belongs_to_a_route_and_its_password_to_a_file() {
    let plan = plans(&inserted(ROUTE, "proxy = \"http://proxy.example:3128\"")).remove(0);
    let proxy = plan.route.dial.proxy.unwrap();
    assert_eq!((proxy.url().as_str(), proxy.auth_file), ("http://proxy.example:3128", None));
    assert_eq!(plan.connections, [Connection::Reused, Connection::Fresh]);
    let text = inserted(ROUTE, "proxy = \"http://me:s3cret@proxy.example:3128\"");
    let errors = Config::parse(&text, "insight.toml").unwrap_err().to_string();
    assert!(errors.contains("proxy_auth_file") && !errors.contains("s3cret"), "{errors}");
    let text = inserted(ROUTE, "proxy = \"https://proxy.example:3128\"");
    one_error(&text, "8: route.proxy: not the URL of an HTTP proxy", "http://host:port");
    let text = replaced(6, "address = \"unix:/a\"\nproxy = \"http://p:1\"");
    one_error(&text, "7: route.proxy: a proxy leads to no UNIX socket", "remove proxy");
}

#[test]
fn a_link_behind_a_proxy_has_pings_alone() {
    let link = "[[probe]]\nname = \"l\"\ntarget = \"eu\"\nmode = \"link\"\nroute = \"eu-sg\"";
    let text = format!("{}\n{link}", inserted(ROUTE, "proxy = \"http://p:1\""));
    assert_eq!(plans(&text)[2].connections, [Connection::Reused]);
    let text = format!("{text}\nping = false\n");
    one_error(&text, "24: probe.ping = false: handshakes end at the route's proxy", "remove ping");
    let text = format!("{GOOD}{link}\nip = \"both\"\n");
    let errors = Config::parse(&text, "insight.toml").unwrap_err().to_string();
    assert!(errors.contains("23: probe.ip = \"both\": both would share the series of one link"), "{errors}");
}

#[test]
fn slots_that_make_too_many_series_are_warned_of_with_their_number() {
    let template = "[[discovery]]\nname = \"d\"\nfile = { paths = [\"targets.json\"] }\n[[probe]]\ndiscovery = \"d\"\ntarget = \"sg\"\nmode = \"black-box\"\nreused_connections = 16\nmax_probes = ";
    let quiet = warnings_of(&format!("{GOOD}{template}100\n"));
    assert_eq!(quiet.iter().filter(|text| text.contains("series")).count(), 0, "{quiet:?}");
    let warned = warnings_of(&format!("{GOOD}{template}1000\n"));
    let told: Vec<_> = warned.iter().filter(|text| text.contains("up to 64000 series, 4 for each")).collect();
    assert_eq!(told.len(), 1, "{warned:?}");
}

#[test]
fn questions_for_reports_do_not_go_where_probes_do_not() {
    let ways = |text: &str| Config::parse(text, "insight.toml").unwrap().config.report_ways().len();
    assert_eq!(ways(GOOD), 1);
    assert_eq!(ways(&inserted(ROUTE, "proxy = \"http://p:1\"")), 0);
    assert_eq!(ways(&replaced(6, "address = \"unix:@mediary\"")), 0);
}
