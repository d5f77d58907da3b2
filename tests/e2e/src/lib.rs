//! Black-box tests: the real `insight-agent`, judged by what it exports, says and exits with.

pub mod demo;
pub mod exposition;
pub mod http;
pub mod path;
pub mod wait;
