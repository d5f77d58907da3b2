//! From the tree of a file to settings: one file per sort of table, and here what concerns several.

mod black_box;
mod dial;
pub(super) mod discovery;
mod expect;
mod host;
mod kernel;
mod link;
mod listeners;
mod load;
mod node;
mod probe;
mod route;
mod tls;

use super::discovery::Template;
use super::errors::{Complaint, Findings, Stated, offer};
use super::settings::{Agent, Config, LogFormat, Probing};
use super::table::Table;
use super::values;
use discovery::template::What;
use std::collections::HashMap;
use std::path::Path;
use toml::de::DeTable;
use tracing_subscriber::EnvFilter;

/// What the tables of routes and probes need to know of the others.
struct Surroundings<'a> {
    /// The configuration file's folder.
    base: &'a Path,
    agent_name: &'a str,
    /// Names of all routes, also of those that have errors.
    routes: Vec<String>,
    probing: Option<&'a CheckedProbing>,
}

struct CheckedProbing {
    probing: Probing,
    window: Stated<std::time::Duration>,
}

/// Everything. **None**: `findings` has the reasons.
pub(super) fn config<'t>(root: &'t DeTable<'t>, base: &Path, findings: &mut Findings<'_>) -> Option<Config> {
    let root = Table::root(root, findings);
    let agent = agent(&root.table_or_defaults("agent", findings), findings);
    let listeners = listeners::read(&root, base, findings);
    let probing = probing(&root.table_or_defaults("probing", findings), findings);

    let host = host::read(&root.table_or_defaults("host", findings), findings);
    let forwarder_tables = root.tables("forwarder", findings);
    let forwarders = host::forwarders(&forwarder_tables, findings);
    let kernel_table = root.table_or_defaults("kernel", findings);
    let kernel = kernel::read(&kernel_table, base, findings);
    if let (Some(kernel), Some(forwarders)) = (&kernel, &forwarders) {
        kernel::refuse_too_many_groups(&kernel_table, kernel, forwarders.len(), findings);
    }

    let discovery_tables = root.tables("discovery", findings);
    let discovery_names = names(&discovery_tables, findings);
    let known: Vec<_> = discovery_names.iter().flatten().map(|name| name.value.clone()).collect();
    let discoveries: Vec<_> = discovery_tables
        .iter()
        .zip(discovery_names)
        .map(|(table, name)| discovery::read(table, name, base, findings))
        .collect();

    let (node_tables, node_templates) = split(root.tables("node", findings), findings);
    let route_tables = root.tables("route", findings);
    let (probe_tables, probe_template_tables) = split(root.tables("probe", findings), findings);
    let node_templates = templates(What::Node, &node_templates, &known, findings);
    let probe_templates = templates(What::Probe, &probe_template_tables, &known, findings);
    let node_names = names(&node_tables, findings);
    let route_names = names(&route_tables, findings);
    let probe_names = names(&probe_tables, findings);
    let around = Surroundings {
        base,
        agent_name: agent.as_ref().map_or("insight", |agent| agent.name.as_str()),
        routes: route_names.iter().flatten().map(|name| name.value.clone()).collect(),
        probing: probing.as_ref(),
    };
    // All of them are read before any is judged missing: no error hides another.
    node::refuse_too_many(&node_tables, findings);
    let nodes: Vec<_> = node_tables
        .iter()
        .zip(node_names)
        .map(|(table, name)| node::read(table, name, &around, findings))
        .collect();
    let routes: Vec<_> = route_tables
        .iter()
        .zip(route_names)
        .map(|(table, name)| route::read(table, name, &around, findings))
        .collect();
    let probes: Vec<_> = probe_tables
        .iter()
        .zip(probe_names)
        .map(|(table, name)| probe::read(table, name, &around, &routes, findings))
        .collect();
    link::refuse_twins(&probe_tables, &probes, findings);
    // What each template would make is checked as if it had been written.
    let mut samples = (Vec::new(), Vec::new());
    for (line, _, sample) in &node_templates {
        let table = Table::again("node", "node".into(), sample, *line);
        let name = table.text("name", findings, values::name);
        samples.0.extend(node::read(&table, name, &around, findings));
    }
    for (line, _, sample) in &probe_templates {
        let table = Table::again("probe", "probe".into(), sample, *line);
        let name = table.text("name", findings, values::name);
        samples.1.extend(probe::read(&table, name, &around, &routes, findings));
    }
    let node_templates = node_templates.into_iter().map(|(_, template, _)| template);
    let probe_templates = probe_templates.into_iter().map(|(_, template, _)| template);
    let (node_templates, probe_templates): (Option<Vec<_>>, Option<Vec<_>>) =
        (node_templates.collect(), probe_templates.collect());
    let discoveries = discoveries.into_iter().collect::<Option<_>>()?;
    let nodes: Vec<_> = nodes.into_iter().collect::<Option<_>>()?;
    let routes: Vec<_> = routes.into_iter().collect::<Option<_>>()?;
    let probes: Vec<_> = probes.into_iter().collect::<Option<_>>()?;
    probe::warn_of_empty_services(&probe_tables, &probes, &routes, findings);
    let made = samples.1.iter().zip(probe_templates.iter().flatten().map(|template| template.most));
    let all = probes.iter().map(|probe| (probe, 1)).chain(made);
    dial::warn_of_many_slots(probe_tables.iter().chain(&probe_template_tables), all, findings);

    let (metrics, admin, grpc) = listeners?;
    Some(Config {
        agent: agent?,
        metrics,
        admin,
        grpc,
        probing: probing?.probing,
        host: host?,
        forwarders: forwarders?,
        kernel: kernel?,
        discoveries,
        node_templates: node_templates?,
        probe_templates: probe_templates?,
        samples,
        base: base.to_owned(),
        nodes,
        routes,
        probes,
    })
}

/// Tables that stand for themselves, and those that are templates.
fn split<'t>(tables: Vec<Table<'t>>, findings: &mut Findings<'_>) -> (Vec<Table<'t>>, Vec<Table<'t>>) {
    let (templates, tables): (Vec<_>, Vec<_>) =
        tables.into_iter().partition(|table| table.states("discovery"));
    for table in &tables {
        discovery::template::refuse_lonely_keys(table, findings);
    }
    (tables, templates)
}

/// Templates with their lines, and what each would make.
fn templates<'t>(
    what: What,
    tables: &[Table<'t>],
    discoveries: &[String],
    findings: &mut Findings<'_>,
) -> Vec<(usize, Option<Template>, DeTable<'t>)> {
    let read = tables.iter().map(|table| {
        let (template, sample) = discovery::template::read(what, table, discoveries, findings);
        (table.line(), template, sample)
    });
    read.collect()
}

fn agent(table: &Table<'_>, findings: &mut Findings<'_>) -> Option<Agent> {
    let region = table.text("region", findings, values::region);
    let name = table.text("name", findings, values::name);
    let log = table.text("log", findings, |text| match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(Complaint::new(
            format!("not a log filter ({error})"),
            "write a level such as \"info\", or levels per module such as \"info,insight_agent=debug\"",
        )),
    });
    let log_format = table.text("log_format", findings, |word| match word {
        "json" => Ok(LogFormat::Json),
        _ => Ok(LogFormat::Text),
    });
    let watch_config = table.flag("watch_config", findings);
    Some(Agent {
        region: region?.value,
        // A name that was refused is an error already; an absent one is the host's.
        name: name.map_or_else(host_name, |name| name.value),
        log: log?.value,
        log_format: log_format?.value,
        watch_config: watch_config?.value,
    })
}

/// The host name in the letters of a name; "insight" if the kernel tells none.
fn host_name() -> String {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let fitted: String =
        host.chars().map(|c| if values::is_name_char(c) { c } else { '-' }).take(64).collect();
    if fitted.is_empty() { "insight".into() } else { fitted }
}

fn probing(table: &Table<'_>, findings: &mut Findings<'_>) -> Option<CheckedProbing> {
    let window = table.duration("window", findings);
    let jitter = table.share("jitter", findings);
    let burst = table.count("burst", findings);
    let void_share = table.share("void_share", findings);
    let max_in_flight = table.count("max_in_flight", findings);
    let (window, jitter, void_share) = (window?, jitter?.value, void_share?.value);
    let (max_in_flight, burst) = (max_in_flight?.value, burst?.value);
    let burst = u32::try_from(burst).unwrap_or(u32::MAX);
    let probing = Probing { window: window.value, jitter, burst, void_share, max_in_flight };
    Some(CheckedProbing { probing, window })
}

/// The names of all tables of a list; refuses the second of two equal ones.
fn names(tables: &[Table<'_>], findings: &mut Findings<'_>) -> Vec<Option<Stated<String>>> {
    let mut first_lines: HashMap<String, usize> = HashMap::new();
    let mut names = Vec::new();
    for table in tables {
        let name = table.text("name", findings, values::name);
        if let Some(name) = &name {
            match first_lines.get(&name.value) {
                Some(line) => findings.error(
                    &name.site,
                    format!("this name is taken by line {line}"),
                    "give each a name of its own",
                ),
                None => {
                    first_lines.insert(name.value.clone(), name.site.line);
                }
            }
        }
        names.push(name);
    }
    names
}

/// Advice for a word that should have been one of a set of configured names.
fn offer_name(word: &str, names: &[String], none: &str) -> String {
    if names.is_empty() { none.into() } else { offer(word, names.iter().map(String::as_str)) }
}
