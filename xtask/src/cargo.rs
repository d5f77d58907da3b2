//! Cargo, started from a program that cargo started.

use std::env;
use std::path::Path;
use std::process::Command;

/// The cargo that started this program (else the one on the search path), in the checkout.
///
/// `cargo run` describes xtask's own package in the environment. Build scripts that watch such
/// variables (ring's does) would see them change between a cargo of ours and one of the
/// developer's, and rebuild ring, rustls and tonic at every change of hands: 20 s each time.
pub fn command(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    names.filter(|name| describes_a_package(name)).for_each(|name| {
        command.env_remove(name);
    });
    command.current_dir(root);
    command
}

fn describes_a_package(name: &str) -> bool {
    const EXACT: [&str; 4] = ["CARGO_BIN_NAME", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"];
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || EXACT.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_hidden_and_the_developers_settings_are_not() {
        for name in ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "OUT_DIR"] {
            assert!(describes_a_package(name), "{name}");
        }
        for name in
            ["CARGO", "CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_BUILD_JOBS", "CARGO_TERM_COLOR", "RUSTFLAGS"]
        {
            assert!(!describes_a_package(name), "{name}");
        }
    }
}
