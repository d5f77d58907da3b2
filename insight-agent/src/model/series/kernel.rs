//! What all kernel measurements share: bounds and labels.

use super::{Label, closed, configured};

/// The group of everybody whom no configured group holds.
pub const OTHER: &str = "other";

/// The shortest bound: 2^10 ns. Below a microsecond nothing that is measured here has a meaning.
pub const FIRST_POWER: u32 = 10;

/// The longest bound: 2^34 ns, 17 s. What is beyond it is in the `+Inf` bucket.
pub const LAST_POWER: u32 = 34;

/// How many bounds there are.
const COUNT: usize = (LAST_POWER - FIRST_POWER + 1) as usize;

/// Powers of two of a nanosecond, in seconds: edges of the kernel's own buckets, so that nothing
/// is spread over two.
pub const BOUNDS: [f64; COUNT] = bounds();

const fn bounds() -> [f64; COUNT] {
    let mut bounds = [0.0; COUNT];
    let mut at = 0;
    while at < COUNT {
        bounds[at] = (1_u64 << (FIRST_POWER as usize + at)) as f64 / 1e9;
        at += 1;
    }
    bounds
}

/// Who opened the connection.
pub const ROLE: Label = closed("role", &["connected", "accepted"]);

/// Who is at its other end.
pub const PEER: Label = configured("peer", "the [[kernel.peer]] tables, and \"other\"");
