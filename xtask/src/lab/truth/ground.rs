//! Where a row runs: callers and origin on one side of the agent's node, each behind a link.
//!
//! ```text
//! far: callers                node: proxy, agent                    far: origin
//! 198.18.0.2  eth0 ═ veth ═ eth0  198.18.0.1   198.18.1.1  wan0 ─ relay ─ wan0  198.18.1.2
//! ```
//!
//! The link to the origin carries packets through the lab's relay, which delays and loses them; that
//! to the callers is as fast as the kernel. Both namespaces, and the devices in them, go with
//! [`Apart`](crate::bench::apart::Apart).

use super::rows::{LINK, Proxy, Row, THINK};
use super::setting;
use crate::bench::apart::Site;
use crate::bench::process::{Launcher, Process, members};
use crate::bench::ready::{Disabled, READY_WITHIN, Set, wait_measures};
use crate::bench::setting::{Addresses, Forwarder};
use anyhow::{Context, Result, bail};
use insight_lab::control;
use insight_lab::relay::{RelayRequest, RelaySettings, RelayState};
use insight_lab::{Interrupt, ip};
use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The ends of the link to the origin.
const NEAR: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 1);
const ORIGIN: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 2);

/// The device of that link, in both namespaces.
const DEVICE: &str = "wan0";

/// What all rows have in common.
pub struct Ground<'a> {
    /// `insight-agent`.
    pub agent: PathBuf,
    /// `insight-lab`.
    pub lab: PathBuf,
    /// The two namespaces.
    pub site: &'a Site,
    /// Configurations and logs.
    pub folder: &'a Path,
    /// Ctrl-C.
    pub interrupt: &'a Interrupt,
}

/// The programs of a row; they end with this, the agent first.
pub struct Stand {
    /// The agent.
    pub agent: Process,
    /// The proxy.
    pub proxy: Process,
    /// What the agent was asked to measure and does not.
    pub disabled: Vec<Disabled>,
    /// Where everything listens.
    pub addresses: Addresses,
    _origin: Process,
    relay_control: SocketAddr,
    _relay: Process,
}

impl Ground<'_> {
    /// Puts the device of the link to the origin into both namespaces, and what a row needs into the
    /// folder.
    ///
    /// # Errors
    /// iproute2 refuses a command, or there are no namespaces.
    pub fn prepare(&self, row: Row) -> Result<()> {
        for (netns, own, other) in [(self.site.node(), NEAR, ORIGIN), (self.site.far(), ORIGIN, NEAR)] {
            let name = netns.and_then(Path::file_name).and_then(|name| name.to_str());
            let name = name.context("the row needs namespaces")?;
            let (own, other) = (own.to_string(), other.to_string());
            ip(&["-netns", name, "tuntap", "add", "dev", DEVICE, "mode", "tun"])?;
            ip(&["-netns", name, "address", "add", &own, "peer", &other, "dev", DEVICE])?;
            ip(&["-netns", name, "link", "set", DEVICE, "up"])?;
            // A segment is a packet: else the kernel's count of those sent again is of what a card
            // would cut them into, and the agent's is not.
            // Without the second device where bulk is to be spliced: nothing gets lost there.
            let devices = if row == Row::Splice { &[DEVICE][..] } else { &[DEVICE, "eth0"] };
            for device in devices {
                ip(&["-netns", name, "link", "set", device, "gso_max_segs", "1"])?;
            }
        }
        let path = self.folder.join("message");
        fs::write(&path, row.message()).with_context(|| format!("write {}", path.display()))?;
        self.write_certificate()
    }

    /// Starts everything of a row, and waits until the agent measures.
    ///
    /// # Errors
    /// A program is not installed or does not start, or somebody pressed Ctrl-C.
    pub fn start(&self, row: Row) -> Result<Stand> {
        let addresses = Addresses { origin: (ORIGIN, 5052).into(), ..self.site.addresses()? };
        let relay_control = free()?;
        let (node, far) = (self.path(self.site.node())?, self.path(self.site.far())?);
        let arguments = |text: String| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        // Here, and not in a namespace: it is in both of them by its devices.
        let relay = self.launcher().start(
            "relay",
            &[],
            &self.lab,
            arguments(format!(
                "tun-relay --near {} --far {} --device {DEVICE} --control {relay_control}",
                node.display(),
                far.display()
            )),
        )?;
        let origin = self.launcher().start_in(
            self.site.far(),
            "origin",
            &[],
            &self.lab,
            arguments(format!(
                "service --listen {} --control 127.0.0.1:5056 --fixed-us {}",
                addresses.origin,
                THINK.as_micros()
            )),
        )?;
        let (mut relay, mut origin) = (relay, origin);
        relay.wait_until("took orders", READY_WITHIN, self.interrupt, || {
            Ok(set_link(relay_control, RelaySettings::round_trip(LINK)).ok())
        })?;
        self.wait_accepts(&mut origin, addresses.origin, 1)?;
        let mut proxy = self.start_proxy(row, &addresses)?;
        let processes = if self.is_nginx(row) { 3 } else { 1 };
        self.wait_accepts(&mut proxy, addresses.forwarder, processes)?;

        let text = setting::agent(row, &addresses, &self.name(), &node);
        let arguments = ["run".into(), "--config".into(), self.write("agent.toml", &text)?];
        let mut agent =
            self.launcher().start_in(self.site.node(), "insight-agent", &[], &self.agent, arguments)?;
        let disabled = wait_measures(&mut agent, self.site, addresses.admin, Set::All, self.interrupt)?;
        Ok(Stand { agent, proxy, disabled, addresses, _origin: origin, relay_control, _relay: relay })
    }

    fn start_proxy(&self, row: Row, addresses: &Addresses) -> Result<Process> {
        for (name, text) in setting::files(row, addresses) {
            self.write(name, &text)?;
        }
        let config = self.folder.join("proxy.cfg");
        let (program, arguments): (PathBuf, Vec<OsString>) = match row.proxy() {
            Proxy::Nginx | Proxy::NginxTls | Proxy::NginxPerRequest => {
                let arguments = Forwarder::Nginx.arguments(self.folder, &config);
                (Forwarder::Nginx.program()?, arguments.into_iter().map(Into::into).collect())
            }
            Proxy::Haproxy | Proxy::HaproxyTcp => {
                let arguments = Forwarder::Haproxy.arguments(self.folder, &config);
                (Forwarder::Haproxy.program()?, arguments.into_iter().map(Into::into).collect())
            }
            Proxy::WorkStealing => {
                let text = format!(
                    "forwarder --name proxy --listen {} --control 127.0.0.1:5057 --default {} --threads 2",
                    addresses.forwarder, addresses.origin
                );
                (self.lab.clone(), text.split(' ').map(OsString::from).collect())
            }
        };
        // By a name of its own: others on this machine may forward with the same program.
        let link = self.folder.join(self.name());
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(program, &link).with_context(|| format!("create {}", link.display()))?;
        self.launcher().start_in(self.site.node(), "proxy", &[], link, arguments)
    }

    const fn is_nginx(&self, row: Row) -> bool {
        matches!(row.proxy(), Proxy::Nginx | Proxy::NginxTls | Proxy::NginxPerRequest)
    }

    /// The name of the proxy's processes.
    fn name(&self) -> String {
        format!("tf-{}", std::process::id())
    }

    /// Starts programs.
    pub fn launcher(&self) -> Launcher<'_> {
        Launcher { lab: &self.lab, folder: self.folder }
    }

    fn path(&self, netns: Option<&Path>) -> Result<PathBuf> {
        Ok(netns.context("the row needs namespaces")?.to_owned())
    }

    fn write(&self, file: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(file);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    fn write_certificate(&self) -> Result<()> {
        let names = vec!["truth.invalid".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).context("make a certificate")?;
        self.write("certificate.pem", &made.cert.pem())?;
        self.write("key.pem", &made.signing_key.serialize_pem())?;
        Ok(())
    }

    fn wait_accepts(&self, process: &mut Process, address: SocketAddr, processes: usize) -> Result<()> {
        let pid = process.pid();
        let from = |address: SocketAddr| TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
        process.wait_until("accepted connections", READY_WITHIN, self.interrupt, || {
            let accepts = self.site.at_far(|| from(address))?;
            Ok((accepts && members(pid).len() >= processes).then_some(()))
        })
    }
}

impl Stand {
    /// Tells the relay how the link to the origin is from now on.
    ///
    /// # Errors
    /// It does not answer.
    pub fn set_link(&self, settings: RelaySettings) -> Result<()> {
        set_link(self.relay_control, settings)
    }
}

fn set_link(control: SocketAddr, settings: RelaySettings) -> Result<()> {
    control::ask::<_, RelayState>(control, &RelayRequest::Set(settings)).map(|_| ())
}

/// An address on loopback that is free now.
fn free() -> Result<SocketAddr> {
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port on 127.0.0.1")?;
    match held.local_addr() {
        Ok(address) => Ok(address),
        Err(error) => bail!("read the address of a listener: {error}"),
    }
}
