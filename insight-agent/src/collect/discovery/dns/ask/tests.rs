use super::*;
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, SRV};

fn record(ttl: u32, data: RData) -> Record {
    Record::from_rdata(Name::from_ascii("x.example.").unwrap(), ttl, data)
}

fn a(ttl: u32, last: u8) -> Record {
    record(ttl, RData::A(A::new(10, 0, 0, last)))
}

fn names(answer: &Answer) -> Vec<&str> {
    answer.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect()
}

#[test]
fn addresses_become_endpoints_in_one_order_whatever_the_servers() {
    let there = answer("x.example.", DnsRecord::A, 443, &[a(30, 2), a(20, 1), a(30, 2)]);
    let back = answer("x.example.", DnsRecord::A, 443, &[a(20, 1), a(30, 2)]);
    assert_eq!(there, back);
    assert_eq!(names(&there), ["10.0.0.1:443", "10.0.0.2:443"]);
    assert_eq!(there.endpoints[0].meta["dns.name"], "x.example");
    assert_eq!(there.endpoints[0].meta["dns.type"], "A");
}

#[test]
fn an_answer_counts_as_long_as_its_shortest_record_aliases_too() {
    let alias = RData::CNAME(CNAME(Name::from_ascii("y.example.").unwrap()));
    let found = answer("x.example", DnsRecord::A, 1, &[record(5, alias), a(30, 1)]);
    assert_eq!(found.ttl, Duration::from_secs(5));
    assert_eq!(names(&found), ["10.0.0.1:1"]);
}

#[test]
fn ipv6_addresses_have_brackets_in_their_names_only() {
    let found = answer("x", DnsRecord::Aaaa, 1, &[record(1, RData::AAAA(AAAA::new(0, 0, 0, 0, 0, 0, 0, 1)))]);
    assert_eq!(names(&found), ["[::1]:1"]);
    assert_eq!(found.endpoints[0].host, "::1");
}

#[test]
fn services_bring_their_ports_and_one_that_is_decidedly_absent_is_no_endpoint() {
    let service =
        |target: &str, port| record(9, RData::SRV(SRV::new(10, 60, port, Name::from_ascii(target).unwrap())));
    let found = answer("_x._tcp.e", DnsRecord::Srv, 0, &[service("B.example.", 2), service("a.example.", 1)]);
    assert_eq!(names(&found), ["a.example:1", "b.example:2"]);
    assert_eq!(found.endpoints[0].meta["dns.priority"], "10");
    assert_eq!(found.endpoints[0].meta["dns.weight"], "60");
    assert!(answer("x", DnsRecord::Srv, 0, &[service(".", 0)]).endpoints.is_empty());
}

#[test]
fn failures_have_their_class() {
    for (error, expected) in [
        (NetError::Timeout, LookupClass::Timeout),
        (NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused)), LookupClass::Denied),
        (NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)), LookupClass::Refused),
        (NetError::NoConnections, LookupClass::Unreachable),
        (NetError::Truncated, LookupClass::Malformed),
    ] {
        assert_eq!(class(&error), expected, "{error}");
    }
}

fn plan(server: std::net::SocketAddr) -> DnsPlan {
    DnsPlan {
        names: vec!["x.lab.example.".into()],
        records: vec![DnsRecord::A],
        port: 1,
        server: Some(server),
        timeout: Duration::from_millis(400),
        min_ttl: Duration::from_secs(1),
        max_ttl: Duration::from_secs(60),
    }
}

#[tokio::test]
async fn a_server_that_is_silent_or_absent_is_a_failure_in_time() {
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let asker = Asker::new(&plan(silent.local_addr().unwrap())).await.unwrap();
    let started = std::time::Instant::now();
    let failure = asker.ask("x.lab.example.", DnsRecord::A).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(matches!(failure.class, LookupClass::Timeout | LookupClass::Unreachable), "{failure:?}");
    assert!(failure.detail.contains("for A of x.lab.example.: "), "{}", failure.detail);
}

#[tokio::test]
async fn names_are_tried_along_the_search_list_unless_they_end_in_a_point() {
    let mut asker = Asker::new(&plan("127.0.0.1:1".parse().unwrap())).await.unwrap();
    asker.search = vec![Name::from_ascii("lab.example.").unwrap()];
    asker.ndots = 2;
    let names = |name: &str| -> Vec<String> {
        asker.names(name).unwrap().iter().map(|name| name.to_ascii()).collect()
    };
    assert_eq!(names("a.b."), ["a.b."]);
    assert_eq!(names("a.b"), ["a.b.lab.example.", "a.b."]);
    assert_eq!(names("a.b.c"), ["a.b.c.", "a.b.c.lab.example."]);
}
