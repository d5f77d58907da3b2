//! The programs of the object, and where each is attached.

use super::btf::{Btf, BtfError};

/// One program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// `inet_sock_set_state`, since 4.16.
    SocketState,
    /// `tcp_destroy_sock`, since 4.16.
    SocketDestroy,
    /// `sk_data_ready`, since 6.3.
    DataReady,
    /// `tcp_rcv_space_adjust`, since 4.15.
    DataRead,
    /// `sock_recv_length`, since 6.3.
    Receive,
    /// `sock_send_length`, since 6.3.
    Send,
    /// `sched_switch`.
    TaskSwitch,
    /// `sched_process_exit`.
    TaskExit,
    /// `sock_ops`, attached to a cgroup.
    TcpEvent,
}

impl Hook {
    /// Every hook.
    pub const ALL: [Self; 9] = [
        Self::SocketState,
        Self::SocketDestroy,
        Self::DataReady,
        Self::DataRead,
        Self::Receive,
        Self::Send,
        Self::TaskSwitch,
        Self::TaskExit,
        Self::TcpEvent,
    ];

    /// The program's name in the object.
    pub const fn program(self) -> &'static str {
        match self {
            Self::SocketState => "socket_state",
            Self::SocketDestroy => "socket_destroy",
            Self::DataReady => "data_ready",
            Self::DataRead => "data_read",
            Self::Receive => "bytes_received",
            Self::Send => "bytes_sent",
            Self::TaskSwitch => "task_switch",
            Self::TaskExit => "task_exit",
            Self::TcpEvent => "tcp_event",
        }
    }

    /// The tracepoint, and how many arguments the program reads. **None**: it is no tracepoint.
    pub const fn tracepoint(self) -> Option<(&'static str, usize)> {
        match self {
            Self::SocketState => Some(("inet_sock_set_state", 3)),
            Self::SocketDestroy => Some(("tcp_destroy_sock", 1)),
            Self::DataReady => Some(("sk_data_ready", 1)),
            Self::DataRead => Some(("tcp_rcv_space_adjust", 1)),
            Self::Receive => Some(("sock_recv_length", 3)),
            Self::Send => Some(("sock_send_length", 2)),
            Self::TaskSwitch => Some(("sched_switch", 2)),
            Self::TaskExit => Some(("sched_process_exit", 0)),
            Self::TcpEvent => None,
        }
    }

    /// Whether this kernel has it, with the arguments that the program reads.
    ///
    /// # Errors
    /// [`BtfError::Absent`], naming the tracepoint.
    pub fn check(self, btf: &Btf<'_>) -> Result<(), BtfError> {
        let Some((name, wanted)) = self.tracepoint() else { return Ok(()) };
        let arguments = btf.tracepoint(name)?;
        // Since 5.18 and for one release the state came between the flag and the tasks.
        let moved = self == Self::TaskSwitch && !arguments.get(1).is_some_and(|argument| argument.pointer);
        if arguments.len() < wanted || moved {
            return Err(BtfError::Absent {
                what: "tracepoint with the arguments that are read",
                name: name.to_owned(),
            });
        }
        Ok(())
    }
}
