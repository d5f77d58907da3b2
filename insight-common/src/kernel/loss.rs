//! Every way in which the kernel half loses a sample: a closed set, counted per measurement.

pub use super::measurement::Measurement;

/// Why there is no sample, or a worse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Loss {
    /// A map had no room.
    MapFull = 0,
    /// Kernel memory could not be read.
    Unreadable = 1,
    /// The socket's peer group was not known, or not one of the configured.
    NoPeer = 2,
    /// Something ended that was not seen to begin.
    Unstamped = 3,
    /// Another request or answer fell into it: what it would measure is not one exchange.
    Overlapped = 4,
    /// The first exchange of a connection: SETTINGS or a TLS handshake, no request.
    Opening = 5,
    /// The kernel gave an average in place of a sample.
    Smoothed = 6,
    /// Written to the socket that was read from: an answer, not a forwarding.
    SameSocket = 7,
    /// Written to another socket of the same side.
    SameRole = 8,
}

/// How many losses there are.
pub const LOSSES: u32 = 9;

/// Counters in the map.
pub const LOSS_COUNTERS: u32 = LOSSES * Measurement::ALL.len() as u32;

impl Loss {
    /// Every loss, by its number.
    pub const ALL: [Self; LOSSES as usize] = [
        Self::MapFull,
        Self::Unreadable,
        Self::NoPeer,
        Self::Unstamped,
        Self::Overlapped,
        Self::Opening,
        Self::Smoothed,
        Self::SameSocket,
        Self::SameRole,
    ];

    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MapFull => "map_full",
            Self::Unreadable => "unreadable",
            Self::NoPeer => "no_peer",
            Self::Unstamped => "unstamped",
            Self::Overlapped => "overlapped",
            Self::Opening => "opening",
            Self::Smoothed => "smoothed",
            Self::SameSocket => "same_socket",
            Self::SameRole => "same_role",
        }
    }

    /// The index of its counter.
    #[inline(always)]
    pub const fn counter(self, measurement: Measurement) -> u32 {
        measurement as u32 * LOSSES + self as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_of_every_measurement_has_its_own_counter() {
        let mut expected = 0;
        for (number, measurement) in Measurement::ALL.into_iter().enumerate() {
            assert_eq!(measurement as usize, number);
            for loss in Loss::ALL {
                assert_eq!(loss.counter(measurement), expected);
                expected += 1;
            }
        }
        assert_eq!(expected, LOSS_COUNTERS);
    }
}
