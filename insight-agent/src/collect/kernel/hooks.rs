//! The programs of the object, and where each is attached.
//!
//! Here are those that several measurements share. One that a single measurement needs is a
//! constant in that measurement's file.

use super::btf::{Btf, BtfError};
use super::spec::Offset;
use super::{sockets, spec};
use std::collections::BTreeSet;

/// One program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hook {
    /// Its name in the object.
    pub program: &'static str,
    /// What it is attached to.
    pub place: Place,
    /// The global that tells the program how many arguments its tracepoint has. **None**: it reads
    /// none that a kernel may lack.
    pub arity: Option<&'static str>,
}

/// Where a program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A tracepoint, with the arguments that the program reads, from the first one on.
    Tracepoint(&'static str, &'static [Argument]),
    /// `sock_ops` of a cgroup.
    Cgroup,
}

/// What a program takes an argument of a tracepoint for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Argument {
    /// An object of the kernel.
    Pointer,
    /// A number. One that is not read can stand for anything.
    Number,
}

use Argument::{Number, Pointer};

/// `inet_sock_set_state`, since 4.16.
pub const SOCKET_STATE: Hook =
    Hook::tracepoint("socket_state", "inet_sock_set_state", &[Pointer, Number, Number]);

/// The same, for what begins in the thread that asks for it.
pub const SOCKET_BEGIN: Hook =
    Hook::tracepoint("socket_begin", "inet_sock_set_state", &[Pointer, Number, Number]);

/// `tcp_destroy_sock`, since 4.16.
pub const SOCKET_DESTROY: Hook = Hook::tracepoint("socket_destroy", "tcp_destroy_sock", &[Pointer]);

/// `sk_data_ready`, since 6.3.
pub const DATA_READY: Hook = Hook::tracepoint("data_ready", "sk_data_ready", &[Pointer]);

/// `tcp_rcv_space_adjust`, since 4.15.
pub const DATA_READ: Hook = Hook::tracepoint("data_read", "tcp_rcv_space_adjust", &[Pointer]);

/// `sock_send_length`, since 6.3.
pub const SEND: Hook = Hook::tracepoint("bytes_sent", "sock_send_length", &[Pointer, Number]);

/// `sched_switch`. Since 5.18 and for one release the state came between the flag and the tasks.
pub const TASK_SWITCH: Hook = Hook::tracepoint("task_switch", "sched_switch", &[Number, Pointer, Pointer]);

/// What the programs read of a TCP socket that bytes come to or leave.
pub const TCP: [Offset; 2] =
    [("OFF_TCP_RCV_NXT", "tcp_sock", "rcv_nxt"), ("OFF_TCP_COPIED_SEQ", "tcp_sock", "copied_seq")];

/// What they read as well where it is there, all of it or nothing: when TCP last worked on it.
pub const TCP_CLOCK: [Offset; 3] = [
    ("OFF_TCP_CLOCK", "tcp_sock", "tcp_clock_cache"),
    ("OFF_TCP_WRITE_SEQ", "tcp_sock", "write_seq"),
    ("OFF_TCP_SND_NXT", "tcp_sock", "snd_nxt"),
];

/// What a program that is handed a task reads of it.
pub const TASK: [Offset; 3] = [
    ("OFF_TASK_PID", "task_struct", "pid"),
    ("OFF_TASK_TGID", "task_struct", "tgid"),
    ("OFF_TASK_STATE", "task_struct", "__state"),
];

/// `sched_wakeup_new`.
pub const TASK_START: Hook = Hook::tracepoint("task_start", "sched_wakeup_new", &[Pointer]);

/// `sched_process_exec`.
pub const TASK_EXEC: Hook = Hook::tracepoint("task_exec", "sched_process_exec", &[]);

/// `sched_process_exit`.
pub const TASK_EXIT: Hook = Hook::tracepoint("task_exit", "sched_process_exit", &[]);

/// `sock_ops`, attached to a cgroup.
pub const TCP_EVENT: Hook = Hook { program: "tcp_event", place: Place::Cgroup, arity: None };

/// Every program that a measurement or the table of sockets needs.
pub fn all() -> BTreeSet<Hook> {
    spec::ALL.iter().copied().chain([&sockets::SPEC]).flat_map(|spec| spec.hooks).copied().collect()
}

impl Hook {
    /// A program on a tracepoint of the kernel.
    pub const fn tracepoint(
        program: &'static str,
        tracepoint: &'static str,
        arguments: &'static [Argument],
    ) -> Self {
        Self { program, place: Place::Tracepoint(tracepoint, arguments), arity: None }
    }

    /// The same, for a program that reads further arguments where `global` says that they exist.
    pub const fn with_arity(self, global: &'static str) -> Self {
        Self { arity: Some(global), ..self }
    }

    /// Whether this kernel has it, with the arguments that the program reads.
    ///
    /// # Errors
    /// [`BtfError::Absent`], naming the tracepoint.
    pub fn check(self, btf: &Btf<'_>) -> Result<(), BtfError> {
        let Place::Tracepoint(name, read) = self.place else { return Ok(()) };
        let found = btf.tracepoint(name)?;
        let fits = |(at, argument): (usize, &Argument)| {
            found.get(at).is_some_and(|found| *argument == Number || found.pointer)
        };
        if read.iter().enumerate().all(fits) {
            return Ok(());
        }
        Err(BtfError::Absent { what: "tracepoint with the arguments that are read", name: name.to_owned() })
    }
}
