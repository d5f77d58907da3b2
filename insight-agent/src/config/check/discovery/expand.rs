//! From templates and rosters to probes and nodes, under the very checks that a written one passes.
//!
//! What an endpoint makes unusable is left out and told; it never touches what others make.

use super::template::{What, is_name};
use crate::config::check::{CheckedProbing, Surroundings, node, probe};
use crate::config::discovery::Template;
use crate::config::errors::{Findings, Site, Stated};
use crate::config::settings::{Config, Node, Probe, Route};
use crate::config::table::{Table, tree};
use crate::config::values;
use crate::model::discovery::{DropReason, Endpoint};
use crate::model::plan::{Call, LinkEnds};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use toml::de::DeTable;

/// What is known of who is there: the last roster of each discovery that has brought one, by its name.
pub type Rosters = BTreeMap<String, Arc<Vec<Endpoint>>>;

/// A configuration in which templates have become probes and nodes.
#[derive(Debug, Clone)]
pub struct Expanded {
    /// The same configuration, with what was made behind what is written.
    pub config: Config,
    /// What was made, in the order of the templates and of the endpoints.
    pub made: Vec<Made>,
    /// What could not be made, in that order.
    pub dropped: Vec<Dropped>,
}

/// A probe or a node that was made of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The discovery's name.
    pub discovery: String,
    /// The endpoint's name.
    pub endpoint: String,
    /// The kind of table: `probe` or `node`.
    pub table: &'static str,
    /// The template's line.
    pub line: usize,
    /// What it is called.
    pub name: String,
}

/// Something that could not be made of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dropped {
    /// The discovery's name.
    pub discovery: String,
    /// The kind of table: `probe` or `node`.
    pub table: &'static str,
    /// The template's line.
    pub line: usize,
    /// The endpoint's name.
    pub endpoint: String,
    /// Why.
    pub reason: DropReason,
    /// The same for people: what is wrong with which value, and what to do.
    pub detail: String,
}

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { table, line, endpoint, detail, .. } = self;
        write!(f, "[[{table}]] of line {line}, endpoint \"{endpoint}\": {detail}")
    }
}

/// Why, and the same for people.
type Refused = (DropReason, String);

impl Config {
    /// Makes probes and nodes of what is known of who is there. What is written comes first, then what the
    /// templates make, in the order of the file and of the endpoints' names: of two equal names the first
    /// one counts.
    ///
    /// **Cost**: some 50 µs for each that is made. No I/O.
    pub fn expand(&self, rosters: &Rosters) -> Expanded {
        let routes: Vec<_> = self.routes.iter().cloned().map(Some).collect();
        let probing = self.checked_probing();
        let around = Surroundings {
            base: &self.base,
            agent_name: &self.agent.name,
            routes: self.routes.iter().map(|route| route.name.clone()).collect(),
            probing: Some(&probing),
        };
        let mut making = Making { around: &around, routes: &routes, made: Vec::new(), dropped: Vec::new() };
        let nodes = making.nodes(&self.nodes, &self.node_templates, rosters);
        let probes = making.probes(&self.probes, &self.probe_templates, rosters);
        let Making { made, dropped, .. } = making;
        let config = Self { nodes, probes, ..self.clone() };
        Expanded { config, made, dropped }
    }

    /// A configuration of what the templates would make of an endpoint that has everything, and of nothing
    /// that is written: to see whether the files that they name can be used.
    pub fn of_samples(&self) -> Self {
        let (nodes, probes) = self.samples.clone();
        Self { nodes, probes, ..self.clone() }
    }

    fn checked_probing(&self) -> CheckedProbing {
        let site = Site { key: String::new(), line: 1, value: None, written: true };
        CheckedProbing { probing: self.probing, window: Stated { value: self.probing.window, site } }
    }
}

struct Making<'a> {
    around: &'a Surroundings<'a>,
    routes: &'a [Option<Route>],
    made: Vec<Made>,
    dropped: Vec<Dropped>,
}

impl Making<'_> {
    fn nodes(&mut self, written: &[Node], templates: &[Template], rosters: &Rosters) -> Vec<Node> {
        let mut nodes = written.to_vec();
        let mut names: HashSet<String> = nodes.iter().map(|node| node.name.clone()).collect();
        for template in templates {
            self.each(What::Node, template, rosters, |making, table| {
                let node = making.checked(table, |name, table, findings| {
                    node::read(table, name, making.around, findings)
                })?;
                if nodes.len() >= node::NODES_MOST {
                    let most = node::NODES_MOST;
                    let detail = format!("a region has {most} nodes at most: narrow the template with where");
                    return Err((DropReason::TooMany, detail));
                }
                take_name(&mut names, &node.name)?;
                let name = node.name.clone();
                nodes.push(node);
                Ok(name)
            });
        }
        nodes
    }

    fn probes(&mut self, written: &[Probe], templates: &[Template], rosters: &Rosters) -> Vec<Probe> {
        let mut probes = written.to_vec();
        let mut names: HashSet<String> = probes.iter().map(|probe| probe.name.clone()).collect();
        let ends = |probe: &Probe| match &probe.call {
            Call::Link(ends) => Some(ends.clone()),
            _ => None,
        };
        let links = probes.iter().filter_map(|probe| Some((ends(probe)?, probe.name.clone())));
        let mut links: HashMap<LinkEnds, String> = links.collect();
        for template in templates {
            let mut count = 0;
            self.each(What::Probe, template, rosters, |making, table| {
                let probe = making.checked(table, |name, table, findings| {
                    probe::read(table, name, making.around, making.routes, findings)
                })?;
                if count >= template.most {
                    let detail = format!(
                        "the template makes {} probes at most: narrow it with where, or raise max_probes",
                        template.most
                    );
                    return Err((DropReason::TooMany, detail));
                }
                if let Some(ends) = ends(&probe) {
                    if let Some(other) = links.get(&ends) {
                        let detail = format!(
                            "the probe \"{other}\" measures the link from \"{}\" to \"{}\": give this end another \
                             name with to, such as to = \"{{name}}\"",
                            ends.from, ends.to
                        );
                        return Err((DropReason::LinkTaken, detail));
                    }
                    take_name(&mut names, &probe.name)?;
                    links.insert(ends, probe.name.clone());
                } else {
                    take_name(&mut names, &probe.name)?;
                }
                count += 1;
                let name = probe.name.clone();
                probes.push(probe);
                Ok(name)
            });
        }
        probes
    }

    /// Has something made of each endpoint that passes; notes what came of it.
    fn each(
        &mut self,
        what: What,
        template: &Template,
        rosters: &Rosters,
        mut make: impl FnMut(&Self, &Table<'_>) -> Result<String, Refused>,
    ) {
        let Some(roster) = rosters.get(&template.discovery) else { return };
        // It was written by this program.
        let Ok(base) = DeTable::parse(&template.written) else { return };
        for endpoint in roster.iter().filter(|endpoint| template.filter.passes(endpoint)) {
            let discovery = template.discovery.clone();
            let (table, line) = (what.path(), template.line);
            let made = fill(template, base.get_ref(), endpoint)
                .and_then(|entries| make(self, &Table::again(table, table.to_owned(), &entries, line)));
            let endpoint = endpoint.name.clone();
            match made {
                Ok(name) => self.made.push(Made { discovery, endpoint, table, line, name }),
                Err((reason, detail)) => {
                    self.dropped.push(Dropped { discovery, table, line, endpoint, reason, detail });
                }
            }
        }
    }

    /// Reads a table as if it had been written.
    fn checked<T>(
        &self,
        table: &Table<'_>,
        read: impl FnOnce(Option<Stated<String>>, &Table<'_>, &mut Findings<'_>) -> Option<T>,
    ) -> Result<T, Refused> {
        let mut findings = Findings::again();
        let name = table.text("name", &mut findings, values::name);
        let is_own = name.as_ref().is_some_and(|name| name.value == self.around.agent_name);
        let read = read(name, table, &mut findings);
        let error = match (read, findings.first_error()) {
            (Some(read), None) => return Ok(read),
            (_, Some(error)) => error,
            (None, None) => return Err((DropReason::InvalidValue, "cannot be used".to_owned())),
        };
        let key = error.key.clone().unwrap_or_default();
        let own_key = key.split_once('.').map_or("", |(_, key)| key);
        let value = table.entries().and_then(|entries| tree::string_at(entries, own_key));
        let value = value.map(|value| format!(" = {value:?}")).unwrap_or_default();
        let reason = match own_key {
            "name" if is_own => DropReason::OwnName,
            "name" => DropReason::InvalidName,
            _ => DropReason::InvalidValue,
        };
        Err((reason, format!("{key}{value}: {}; {}", error.what, error.advice)))
    }
}

/// The table of one endpoint.
fn fill<'t>(template: &Template, base: &DeTable<'t>, endpoint: &Endpoint) -> Result<DeTable<'t>, Refused> {
    let mut entries = base.clone();
    for (key, text) in &template.texts {
        let fit = |value: &str| if is_name(key) { fitted(value) } else { value.to_owned() };
        let filled = text.fill(&template.discovery, endpoint, fit).map_err(|missing| {
            let detail = format!(
                "it has no meta.{missing}, which {key} stands on: write a default, such as {{meta.{missing}:none}}, \
                 or leave such endpoints out with where = [\"meta.{missing}\"]"
            );
            (DropReason::MissingMeta, detail)
        })?;
        tree::set_string(&mut entries, key, filled);
    }
    Ok(entries)
}

/// A value with hyphens in place of what no name can have, such as the colon of an address.
fn fitted(value: &str) -> String {
    value.chars().map(|c| if values::is_name_char(c) { c } else { '-' }).collect()
}

fn take_name(names: &mut HashSet<String>, name: &str) -> Result<(), Refused> {
    if names.insert(name.to_owned()) {
        return Ok(());
    }
    let detail = format!("the name \"{name}\" is taken: put what tells endpoints apart into name");
    Err((DropReason::NameTaken, detail))
}
