//! Certificates that are good, expired, and of an authority that nobody knows.

use anyhow::{Context, Result};
use insight_e2e::agent::Site;
use std::os::unix::fs::PermissionsExt;

/// The name in every certificate.
pub const NAME: &str = "service.test";

/// Writes `ca.pem` and `other.pem`, and `good` and `expired` certificates of the first.
///
/// # Errors
/// A key cannot be made.
pub fn write(site: &Site) -> Result<()> {
    let issuer = authority(site, "ca")?;
    authority(site, "other")?;
    for (file, years) in [("good", (2019, 2099)), ("expired", (2019, 2020))] {
        let mut parameters =
            rcgen::CertificateParams::new([NAME.to_owned()]).context("a certificate's name")?;
        parameters.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let key = rcgen::KeyPair::generate().context("make a key")?;
        let certificate = parameters.signed_by(&key, &issuer).context("sign a certificate")?;
        site.write(&format!("{file}.pem"), &certificate.pem());
        let path = site.write(&format!("{file}.key"), &key.serialize_pem());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
            .with_context(|| format!("restrict {}", path.display()))?;
    }
    Ok(())
}

fn authority(site: &Site, file: &str) -> Result<rcgen::Issuer<'static, rcgen::KeyPair>> {
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).context("an authority")?;
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(rcgen::DnType::CommonName, file);
    let key = rcgen::KeyPair::generate().context("make a key")?;
    site.write(&format!("{file}.pem"), &parameters.self_signed(&key).context("sign an authority")?.pem());
    Ok(rcgen::Issuer::new(parameters, key))
}
