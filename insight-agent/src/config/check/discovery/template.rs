//! A `[[probe]]` or a `[[node]]` that names a discovery.

use crate::config::check::offer_name;
use crate::config::discovery::filter::{Condition, Filter};
use crate::config::discovery::text::Text;
use crate::config::discovery::{PROBES_DEFAULT, Template};
use crate::config::errors::{Complaint, Findings};
use crate::config::table::{Table, tree};
use toml::de::DeTable;

/// What templates are made of: a kind of table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::config) enum What {
    Probe,
    Node,
}

impl What {
    pub const fn path(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Node => "node",
        }
    }

    /// Keys whose strings may have placeholders.
    const fn open_keys(self) -> &'static [&'static str] {
        match self {
            Self::Probe => &[
                "name",
                "target",
                "service",
                "address",
                "authority",
                "mode",
                "to",
                "health_service",
                "tls.server_name",
            ],
            Self::Node => &["name", "address", "authority", "tls.server_name"],
        }
    }
}

/// Keys that make a table a template.
const TEMPLATE_KEYS: [&str; 3] = ["discovery", "where", "max_probes"];

/// What stands for meta that is a whole string, as long as there is no endpoint.
fn sample_of(key: &str) -> &'static str {
    match key {
        "address" => "host.example:1",
        "mode" => "white-box",
        _ => "discovered",
    }
}

/// What of a table becomes part of names: placeholders in it lose what names cannot have.
pub(super) fn is_name(key: &str) -> bool {
    key == "name" || key == "to"
}

/// Refuses keys of templates in a table that is none.
pub(in crate::config::check) fn refuse_lonely_keys(table: &Table<'_>, findings: &mut Findings<'_>) {
    for key in TEMPLATE_KEYS.into_iter().filter(|key| *key != "discovery") {
        if table.states(key) {
            let site = table.stated_site(key, findings);
            let advice = "add discovery = \"NAME\" of a [[discovery]], or remove this key";
            findings.error(&site, "this belongs to a template, and no discovery is named", advice);
        }
    }
}

/// A template, and the table that it would make of an endpoint, for the checks of all the rest.
/// **None**: `findings` has the reasons.
pub(in crate::config::check) fn read<'t>(
    what: What,
    table: &Table<'t>,
    discoveries: &[String],
    findings: &mut Findings<'_>,
) -> (Option<Template>, DeTable<'t>) {
    let mut sample = table.entries().cloned().unwrap_or_default();
    let discovery = table.string("discovery", findings);
    let known = discovery.filter(|name| {
        let is_known = discoveries.contains(&name.value);
        if !is_known {
            let advice = offer_name(&name.value, discoveries, "add a [[discovery]] with this name");
            findings.error(&name.site, "no [[discovery]] has this name", advice);
        }
        is_known
    });
    let filter = filter(table, findings);
    let most = match what {
        What::Probe => table.count("max_probes", findings).map(|most| most.value),
        What::Node => Some(PROBES_DEFAULT),
    };
    for key in TEMPLATE_KEYS {
        sample.remove(key);
    }
    let defaults = [("name", "{discovery}.{name}"), ("address", "{address}")];
    for (key, default) in defaults {
        let is_given = sample.contains_key(key) || key == "address" && sample.contains_key("route");
        if !is_given {
            tree::set_string(&mut sample, key, default.to_owned());
        }
    }
    let written = tree::written(&sample);
    let named = known.as_ref().map_or("discovery", |name| name.value.as_str()).to_owned();
    let mut texts = Vec::new();
    let mut refused = false;
    for &key in what.open_keys() {
        let Some(string) = tree::string_at(&sample, key) else { continue };
        match Text::parse(string) {
            Ok(text) => {
                let filled = text.sample(&named, sample_of(key));
                if text.is_fixed() && filled == string {
                    continue;
                }
                tree::set_string(&mut sample, key, filled);
                texts.push((key, text));
            }
            Err(complaint) => {
                let stated = key.split('.').next().unwrap_or(key);
                let mut site = table.stated_site(stated, findings);
                site.key = format!("{}.{key}", what.path());
                findings.complain(&site, complaint);
                // Checks of the rest shall not complain of it once more.
                tree::set_string(&mut sample, key, sample_of(key).to_owned());
                refused = true;
            }
        }
    }
    let template = || {
        Some(Template {
            line: table.line(),
            discovery: known?.value,
            filter: filter?,
            most: most?,
            written: written?,
            texts,
        })
    };
    (if refused { None } else { template() }, sample)
}

fn filter(table: &Table<'_>, findings: &mut Findings<'_>) -> Option<Filter> {
    let stated = table.list("where", findings)?;
    let mut conditions = Vec::new();
    let mut refused = false;
    for text in &stated.value {
        match Condition::parse(text) {
            Ok(condition) => conditions.push(condition),
            Err(error) => {
                let what = format!("in \"{text}\", character {}: {}", error.at, error.what);
                findings.complain(&stated.site, Complaint::new(what, error.advice));
                refused = true;
            }
        }
    }
    (!refused).then(|| Filter::new(conditions))
}
