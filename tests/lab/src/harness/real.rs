//! nginx and HAProxy as hops: found, configured from the lab's templates and the snippets that
//! `deploy/` offers to operators, and talked to while they run.

use anyhow::{Context, Result, ensure};
use nix::unistd::geteuid;
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

const NGINX_CONF: &str = include_str!("../../templates/nginx.conf");
const HAPROXY_CFG: &str = include_str!("../../templates/haproxy.cfg");
const DELAY_LUA: &str = include_str!("../../templates/delay.lua");
/// What operators include: the lab includes the same bytes.
const NGINX_SNIPPET: &str = include_str!("../../../../deploy/nginx/insight-hop.conf");
/// What operators copy into their sections: the lab copies the same lines.
const HAPROXY_SNIPPET: &str = include_str!("../../../../deploy/haproxy/insight-hop.cfg");

/// Starts of the two parts in the HAProxy snippet.
const PART_1: &str = "# --- part 1";
const PART_2: &str = "# --- part 2";

/// The nginx program; `None` when it is not installed.
pub fn nginx_available() -> Option<PathBuf> {
    find_program("nginx")
}

/// The HAProxy program; `None` when it is not installed.
pub fn haproxy_available() -> Option<PathBuf> {
    find_program("haproxy")
}

/// Looks in `PATH` and where Debian puts daemons, which an ordinary user's `PATH` leaves out.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let daemons = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(daemons).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Writes the configuration of an nginx hop into `folder` and returns its path. `tells`: with the
/// operators' snippet.
pub(super) fn write_nginx(
    folder: &Path,
    name: &str,
    listen: SocketAddr,
    upstream: SocketAddr,
    tells: bool,
) -> Result<PathBuf> {
    let include = if tells {
        let snippet = write(folder, &format!("{name}.insight-hop.conf"), NGINX_SNIPPET)?;
        format!("include {};", snippet.display())
    } else {
        String::new()
    };
    // Workers of a master that runs as root would become another user, who may not enter the
    // run's folder; anybody else's workers stay who they are.
    let user = if geteuid().is_root() { "user root root;" } else { "" };
    let text = fill(
        NGINX_CONF,
        &[
            ("user", user),
            ("name", name),
            ("listen", &listen.to_string()),
            ("upstream", &upstream.to_string()),
            ("include", &include),
        ],
    );
    write(folder, &format!("{name}.conf"), &text)
}

/// Where an HAProxy hop leads: requests whose metadata has this value, to this address.
pub(super) type HaproxyRoute = (&'static str, SocketAddr);

/// Writes the configuration of an HAProxy hop into `folder` and returns its path: requests are
/// routed by the value of a metadata key. `tells`: with the operators' snippet.
pub(super) fn write_haproxy(
    folder: &Path,
    name: &str,
    listen: SocketAddr,
    (key, routes): (&str, &[HaproxyRoute]),
    tells: bool,
) -> Result<PathBuf> {
    let (frontend_part, backend_part) = if tells { haproxy_parts()? } else { ("", "") };
    let lua = write(folder, &format!("{name}.lua"), DELAY_LUA)?;
    let route =
        |(value, _): &HaproxyRoute| format!("    use_backend {value} if {{ req.hdr({key}) -m str {value} }}");
    let backend = |(value, address): &HaproxyRoute| {
        format!("backend {value}\n{backend_part}\n    server {value} {address} proto h2\n")
    };
    // `return` ends the processing where `use_backend` is only read: it must not see what has a route.
    let known = routes.iter().map(|(value, _)| *value).collect::<Vec<_>>().join(" ");
    let text = fill(
        HAPROXY_CFG,
        &[
            ("socket", &socket(folder, name).display().to_string()),
            ("name", name),
            ("lua", &lua.display().to_string()),
            ("listen", &listen.to_string()),
            ("key", key),
            ("known", &known),
            ("frontend_part", frontend_part),
            ("routes", &routes.iter().map(route).collect::<Vec<_>>().join("\n")),
            ("backends", &routes.iter().map(backend).collect::<Vec<_>>().join("\n")),
        ],
    );
    write(folder, &format!("{name}.cfg"), &text)
}

/// The lines for a frontend and those for a backend.
fn haproxy_parts() -> Result<(&'static str, &'static str)> {
    let missing = "deploy/haproxy/insight-hop.cfg: its two parts are not marked as expected";
    let (_, from_first) = HAPROXY_SNIPPET.split_once(PART_1).context(missing)?;
    let (first, second) = from_first.split_once(PART_2).context(missing)?;
    let rules = |part: &'static str| part.split_once("    http-").map(|(head, _)| &part[head.len()..]);
    Ok((rules(first).context(missing)?.trim_end(), rules(second).context(missing)?.trim_end()))
}

/// The runtime API's socket of an HAProxy hop.
fn socket(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.sock"))
}

/// Makes a running HAProxy hold every request for `delay` (whole milliseconds).
pub(super) fn set_haproxy_delay(folder: &Path, name: &str, delay: Duration) -> Result<()> {
    let path = socket(folder, name);
    let what = || format!("{name}: set the request delay through {}", path.display());
    let mut stream = UnixStream::connect(&path).with_context(what)?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).with_context(what)?;
    let ms = delay.as_millis();
    writeln!(stream, "experimental-mode on; set var proc.lab_delay_ms int({ms}); get var proc.lab_delay_ms")
        .with_context(what)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(what)?;
    ensure!(answer.contains(&format!("value=<{ms}>")), "{}: it answered {answer:?}", what());
    Ok(())
}

/// Puts each value in the place of its `{{key}}`.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    values
        .iter()
        .fold(template.to_owned(), |text, (key, value)| text.replace(&format!("{{{{{key}}}}}"), value))
}

fn write(folder: &Path, file: &str, text: &str) -> Result<PathBuf> {
    let path = folder.join(file);
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_snippet_for_haproxy_splits_into_rules_only() {
        let (frontend, backend) = haproxy_parts().unwrap();
        for line in frontend.lines().chain(backend.lines()) {
            assert!(line.starts_with("    http-"), "not a rule: {line:?}");
        }
        assert!(frontend.contains("insight_arrived") && backend.contains("insight_forwarded"));
    }

    #[test]
    fn a_silent_hop_has_nothing_of_the_snippets() {
        let folder = tempfile::tempdir().unwrap();
        let address = "127.0.0.1:1".parse().unwrap();
        let routes = ("x-target-service", &[("one", address)][..]);
        let nginx = write_nginx(folder.path(), "mediary-a", address, address, false).unwrap();
        let haproxy = write_haproxy(folder.path(), "gw", address, routes, false).unwrap();
        for file in [nginx, haproxy] {
            let text = fs::read_to_string(file).unwrap();
            assert!(!text.contains("insight-hop") && !text.contains("txn.insight"), "{text}");
            assert!(!text.contains("{{"), "{text}");
        }
    }

    #[test]
    fn no_template_keeps_a_placeholder() {
        let folder = tempfile::tempdir().unwrap();
        let address = "127.0.0.1:1".parse().unwrap();
        let nginx = write_nginx(folder.path(), "mediary-a", address, address, true).unwrap();
        let haproxy =
            write_haproxy(folder.path(), "gw", address, ("x-target-service", &[("one", address)]), true)
                .unwrap();
        for file in [nginx, haproxy] {
            let text = fs::read_to_string(file).unwrap();
            assert!(!text.contains("{{") && !text.contains("}}"), "{text}");
        }
    }
}
