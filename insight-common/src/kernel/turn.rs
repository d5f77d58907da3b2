//! One turn of a worker's event loop: what it last read, and where it writes next.

use super::layout::Role;
use super::loss::Loss;

/// What a thread last read in its present turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Turn {
    /// When it read.
    pub read_ns: u64,
    /// The socket, by its address in the kernel.
    pub socket: u64,
    /// A [`Role`].
    pub role: u8,
    /// The peer group of that socket.
    pub peer: u8,
    /// Fills the entry up.
    pub unused: [u8; 6],
}

/// Which way bytes were forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarded {
    /// Downstream to upstream, for so many ns: a request.
    Up(u64),
    /// Upstream to downstream, for so many ns: an answer.
    Down(u64),
}

/// A thread that read as `turn` says writes to `socket`.
///
/// # Errors
/// The two are not the two sides of a forwarding.
#[inline(always)]
pub fn written(turn: &Turn, socket: u64, role: u8, now: u64) -> Result<Forwarded, Loss> {
    if turn.socket == socket {
        return Err(Loss::SameSocket);
    }
    if turn.role == role {
        return Err(Loss::SameRole);
    }
    let took = now.saturating_sub(turn.read_ns);
    Ok(if turn.role == Role::Accepted as u8 { Forwarded::Up(took) } else { Forwarded::Down(took) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(role: Role) -> Turn {
        Turn { read_ns: 100, socket: 1, role: role as u8, peer: 0, unused: [0; 6] }
    }

    #[test]
    fn what_was_read_downstream_goes_up_and_back() {
        let connected = Role::Connected as u8;
        assert_eq!(written(&turn(Role::Accepted), 2, connected, 150), Ok(Forwarded::Up(50)));
        assert_eq!(written(&turn(Role::Connected), 2, Role::Accepted as u8, 150), Ok(Forwarded::Down(50)));
    }

    #[test]
    fn an_answer_to_oneself_and_a_write_on_the_same_side_are_no_forwarding() {
        assert_eq!(written(&turn(Role::Accepted), 1, Role::Accepted as u8, 150), Err(Loss::SameSocket));
        assert_eq!(written(&turn(Role::Accepted), 2, Role::Accepted as u8, 150), Err(Loss::SameRole));
    }
}
