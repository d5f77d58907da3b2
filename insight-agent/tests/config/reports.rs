//! Who may fetch reports, and whose reports are fetched.

use super::support::{AGENT, GOOD, ROUTE, errors_of, inserted, one_error, warnings_of};
use insight_agent::config::Config;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const OPEN: &str = "[grpc]\nlisten = \"0.0.0.0:19749\"";

fn write(folder: &Path, name: &str, content: &str) {
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Errors or warnings of a configuration in a folder.
fn findings(folder: &Path, tables: &str) -> String {
    let file = folder.join("insight.toml");
    fs::write(&file, format!("[agent]\nregion = \"eu\"\nname = \"eu-1\"\n{tables}\n")).unwrap();
    match Config::load(&file) {
        Ok(loaded) => loaded.warnings.join("\n"),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn open_reports_need_a_token_or_certificates_or_an_accepted_risk() {
    let start = "5: grpc.listen = \"0.0.0.0:19749\": node reports are reachable from other hosts";
    for way_out in
        ["grpc.token_file", "grpc.tls.client_ca_file", "grpc.reports = false", "grpc.insecure = true"]
    {
        one_error(&inserted(AGENT, OPEN), start, way_out);
    }
}

#[test]
fn an_accepted_risk_is_a_warning_that_names_it() {
    let warnings = warnings_of(&inserted(AGENT, &format!("{OPEN}\ninsecure = true")));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let start =
        "insight.toml:6: grpc.insecure = true: anyone who reaches 0.0.0.0:19749 may read every figure";
    assert!(warnings[0].starts_with(start), "{warnings:?}");
    // Where nothing is at risk, there is nothing to warn of.
    assert_eq!(warnings_of(&inserted(AGENT, "[grpc]\ninsecure = true")), Vec::<String>::new());
}

#[test]
fn a_token_or_client_certificates_open_reports_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["token", "cert.pem", "key.pem", "ca.pem"] {
        write(folder.path(), name, "content\n");
    }
    assert_eq!(findings(folder.path(), &format!("{OPEN}\ntoken_file = \"token\"")), "");
    let tls = "cert_file = \"cert.pem\", key_file = \"key.pem\"";
    let with_ca = format!("{OPEN}\ntls = {{ {tls}, client_ca_file = \"ca.pem\" }}");
    assert_eq!(findings(folder.path(), &with_ca), "");
    // TLS alone hides the figures on the wire and asks nobody who they are.
    let found = findings(folder.path(), &format!("{OPEN}\ntls = {{ {tls} }}"));
    assert!(found.contains("node reports are reachable from other hosts"), "{found}");
}

#[test]
fn a_token_is_one_word_and_is_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "token", "hunter2 hunter3\n");
    let node = "[[node]]\nname = \"mediary-a\"\naddress = \"127.0.0.1:1\"\ntoken_file = \"token\"";
    let route = "[[route]]\nname = \"eu-sg\"\naddress = \"127.0.0.1:1\"\nreport_token_file = \"token\"";
    for tables in [node, route, "[grpc]\ntoken_file = \"token\""] {
        let found = findings(folder.path(), tables);
        assert!(found.contains("more than one word of visible ASCII"), "{found}");
        assert!(!found.contains("hunter"), "{found}");
        assert_eq!(found.lines().count(), 1, "{found}");
    }
    write(folder.path(), "token", "\n");
    let found = findings(folder.path(), node);
    assert!(found.contains("node.token_file = \"token\": the file holds no token"), "{found}");
}

#[test]
fn a_node_has_the_address_as_its_authority_unless_told_otherwise() {
    let node = |more: &str| format!("[[node]]\nname = \"mediary-a\"\naddress = \"127.0.0.1:1\"{more}");
    let read = |more: &str| Config::parse(&inserted(ROUTE, &node(more)), "a.toml").unwrap().config.nodes;
    let nodes = read("");
    assert_eq!((nodes[0].name.as_str(), nodes[0].authority.as_str()), ("mediary-a", "127.0.0.1:1"));
    assert!(nodes[0].tls.is_none() && nodes[0].token_file.is_none());
    let nodes = read("\nauthority = \"a.example\"\ntls = {}");
    assert_eq!(nodes[0].authority, "a.example");
    assert!(nodes[0].tls.is_some());
}

#[test]
fn nodes_that_cannot_be_told_apart_are_refused() {
    let node = |name: &str| format!("[[node]]\nname = \"{name}\"\naddress = \"127.0.0.1:1\"\n");
    let text = |tables: &str| format!("{GOOD}{tables}");
    one_error(
        &text(&node("a").repeat(2)),
        "22: node.name = \"a\": this name is taken by line 19",
        "of its own",
    );
    one_error(&text(&node("eu-1")), "19: node.name = \"eu-1\": this is the agent's own name", "remove this");
    one_error(&text(&node("service")), "19: node.name = \"service\"", "use the node's own name");
    let many: String = (0..60).map(|nth| node(&format!("node-{nth}"))).collect();
    one_error(&text(&many), "195: node: 60 nodes are more than", "name at most 59");
}

#[test]
fn misspelled_keys_of_nodes_are_answered_with_the_right_ones() {
    let text = inserted(ROUTE, "[[node]]\nname = \"a\"\naddres = \"127.0.0.1:1\"\ntls = { cafile = \"x\" }");
    let errors = errors_of(&text).to_string();
    assert!(
        errors.contains("insight.toml:10: node.addres: unknown key; did you mean \"address\"?"),
        "{errors}"
    );
    assert!(
        errors.contains("insight.toml:11: node.tls.cafile: unknown key; did you mean \"ca_file\""),
        "{errors}"
    );
    one_error(&inserted(AGENT, "[node]\nname = \"a\""), "4: node: one table stands", "write [[node]]");
}

#[test]
fn a_token_and_an_authorization_of_the_forwarding_layer_exclude_each_other() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "token", "hunter2");
    let route = "[[route]]\nname = \"a\"\naddress = \"127.0.0.1:1\"\nmetadata = { authorization = \"x\" }\n\
                 report_token_file = \"token\"";
    let found = findings(folder.path(), route);
    assert!(
        found.contains("route.report_token_file = \"token\": route.metadata carries an authorization"),
        "{found}"
    );
}

#[test]
fn a_regions_report_is_fetched_along_the_route_of_its_first_white_box_probe() {
    let probe = |name: &str, target: &str, mode: &str, way: &str| {
        format!("[[probe]]\nname = \"{name}\"\ntarget = \"{target}\"\nmode = \"{mode}\"\n{way}\n")
    };
    let direct = "address = \"127.0.0.1:2\"";
    let text =
        "[agent]\nregion = \"eu\"\nname = \"eu-1\"\n[[route]]\nname = \"r\"\naddress = \"a.example:1\"\n\
         metadata = { x-target-region = \"{region}\", x-probe = \"{probe}\" }\n"
            .to_owned()
            + &probe("direct", "us", "white-box", direct)
            + &probe("black", "us", "black-box", "route = \"r\"")
            + &probe("home", "eu", "white-box", "route = \"r\"")
            + &probe("sg-1", "sg", "white-box", "route = \"r\"")
            + &probe("sg-2", "sg", "white-box", "route = \"r\"");
    let config = Config::parse(&text, "a.toml").unwrap_or_else(|errors| panic!("{errors}")).config;
    let ways = config.report_ways();
    assert_eq!(ways.len(), 1, "{ways:?}");
    assert_eq!((ways[0].region.as_str(), ways[0].route.address().as_str()), ("sg", "a.example:1"));
    let metadata = [("x-probe", "sg-1"), ("x-target-region", "sg")];
    assert_eq!(ways[0].route.metadata, metadata.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert!(ways[0].token_file.is_none());
}
