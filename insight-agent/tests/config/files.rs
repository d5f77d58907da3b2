//! Files that the configuration names must exist, be readable and keep their secrets.

use insight_agent::config::Config;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const AGENT: &str = "[agent]\nregion = \"eu\"\nname = \"eu-1\"\n";

fn write(folder: &Path, name: &str, content: &str, mode: u32) {
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Errors or warnings of a configuration in a folder, its path cut off.
fn findings(folder: &Path, tables: &str) -> String {
    let file = folder.join("insight.toml");
    fs::write(&file, format!("{AGENT}{tables}")).unwrap();
    let text = match Config::load(&file) {
        Ok(loaded) => loaded.warnings.join("\n"),
        Err(errors) => errors.to_string(),
    };
    text.replace(&format!("{}/", folder.display()), "")
}

#[test]
fn a_missing_file_is_an_error_of_its_key() {
    let folder = tempfile::tempdir().unwrap();
    for (tables, start) in [
        ("[metrics]\nweb_config_file = \"none\"", "5: metrics.web_config_file = \"none\""),
        ("[admin]\ntoken_file = \"none\"", "5: admin.token_file = \"none\""),
        (
            "[[route]]\nname = \"a\"\naddress = \"a:1\"\ntls = { ca_file = \"none\" }",
            "7: route.tls.ca_file = \"none\"",
        ),
    ] {
        let found = findings(folder.path(), tables);
        assert!(
            found.starts_with(&format!("insight.toml:{start}: cannot read none: No such file")),
            "{found}"
        );
        assert!(
            found.contains("; correct the path (relative ones start at the folder of this file)"),
            "{found}"
        );
    }
}

#[test]
fn a_folder_is_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let found = findings(folder.path(), "[admin]\ntoken_file = \"/\"");
    assert_eq!(found, "insight.toml:5: admin.token_file = \"/\": / is not a regular file; name a file");
}

#[test]
fn a_token_file_without_a_token_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "token", " \n", 0o600);
    let found = findings(folder.path(), "[admin]\ntoken_file = \"token\"");
    assert!(
        found.starts_with("insight.toml:5: admin.token_file = \"token\": the file holds no token"),
        "{found}"
    );
}

#[test]
fn a_secret_that_everyone_may_read_is_a_warning_and_is_not_printed() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "token", "hunter2\n", 0o644);
    let found = findings(folder.path(), "[admin]\ntoken_file = \"token\"");
    let expected =
        "insight.toml:5: admin.token_file = \"token\": every user of this host may read it (mode 0644)";
    assert!(found.starts_with(expected), "{found}");
    assert!(found.ends_with("; run chmod o-rwx token") && !found.contains("hunter2"), "{found}");
}

#[test]
fn a_token_opens_the_admin_listener_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "token", "hunter2\n", 0o600);
    assert_eq!(findings(folder.path(), "[admin]\nlisten = \"[::]:9\"\ntoken_file = \"token\""), "");
}

#[test]
fn a_certificate_without_its_key_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "cert.pem", "-", 0o600);
    let found = findings(
        folder.path(),
        "[[route]]\nname = \"a\"\naddress = \"a:1\"\ntls = { cert_file = \"cert.pem\" }\n\
         [grpc.tls]\ncert_file = \"cert.pem\"\n",
    );
    let lines: Vec<_> = found.lines().collect();
    assert_eq!(lines.len(), 2, "{found}");
    assert_eq!(
        lines[0],
        "insight.toml:7: route.tls.key_file: cert_file stands without key_file; add key_file, or remove cert_file"
    );
    assert!(lines[1].starts_with("insight.toml:8: grpc.tls.key_file: required in [grpc.tls]"), "{found}");
}

#[test]
fn a_file_that_is_not_text_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("insight.toml");
    fs::write(&file, b"[agent]\nname = \"\xff\"\n").unwrap();
    let errors = Config::load(&file).unwrap_err().to_string();
    assert!(errors.ends_with("insight.toml:2: not UTF-8 text; save the file as UTF-8"), "{errors}");
}
