//! The typed configuration, its defaults and its checks.
//!
//! A text becomes a tree (`toml`), the tree is read along the rows of [`schema`], the values are
//! checked one by one and then against each other; everything that is wrong is reported at once,
//! each with file, line, key and advice. What comes out is plain: [`Config`] has no optional
//! value whose default is decided elsewhere.

mod braces;
mod check;
pub mod descriptors;
pub mod discovery;
pub mod duration;
mod errors;
mod files;
mod near_miss;
mod plans;
mod quantity;
pub mod reach;
pub mod schema;
mod settings;
pub mod size;
mod table;
mod template;
mod values;

pub use check::discovery::expand::{Dropped, Expanded, Rosters};
pub use errors::{ConfigError, ConfigErrors};
pub use plans::ReportWay;
pub use quantity::QuantityError;
pub use settings::{
    Admin, Agent, Config, Connections, Grpc, Ip, Kernel, LogFormat, Metrics, Node, Peer, Probe, Probing,
    Route, ServerTls, Way,
};
pub use template::{Placeholder, Template};
pub use values::HostPort;

use errors::Findings;
use std::path::Path;
use toml::de::DeTable;

/// A configuration that may be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The checked settings.
    pub config: Config,
    /// What is allowed but risky or probably not meant, one line each, in the form of the errors.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads and checks a file. Blocking: a few small reads of local files.
    ///
    /// **Errors**: the file cannot be read or is not UTF-8; otherwise as [`Config::parse`].
    pub fn load(path: &Path) -> Result<Loaded, ConfigErrors> {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| {
            let advice = "name an existing file that the agent's user may read";
            ConfigErrors::of_file(name.clone(), format!("cannot read the configuration: {error}"), advice)
        })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count();
            ConfigErrors::of_file(format!("{name}:{line}"), "not UTF-8 text".into(), "save the file as UTF-8")
        })?;
        Self::parse(&text, &name)
    }

    /// Checks a text. `file_name` names it in messages, and its folder is where relative paths start.
    ///
    /// Files that the text names are opened, to report a missing one now.
    ///
    /// **Errors**: every syntax error, or else everything that is wrong with keys and values.
    pub fn parse(text: &str, file_name: &str) -> Result<Loaded, ConfigErrors> {
        let mut findings = Findings::new(file_name, text);
        let (root, syntax) = DeTable::parse_recoverable(text);
        for error in &syntax {
            findings.syntax(error.span().map_or(0, |span| span.start), error.message());
        }
        // A tree with holes would add errors about keys that are there: syntax comes first.
        let base = Path::new(file_name).parent().unwrap_or(Path::new(""));
        let config =
            if findings.has_errors() { None } else { check::config(root.get_ref(), base, &mut findings) };
        let warnings = findings.into_result()?;
        // Each check that yields no settings has reported why, so `into_result` returned above.
        let unexplained =
            || ConfigErrors::of_file(file_name.into(), "cannot be used".into(), "please report this message");
        Ok(Loaded { config: config.ok_or_else(unexplained)?, warnings })
    }
}
