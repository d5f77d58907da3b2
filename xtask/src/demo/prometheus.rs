//! A real Prometheus beside the lab, scraping all agents.

use super::poll;
use anyhow::{Context, Result, bail};
use insight_lab::Lab;
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// It opens its database and listens within a second; a loaded machine may take longer.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Whether the program is on the search path.
pub fn available() -> bool {
    let version =
        Command::new("prometheus").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// The running Prometheus; it ends when this is dropped, and with this process however that ends.
pub struct Prometheus {
    child: Child,
    listen: SocketAddr,
}

impl Prometheus {
    /// Starts it with its own data below the run's folder, and waits until it is ready.
    ///
    /// # Errors
    /// It cannot be started, or is not ready in time; the error shows the end of its log.
    pub fn start(lab: &Lab, lab_binary: &Path) -> Result<Self> {
        let folder = lab.run_dir().join("prometheus");
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let (config, log) = (folder.join("prometheus.yml"), folder.join("prometheus.log"));
        fs::write(&config, configuration(&targets(lab)))
            .with_context(|| format!("write {}", config.display()))?;
        // In namespaces too the run's claim stays on loopback, where the harness is.
        let listen = listen_address(lab.addresses().claim)?;
        let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        // Through the lab's launcher, which ties the program's life to ours.
        let child = Command::new(lab_binary)
            .args([
                "launch",
                "--parent",
                &std::process::id().to_string(),
                "--signal",
                "kill",
                "--",
                "prometheus",
            ])
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={listen}"))
            .current_dir(&folder)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("start prometheus")?;
        let mut prometheus = Self { child, listen };
        prometheus.wait_ready(&log)?;
        Ok(prometheus)
    }

    /// Where its page is.
    pub fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    fn wait_ready(&mut self, log: &Path) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let Err(error) = poll::get(self.listen, "/-/ready") else { return Ok(()) };
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let state = ended.map_or("still running".to_owned(), |status| status.to_string());
                let tail = super::log_tail(log);
                bail!("prometheus is not ready ({state}): {error:#}\nits log ends with:\n{tail}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Its data goes with the run's folder: nothing to flush.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// 127.S.0.9:9090 in the lab's own subnet 127.S.0.0/16.
fn listen_address(claim: SocketAddr) -> Result<SocketAddr> {
    match claim.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => Ok((Ipv4Addr::new(127, ip.octets()[1], 0, 9), 9090).into()),
        ip => bail!("the lab's claim is on {ip}: expected an address of 127.0.0.0/8"),
    }
}

/// Every agent of the run, with its region.
fn targets(lab: &Lab) -> Vec<(SocketAddr, &'static str)> {
    let nodes = [
        ("insight-eu", "eu"),
        ("mediary-a", "eu"),
        ("mediary-b", "sg"),
        ("gateway-b", "sg"),
        ("insight-sg", "sg"),
    ];
    nodes.into_iter().filter_map(|(node, region)| Some((lab.agent(node)?.metrics, region))).collect()
}

fn configuration(targets: &[(SocketAddr, &str)]) -> String {
    let mut text = String::from(
        "global:
  scrape_interval: 1s
  scrape_timeout: 1s
scrape_configs:
  - job_name: insight
    \
         static_configs:
",
    );
    for (address, region) in targets {
        text += &format!(
            "      - targets: ['{address}']
        labels: {{region: {region}}}
"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_listens_inside_the_subnet_of_the_run() {
        let listen = listen_address("127.77.0.1:19700".parse().unwrap()).unwrap();
        assert_eq!(listen, "127.77.0.9:9090".parse().unwrap());
        assert!(listen_address("10.0.0.1:19747".parse().unwrap()).is_err());
    }

    #[test]
    fn every_agent_is_scraped_every_second() {
        let text = configuration(&[
            ("127.77.1.10:1".parse().unwrap(), "eu"),
            ("127.77.2.10:2".parse().unwrap(), "sg"),
        ]);
        let expected = "\
global:
  scrape_interval: 1s
  scrape_timeout: 1s
scrape_configs:
  - job_name: insight
    static_configs:
      - targets: ['127.77.1.10:1']
        labels: {region: eu}
      - targets: ['127.77.2.10:2']
        labels: {region: sg}
";
        assert_eq!(text, expected);
    }
}
