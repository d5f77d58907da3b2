//! From checked settings to the plans that collectors work from.

use super::settings::{Config, Probe, Way};
use super::template::Placeholder;
use crate::model::dial::{Dial, IpVersion};
use crate::model::plan::{Mode, ProbePlan, RoutePlan};
use crate::model::series::kernel::Names;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// How the reports of another region's nodes are fetched.
#[derive(Debug, Clone)]
pub struct ReportWay {
    /// The region.
    pub region: String,
    /// Along which route, filled in for the first white-box probe of that region that takes one.
    pub route: RoutePlan,
    /// File with the token that the region's receiver asks for. **None**: none is presented.
    pub token_file: Option<PathBuf>,
}

impl Config {
    /// One way for each other region that a white-box probe asks along a route, in the order of the
    /// file. Direct probes and black-box ones reach no receiver that could tell of its region.
    pub fn report_ways(&self) -> Vec<ReportWay> {
        let mut seen = BTreeSet::from([self.agent.region.as_str()]);
        let mut ways = Vec::new();
        for probe in self.probes.iter().filter(|probe| probe.mode == Mode::WhiteBox) {
            let Way::Route(name) = &probe.way else { continue };
            let Some(route) = self.route_plan(probe) else { continue };
            // Questions take no proxy and no UNIX socket: they would go where the probes do not.
            if route.dial.proxy.is_some() || route.unix().is_some() || !seen.insert(&probe.target) {
                continue;
            }
            let configured = self.routes.iter().find(|route| route.name == *name);
            let token_file = configured.and_then(|route| route.report_token_file.clone());
            ways.push(ReportWay { region: probe.target.clone(), route, token_file });
        }
        ways
    }

    /// What the groups of the kernel half are called.
    pub fn kernel_names(&self) -> Names {
        Names {
            peers: self.kernel.peers.iter().map(|peer| peer.name.clone()).collect(),
            forwarders: self.forwarders.iter().map(|forwarder| forwarder.name.clone()).collect(),
        }
    }

    /// One plan per probe, or two of one that measures both versions of IP apart; in the order of the file:
    /// templates filled in, routes resolved.
    pub fn probe_plans(&self) -> Vec<ProbePlan> {
        let plans = self.probes.iter().flat_map(|probe| {
            let named = move |(suffix, version)| self.plan(probe, format!("{}{suffix}", probe.name), version);
            probe.ip.probes().into_iter().map(named)
        });
        plans.flatten().collect()
    }

    /// **None**: the probe's route does not exist, which the checks rule out for a loaded configuration.
    fn plan(&self, probe: &Probe, name: String, ip: IpVersion) -> Option<ProbePlan> {
        let mut route = self.route_plan(probe)?;
        route.dial.ip = ip;
        Some(ProbePlan {
            name,
            source: self.agent.region.clone(),
            target: probe.target.clone(),
            mode: probe.mode,
            call: probe.call.clone(),
            expect: probe.expect.clone(),
            route,
            interval: probe.interval,
            jitter: self.probing.jitter,
            burst: self.probing.burst,
            deadline: probe.deadline,
            drain: probe.drain,
            connections: probe.connections.clone(),
            slots: probe.reused_connections,
            ping: probe.ping,
            max_in_flight: self.probing.max_in_flight,
            void_share: self.probing.void_share,
        })
    }

    fn route_plan(&self, probe: &Probe) -> Option<RoutePlan> {
        let route = match &probe.way {
            Way::Direct { address, authority, tls } => {
                return Some(RoutePlan {
                    name: address.to_string(),
                    host: address.host.clone(),
                    port: address.port,
                    dial: Dial::default(),
                    authority: authority.clone(),
                    metadata: Vec::new(),
                    tls: tls.clone(),
                    origin: self.agent.name.clone(),
                    hops: Vec::new(),
                    server_timing: BTreeMap::new(),
                    envoy_hop: None,
                    kong_hop: None,
                    load_metrics: probe.load_metrics.clone(),
                });
            }
            Way::Route(name) => self.routes.iter().find(|route| route.name == *name)?,
        };
        let meaning = |placeholder| match placeholder {
            Placeholder::Region => probe.target.as_str(),
            Placeholder::Service => probe.service.as_str(),
            Placeholder::Probe => probe.name.as_str(),
            Placeholder::Source => self.agent.region.as_str(),
        };
        let metadata = route.metadata.iter().map(|(name, value)| (name.clone(), value.fill(meaning)));
        Some(RoutePlan {
            name: route.name.clone(),
            host: route.address.host.clone(),
            port: route.address.port,
            dial: Dial { proxy: route.proxy.clone(), ..Dial::default() },
            authority: route.authority.clone(),
            metadata: metadata.collect(),
            tls: route.tls.clone(),
            origin: route.origin.clone(),
            hops: route.hops.clone(),
            server_timing: route.server_timing.clone(),
            envoy_hop: route.envoy_hop.clone(),
            kong_hop: route.kong_hop.clone(),
            load_metrics: probe.load_metrics.clone(),
        })
    }
}
