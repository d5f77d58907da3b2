//! What the programs in the kernel and their reader agree on: layouts, names, and all arithmetic
//! that a host test can run.

pub mod drops;
pub mod exchange;
pub mod floor;
pub mod layout;
pub mod loss;
pub mod measurement;
pub mod opening;
pub mod receive;
pub mod recovery;
pub mod softirq;
pub mod thread;
pub mod tick;
pub mod turn;
