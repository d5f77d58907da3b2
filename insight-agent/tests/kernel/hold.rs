//! Holds softirqs up for a known time: a program of the kernel's that keeps its CPU until an instant.
//!
//! A SCHED_FIFO thread holds none up that an interrupt raises: it runs at the end of that interrupt, and
//! what was left to `ksoftirqd` at the end of the next one, which is the tick's at the latest. What does
//! hold softirqs up is code that disables them, and a softirq that runs itself.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Commands and program types, of the kernel's `linux/bpf.h`.
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_TEST_RUN: libc::c_long = 10;
const SOCKET_FILTER: u32 = 1;
const SCHED_CLS: u32 = 3;

/// Which bytes of a packet say until when, on CLOCK_MONOTONIC: after the header of UDP, where a socket's
/// filter begins to see it, or after that of Ethernet.
const AFTER_UDP: i32 = 8;
const AFTER_ETHERNET: i32 = 14;

/// The least that `bpf_prog_test_run_skb` takes, and some.
const PACKET: usize = 64;

/// A loaded program, which returns the lower half of when it began.
#[derive(Debug)]
pub struct Program(OwnedFd);

/// When it was that a CPU was kept. **Unit**: ns on CLOCK_MONOTONIC, which the agent's programs stamp with.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    pub began: u64,
    pub ended: u64,
}

impl Program {
    /// One for [`Program::run_until`].
    ///
    /// # Errors
    /// The kernel refused it: before 6.9 it knows no loop of this kind.
    pub fn to_run() -> io::Result<Self> {
        Self::load(SCHED_CLS, AFTER_ETHERNET)
    }

    /// One for [`Program::filter`].
    ///
    /// # Errors
    /// As of [`Program::to_run`].
    pub fn to_filter() -> io::Result<Self> {
        Self::load(SOCKET_FILTER, AFTER_UDP)
    }

    fn load(kind: u32, until_at: i32) -> io::Result<Self> {
        const LICENSE: &CStr = c"GPL";
        let code = instructions(until_at);
        // The beginning of `union bpf_attr` for this command.
        let mut words = [0_u64; 16];
        words[0] = u64::from(kind) | (code.len() as u64) << 32;
        (words[1], words[2]) = (code.as_ptr() as u64, LICENSE.as_ptr() as u64);
        let made = bpf(BPF_PROG_LOAD, &mut words)?;
        #[expect(unsafe_code, reason = "a descriptor that a bare system call made")]
        // SAFETY: the kernel has just made it, and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(made) }))
    }

    /// Keeps this thread's CPU until `end`, with softirqs disabled.
    pub fn run_until(&self, end: u64) -> Held {
        let mut packet = [0_u8; PACKET];
        packet[AFTER_ETHERNET as usize..][..8].copy_from_slice(&end.to_ne_bytes());
        let mut words = [0_u64; 10];
        // Descriptor, result; lengths in and out; the packet in and out; how often, and how long it took.
        words[0] = self.0.as_raw_fd() as u64;
        (words[1], words[2], words[4]) = (PACKET as u64, packet.as_ptr() as u64, 1);
        bpf(BPF_PROG_TEST_RUN, &mut words).unwrap();
        let lower = (words[0] >> 32) as u32;
        let began = end - u64::from((end as u32).wrapping_sub(lower));
        Held { began, ended: began + (words[4] >> 32) }
    }

    /// Runs for each datagram that reaches `socket`, in the softirq that receives it, until the instant
    /// that the datagram begins with.
    pub fn filter(&self, socket: &UdpSocket) {
        let program = self.0.as_raw_fd();
        #[expect(unsafe_code, reason = "no wrapper attaches a filter")]
        // SAFETY: the value is a descriptor's, of the length that is said, and outlives the call.
        let result = unsafe {
            let value = (&raw const program).cast();
            let (level, name) = (libc::SOL_SOCKET, libc::SO_ATTACH_BPF);
            libc::setsockopt(socket.as_raw_fd(), level, name, value, size_of_val(&program) as u32)
        };
        assert_eq!(result, 0, "attach a filter: {}", io::Error::last_os_error());
    }
}

/// `began = now(); load until; while now() < until {}; return began`
fn instructions(until_at: i32) -> [u64; 16] {
    const CLOCK: i32 = 5;
    const LOAD_BYTES: i32 = 26;
    let instruction = |operation: u8, target: u8, source: u8, offset: i16, value: i32| {
        let registers = u64::from(target | source << 4) << 8;
        let offset = u64::from(offset as u16) << 16;
        u64::from(operation) | registers | offset | u64::from(value as u32) << 32
    };
    let copy = |target, source| instruction(0xbf, target, source, 0, 0);
    let set = |target, value| instruction(0xb7, target, 0, 0, value);
    let call = |function| instruction(0x85, 0, 0, 0, function);
    [
        copy(9, 1),
        call(CLOCK),
        copy(7, 0),
        copy(1, 9),
        set(2, until_at),
        copy(3, 10),
        instruction(0x07, 3, 0, 0, -8),
        set(4, 8),
        call(LOAD_BYTES),
        // Too short a packet: return the error.
        instruction(0x55, 0, 0, 5, 0),
        instruction(0x79, 6, 10, -8, 0),
        // May go on, up to a quarter of a second in all: the kernel ends it then.
        instruction(0xe5, 0, 0, 2, 0),
        call(CLOCK),
        instruction(0xad, 0, 6, -3, 0),
        copy(0, 7),
        instruction(0x95, 0, 0, 0, 0),
    ]
}

fn bpf(command: libc::c_long, attributes: &mut [u64]) -> io::Result<i32> {
    let size = size_of_val(attributes);
    #[expect(unsafe_code, reason = "aya loads objects only, and no single program")]
    // SAFETY: the attributes, and what the callers let them point to, outlive the call, which reads and
    // writes as many bytes of them as it is told.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

// ---- who does it, and when --------------------------------------------------------------------

/// Now. **Unit**: ns on CLOCK_MONOTONIC.
pub fn now() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

/// Sleeps until `at`.
pub fn sleep_until(at: u64) {
    std::thread::sleep(Duration::from_nanos(at.saturating_sub(now())));
}

/// Ties this thread to a CPU, ahead of all ordinary ones there.
pub fn own_cpu(cpu: usize) {
    let thread = nix::unistd::Pid::from_raw(0);
    let mut set = nix::sched::CpuSet::new();
    set.set(cpu).unwrap();
    nix::sched::sched_setaffinity(thread, &set).unwrap();
    let parameters = libc::sched_param { sched_priority: 50 };
    #[expect(unsafe_code, reason = "no wrapper sets a thread's policy")]
    // SAFETY: the parameters outlive the call, which only reads them.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
    assert_eq!(result, 0, "schedule this thread first: {}", io::Error::last_os_error());
}

/// The right to disturb this machine's timing, which whole labs wait for too. Given back when dropped.
pub fn turn() -> File {
    let path = std::env::temp_dir().join("insight-e2e-turn.lock");
    let lock = File::create(path).unwrap();
    lock.lock().unwrap();
    lock
}
