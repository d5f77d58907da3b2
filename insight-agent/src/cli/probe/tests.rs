//! The ways to the next hop that arguments choose. What each of them measures is tested with the prober.

use super::report::SOME_FAILED;
use super::*;
use crate::cli::{Cli, Command};
use clap::Parser;
use std::net::TcpListener;

fn parse(words: &[&str]) -> Result<Box<ProbeArgs>, String> {
    let all = ["insight-agent", "probe"].into_iter().chain(words.iter().copied());
    match Cli::try_parse_from(all).map_err(|error| error.to_string())?.command {
        Command::Probe(args) => Ok(args),
        other => panic!("{other:?}"),
    }
}

async fn refused(words: &[&str]) -> String {
    match measure(&parse(words).unwrap()).await {
        Err(error) => error,
        Ok(_) => panic!("{words:?} was taken"),
    }
}

#[tokio::test]
async fn what_cannot_be_reached_so_is_refused_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proxy.auth");
    std::fs::write(&file, "hunter2").unwrap();
    let file = file.to_str().unwrap();
    let proxy = "http://127.0.0.1:1";
    for (words, text) in [
        (&["[::1]:1", "--ip", "4"][..], "--ip: the connection goes to ::1, which is IPv6 and nothing else"),
        (&["name.test:1", "--proxy", proxy, "--ip", "both"], "--ip: the connection goes to 127.0.0.1"),
        (
            &["name.test:1", "--via", "unix:/run/x", "--proxy", proxy],
            "--proxy: a proxy leads to no UNIX socket",
        ),
        (&["name.test:1", "--proxy", "http://me:hunter2@p:1"], "--proxy: a user and a password"),
        (
            &["name.test:1", "--proxy", proxy, "--proxy-auth-file", file],
            "holds no user:password; write one line",
        ),
        (&["name.test:1", "--proxy", proxy, "--proxy-auth-file", "/no/such"], "/no/such"),
        (&["name.test:1", "--mode", "link", "--proxy", proxy, "--no-ping"], "--no-ping: handshakes end at"),
    ] {
        let error = refused(words).await;
        assert!(error.contains(text) && !error.contains("hunter2"), "{error}");
    }
    let alone = parse(&["a:1", "--proxy-auth-file", "x"]).unwrap_err();
    assert!(alone.contains("--proxy <URL>"), "{alone}");
    assert!(parse(&["a:1", "--ip", "5"]).unwrap_err().contains("any, 4, 6, both"));
}

#[tokio::test]
async fn both_versions_of_a_name_are_probed_and_shown_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    let link = ["--mode", "link", "--no-ping", "--count", "2", "--interval", "10ms"];
    let words = |ip| [&[address.as_str(), "--ip", ip][..], &link].concat();
    let both = measure(&parse(&words("both")).unwrap()).await.unwrap();
    let json = both.to_json();
    // Nobody listens on ::1, whether or not this host has it.
    assert_eq!(
        (&json["ipv4"]["handshake"]["good"], &json["ipv6"]["handshake"]["good"]),
        (&2.into(), &0.into())
    );
    assert_eq!((&json["ipv4"]["ip"], &json["ipv6"]["ip"]), (&"4".into(), &"6".into()));
    assert_eq!((both.exit_code(), &json["exit_code"]), (SOME_FAILED, &SOME_FAILED.into()));
    let text = both.render();
    let (v4, v6) = text.split_once("── IPv6 ──").unwrap();
    assert!(
        v4.starts_with("── IPv4 ──\n") && v4.contains("2 of 2 good") && v6.contains("0 of 2 good"),
        "{text}"
    );

    let alone = measure(&parse(&words("4")).unwrap()).await.unwrap();
    assert_eq!((alone.exit_code(), &alone.to_json()["handshake"]["good"]), (0, &2.into()));
    let prom = [&words("both")[..], &["--output", "prom"]].concat();
    assert!(refused(&prom).await.contains("--ip both: both would share the series of one link"));
}

#[tokio::test]
async fn series_of_both_versions_have_the_names_that_an_agent_gives_them() {
    let words = ["localhost:1", "--ip", "both", "--mode", "black-box", "--count", "1", "--output", "prom"];
    let found = measure(&parse(&words).unwrap()).await.unwrap();
    let page = found.to_prom();
    for name in ["probe/ipv4", "probe/ipv6"] {
        let failed = |line: &str| {
            line.starts_with("insight_probe_failures_total{") && line.contains(&format!("probe=\"{name}\""))
        };
        assert!(page.lines().any(failed), "{page}");
    }
    assert!(!page.contains("probe=\"probe\""), "{page}");
}

#[tokio::test]
async fn a_link_behind_a_proxy_has_no_handshakes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let words = ["name.test:1", "--mode", "link", "--proxy", &proxy, "--count", "2", "--interval", "10ms"];
    let found = measure(&parse(&words).unwrap()).await.unwrap();
    let json = found.to_json();
    assert_eq!((&json["proxy"], &json["ping"]["sent"]), (&proxy.as_str().into(), &2.into()));
    assert!(json["handshake"].is_null() && json["connect"].is_null(), "{json}");
    assert_eq!(json["failures"][0]["failure_class"], "refused");
    assert!(
        found.render().starts_with(&format!("name.test:1 through {proxy}  link: ")),
        "{}",
        found.render()
    );
}
