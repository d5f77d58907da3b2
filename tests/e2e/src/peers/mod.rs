//! Next hops that misbehave, each in one way.
//!
//! [`tcp`] holds those that never come to speak HTTP/2, [`grpc`] a scripted gRPC server for the
//! rest, [`raw`] doubles that write frames by hand for what no library would send, [`insight`] the answers
//! of an Insight receiver, written a second time from its protocol.

pub mod grpc;
pub mod insight;
pub mod raw;
pub mod tcp;
