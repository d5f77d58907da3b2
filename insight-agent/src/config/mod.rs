//! The typed configuration, its defaults and its checks.
