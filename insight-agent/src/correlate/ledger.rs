//! A probe`s latency written as a sum.
