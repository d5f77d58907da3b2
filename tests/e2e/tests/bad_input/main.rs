//! Bad input: what the agent says about it, and that everything else goes on.
//!
//! Each test gives the real program one thing that is wrong, in its configuration, its network,
//! its peers' answers or its callers, and asserts the message on the way that an operator would
//! meet it: standard error, status page or series.
#![allow(clippy::unwrap_used, reason = "in a test, a panic that shows the error is the answer")]

mod answers;
mod configuration;
mod hop_headers;
mod lifetime;
mod listeners;
mod one_shot;
mod pair;
mod tls;
mod unreachable;
