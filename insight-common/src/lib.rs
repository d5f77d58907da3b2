//! What the kernel half and the user half of Insight share. No standard library, no allocation.
#![no_std]

pub mod histogram;
pub mod kernel;
