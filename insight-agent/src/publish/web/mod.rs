//! The HTTP listeners.
