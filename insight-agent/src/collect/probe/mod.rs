//! The active half: probes, their schedule, connections, rulers and hop headers.

pub mod hop_headers;
