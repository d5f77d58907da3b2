//! `insight-agent check-config FILE`: is this configuration usable, and if not, why?

use super::error_text;
use crate::agent::check_files;
use crate::config::Config;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit code of a configuration that the agent would not start with. 1 is left to failures of
/// the program itself, so that a deploy gate can tell the two apart.
const BAD_CONFIGURATION: u8 = 2;

/// Check a configuration file without starting anything
///
/// Reads the file and every file that it names (certificates, keys, tokens, the web configuration),
/// and reports all that is wrong at once, one line each: FILE:LINE: KEY = VALUE: what; what to do.
/// Nothing is sent and no port is opened.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Exit codes:
  0  the configuration is usable (there may be warnings, on stderr)
  2  it is not; every error is on stderr")]
pub struct CheckConfigArgs {
    /// The configuration file (TOML)
    #[arg(value_name = "FILE")]
    pub config: PathBuf,
}

/// What the check says: lines for the two streams, and whether the configuration is usable.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    stdout: String,
    stderr: String,
    usable: bool,
}

/// Checks the file and prints the result; 0 if it is usable, 2 if not.
pub fn run(args: CheckConfigArgs) -> ExitCode {
    let answer = check(&args);
    // A reader that went away (`check-config … | head -1`) changes nothing about the answer.
    let _ = std::io::stderr().write_all(answer.stderr.as_bytes());
    let _ = std::io::stdout().write_all(answer.stdout.as_bytes());
    if answer.usable { ExitCode::SUCCESS } else { ExitCode::from(BAD_CONFIGURATION) }
}

fn check(args: &CheckConfigArgs) -> Answer {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    // Writing to a string cannot fail, so the results are dropped.
    let usable = match Config::load(&args.config) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                let _ = writeln!(stderr, "warning: {warning}");
            }
            let errors: BTreeSet<_> =
                check_files(&loaded.config).iter().map(|error| error_text(error)).collect();
            for error in &errors {
                let _ = writeln!(stderr, "{}: {error}", args.config.display());
            }
            if !errors.is_empty() {
                return Answer { stdout, stderr, usable: false };
            }
            let probes = counted(loaded.config.probes.len(), "probe");
            let routes = counted(loaded.config.routes.len(), "route");
            let _ = writeln!(stdout, "{}: ok: {probes}, {routes}", args.config.display());
            true
        }
        Err(errors) => {
            let _ = writeln!(stderr, "{errors}");
            false
        }
    };
    Answer { stdout, stderr, usable }
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn answer_to(text: &str) -> (Answer, String) {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("insight.toml");
        std::fs::write(&config, text).unwrap();
        let name = config.display().to_string();
        (check(&CheckConfigArgs { config }), name)
    }

    #[test]
    fn a_usable_file_is_counted() {
        let (answer, name) = answer_to(
            "[agent]\nregion = \"eu\"\n[[probe]]\nname = \"a\"\ntarget = \"sg\"\nmode = \"white-box\"\n\
             address = \"127.0.0.1:1\"\n",
        );
        let stdout = format!("{name}: ok: 1 probe, 0 routes\n");
        assert_eq!(answer, Answer { stdout, stderr: String::new(), usable: true });
    }

    #[test]
    fn warnings_go_to_stderr_and_the_file_stays_usable() {
        let (answer, name) =
            answer_to("[agent]\nregion = \"eu\"\n[admin]\nlisten = \"0.0.0.0:1\"\ninsecure = true\n");
        assert!(answer.usable);
        assert!(
            answer.stderr.starts_with(&format!("warning: {name}:5: admin.insecure = true:")),
            "{answer:?}"
        );
    }

    #[test]
    fn every_error_is_a_line_on_stderr() {
        let (answer, name) = answer_to("[agent]\nregion = \"EU\"\nlgo = \"info\"\n");
        assert!(!answer.usable);
        assert_eq!(answer.stdout, "");
        let lines: Vec<_> = answer.stderr.lines().collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with(&format!("{name}:2: agent.region = \"EU\": ")), "{lines:?}");
        assert!(lines[1].starts_with(&format!("{name}:3: agent.lgo: ")), "{lines:?}");
    }

    #[test]
    fn files_that_a_start_would_refuse_are_refused_now_and_all_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        for name in ["ca.pem", "cert.pem", "key.pem"] {
            write(name, "no PEM\n");
        }
        write("web.yml", "basic_auth_users: 7\n");
        let text = "[agent]\nregion = \"eu\"\n[metrics]\nweb_config_file = \"web.yml\"\n\
            [grpc.tls]\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"\n\
            [[node]]\nname = \"a\"\naddress = \"127.0.0.1:1\"\ntls = { ca_file = \"ca.pem\" }\n\
            [[probe]]\nname = \"b\"\ntarget = \"sg\"\nmode = \"white-box\"\naddress = \"127.0.0.1:1\"\n\
            tls = { ca_file = \"ca.pem\" }\n";
        let config = write("insight.toml", text);
        let answer = check(&CheckConfigArgs { config: config.clone() });
        assert!(!answer.usable && answer.stdout.is_empty(), "{answer:?}");
        assert_eq!(answer.stderr.lines().count(), 4, "{}", answer.stderr);
        assert!(answer.stderr.lines().all(|line| line.starts_with(&config.display().to_string())));
        for part in [
            "web.yml",
            "node \"a\": tls.ca_file",
            "route \"127.0.0.1:1\": tls.ca_file",
            "[grpc.tls] cert_file",
        ] {
            assert!(answer.stderr.contains(part), "no {part} in {}", answer.stderr);
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let answer = check(&CheckConfigArgs { config: "/nonexistent/insight.toml".into() });
        assert!(!answer.usable);
        assert!(answer.stderr.starts_with("/nonexistent/insight.toml: cannot read"), "{answer:?}");
    }
}
