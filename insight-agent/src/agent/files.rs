//! Everything that `run` reads beside the configuration itself.

use super::{AgentError, grpc, nodes, token};
use crate::collect::probe::Prober;
use crate::config::Config;
use crate::publish::web::WebConfig;
use crate::secret::Secret;
use crate::serve::check_tls;
use std::sync::Arc;

/// The tokens that callers of the admin and of the report services must present.
pub(super) fn expected_tokens(config: &Config) -> Result<(Option<Secret>, Option<Secret>), AgentError> {
    let expected = |key| move |path| token::expected(key, path);
    let admin = config.admin.token_file.as_deref().map(expected("[admin] token_file")).transpose()?;
    let reports = config.grpc.token_file.as_deref().map(expected("[grpc] token_file")).transpose()?;
    Ok((admin, reports))
}

/// What of the files that templates name would keep every endpoint from becoming a probe or a node.
/// Blocking. Call it within a runtime.
pub(super) fn check_templates(config: &Config) -> Vec<AgentError> {
    let samples = config.of_samples();
    let plans: Vec<_> = samples.probe_plans().into_iter().map(Arc::new).collect();
    let mut errors: Vec<_> = Prober::check(&plans).into_iter().map(AgentError::from).collect();
    errors.extend(nodes::pollers(&samples).into_iter().filter_map(Result::err));
    errors
}

/// What would keep an agent of this configuration from starting: certificates, keys, tokens and the
/// web configuration are read as a start would read them. Binds no port and sends nothing.
/// Blocking.
///
/// **Empty**: nothing that a file can be the reason of.
pub fn check_files(config: &Config) -> Vec<AgentError> {
    let mut errors = Vec::new();
    if let Some(path) = config.metrics.web_config_file.as_deref() {
        errors.extend(WebConfig::load(path).err().map(AgentError::from));
    }
    errors.extend(expected_tokens(config).err());
    let plans: Vec<_> = config.probe_plans().into_iter().map(Arc::new).collect();
    errors.extend(Prober::check(&plans).into_iter().map(AgentError::from));
    // Certificates are read into connections and listeners, which belong to a runtime.
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let _within = runtime.enter();
            let tls = config.grpc.tls.as_ref().map(grpc::tls);
            errors.extend(tls.and_then(|tls| check_tls(&tls).err()).map(AgentError::from));
            errors.extend(nodes::pollers(config).into_iter().filter_map(Result::err));
            errors.extend(check_templates(config));
        }
        Err(source) => errors.push(AgentError::Thread { part: "the runtime", source }),
    }
    errors
}
