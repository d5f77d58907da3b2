//! What a probe of any kind has for its connections: keys to show, PINGs that are welcome, and a book of what
//! happens on them.

use super::event_log::EventLog;
use super::ping::PingPolicy;
use super::proxy::{CredentialsError, credentials};
use crate::collect::tls::{RouteTls, TlsError};
use crate::model::certificate::Certificates;
use crate::model::connection_event::ConnectionEvent;
use crate::model::plan::{Connection, ProbePlan};
use crate::secret::Basic;
use std::sync::Arc;
use std::time::Duration;

/// Of one probe.
#[derive(Debug)]
pub(super) struct Access {
    tls: Option<RouteTls>,
    proxy: Option<Basic>,
    pub(super) pings: PingPolicy,
    reused: Arc<EventLog>,
    fresh: Arc<EventLog>,
}

/// What a connection shows to those it passes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys<'a> {
    /// To the proxy.
    pub(super) proxy: Option<&'a Basic>,
    /// To the next hop; and what that has to show.
    pub(super) tls: Option<&'a RouteTls>,
}

/// Keys that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The file with the proxy's password cannot be used.
    #[error(transparent)]
    Proxy(#[from] CredentialsError),
}

impl Access {
    /// Of a probe whose PINGs are so far apart until a peer objects. Blocking: reads the files of its route.
    pub(super) fn new(plan: &ProbePlan, ping_interval: Duration) -> Result<Self, AccessError> {
        let route = &plan.route;
        let tls = route.tls.as_ref();
        let tls =
            tls.map(|tls| RouteTls::new(&route.described(), route.certificate_host(), tls)).transpose()?;
        let proxy = credentials(route)?;
        let pings = PingPolicy::new(ping_interval);
        Ok(Self { tls, proxy, pings, reused: Arc::default(), fresh: Arc::default() })
    }

    pub(super) fn keys(&self) -> Keys<'_> {
        Keys { proxy: self.proxy.as_ref(), tls: self.tls.as_ref() }
    }

    /// Where the events of its connections of this kind are counted.
    pub(super) fn events(&self, connection: Connection) -> &Arc<EventLog> {
        match connection {
            Connection::Reused => &self.reused,
            Connection::Fresh => &self.fresh,
        }
    }

    /// What happened on its connections of this kind since the last call.
    pub(super) fn take_events(&self, connection: Connection) -> Vec<(ConnectionEvent, u64)> {
        self.events(connection).take()
    }

    /// When the certificates of its connections end, if that is another time than at the last call.
    pub(super) fn take_certificates(&self) -> Option<Certificates> {
        self.tls.as_ref().and_then(RouteTls::take_certificates)
    }

    /// The least time between two of its PINGs, if a peer has asked for fewer since the last call.
    pub(super) fn take_ping_interval(&self) -> Option<Duration> {
        self.pings.take_change()
    }
}
