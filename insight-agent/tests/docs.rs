//! Documents that are generated: they must be what the code says today.
//!
//! `cargo xtask docs` writes them, by running this test with [`UPDATE`] set.

use insight_agent::config::Config;
use insight_agent::model::series::{self, Kind, Label, Series};
use std::fmt::{Debug, Write};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Set in the environment: write the documents and do not compare them.
const UPDATE: &str = "INSIGHT_UPDATE";

/// Where the metric table's files are, seen from the checkout.
const TABLE: &str = "insight-agent/src/model/series";

/// What stands above the tables.
const HEAD: &str = "\
# Metrics

Every family that `/metrics` can show. This file is generated from the metric table, [`model::series`](../insight-agent/src/model/series/mod.rs),
by `cargo xtask docs`; a test fails when it is stale. Change a help text there, not here.

- **Missing is absent.** A gauge that is not known has no series; it is never 0.
- **Counters and histograms** start at 0 with the agent and only rise; those of the host (`node_*`) count since its boot. Use
  `rate()` and `increase()`.
- **Most series** is the largest number of label sets that the configuration allows, before buckets: a histogram shows its
  bounds, `+Inf`, `_sum` and `_count` for each. What a response, a header or an address says never becomes a label:
  see [principles](principles.md#bounded-cardinality).
- **Durations** are in seconds. `cross_region_latency_ms` alone is in milliseconds, because its users named it so.
- How the figures of a ledger are read is in [ledgers](ledgers.md), what the kernel's figures contain in [kernels](kernels.md).
";

fn root() -> PathBuf {
    let agent = Path::new(env!("CARGO_MANIFEST_DIR"));
    agent.parent().expect("the agent's folder stands in the checkout").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

// ---- The table's files ----------------------------------------------------------------------------

/// The families of one file of the table.
struct Section {
    /// The file, such as `receive_wait` or `host/cpu`.
    name: &'static str,
    families: Vec<Series>,
}

impl Section {
    /// The file, seen from the checkout.
    fn file(&self) -> String {
        let path = self.name;
        let plain = format!("{TABLE}/{path}.rs");
        if root().join(&plain).exists() { plain } else { format!("{TABLE}/{path}/mod.rs") }
    }

    /// What the file says of itself, up to the first empty line.
    fn about(&self) -> String {
        let text = read(&self.file());
        let lines = text.lines().map_while(|line| line.strip_prefix("//!").map(str::trim));
        lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

/// Every file once, in the table's order.
fn sections() -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for part in series::sections() {
        match sections.iter_mut().find(|section| section.name == part.file) {
            Some(section) => section.families.extend_from_slice(part.series),
            None => sections.push(Section { name: part.file, families: part.series.to_vec() }),
        }
    }
    sections
}

// ---- What a row says ------------------------------------------------------------------------------

/// The name of an enum's variant, as words. So a kind that the table gets needs no line here.
fn variant(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    text.chars().take_while(char::is_ascii_alphanumeric).collect()
}

fn kind(series: &Series) -> String {
    let name = variant(&series.kind).to_lowercase();
    match series.kind {
        Kind::Histogram(bounds) => match bounds {
            [first, .., last] => format!("{name}, {} bounds: {first} to {last}", bounds.len()),
            _ => panic!("{}: a histogram of {bounds:?}", series.name),
        },
        _ => name,
    }
}

/// By Prometheus' naming rules, which the table's own test holds names against.
fn unit(series: &Series) -> &'static str {
    let name = series.name.strip_suffix("_total").unwrap_or(series.name);
    let ends = |word: &str| name.strip_suffix(word).is_some_and(|rest| rest.ends_with('_'));
    match series.kind {
        _ if ends("seconds") => "seconds",
        _ if ends("ms") => "milliseconds",
        _ if ends("bytes") => "bytes",
        _ if ends("ratio") => "share, 0 to 1",
        Kind::Counter => "events",
        _ => "number",
    }
}

/// What a label can be, or where its values come from.
fn values(label: &Label) -> String {
    let text = format!("{:?}", label.values);
    let quoted: Vec<&str> = text.split('"').skip(1).step_by(2).collect();
    match variant(&label.values).as_str() {
        "Closed" => {
            let words = quoted.iter().map(|word| match *word {
                "" => "empty".to_owned(),
                word => format!("`{word}`"),
            });
            words.collect::<Vec<_>>().join(", ")
        }
        source => {
            // The text as written: its own quotes are escaped in `text`.
            let start = text.find('"').map_or(0, |at| at + 1);
            let end = text.rfind('"').unwrap_or(text.len());
            format!("{}: {}", source.to_lowercase(), text[start..end].replace("\\\"", "\""))
        }
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

// ---- The document ---------------------------------------------------------------------------------

fn metrics() -> String {
    let sections = sections();
    let mut text = HEAD.to_owned();
    let mut put = |line: &str| writeln!(text, "{line}").expect("a String takes everything");
    put("");
    put("| measurement | families |");
    put("|---|---|");
    for section in &sections {
        let names: Vec<_> = section.families.iter().map(|series| format!("`{}`", series.name)).collect();
        // A list of forty names is no overview.
        let names = match &names[..] {
            [first, .., last] if names.len() > 12 => format!("{} families, {first} to {last}", names.len()),
            _ => names.join(", "),
        };
        let anchor = section.name.replace('/', "");
        put(&format!("| [{}](#{anchor}) | {names} |", section.name));
    }
    for section in &sections {
        put(&format!("\n## {}\n", section.name));
        put(&format!("{} Rows: [`{}`](../{}).\n", section.about(), section.file(), section.file()));
        put("| family | type | unit | labels | most series | says |");
        put("|---|---|---|---|---|---|");
        for series in &section.families {
            let labels: Vec<_> = series.labels.iter().map(|label| format!("`{}`", label.name)).collect();
            let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
            let (kind, unit) = (kind(series), unit(series));
            let (bound, help) = (cell(series.bound), cell(series.help));
            put(&format!("| `{}` | {kind} | {unit} | {labels} | {bound} | {help} |", series.name));
        }
        let labels = labels_of(&section.families);
        if !labels.is_empty() {
            put("\n| label | values |");
            put("|---|---|");
            labels.iter().for_each(|(name, values)| put(&format!("| `{name}` | {} |", cell(values))));
        }
    }
    text
}

/// Each label of some families once; one that means something else in another family, once for each
/// meaning, with the families that have it.
fn labels_of(families: &[Series]) -> Vec<(&'static str, String)> {
    let mut found: Vec<(&str, String, Vec<String>)> = Vec::new();
    for series in families {
        for label in series.labels {
            let (values, family) = (values(label), format!("`{}`", series.name));
            match found.iter_mut().find(|(name, known, _)| *name == label.name && *known == values) {
                Some((.., holders)) => holders.push(family),
                None => found.push((label.name, values, vec![family])),
            }
        }
    }
    let meanings = |name: &str| found.iter().filter(|(other, ..)| *other == name).count();
    let rows = found.iter().map(|(name, values, holders)| match meanings(name) {
        1 => (*name, values.clone()),
        _ => (*name, format!("in {}: {values}", holders.join(", "))),
    });
    rows.collect()
}

#[test]
fn docs_metrics_md_is_what_the_metric_table_says() {
    let path = root().join("docs/metrics.md");
    let fresh = metrics();
    if std::env::var_os(UPDATE).is_some_and(|value| !value.is_empty()) {
        fs::write(&path, fresh).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
        return;
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let differs = fresh.lines().zip(committed.lines().chain(std::iter::repeat(""))).find(|(a, b)| a != b);
    assert!(
        fresh == committed,
        "docs/metrics.md is not what the metric table says: run `cargo xtask docs` and commit it\n\
         first line of the table that differs: {differs:?}"
    );
}

#[test]
fn every_family_of_the_table_is_in_the_document_with_its_unit_and_labels() {
    let text = metrics();
    for series in series::all() {
        let row = text.lines().find(|line| line.starts_with(&format!("| `{}` |", series.name)));
        let row = row.unwrap_or_else(|| panic!("{} has no row", series.name));
        assert!(row.contains(&cell(series.help)), "{row}");
        assert!(series.labels.iter().all(|label| row.contains(&format!("`{}`", label.name))), "{row}");
    }
    let receive_wait = text.lines().find(|line| line.starts_with("| `insight_socket_receive_wait_seconds`"));
    let expected = "| histogram, 25 bounds: 0.000001024 to 17.179869184 | seconds | `forwarder`, `role` | forwarders (9) x roles (2) |";
    assert!(receive_wait.is_some_and(|row| row.contains(expected)), "{receive_wait:?}");
    assert!(text.contains("| `role` | `connected`, `accepted` |"), "closed labels list their values");
    assert!(text.contains("| `peer` | configured: the [[kernel.peer]] tables, and \"other\" |"));
}

#[test]
fn the_configurations_in_the_documents_are_usable_as_they_stand() {
    let text = read("docs/ledgers.md");
    let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let folder = tempfile::tempdir().expect("a folder for configurations");
    for name in ["report", "mediary-a", "mediary-b", "gateway-b", "sg"] {
        let path = folder.path().join(format!("{name}.token"));
        fs::write(&path, "word\n").expect("a fresh folder can be written to");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its owner may");
    }
    let mut checked = Vec::new();
    for block in blocks {
        let name = block.lines().next().unwrap_or_default().trim_start_matches("# ");
        let path = folder.path().join(name.split(':').next().unwrap_or(name));
        fs::write(&path, block).expect("a fresh folder can be written to");
        let loaded = Config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(loaded.warnings.is_empty(), "{name}: {:?}", loaded.warnings);
        checked.push((name.to_owned(), loaded.config));
    }
    let names: Vec<_> = checked.iter().map(|(_, config)| config.agent.region.as_str()).collect();
    assert_eq!(names, ["eu", "sg", "eu"], "an agent on a hop, the receiver, the prober");
    // The one on the hop names its neighbours as the prober's ledger does.
    let [(_, hop), _, (_, prober)] = &checked[..] else { panic!("three of them were counted") };
    let plan = &prober.probe_plans()[0];
    let place = plan.route.hops.iter().position(|name| *name == hop.agent.name).expect("it is on the route");
    let before = if place == 0 { &plan.route.origin } else { &plan.route.hops[place - 1] };
    let peers: Vec<_> = hop.kernel.peers.iter().map(|peer| &peer.name).collect();
    assert_eq!(peers, [before, &plan.route.hops[place + 1]]);
    assert!(prober.nodes.iter().any(|node| node.name == hop.agent.name), "and the prober asks it");
}
