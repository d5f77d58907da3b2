//! Making faults happen: which node is told what.

use super::lab::{Lab, READY};
use super::node::Node;
use super::options::Forwarder;
use super::{files, real, specs};
use crate::control;
use crate::fault::Fault;
use crate::forwarder::{ForwarderRequest, ForwarderState};
use crate::relay::RelaySettings;
use crate::service::{ServiceRequest, ServiceState, ServiceTime};
use crate::topology::Topology;
use anyhow::{Context, Result};
use std::fs;
use std::time::{Duration, Instant};

impl Lab {
    /// Brings the node that faults of this name concern to what the active faults say.
    pub(super) fn apply(&mut self, fault: &str) -> Result<()> {
        match fault {
            "wan-delay" => self.set_wan(),
            "gateway-slow" => self.set_gateway(),
            "service-slow" => self.set_service(),
            "mediary-a-busy" => self.set_spinners(),
            "mediary-a-throttled" => self.set_quota(),
            _ if self.active.contains(&Fault::MediaryADown) => {
                self.kill("mediary-a");
                Ok(())
            }
            _ => {
                let up = self.nodes.iter().any(|n| n.spec.name == "mediary-a" && n.is_alive());
                if up { Ok(()) } else { self.restart("mediary-a") }
            }
        }
    }

    /// What active faults of this kind add; zero without one.
    fn added(&self, fault: &str) -> Duration {
        self.active.iter().find(|f| f.name() == fault).and_then(Fault::added).unwrap_or_default()
    }

    pub(super) fn set_wan(&self) -> Result<()> {
        let rtt = self.options.wan_rtt + self.added("wan-delay");
        self.set_relay(RelaySettings::round_trip(rtt)).map(|_| ())
    }

    pub(super) fn set_gateway(&self) -> Result<()> {
        let delay = self.added("gateway-slow");
        match self.options.forwarder {
            Forwarder::Embedded => {
                let request = ForwarderRequest::SetRequestDelayUs(micros(delay));
                let control = Topology::control(self.topology.gateway_b);
                control::ask::<_, ForwarderState>(control, &request).map(|_| ())
            }
            Forwarder::Nginx | Forwarder::Haproxy => {
                real::set_haproxy_delay(&self.folder, "gateway-b", delay)
            }
        }
    }

    /// Both services that stand for "the service": the business one and Insight's receiver,
    /// which follows its `drill_delay_file`.
    pub(super) fn set_service(&self) -> Result<()> {
        let delay = self.added("service-slow");
        // The receiver must never read half a number: write aside, then rename.
        let (file, fresh) = (files::receiver_delay(&self.folder), self.folder.join("receiver-delay-ms.new"));
        fs::write(&fresh, format!("{}\n", delay.as_secs_f64() * 1e3))
            .and_then(|()| fs::rename(&fresh, &file))
            .with_context(|| format!("write {}", file.display()))?;
        let time = ServiceTime { fixed_us: micros(delay), exponential_mean_us: 0 };
        let control = Topology::control(self.topology.service_b);
        control::ask::<_, ServiceState>(control, &ServiceRequest::Set(time)).map(|_| ())
    }

    /// Starts, replaces or ends the competitors of mediary-a.
    fn set_spinners(&mut self) -> Result<()> {
        self.spinners = None;
        let threads = self.active.iter().find_map(|fault| match fault {
            Fault::MediaryABusy(threads) => Some(*threads),
            _ => None,
        });
        if let (Some(threads), Some(place)) = (threads, self.place("mediary-a")) {
            let mut spinners = Node::new(specs::spinners(&self.options, place, threads));
            spinners.start(&self.options.lab_binary, &self.folder)?;
            self.spinners = Some(spinners);
        }
        // Recorded before they are waited for, as every child.
        self.save_record();
        let folder = &self.folder;
        self.spinners.as_mut().map_or(Ok(()), |node| node.wait_ready(folder, Instant::now() + READY))
    }

    /// Sets or takes away the limit of mediary-a's CPU time.
    fn set_quota(&mut self) -> Result<()> {
        let quota = self.active.iter().find_map(|fault| match fault {
            Fault::MediaryAThrottled(quota) => Some(*quota),
            _ => None,
        });
        self.places.as_ref().map_or(Ok(()), |places| places.limit_cpu("mediary-a", quota))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
