//! Black-box tests: the real `insight-agent`, judged by what it exports, says and exits with.
//!
//! | module | gives a test |
//! |---|---|
//! | [`agent`] | a configuration in a fresh folder, the running agent, its scrapes and its end |
//! | [`peers`] | next hops that misbehave in one way each |
//! | [`loopback`] | addresses that no other test uses |
//! | [`path`] | a lab of two regions, and its path as `/metrics` shows it |
//! | [`nodes`] | a lab with an agent on every node, and the ledger that their reports make |
//! | [`demo`] | the built demo, run by an unprivileged user or by root |
//! | [`traces`] | what a root demo holds in the kernel |
//! | [`unprivileged`] | an agent of an ordinary user with chosen capabilities |
//! | [`process`] | any program as a child that never outlives its test |
//! | [`equipment`] | the real programs that tests talk to, or the reason for a skip |
//! | [`http`], [`exposition`], [`wait`] | reading an HTTP page, a scrape, and waiting for either |
//!
//! Everything here panics instead of returning errors: the caller is a test, and a panic that says
//! what was seen is its answer.

pub mod agent;
pub mod demo;
pub mod equipment;
pub mod exposition;
pub mod http;
pub mod loopback;
pub mod nodes;
pub mod path;
pub mod peers;
pub mod process;
pub mod traces;
pub mod unprivileged;
pub mod wait;
