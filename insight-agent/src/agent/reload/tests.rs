//! Files of a running agent, of which only the reloader runs.

use super::*;
use crate::publish::metrics::AgentLabels;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

struct Site {
    _folder: tempfile::TempDir,
    reloader: Arc<Reloader>,
    wanted: Receiver<config::Kernel>,
    metrics: Arc<Metrics>,
}

fn text_of(kernel: &str, more: &str) -> String {
    format!("[agent]\nregion = \"eu\"\nname = \"node\"\n[kernel]\n{kernel}\n{more}")
}

impl Site {
    /// An agent that was started with this, and whose parts take every change.
    fn start(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("insight.toml");
        std::fs::write(&path, text).unwrap();
        let config = Config::load(&path).unwrap().config;
        let probes: Vec<_> = config.probe_plans().into_iter().map(Planned::new).collect();
        let asked = Asked::all(&config).into_iter().map(Result::unwrap).collect();
        let labels = AgentLabels { name: "node".into(), region: "eu".into(), version: "0".into() };
        let metrics = Arc::new(Metrics::new(&labels, Duration::from_secs(1), &[]));
        let (changes, mut taken) = mpsc::channel::<Handed<Change>>(1);
        tokio::spawn(async move {
            while let Some((_, done)) = taken.recv().await {
                done.send(()).unwrap();
            }
        });
        let (kernel, wanted) = channel();
        let templates = Arc::new(Templates::new(&config.discoveries, Arc::clone(&metrics)));
        let running = Running { config, rosters: Rosters::new(), probes, asked };
        let reloader = Arc::new(Reloader::new(running, changes, kernel, Arc::clone(&metrics), templates));
        reloader.follow(path);
        Self { _folder: folder, reloader, wanted, metrics }
    }

    async fn reload(&self, text: &str) -> Result<ReloadSummary, String> {
        std::fs::write(self.reloader.path().unwrap(), text).unwrap();
        self.reloader.reload(Trigger::Request).await
    }

    fn shown(&self, name: &str) -> f64 {
        let text = self.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")).map(str::to_owned));
        line.unwrap().parse().unwrap()
    }
}

const ON: &str = "reloadable = true";
const SUCCESSFUL: &str = "insight_config_last_reload_successful";
const SUCCESS_TIME: &str = "insight_config_last_reload_success_timestamp_seconds";
const RESTART: &str = "insight_config_restart_required";

fn probe(name: &str, port: u16) -> String {
    format!(
        "[[probe]]\nname = \"{name}\"\ntarget = \"sg\"\naddress = \"127.0.0.1:{port}\"\nmode = \"black-box\"\n"
    )
}

#[tokio::test]
async fn kernel_measurements_are_replaced_and_other_sections_are_named() {
    let site = Site::start(&text_of(ON, ""));
    assert_eq!(site.reload(&text_of(ON, "")).await, Ok(ReloadSummary::default()));
    let fewer = format!("{ON}\nmeasurements = [\"connect\"]");
    let summary = site.reload(&text_of(&fewer, "[host]\nperiod = \"7s\"\n")).await.unwrap();
    assert!(summary.kernel);
    assert_eq!(summary.restart_required, ["[host]"]);
    assert_eq!(site.wanted.try_recv().unwrap().measurements.len(), 1);
    assert_eq!(site.shown(RESTART), 1.0);
    let summary = site.reload(&text_of(&fewer, "")).await;
    assert_eq!(summary, Ok(ReloadSummary::default()), "it is the running one now");
    assert_eq!(site.shown(RESTART), 0.0);
}

#[tokio::test]
async fn kernel_changes_that_take_a_restart_change_nothing_and_say_so() {
    let fixed = Site::start(&text_of("", ""));
    let waits = |summary: Result<ReloadSummary, String>| {
        let summary = summary.unwrap();
        !summary.kernel && summary.restart_required.iter().any(|why| why.starts_with("[kernel] ("))
    };
    assert!(waits(fixed.reload(&text_of("http2 = false", "")).await));
    assert!(fixed.wanted.try_recv().is_err());

    let site = Site::start(&text_of(ON, ""));
    let peer = "[[kernel.peer]]\nname = \"a\"\nnetworks = [\"10.0.0.0/8\"]\n";
    assert!(waits(site.reload(&text_of(ON, peer)).await));
    assert!(site.wanted.try_recv().is_err());
    let Site { wanted, reloader, .. } = site;
    drop(wanted);
    std::fs::write(reloader.path().unwrap(), text_of(&format!("{ON}\nhttp2 = false"), "")).unwrap();
    assert!(waits(reloader.reload(Trigger::Hangup).await), "nobody listens");
}

#[tokio::test]
async fn giving_the_capabilities_up_is_decided_at_the_start() {
    let site = Site::start(&text_of(ON, ""));
    let summary = site.reload(&text_of("reloadable = false\nhttp2 = false", "")).await.unwrap();
    assert!(summary.kernel && summary.restart_required.len() == 1, "{summary:?}");
    assert!(site.wanted.try_recv().unwrap().reloadable);
}

#[tokio::test]
async fn probes_and_what_holds_for_all_of_them_count_at_once() {
    let site = Site::start(&text_of("", &(probe("a", 1) + &probe("b", 1))));
    let summary = site.reload(&text_of("", &(probe("b", 1) + &probe("c", 1)))).await.unwrap();
    assert_eq!((summary.kept, summary.started, summary.stopped), (1, vec!["c".into()], vec!["a".into()]));
    let summary = site.reload(&text_of("", &(probe("b", 2) + &probe("c", 1)))).await.unwrap();
    assert_eq!((summary.kept, summary.replaced), (1, vec!["b".to_owned()]));
    let all = text_of("", &(probe("b", 2) + &probe("c", 1) + "[probing]\nmax_in_flight = 3\n"));
    let summary = site.reload(&all).await.unwrap();
    assert_eq!((summary.replaced.len(), summary.restart_required), (2, vec![]));
}

#[tokio::test]
async fn probes_wait_for_the_restart_that_their_agents_new_name_takes() {
    let site = Site::start(&text_of("", &probe("a", 1)));
    let other = text_of("", &probe("b", 1)).replace("\"node\"", "\"other\"");
    let summary = site.reload(&other).await.unwrap();
    assert_eq!((summary.kept, summary.started.len()), (1, 0));
    assert_eq!(summary.restart_required, ["[agent]", "[[probe]]"]);
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_says_where_it_is_bad() {
    let good = text_of("", &probe("a", 1));
    let site = Site::start(&good);
    let since = site.shown(SUCCESS_TIME);
    let no_ca = probe("b", 1) + "[probe.tls]\nca_file = \"insight.toml\"\n";
    for (bad, expected) in [
        (text_of("", &(probe("a", 1) + "interval = 7\n")), "insight.toml:11: probe.interval = 7"),
        (text_of("", "[[probe"), "insight.toml:6: not valid TOML"),
        (text_of("", &(probe("a", 1) + &probe("a", 1))), "this name is taken by line"),
        (text_of("", &(probe("a", 2) + &no_ca)), "ca_file"),
    ] {
        let why = site.reload(&bad).await.unwrap_err();
        assert!(why.contains(expected), "{why}");
        assert_eq!((site.shown(SUCCESSFUL), site.shown(SUCCESS_TIME)), (0.0, since));
    }
    std::fs::remove_file(site.reloader.path().unwrap()).unwrap();
    let why = site.reloader.reload(Trigger::Hangup).await.unwrap_err();
    assert!(why.contains("cannot read the configuration"), "{why}");
    let summary = site.reload(&good).await.unwrap();
    assert_eq!((summary.kept, summary.replaced.len()), (1, 0), "it went on as it was");
    assert_eq!(site.shown(SUCCESSFUL), 1.0);
    assert!(site.shown(SUCCESS_TIME) >= since);
}

#[tokio::test]
async fn who_is_asked_follows_the_nodes_and_the_routes() {
    let node =
        |name: &str, port: u16| format!("[[node]]\nname = \"{name}\"\naddress = \"127.0.0.1:{port}\"\n");
    let site = Site::start(&text_of("", &node("x", 1)));
    let summary = site.reload(&text_of("", &(node("x", 2) + &node("y", 1)))).await.unwrap();
    assert_eq!(summary.restart_required, Vec::<String>::new());
    let running = site.reloader.running.lock().await;
    let ports: Vec<_> = running.asked.iter().map(|asked| format!("{:?}", asked.place())).collect();
    assert!(ports.len() == 2 && ports[1].contains("\"y\""), "{ports:?}");
}
