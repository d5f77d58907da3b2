use super::*;
use crate::model::discovery::Found;
use std::fs;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Longer than files are looked at, and than they settle.
const PATIENCE: Duration = Duration::from_secs(20);

struct Site {
    folder: tempfile::TempDir,
    told: mpsc::Receiver<(usize, Found)>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Site {
    fn start(folder: tempfile::TempDir, paths: &[&str]) -> Self {
        let (tell, told) = mpsc::channel(16);
        let plan = FilePlan { paths: paths.iter().map(|path| folder.path().join(path)).collect() };
        let source = Box::new(FileSource::new(plan));
        let task = tokio::spawn(source.watch(Outlet::new(7, tell)));
        Self { folder, told, task }
    }

    /// Replaces a file as a careful program does.
    fn write(&self, name: &str, content: &str) {
        let new = self.folder.path().join(".new");
        fs::write(&new, content).unwrap();
        fs::rename(new, self.folder.path().join(name)).unwrap();
    }

    /// The next news that is any.
    async fn next(&mut self) -> Found {
        loop {
            let told = timeout(PATIENCE, self.told.recv()).await.expect("no news in time");
            let (source, found) = told.expect("the source has ended");
            assert_eq!(source, 7);
            if found != Found::Unchanged {
                return found;
            }
        }
    }

    async fn names(&mut self) -> Vec<String> {
        match self.next().await {
            Found::Roster(endpoints) => endpoints.into_iter().map(|endpoint| endpoint.name).collect(),
            other => panic!("no roster: {other:?}"),
        }
    }

    async fn failure(&mut self) -> LookupFailure {
        match self.next().await {
            Found::Failed(failure) => failure,
            other => panic!("no failure: {other:?}"),
        }
    }
}

fn targets(addresses: &[&str]) -> String {
    serde_json::json!([{ "targets": addresses }]).to_string()
}

fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

#[tokio::test]
async fn files_that_change_come_and_go_are_told() {
    let folder =
        folder_with(&[("a.json", &targets(&["a:1"])), ("b.json", &targets(&["b:1"])), ("c.txt", "no")]);
    let mut site = Site::start(folder, &["*.json"]);
    assert_eq!(site.names().await, ["a:1", "b:1"]);
    site.write("a.json", &targets(&["a:1", "a:2"]));
    assert_eq!(site.names().await, ["a:1", "a:2", "b:1"]);
    site.write("d.json", &targets(&["d:1"]));
    assert_eq!(site.names().await, ["a:1", "a:2", "b:1", "d:1"]);
    fs::remove_file(site.folder.path().join("b.json")).unwrap();
    assert_eq!(site.names().await, ["a:1", "a:2", "d:1"], "no pattern leads to it any more");
}

#[tokio::test]
async fn a_bad_file_keeps_its_endpoints_and_the_others_go_on() {
    let folder = folder_with(&[("a.json", &targets(&["a:1"])), ("b.json", &targets(&["b:1"]))]);
    let mut site = Site::start(folder, &["*.json"]);
    assert_eq!(site.names().await, ["a:1", "b:1"]);
    site.write("a.json", "[\n{\"targets\": 7}]");
    let failure = site.failure().await;
    assert_eq!(failure.class, LookupClass::Malformed);
    assert!(failure.detail.contains("a.json:2: invalid type: integer"), "{}", failure.detail);
    site.write("b.json", &targets(&["b:2"]));
    assert_eq!(site.names().await, ["a:1", "b:2"]);
    assert!(site.failure().await.detail.contains("a.json:2"), "it is still wrong");
    site.write("a.json", &targets(&["a:3"]));
    assert_eq!(site.names().await, ["a:3", "b:2"]);
}

#[tokio::test]
async fn a_file_that_is_named_and_gone_keeps_its_endpoints() {
    let mut site = Site::start(folder_with(&[("a.json", &targets(&["a:1"]))]), &["a.json"]);
    assert_eq!(site.names().await, ["a:1"]);
    fs::remove_file(site.folder.path().join("a.json")).unwrap();
    let failure = site.failure().await;
    assert_eq!(failure.class, LookupClass::Unreachable);
    assert!(failure.detail.contains("a.json: No such file"), "{}", failure.detail);
    site.write("a.json", &targets(&[]));
    assert_eq!(site.names().await, Vec::<String>::new(), "an empty file says that nobody is there");
}

#[tokio::test]
async fn what_was_never_there_is_a_failure_and_no_empty_roster() {
    let mut site = Site::start(folder_with(&[]), &["a.toml"]);
    assert_eq!(site.failure().await.class, LookupClass::Unreachable);
    site.write("a.toml", "[[endpoint]]\nname = \"a\"\naddress = \"h:1\"\n");
    assert_eq!(site.names().await, ["a"]);
    let mut site = Site::start(folder_with(&[]), &["missing/*.toml"]);
    assert!(site.failure().await.detail.contains("read the folder"));
}

#[tokio::test]
async fn links_that_are_swapped_as_in_a_config_map_are_followed() {
    let folder = folder_with(&[]);
    let at = |name: &str| folder.path().join(name);
    for (version, address) in [("v1", "a:1"), ("v2", "a:2")] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("a.json"), targets(&[address])).unwrap();
    }
    let link = |folder: &Path, to: &str| {
        std::os::unix::fs::symlink(to, folder.join("..next")).unwrap();
        fs::rename(folder.join("..next"), folder.join("..data")).unwrap();
    };
    link(folder.path(), "v1");
    std::os::unix::fs::symlink("..data/a.json", at("a.json")).unwrap();
    let mut site = Site::start(folder, &["*.json"]);
    assert_eq!(site.names().await, ["a:1"]);
    link(site.folder.path(), "v2");
    assert_eq!(site.names().await, ["a:2"]);
}

#[tokio::test]
async fn each_look_that_finds_no_change_says_so() {
    let mut site = Site::start(folder_with(&[("a.json", &targets(&["a:1"]))]), &["a.json"]);
    assert_eq!(site.names().await, ["a:1"]);
    let told = timeout(PATIENCE, site.told.recv()).await.unwrap().unwrap();
    assert_eq!(told, (7, Found::Unchanged));
}
