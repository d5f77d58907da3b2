//! One question to the DNS, and what its answer means.

use crate::model::discovery::{DnsPlan, DnsRecord, Endpoint, LookupClass, LookupFailure};
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Resolver, TokioResolver};
use std::collections::BTreeMap;
use std::time::Duration;

/// Tries within the time that an answer may take: a datagram may be lost.
const TRIES: usize = 2;

/// What a question brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Empty: nobody is there.
    pub(super) endpoints: Vec<Endpoint>,
    /// How long it counts, as the server says; nothing where it does not.
    pub(super) ttl: Duration,
}

/// Who asks.
#[derive(Clone)]
pub(super) struct Asker {
    resolver: TokioResolver,
    /// Who is asked, for messages.
    server: String,
    /// Appended in turn to names that do not end in a point.
    search: Vec<Name>,
    /// A name with so many points is asked for as it is first.
    ndots: usize,
    port: u16,
    timeout: Duration,
}

impl Asker {
    /// Reads what the system says of name servers, unless the plan names one.
    ///
    /// # Errors
    /// The system says nothing that can be used.
    pub(super) async fn new(plan: &DnsPlan) -> Result<Self, LookupFailure> {
        let unusable = |what: String| {
            let detail = format!("read the name servers of /etc/resolv.conf: {what}");
            LookupFailure { class: LookupClass::Unreachable, detail }
        };
        let (config, mut options) = match plan.server {
            Some(server) => {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
                let server = NameServerConfig::new(server.ip(), true, connections.into());
                (ResolverConfig::from_name_servers(vec![server]), ResolverOpts::default())
            }
            None => {
                // A file is read.
                let read = tokio::task::spawn_blocking(read_system_conf).await;
                let read = read.map_err(|_| unusable("it broke".to_owned()))?;
                read.map_err(|error| unusable(error.to_string()))?
            }
        };
        let server = match plan.server {
            Some(server) => server.to_string(),
            None => {
                let servers = config.name_servers().iter().map(|server| server.ip.to_string());
                servers.collect::<Vec<_>>().join(", ")
            }
        };
        options.timeout = plan.timeout / TRIES as u32;
        options.attempts = TRIES - 1;
        // Answers are kept here, for as long as they count, and the hosts file is no DNS.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        let mut search: Vec<_> = config.domain().cloned().into_iter().collect();
        search.extend(config.search().iter().filter(|name| Some(*name) != config.domain()).cloned());
        let ndots = options.ndots;
        let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let resolver = builder.build().map_err(|error| unusable(error.to_string()))?;
        Ok(Self { resolver, server, search, ndots, port: plan.port, timeout: plan.timeout })
    }

    /// Asks once. Of the names on the search list the first one with records counts; that nobody is there
    /// takes an answer for each of them.
    ///
    /// # Errors
    /// Nobody knows.
    pub(super) async fn ask(&self, name: &str, record: DnsRecord) -> Result<Answer, LookupFailure> {
        let failed = |class, what: &str| {
            let (server, record) = (&self.server, record.as_str());
            LookupFailure { class, detail: format!("ask {server} for {record} of {name}: {what}") }
        };
        let mut ttl: Option<Duration> = None;
        for full in self.names(name).map_err(|what| failed(LookupClass::Malformed, &what))? {
            self.resolver.clear_lookup_cache(full.clone(), record_type(record));
            let asked = self.resolver.lookup(full, record_type(record));
            let negative = match tokio::time::timeout(self.timeout, asked).await {
                Err(_) => {
                    let waited = format!("no answer within {:?}", self.timeout);
                    return Err(failed(LookupClass::Timeout, &waited));
                }
                Ok(Ok(lookup)) => {
                    let answer = answer(name, record, self.port, lookup.answers());
                    if !answer.endpoints.is_empty() {
                        return Ok(answer);
                    }
                    answer.ttl
                }
                Ok(Err(NetError::Dns(DnsError::NoRecordsFound(NoRecords { negative_ttl, .. })))) => {
                    Duration::from_secs(negative_ttl.unwrap_or(0).into())
                }
                Ok(Err(error)) => return Err(failed(class(&error), &error.to_string())),
            };
            ttl = Some(ttl.map_or(negative, |ttl| ttl.min(negative)));
        }
        Ok(Answer { endpoints: Vec::new(), ttl: ttl.unwrap_or_default() })
    }

    /// The whole names that a name may mean, in the order in which they are tried.
    fn names(&self, name: &str) -> Result<Vec<Name>, String> {
        let name = Name::from_utf8(name).map_err(|error| error.to_string())?;
        if name.is_fqdn() {
            return Ok(vec![name]);
        }
        let mut whole = name.clone();
        whole.set_fqdn(true);
        let points = usize::from(name.num_labels()).saturating_sub(1);
        // What grows too long on the list is no name, so nobody is there.
        let searched = self.search.iter().filter_map(|domain| name.clone().append_domain(domain).ok());
        let mut names: Vec<_> = searched.collect();
        names.insert(if points >= self.ndots { 0 } else { names.len() }, whole);
        Ok(names)
    }
}

const fn record_type(record: DnsRecord) -> RecordType {
    match record {
        DnsRecord::A => RecordType::A,
        DnsRecord::Aaaa => RecordType::AAAA,
        DnsRecord::Srv => RecordType::SRV,
    }
}

/// What the records of an answer tell; aliases on the way shorten how long it counts.
fn answer(name: &str, record: DnsRecord, port: u16, records: &[Record]) -> Answer {
    let ttl = records.iter().map(|record| record.ttl).min().unwrap_or(0);
    let mut meta = BTreeMap::from([
        ("dns.name".to_owned(), name.trim_end_matches('.').to_owned()),
        ("dns.type".to_owned(), record.as_str().to_owned()),
    ]);
    let found = records.iter().filter_map(|found| match (&found.data, record) {
        (RData::A(address), DnsRecord::A) => Some((address.0.to_string(), port, meta.clone())),
        (RData::AAAA(address), DnsRecord::Aaaa) => Some((address.0.to_string(), port, meta.clone())),
        (RData::SRV(service), DnsRecord::Srv) => {
            let target = service.target.to_ascii();
            let target = target.trim_end_matches('.');
            // A target of "." says that the service is decidedly not there (RFC 2782).
            if target.is_empty() || service.port == 0 {
                return None;
            }
            meta.insert("dns.priority".to_owned(), service.priority.to_string());
            meta.insert("dns.weight".to_owned(), service.weight.to_string());
            Some((target.to_ascii_lowercase(), service.port, meta.clone()))
        }
        _ => None,
    });
    let endpoints = found.map(|(host, port, meta)| {
        let mut endpoint = Endpoint { name: String::new(), host, port, meta };
        endpoint.name = endpoint.address();
        endpoint
    });
    let mut endpoints: Vec<_> = endpoints.collect();
    // Servers turn the order with each answer, which is no change.
    endpoints.sort_by(|a, b| a.name.cmp(&b.name));
    endpoints.dedup_by(|a, b| a.name == b.name);
    Answer { endpoints, ttl: Duration::from_secs(ttl.into()) }
}

fn class(error: &NetError) -> LookupClass {
    match error {
        NetError::Timeout => LookupClass::Timeout,
        NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused)) => LookupClass::Denied,
        NetError::Dns(_) => LookupClass::Refused,
        NetError::Proto(_)
        | NetError::QueryCaseMismatch
        | NetError::ForeignClassRecord { .. }
        | NetError::Truncated => LookupClass::Malformed,
        _ => LookupClass::Unreachable,
    }
}

#[cfg(test)]
mod tests;
