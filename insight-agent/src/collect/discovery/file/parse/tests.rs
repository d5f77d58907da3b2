use super::*;
use proptest::prelude::*;

fn endpoint(name: &str, host: &str, port: u16, meta: &[(&str, &str)]) -> Endpoint {
    let meta = meta.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Endpoint { name: name.into(), host: host.into(), port, meta }
}

fn read(format: Format, text: &str) -> Vec<Endpoint> {
    parse(format, text.as_bytes()).unwrap_or_else(|error| panic!("{error:?} in {text}"))
}

fn refused(format: Format, text: &str) -> (Option<usize>, String) {
    let error = parse(format, text.as_bytes()).expect_err(text);
    (error.line, error.what)
}

#[test]
fn our_own_form_reads_the_same_in_all_three_languages() {
    let expected = [
        endpoint(
            "a",
            "10.0.0.1",
            443,
            &[("region", "sg"), ("weight", "3"), ("live", "true"), ("load", "0.5")],
        ),
        endpoint("[::1]:80", "::1", 80, &[]),
    ];
    let toml = "[[endpoint]]\nname = \"a\"\naddress = \"10.0.0.1:443\"\n\
        meta = { region = \"sg\", weight = 3, live = true, load = 0.5 }\n[[endpoint]]\naddress = \"[::1]:80\"\n";
    let json = "{\"endpoint\":[{\"name\":\"a\",\"address\":\"10.0.0.1:443\",\
        \"meta\":{\"region\":\"sg\",\"weight\":3,\"live\":true,\"load\":0.5}},{\"address\":\"[::1]:80\"}]}";
    let yaml = "endpoint:\n- name: a\n  address: 10.0.0.1:443\n  meta: {region: sg, weight: 3, live: true, load: 0.5}\n\
        - address: '[::1]:80'\n";
    for (format, text) in [(Format::Toml, toml), (Format::Json, json), (Format::Yaml, yaml)] {
        assert_eq!(read(format, text), expected, "{format:?}");
    }
}

#[test]
fn prometheus_groups_give_each_target_the_labels_of_its_group() {
    let expected = [
        endpoint("a.example:1", "a.example", 1, &[("__meta_dc", "x"), ("env", "prod")]),
        endpoint("b.example:2", "b.example", 2, &[("__meta_dc", "x"), ("env", "prod")]),
        endpoint("c.example:3", "c.example", 3, &[]),
    ];
    let json = r#"[{"targets":["a.example:1","b.example:2"],"labels":{"env":"prod","__meta_dc":"x"}},
        {"targets":["c.example:3"]}]"#;
    let yaml = "- targets: ['a.example:1', 'b.example:2']\n  labels:\n    env: prod\n    __meta_dc: x\n\
        - targets:\n  - c.example:3\n";
    assert_eq!(read(Format::Json, json), expected);
    assert_eq!(read(Format::Yaml, yaml), expected);
}

#[test]
fn what_is_empty_has_no_endpoints() {
    for (format, text) in [
        (Format::Toml, ""),
        (Format::Json, " \n"),
        (Format::Yaml, "# nothing\n"),
        (Format::Json, "[]"),
        (Format::Json, "{}"),
        (Format::Yaml, "endpoint: []"),
    ] {
        assert_eq!(read(format, text), [], "{format:?} {text:?}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (format, text, line, what) in [
        (Format::Toml, "[[endpoint]]\nname = \"a\"\naddress = \"a\"\n", 3, "\"a\" is no address"),
        (Format::Toml, "[[endpoint]]\naddress = \"a:1\"\nmeat = 1\n", 3, "unknown field `meat`"),
        (Format::Toml, "[[endpoint]\n", 1, ""),
        (Format::Json, "{\n \"endpoint\": [\n {\"address\": \"a:0\"}]}", 3, "\"a:0\" is no address"),
        (Format::Json, "[\n {\"targets\": [\"a:1\"],\n \"labels\": {\"k\": []}}]", 3, "expected a string"),
        (Format::Json, "[{\"targets\":\n", 2, "EOF"),
        (Format::Yaml, "- targets:\n  - a:1\n  - 'b c:1'\n", 3, "\"b c:1\" is no address"),
        (Format::Yaml, "- targets: [a:1]\n  lables: {}\n", 2, "unknown field `lables`"),
    ] {
        let (at, told) = refused(format, text);
        assert_eq!(at, Some(line), "{told} in {text}");
        assert!(told.contains(what), "{told} in {text}");
        assert!(!told.contains(" at line "), "{told}: the line is told once");
    }
    let (line, what) = (|| {
        let error = parse(Format::Json, b"[\n\xff]").unwrap_err();
        (error.line, error.what)
    })();
    assert_eq!((line, what.as_str()), (Some(2), "not UTF-8 text"));
}

#[test]
fn names_are_unique_within_a_file_and_without_control_characters() {
    let (_, what) =
        refused(Format::Json, r#"{"endpoint":[{"name":"a","address":"b:1"},{"name":"a","address":"c:1"}]}"#);
    assert!(what.contains("\"a\" occurs twice"), "{what}");
    for name in ["", "a\\nb", &"x".repeat(256)] {
        let (_, what) =
            refused(Format::Json, &format!(r#"{{"endpoint":[{{"name":"{name}","address":"b:1"}}]}}"#));
        assert!(what.contains("is no name"), "{what}");
    }
    assert!(refused(Format::Json, r#"{"endpoints":[]}"#).1.contains("expected a list \"endpoint\""));
}

#[test]
fn more_endpoints_than_are_kept_are_refused_and_so_are_labels_beyond_measure() {
    let targets: Vec<_> = (0..=ENDPOINTS_MOST).map(|index| format!("\"a{index}:1\"")).collect();
    let (_, what) = refused(Format::Json, &format!("[{{\"targets\":[{}]}}]", targets.join(",")));
    assert!(what.contains("more than 10000 endpoints"), "{what}");
    let long = "x".repeat(META_MOST / 100);
    let text = format!("[{{\"targets\":[{}],\"labels\":{{\"k\":\"{long}\"}}}}]", targets[..101].join(","));
    assert!(refused(Format::Json, &text).1.contains("more than 64 MiB"));
}

#[test]
fn the_ending_of_a_name_tells_the_language() {
    for (name, format) in [
        ("a.toml", Format::Toml),
        ("a.json", Format::Json),
        ("a.yml", Format::Yaml),
        ("a.yaml", Format::Yaml),
    ] {
        assert_eq!(Format::of(Path::new(name)), format);
    }
}

proptest! {
    #[test]
    fn no_content_panics(content in proptest::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}:,\"a-z0-9 \n-]{0,80}") {
        for format in [Format::Toml, Format::Json, Format::Yaml] {
            let _ = parse(format, &content);
            let _ = parse(format, text.as_bytes());
        }
    }

    #[test]
    fn whatever_is_written_is_read(
        hosts in proptest::collection::btree_map("[a-z][a-z0-9-]{0,8}(\\.[a-z]{1,4})?", 1..=u16::MAX, 0..8),
        meta in proptest::collection::btree_map("[a-z_.]{1,8}", "\\PC{0,10}", 0..4),
    ) {
        let expected: Vec<_> = hosts
            .iter()
            .map(|(host, port)| Endpoint {
                name: format!("{host}:{port}"),
                host: host.clone(),
                port: *port,
                meta: meta.clone(),
            })
            .collect();
        let targets: Vec<_> = expected.iter().map(Endpoint::address).collect();
        let groups = serde_json::json!([{ "targets": targets, "labels": meta }]);
        prop_assert_eq!(parse(Format::Json, groups.to_string().as_bytes()), Ok(expected.clone()));
        let yaml = serde_yaml_ng::to_string(&groups).unwrap();
        prop_assert_eq!(parse(Format::Yaml, yaml.as_bytes()), Ok(expected.clone()), "{}", yaml);
        let own: Vec<_> = targets.iter().map(|address| serde_json::json!({ "address": address, "meta": meta })).collect();
        let toml = toml::to_string(&serde_json::json!({ "endpoint": own })).unwrap();
        prop_assert_eq!(parse(Format::Toml, toml.as_bytes()), Ok(expected), "{}", toml);
    }
}
