//! The text of a web configuration, parsed and checked key by key.

use super::error::WebConfigError;
use super::tls::{ClientAuth, TlsFiles};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_yaml_ng::{Mapping, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Headers that may be set: those that the format allows.
const HEADERS: [&str; 5] = [
    "Content-Security-Policy",
    "X-Frame-Options",
    "X-Content-Type-Options",
    "X-XSS-Protection",
    "Strict-Transport-Security",
];

/// A checked file.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) tls: Option<TlsFiles>,
    /// Name → bcrypt hash.
    pub(super) users: BTreeMap<String, String>,
    pub(super) headers: HeaderMap,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct File {
    tls_server_config: Option<TlsSection>,
    http_server_config: Option<HttpSection>,
    /// As it stands: a typed map would quote a misplaced hash in its error.
    basic_auth_users: Option<Value>,
}

/// Keys of the format that this listener does not support are here too, so that they are refused
/// as such and not as unknown.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsSection {
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    client_auth_type: Option<String>,
    client_ca_file: Option<PathBuf>,
    min_version: Option<String>,
    max_version: Option<String>,
    cert: Option<IgnoredAny>,
    key: Option<IgnoredAny>,
    client_ca: Option<IgnoredAny>,
    client_allowed_sans: Option<IgnoredAny>,
    cipher_suites: Option<IgnoredAny>,
    prefer_server_cipher_suites: Option<IgnoredAny>,
    curve_preferences: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpSection {
    http2: Option<bool>,
    headers: Option<BTreeMap<String, String>>,
}

/// Parses a web configuration. `path` is named in errors, and its folder is what relative paths
/// start from.
pub(super) fn parse(path: &Path, text: &str) -> Result<Checked, WebConfigError> {
    let file: Option<File> = serde_yaml_ng::from_str(text)
        .map_err(|source| WebConfigError::Yaml { path: path.to_owned(), source })?;
    let file = file.unwrap_or_default();
    let place = Place { path };
    Ok(Checked {
        tls: file.tls_server_config.map(|section| place.tls(section)).transpose()?,
        users: file.basic_auth_users.map_or(Ok(BTreeMap::new()), |users| place.users(users))?,
        headers: file.http_server_config.map_or(Ok(HeaderMap::new()), |section| place.headers(section))?,
    })
}

/// The file that errors name.
struct Place<'a> {
    path: &'a Path,
}

impl Place<'_> {
    fn error(&self, key: impl Into<String>, problem: impl Into<String>) -> WebConfigError {
        WebConfigError::Key { path: self.path.to_owned(), key: key.into(), problem: problem.into() }
    }

    fn resolve(&self, file: PathBuf) -> PathBuf {
        self.path.parent().map_or_else(|| file.clone(), |folder| folder.join(&file))
    }

    fn tls(&self, section: TlsSection) -> Result<TlsFiles, WebConfigError> {
        let unsupported = [
            ("cert", section.cert.is_some(), "write the certificate to a file and name it in cert_file"),
            ("key", section.key.is_some(), "write the key to a file and name it in key_file"),
            ("client_ca", section.client_ca.is_some(), "write it to a file and name it in client_ca_file"),
            (
                "client_allowed_sans",
                section.client_allowed_sans.is_some(),
                "let client_ca_file be an authority that signs the allowed clients only",
            ),
            (
                "cipher_suites",
                section.cipher_suites.is_some(),
                "remove it; only suites with forward secrecy and AEAD are offered",
            ),
            (
                "prefer_server_cipher_suites",
                section.prefer_server_cipher_suites.is_some(),
                "remove it; every suite that is offered is strong",
            ),
            (
                "curve_preferences",
                section.curve_preferences.is_some(),
                "remove it; X25519, P-256 and P-384 are offered",
            ),
        ];
        for (key, present, remedy) in unsupported {
            if present {
                return Err(self.error(tls_key(key), format!("not supported: {remedy}")));
            }
        }
        let need = |file: Option<PathBuf>, key: &str| {
            let file = file.filter(|f| !f.as_os_str().is_empty());
            file.map(|f| self.resolve(f)).ok_or_else(|| self.error(tls_key(key), "missing; name a PEM file"))
        };
        let client_ca = section.client_ca_file.filter(|f| !f.as_os_str().is_empty());
        Ok(TlsFiles {
            web_config: self.path.to_owned(),
            cert: need(section.cert_file, "cert_file")?,
            key: need(section.key_file, "key_file")?,
            client_auth: self.client_auth(section.client_auth_type, client_ca)?,
            versions: self.versions(section.min_version, section.max_version)?,
        })
    }

    fn client_auth(
        &self,
        kind: Option<String>,
        ca: Option<PathBuf>,
    ) -> Result<Option<ClientAuth>, WebConfigError> {
        let required = match kind.as_deref().unwrap_or("") {
            "" | "NoClientCert" if ca.is_some() => {
                return Err(self.error(
                    "tls_server_config.client_ca_file",
                    "without effect; set client_auth_type to RequireAndVerifyClientCert or VerifyClientCertIfGiven",
                ));
            }
            "" | "NoClientCert" => return Ok(None),
            "RequireAndVerifyClientCert" => true,
            "VerifyClientCertIfGiven" => false,
            other => {
                return Err(self.error(
                    "tls_server_config.client_auth_type",
                    format!(
                        "{other:?} is not supported; use NoClientCert, VerifyClientCertIfGiven or \
                         RequireAndVerifyClientCert"
                    ),
                ));
            }
        };
        let missing = "missing; name the PEM file of the authorities that sign client certificates";
        let ca = ca.ok_or_else(|| self.error("tls_server_config.client_ca_file", missing))?;
        Ok(Some(ClientAuth { ca: self.resolve(ca), required }))
    }

    fn versions(
        &self,
        min: Option<String>,
        max: Option<String>,
    ) -> Result<Vec<&'static SupportedProtocolVersion>, WebConfigError> {
        // In rising order.
        let all = [("TLS12", &TLS12), ("TLS13", &TLS13)];
        let index = |key: &str, word: Option<String>, default| match word {
            None => Ok(default),
            Some(word) => all.iter().position(|(name, _)| *name == word).ok_or_else(|| {
                self.error(tls_key(key), format!("{word:?} is not supported; use TLS12 or TLS13"))
            }),
        };
        let (min, max) = (index("min_version", min, 0)?, index("max_version", max, all.len() - 1)?);
        if min > max {
            return Err(self.error("tls_server_config.min_version", "is above max_version; lower it"));
        }
        Ok(all[min..=max].iter().map(|(_, version)| *version).collect())
    }

    fn users(&self, users: Value) -> Result<BTreeMap<String, String>, WebConfigError> {
        let map = match users {
            Value::Null => Mapping::new(),
            Value::Mapping(map) => map,
            _ => return Err(self.error("basic_auth_users", "not a map; write user: bcrypt-hash lines")),
        };
        let user = |(name, hash): (Value, Value)| {
            let Value::String(name) = name else {
                return Err(self.error("basic_auth_users", "a user's name is not text; put it in quotes"));
            };
            match hash {
                Value::String(hash) if bcrypt::HashParts::from_str(&hash).is_ok() => Ok((name, hash)),
                _ => Err(self.error(
                    format!("basic_auth_users.{name}"),
                    "not a bcrypt hash; make one with htpasswd -nBC 10 USER",
                )),
            }
        };
        map.into_iter().map(user).collect()
    }

    fn headers(&self, section: HttpSection) -> Result<HeaderMap, WebConfigError> {
        if section.http2 == Some(true) {
            let problem = "true is not supported: this listener speaks HTTP/1.1; remove it or write false";
            return Err(self.error("http_server_config.http2", problem));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in section.headers.unwrap_or_default() {
            let key = format!("http_server_config.headers.{name}");
            let known = HEADERS.iter().any(|h| h.eq_ignore_ascii_case(&name));
            let (true, Ok(header)) = (known, HeaderName::from_str(&name)) else {
                let problem = format!("not supported; there is {}", HEADERS.join(", "));
                return Err(self.error(key, problem));
            };
            let value = HeaderValue::from_str(&value)
                .map_err(|_| self.error(key, "the value has a control character; remove it"))?;
            headers.insert(header, value);
        }
        Ok(headers)
    }
}

fn tls_key(key: &str) -> String {
    format!("tls_server_config.{key}")
}
