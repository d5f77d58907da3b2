//! Which upstream a request goes to, told by its metadata.

use crate::upstream::Upstream;
use anyhow::{Context, Result, ensure};
use http::HeaderMap;
use http::header::HeaderName;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

/// Upstream connections per route: the second one opens at 64 requests at once.
const CONNECTIONS_PER_ROUTE: usize = 8;

/// Requests whose metadata `key` has exactly `value` go to `upstream`.
/// Text form: `KEY=VALUE=ADDRESS:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Metadata key, lower case.
    pub key: HeaderName,
    /// The whole value.
    pub value: String,
    /// Where they go.
    pub upstream: SocketAddr,
}

impl FromStr for Route {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Route> {
        let wrong = || format!("route {text:?}: expected KEY=VALUE=ADDRESS:PORT");
        let mut parts = text.splitn(3, '=');
        let mut next = || parts.next().with_context(wrong);
        let key = HeaderName::try_from(next()?).with_context(wrong)?;
        let value = next()?.to_owned();
        let upstream = next()?.parse().with_context(wrong)?;
        ensure!(!value.is_empty(), wrong());
        Ok(Route { key, value, upstream })
    }
}

/// Every route of a forwarder with its connections; the first match wins.
#[derive(Clone)]
pub struct Routes {
    routes: Vec<(Route, Arc<Upstream>)>,
    default: Option<Arc<Upstream>>,
}

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.routes.iter().map(|(route, _)| route)).finish()
    }
}

impl Routes {
    /// `default` takes what no route matches; without it such requests are refused.
    pub fn new(routes: Vec<Route>, default: Option<SocketAddr>) -> Routes {
        let pool = |address| Arc::new(Upstream::new(address, CONNECTIONS_PER_ROUTE));
        let routes = routes.into_iter().map(|route| (route.clone(), pool(route.upstream))).collect();
        Routes { routes, default: default.map(pool) }
    }

    /// The upstream for a request with these headers, if any.
    pub(super) fn find(&self, headers: &HeaderMap) -> Option<Arc<Upstream>> {
        let matches = |route: &Route| headers.get_all(&route.key).iter().any(|v| v == route.value.as_str());
        let found = self.routes.iter().find(|(route, _)| matches(route)).map(|(_, upstream)| upstream);
        found.or(self.default.as_ref()).cloned()
    }

    /// What was asked for, in words, for a request that no route matches.
    pub(super) fn asked(&self, headers: &HeaderMap) -> String {
        let mut keys: Vec<&HeaderName> = self.routes.iter().map(|(route, _)| &route.key).collect();
        keys.dedup();
        let value = |key: &HeaderName| {
            headers.get(key).map_or("nothing".into(), |v| String::from_utf8_lossy(v.as_bytes()).into_owned())
        };
        keys.iter().map(|key| format!("{key}={}", value(key))).collect::<Vec<_>>().join(", ")
    }

    /// Upstream connections opened on all routes.
    pub(super) fn connects(&self) -> u64 {
        self.routes.iter().map(|(_, upstream)| upstream).chain(&self.default).map(|u| u.connects()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(region: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static("x-target-region"), HeaderValue::from_static(region))])
    }

    #[test]
    fn metadata_picks_the_upstream_and_anything_else_takes_the_default() {
        let sg: Route = "x-target-region=sg=127.0.0.1:1".parse().unwrap();
        let strict = Routes::new(vec![sg.clone()], None);
        assert_eq!(strict.find(&headers("sg")).unwrap().address(), sg.upstream);
        assert!(strict.find(&headers("us")).is_none());
        assert_eq!(strict.asked(&headers("us")), "x-target-region=us");
        assert_eq!(strict.asked(&HeaderMap::new()), "x-target-region=nothing");
        let lenient = Routes::new(vec![sg], Some("127.0.0.1:2".parse().unwrap()));
        assert_eq!(lenient.find(&headers("us")).unwrap().address().port(), 2);
    }

    #[test]
    fn a_malformed_route_names_itself_and_the_form() {
        for text in
            ["sg=127.0.0.1:1", "x-target-region=sg=nowhere", "bad key=sg=127.0.0.1:1", "k==127.0.0.1:1"]
        {
            let message = text.parse::<Route>().unwrap_err().to_string();
            assert!(message.contains(text) && message.contains("KEY=VALUE"), "{message}");
        }
    }
}
