//! The `insight-agent` program.

fn main() {}
