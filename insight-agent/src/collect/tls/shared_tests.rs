//! Files that change under those who use them.

use super::*;
use rcgen::{CertificateParams, KeyPair};
use std::fs;
use std::path::Path;

/// A self-signed pair that ends with this year begins, as PEM.
fn pair(year: i32) -> (String, String) {
    let mut parameters = CertificateParams::new(["client.test".to_owned()]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
    let key = KeyPair::generate().unwrap();
    (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// The first second of a year.
fn start_of(year: i32) -> Option<i64> {
    Some(rcgen::date_time_ymd(year, 1, 1).unix_timestamp())
}

/// Replaces a file as certificate managers do.
fn replace(path: &Path, content: &str) {
    let new = path.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(new, path).unwrap();
}

fn plan(folder: &Path) -> TlsPlan {
    let (cert, key) = pair(2040);
    let at = |name: &str| folder.join(name);
    fs::write(at("ca.pem"), pair(2050).0).unwrap();
    fs::write(at("client.pem"), cert).unwrap();
    fs::write(at("client.key"), key).unwrap();
    TlsPlan {
        ca_file: Some(at("ca.pem")),
        server_name: None,
        client_identity: Some((at("client.pem"), at("client.key"))),
    }
}

fn look_now(shared: &Arc<Shared>) -> (u64, u64, u64) {
    let looked = look_at(std::slice::from_ref(shared), Duration::ZERO);
    (looked.loaded, looked.failed, looked.stale)
}

#[test]
fn everybody_with_the_same_files_shares_them_and_the_last_one_takes_them_away() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(folder.path());
    let first = Shared::of("a", &plan).unwrap();
    let named = TlsPlan { server_name: Some("b.test".into()), ..plan.clone() };
    let second = Shared::of("b", &named).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    let shown = || {
        tls_files()
            .into_iter()
            .filter(|files| files.ca_file == plan.ca_file.as_ref().map(|p| p.display().to_string()))
            .count()
    };
    assert_eq!(shown(), 1);
    drop((first, second));
    assert_eq!(shown(), 0);
}

#[test]
fn a_pair_that_is_replaced_is_used_and_half_of_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(folder.path());
    let shared = Shared::of("route \"x\"", &plan).unwrap();
    assert_eq!((shared.ends().client, shared.ends().ca), (start_of(2040), start_of(2050)));
    let before = shared.config();
    assert_eq!(look_now(&shared), (0, 0, 0), "nothing is new");

    let (cert, key) = pair(2041);
    replace(&folder.path().join("client.pem"), &cert);
    assert_eq!(look_now(&shared), (0, 1, 1), "certificate and key do not fit");
    assert_eq!(look_now(&shared), (0, 0, 1), "it is told once");
    assert!(Arc::ptr_eq(&shared.config(), &before) && shared.ends().client == start_of(2040));
    let status = shared.status();
    let why = status.failure.unwrap();
    assert!(status.failures == 1 && why.contains("check cert_file and key_file"), "{why}");

    replace(&folder.path().join("client.key"), &key);
    assert_eq!(look_now(&shared), (1, 0, 0));
    assert!(!Arc::ptr_eq(&shared.config(), &before));
    assert_eq!(shared.ends().client, start_of(2041));
    assert_eq!((shared.status().failure, shared.status().failures), (None, 1));
}

#[test]
fn a_swapped_link_brings_both_files_at_once_and_a_file_that_goes_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (version, year) in [("v1", 2040), ("v2", 2041)] {
        let (cert, key) = pair(year);
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("tls.crt"), cert).unwrap();
        fs::write(at(version).join("tls.key"), key).unwrap();
    }
    let link = |to: &str| {
        std::os::unix::fs::symlink(to, at("next")).unwrap();
        fs::rename(at("next"), at("data")).unwrap();
    };
    link("v1");
    let client_identity = Some((at("data").join("tls.crt"), at("data").join("tls.key")));
    let shared = Shared::of("x", &TlsPlan { client_identity, ..TlsPlan::default() });
    // Without authorities of its own a host trusts the system's, which it may not have.
    let Ok(shared) = shared else { return println!("SKIP a_swapped_link: no system authorities") };
    link("v2");
    assert_eq!(look_now(&shared), (1, 0, 0));
    assert_eq!(shared.ends().client, start_of(2041));
    fs::remove_file(at("data")).unwrap();
    assert_eq!(look_now(&shared), (0, 1, 1));
    assert_eq!(shared.ends().client, start_of(2041));
}

#[test]
fn whoever_comes_later_gets_what_is_on_the_disk_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(folder.path());
    let shared = Shared::of("x", &plan).unwrap();
    let (cert, key) = pair(2042);
    replace(&folder.path().join("client.key"), &key);
    assert!(Shared::of("y", &plan).is_err());
    replace(&folder.path().join("client.pem"), &cert);
    Shared::of("y", &plan).unwrap();
    assert_eq!(shared.ends().client, start_of(2042), "for all who share it");
}
