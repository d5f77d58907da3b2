//! Interoperation: gRPC implementations and forwarders that are not ours agree with what the agent
//! sends, answers and says about them.
//!
//! What is independent here: grpcio (C core) as service and as client, grpcurl (Go), nginx.
#![allow(clippy::unwrap_used, reason = "in a test, a panic that shows the error is the answer")]

mod forwarded;
mod peers;
mod receiver;
