//! Keeping browsers' pages away from a listener that trusts its network position.
//!
//! A page from anywhere can make its reader's browser ask `http://127.0.0.1:19748/`. Three things
//! tell such a request: its `Origin` is the page's, the browser says so itself
//! (`Sec-Fetch-Site`), or, when the page's own name was made to resolve to 127.0.0.1 (DNS
//! rebinding), its `Host` is that name. **Source**: Fetch standard, `Origin`; Fetch Metadata
//! Request Headers, section 2.4.

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use std::net::IpAddr;

/// Why a request is refused. **None**: it may pass. `loopback`: the listener is reached by
/// loopback addresses only, so that a `Host` other than an IP address or `localhost` is nobody's.
pub(super) fn refusal(headers: &HeaderMap, uri: &Uri, loopback: bool) -> Option<&'static str> {
    let Some(host) = host(headers, uri) else {
        return Some("the Host header is missing, repeated or unreadable");
    };
    if loopback && !is_own_name(host.host()) {
        return Some("the Host header is neither an IP address nor localhost; use one of these");
    }
    let origins = headers.get_all(header::ORIGIN);
    if !origins.iter().all(|origin| is_same_host(origin, &host)) {
        return Some("the Origin header is another host's: web pages may not read this");
    }
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    match site {
        None | Some(b"same-origin" | b"none") => None,
        Some(_) => Some("the browser says that another site asks: web pages may not read this"),
    }
}

/// Whom the request is for. **None**: it does not say, or says it twice.
fn host(headers: &HeaderMap, uri: &Uri) -> Option<Authority> {
    let mut values = headers.get_all(header::HOST).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Authority::try_from(value.as_bytes()).ok(),
        (None, None) => uri.authority().cloned(),
        _ => None,
    }
}

/// Whether no name server can have been made to say this: an address, or the name that every
/// resolver keeps to itself (RFC 6761, section 6.3).
fn is_own_name(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    address.parse::<IpAddr>().is_ok() || host.trim_end_matches('.').eq_ignore_ascii_case("localhost")
}

fn is_same_host(origin: &HeaderValue, host: &Authority) -> bool {
    // "null", the origin of sandboxed pages, has no host and so is nobody's.
    let origin = Uri::try_from(origin.as_bytes()).ok();
    let authority = origin.as_ref().filter(|uri| uri.scheme().is_some()).and_then(Uri::authority);
    authority.is_some_and(|a| a.as_str().eq_ignore_ascii_case(host.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(loopback: bool, headers: &[(&'static str, &str)]) -> bool {
        let map = headers.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()));
        let mut all = HeaderMap::new();
        map.for_each(|(name, value): (header::HeaderName, HeaderValue)| {
            all.append(name, value);
        });
        refusal(&all, &Uri::from_static("/api/v1/status"), loopback).is_some()
    }

    #[test]
    fn loopback_listener_answers_addresses_and_localhost() {
        for host in
            ["127.0.0.1:19748", "[::1]:19748", "localhost:19748", "LocalHost", "localhost.", "10.1.2.3"]
        {
            assert!(!refused(true, &[("host", host)]), "{host}");
        }
        for host in
            ["attacker.example:19748", "localhost.attacker.example", "127.0.0.1.attacker.example", "a b"]
        {
            assert!(refused(true, &[("host", host)]), "{host}");
        }
        assert!(refused(true, &[]), "no Host");
        assert!(refused(true, &[("host", "localhost"), ("host", "localhost")]), "two of them");
    }

    #[test]
    fn other_listeners_answer_any_name() {
        assert!(!refused(false, &[("host", "agent.example:19748")]));
        assert!(refused(false, &[("host", "agent.example"), ("origin", "https://attacker.example")]));
    }

    #[test]
    fn only_the_same_origin_may_read() {
        let host = ("host", "localhost:19748");
        assert!(!refused(true, &[host, ("origin", "http://localhost:19748")]));
        for origin in ["https://attacker.example", "http://localhost:3000", "http://localhost", "null", ""] {
            assert!(refused(true, &[host, ("origin", origin)]), "{origin:?}");
        }
    }

    #[test]
    fn browser_that_names_another_site_is_refused() {
        let host = ("host", "localhost:19748");
        for (site, expected) in
            [("same-origin", false), ("none", false), ("same-site", true), ("cross-site", true)]
        {
            assert_eq!(refused(true, &[host, ("sec-fetch-site", site)]), expected, "{site}");
        }
    }
}
