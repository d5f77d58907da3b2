use super::*;
use crate::agent::asked::Asked;
use crate::agent::changes::{Change, Handed};
use crate::agent::reconcile::Planned;
use crate::agent::reload::Running;
use crate::config::Config;
use crate::model::discovery::{LookupClass, LookupFailure};
use crate::publish::metrics::{AgentLabels, Metrics};

/// Longer than any change waits.
const PATIENCE: Duration = Duration::from_secs(20);

/// An agent of which only the reloader and the task run, and whose parts take every change.
struct Site {
    folder: tempfile::TempDir,
    templates: Arc<Templates>,
    metrics: Arc<Metrics>,
    reloader: Arc<Reloader>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn text(keep: bool, more: &str) -> String {
    format!(
        "[agent]\nregion = \"eu\"\nname = \"eu-1\"\n[[discovery]]\nname = \"d\"\nkeep_when_empty = {keep}\n\
         file = {{ paths = [\"a.json\"] }}\n[[probe]]\ntarget = \"sg\"\nmode = \"black-box\"\ndiscovery = \"d\"\n\
         name = \"{{meta.name:p}}-{{name}}\"\nmax_probes = 3\nwhere = [\"meta.out !~ *\"]\n{more}"
    )
}

impl Site {
    fn start(text: &str, targets: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.json"), targets).unwrap();
        let path = folder.path().join("insight.toml");
        std::fs::write(&path, text).unwrap();
        let config = Config::load(&path).unwrap().config;
        let labels = AgentLabels { name: "eu-1".into(), region: "eu".into(), version: "0".into() };
        let metrics = Arc::new(Metrics::new(&labels, Duration::from_secs(1), &[]));
        let (changes, mut taken) = mpsc::channel::<Handed<Change>>(1);
        tokio::spawn(async move {
            while let Some((_, done)) = taken.recv().await {
                done.send(()).unwrap();
            }
        });
        let templates = Arc::new(Templates::new(&config.discoveries, Arc::clone(&metrics)));
        let probes: Vec<_> = config.probe_plans().into_iter().map(Planned::new).collect();
        let asked = Asked::all(&config).into_iter().map(Result::unwrap).collect();
        let running = Running { config, rosters: Rosters::new(), probes, asked };
        let (kernel, _) = std::sync::mpsc::channel();
        let (shown, known) = (Arc::clone(&metrics), Arc::clone(&templates));
        let reloader = Arc::new(Reloader::new(running, changes, kernel, shown, known));
        reloader.follow(path);
        let (discovery, told) = Discovery::new(Arc::clone(&reloader), Arc::clone(&templates));
        let task = tokio::spawn(discovery.run(told));
        Self { folder, templates, metrics, reloader, task }
    }

    fn write(&self, targets: &str) {
        let new = self.folder.path().join("new");
        std::fs::write(&new, targets).unwrap();
        std::fs::rename(new, self.folder.path().join("a.json")).unwrap();
    }

    async fn wait(&self, what: &str, is_so: impl Fn(&crate::model::status::DiscoveryStatus) -> bool) {
        let start = Instant::now();
        loop {
            let status = self.templates.status(std::time::Instant::now()).remove(0);
            if is_so(&status) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "no {what}: {status:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn shown(&self, series: &str) -> Option<f64> {
        let text = self.metrics.render();
        text.lines()
            .find_map(|line| line.strip_prefix(&format!("{series} ")))
            .map(|value| value.parse().unwrap())
    }
}

fn targets(names: &[&str]) -> String {
    let all: Vec<_> = names.iter().map(|name| format!("\"{name}:1\"")).collect();
    format!("[{{\"targets\":[{}]}}]", all.join(","))
}

#[tokio::test]
async fn endpoints_become_probes_and_what_cannot_be_made_is_told_and_counted_once() {
    let site = Site::start(&text(false, ""), &targets(&["a", "b", "c", "d", "e"]));
    site.wait("probes", |status| status.probes == 3).await;
    let status = site.templates.status(std::time::Instant::now()).remove(0);
    assert_eq!((status.up, status.endpoints), (Some(true), Some(5)));
    assert_eq!((status.dropped[0].reason.as_str(), status.dropped[0].count), ("too_many", 2));
    assert!(status.dropped[0].example.contains("endpoint \"d:1\""), "{status:?}");
    let dropped = "insight_discovery_dropped_total{discovery=\"d\",reason=\"too_many\"}";
    assert_eq!(site.shown(dropped), Some(2.0));
    site.write(&targets(&["a", "b", "c", "d", "e", "f"]));
    site.wait("another roster", |status| status.endpoints == Some(6)).await;
    assert_eq!(site.shown(dropped), Some(3.0), "those that were left out before are not counted again");
    assert_eq!(site.shown("insight_discovery_updates_total{discovery=\"d\"}"), Some(2.0));
    assert_eq!(site.shown("insight_discovery_endpoints{discovery=\"d\"}"), Some(6.0));
}

#[tokio::test]
async fn a_source_that_fails_keeps_its_roster_and_an_empty_one_counts_unless_it_is_kept() {
    for keep in [false, true] {
        let site = Site::start(&text(keep, ""), &targets(&["a"]));
        site.wait("a probe", |status| status.probes == 1).await;
        site.write("[{");
        site.wait("a failure", |status| status.up == Some(false)).await;
        let status = site.templates.status(std::time::Instant::now()).remove(0);
        assert_eq!((status.probes, status.endpoints), (1, Some(1)));
        assert_eq!(status.failure.unwrap().class, "malformed");
        assert_eq!(site.shown("insight_discovery_up{discovery=\"d\"}"), Some(0.0));
        site.write("[]");
        let expected = usize::from(keep);
        site.wait("an answer", |status| status.up == Some(true) && status.probes == expected).await;
        let status = site.templates.status(std::time::Instant::now()).remove(0);
        assert_eq!((status.kept_when_empty, status.endpoints), (keep, Some(expected)));
    }
}

#[tokio::test]
async fn a_reload_keeps_rosters_and_a_discovery_that_goes_takes_its_series_along() {
    let site = Site::start(&text(false, ""), &targets(&["a", "b"]));
    site.wait("probes", |status| status.probes == 2).await;
    let path = site.folder.path().join("insight.toml");
    std::fs::write(&path, text(false, "deadline = \"3s\"\n")).unwrap();
    let summary = site.reloader.reload(crate::agent::Trigger::Request).await.unwrap();
    assert_eq!(summary.replaced, ["p-a-1", "p-b-1"], "{summary}");
    // It looks elsewhere now: what was known counts until it has found something there.
    std::fs::write(&path, text(false, "").replace("a.json", "later.json")).unwrap();
    let summary = site.reloader.reload(crate::agent::Trigger::Request).await.unwrap();
    assert_eq!(summary.stopped, Vec::<String>::new(), "{summary}");
    site.wait("a failure", |status| status.up == Some(false)).await;
    assert_eq!(site.templates.status(std::time::Instant::now())[0].probes, 2);
    std::fs::write(site.folder.path().join("later.json"), targets(&["b", "c"])).unwrap();
    site.wait("its own roster", |status| status.up == Some(true)).await;
    std::fs::write(&path, "[agent]\nregion = \"eu\"\nname = \"eu-1\"\n").unwrap();
    let summary = site.reloader.reload(crate::agent::Trigger::Request).await.unwrap();
    assert_eq!(summary.stopped.len(), 2, "{summary}");
    assert_eq!(site.templates.status(std::time::Instant::now()), []);
    assert!(!site.metrics.render().contains("insight_discovery_"));
    site.templates.failed("d", LookupFailure { class: LookupClass::Timeout, detail: String::new() });
    assert!(!site.metrics.render().contains("insight_discovery_"), "late news bring nothing back");
}

#[test]
fn changes_wait_for_quiet_but_not_for_ever() {
    let start = Instant::now();
    let mut waiting = Waiting::default();
    waiting.add("a", start);
    assert_eq!(waiting.due, Some(start + QUIET));
    let mut at = start;
    while at < start + LATE {
        at += QUIET / 2;
        waiting.add("b", at);
        let due = waiting.due.unwrap();
        assert!(due <= start + LATE || due == at, "{:?}", due - start);
    }
    assert_eq!(waiting.changed.len(), 2);
}
