//! The list of measurements: everything that names them is made of it.

/// Hands the list to the macro `$then`, a row for each measurement:
///
/// `file Variant default "what it measures" [distributions] [counters];`
///
/// - **file**: its name, and that of its three files: `insight-ebpf/src/`, the agent's
///   `collect/kernel/` and `model/series/`. All three modules are declared out of this list.
/// - **default**: `on` or `off`, while the configuration does not say otherwise.
/// - **distributions**, **counters**: variants of [`super::layout::Distribution`] and
///   [`super::layout::Counter`], each kept once per peer group, unless `groups` there says otherwise.
///
/// Numbers follow the order of rows; nothing stores them.
#[macro_export]
macro_rules! measurements {
    ($then:ident) => {
        $then! {
            socket_rtt SocketRtt on "Round trips, and their floor." [RttConnected RttAccepted] [];
            receive_wait ReceiveWait on "Data ready to application read." [ReceiveWaitConnected ReceiveWaitAccepted] [];
            turnaround Turnaround on "Request in to first answer out, on accepted sockets." [Turnaround] [];
            response Response on "Request out to first answer in, on connected sockets." [Response] [];
            residence Residence on "Read on one side to written on the other, by one thread." [ResidenceUp ResidenceDown] [];
            connect Connect on "Connecting: how long, and why not." [Connect] [ConnectRefused ConnectTimedOut ConnectUnreachable ConnectGaveUp ConnectOther];
            accept_wait AcceptWait on "Established to first used, on accepted sockets; and the queue of listeners." [AcceptWait] [ListenQueued ListenWaiting ListenFull];
            retransmits Retransmits on "Segments sent once more, and recovery from loss." [RecoveryFast RecoveryTimeout] [RetransmitSyn RetransmitSynack RetransmitProbe RetransmitFast RetransmitTimeout];
            send_blocked SendBlocked off "A full send buffer to the next write that fits." [SendBlockedConnected SendBlockedAccepted] [];
            resets Resets on "Connections that were reset, by either side." [] [ResetsReceived ResetsSent];
            drops Drops off "Packets that the kernel dropped, by class of its reason." []
                [DropsNoSocket DropsReceiveBuffer DropsChecksum DropsNetfilter DropsPolicy DropsQdisc DropsCpuBacklog
                 DropsNeighbour DropsRoute DropsListen DropsTcpInvalid DropsTcpNormal DropsDevice DropsOther
                 DropsUnspecified DropsOtherSubsystem];
            runqueue_wait RunqueueWait on "Runnable to running, of the forwarders' threads." [RunqueueWait] [];
            softirq_wait SoftirqWait off "Raised to running, of deferred interrupt work."
                [SoftirqTimer SoftirqNetTx SoftirqNetRx SoftirqSched SoftirqRcu] [NapiExhausted];
            qdisc_wait QdiscWait off "Queue discipline and driver of the configured devices." [QdiscWait DriverXmit] [];
        }
    };
}

macro_rules! declare {
    ($($name:ident $kind:ident $default:ident $about:literal [$($distribution:ident)*] [$($counter:ident)*];)*) => {
        /// What a figure, a counter or a state belongs to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Measurement {
            /// The table of sockets, which the others share.
            Sockets,
            $(#[doc = $about] $kind,)*
        }

        impl Measurement {
            /// Every measurement, by its number; first the table that they share.
            pub const ALL: [Self; MEASUREMENTS] = [Self::Sockets, $(Self::$kind,)*];

            /// The label's value.
            pub const fn name(self) -> &'static str {
                match self {
                    Self::Sockets => "sockets",
                    $(Self::$kind => stringify!($name),)*
                }
            }

            /// What it measures: a sentence for people.
            pub const fn about(self) -> &'static str {
                match self {
                    Self::Sockets => "The table of sockets, which the others share.",
                    $(Self::$kind => $about,)*
                }
            }

            /// Whether it runs unless the configuration says otherwise.
            pub const fn is_default(self) -> bool {
                match self {
                    Self::Sockets => true,
                    $(Self::$kind => default!($default),)*
                }
            }
        }

        /// How many measurements there are, the table of sockets included.
        const MEASUREMENTS: usize = 1 $(+ one!($name))*;

        /// One kind of histogram; each has as many as there are peer groups.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Distribution {
            $($(#[doc = concat!("Of `", stringify!($name), "`.")] $distribution,)*)*
        }

        impl Distribution {
            /// Every distribution, by its number.
            pub const ALL: [Self; DISTRIBUTIONS as usize] = [$($(Self::$distribution,)*)*];

            /// The measurement that it belongs to.
            pub const fn measurement(self) -> Measurement {
                match self {
                    $($(Self::$distribution => Measurement::$kind,)*)*
                }
            }
        }

        /// How many distributions there are.
        pub const DISTRIBUTIONS: u32 = 0 $($(+ one!($distribution))*)*;

        /// One kind of event; each is counted once per peer group.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Counter {
            $($(#[doc = concat!("Of `", stringify!($name), "`.")] $counter,)*)*
        }

        impl Counter {
            /// Every counter, by its number.
            pub const ALL: [Self; COUNTERS as usize] = [$($(Self::$counter,)*)*];

            /// The measurement that it belongs to.
            pub const fn measurement(self) -> Measurement {
                match self {
                    $($(Self::$counter => Measurement::$kind,)*)*
                }
            }
        }

        /// How many counters there are.
        pub const COUNTERS: u32 = 0 $($(+ one!($counter))*)*;
    };
}

macro_rules! default {
    (on) => {
        true
    };
    (off) => {
        false
    };
}

macro_rules! one {
    ($counted:ident) => {
        1
    };
}

measurements!(declare);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_list() {
        assert!(Measurement::ALL.iter().enumerate().all(|(at, measurement)| *measurement as usize == at));
        assert!(Distribution::ALL.iter().enumerate().all(|(at, distribution)| *distribution as usize == at));
        assert!(Counter::ALL.iter().enumerate().all(|(at, counter)| *counter as usize == at));
        assert_eq!(Measurement::ALL[0], Measurement::Sockets);
    }

    #[test]
    fn every_distribution_belongs_to_the_row_that_lists_it() {
        assert_eq!(Distribution::ReceiveWaitAccepted.measurement(), Measurement::ReceiveWait);
        assert!(Distribution::ALL.is_sorted_by_key(|distribution| distribution.measurement()));
        assert!(Counter::ALL.is_sorted_by_key(|counter| counter.measurement()));
    }
}
