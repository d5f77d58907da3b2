//! gRPC services that others call.
