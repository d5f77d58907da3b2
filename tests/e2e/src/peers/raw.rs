//! HTTP/2 frames by hand: doubles of peers that no server can be configured to be.
//!
//! Each connection has a thread that runs the peer's script. A script reads and writes frames in any
//! order and of any content, also such that no library would send.

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket, sockopt,
};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How often a waiting script looks whether its peer is to stop.
const LOOK: Duration = Duration::from_millis(50);

/// Frame types.
pub mod kind {
    #![expect(missing_docs, reason = "the names are the specification's own")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags: of DATA and HEADERS, and ACK of SETTINGS and PING.
pub const END_STREAM: u8 = 1;
/// Flag of HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 4;
/// The identifier of SETTINGS_INITIAL_WINDOW_SIZE.
pub const INITIAL_WINDOW_SIZE: u16 = 4;
/// The identifier of SETTINGS_MAX_CONCURRENT_STREAMS.
pub const MAX_CONCURRENT_STREAMS: u16 = 3;

/// A gRPC message: `grpc.health.v1.HealthCheckResponse { status: SERVING }` in its frame.
pub const SERVING: [u8; 7] = [0, 0, 0, 0, 2, 0x08, 0x01];

/// The conversation is over: the other side has gone, or the test has.
#[derive(Debug)]
pub struct Over;

impl From<std::io::Error> for Over {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

/// A running peer; its connections end when it is dropped.
#[derive(Debug)]
pub struct RawPeer {
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
    address: SocketAddr,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    connections: AtomicU64,
    talking: Mutex<Vec<JoinHandle<()>>>,
}

impl RawPeer {
    /// Runs `script` on each connection.
    ///
    /// # Panics
    /// The address is taken.
    pub fn start(
        address: SocketAddr,
        script: impl Fn(&mut Talk) -> Result<(), Over> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address);
        Self::accept(address, listener.unwrap_or_else(|error| panic!("listen at {address}: {error}")), script)
    }

    /// The same with receive buffers of this many bytes (the kernel doubles them): a script that stops
    /// reading closes its TCP window soon.
    ///
    /// # Panics
    /// The address is taken.
    pub fn narrow(
        address: SocketAddrV4,
        buffer_bytes: usize,
        script: impl Fn(&mut Talk) -> Result<(), Over> + Send + Sync + 'static,
    ) -> Self {
        let listener = listen_narrowly(address, buffer_bytes);
        let listener = listener.unwrap_or_else(|error| panic!("listen at {address}: {error}"));
        Self::accept(address.into(), listener.into(), script)
    }

    fn accept(
        address: SocketAddr,
        listener: TcpListener,
        script: impl Fn(&mut Talk) -> Result<(), Over> + Send + Sync + 'static,
    ) -> Self {
        let (shared, script) = (Arc::new(Shared::default()), Arc::new(script));
        let accepting = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                while let Ok((stream, _)) = listener.accept() {
                    if shared.stop.load(Ordering::Relaxed) {
                        return;
                    }
                    shared.connections.fetch_add(1, Ordering::Relaxed);
                    let (script, talk) = (Arc::clone(&script), Talk::new(stream, Arc::clone(&shared)));
                    let talking = std::thread::spawn(move || {
                        let mut talk = talk;
                        // Either the script has ended the conversation or the other side has.
                        let _ = script(&mut talk);
                    });
                    shared.talking.lock().expect("no talk panics with it").push(talking);
                }
            }
        });
        Self { shared, accepting: Some(accepting), address }
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for RawPeer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // One more connection, so that the thread looks.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        let _ = self.accepting.take().map(JoinHandle::join);
        let talking = self.shared.talking.lock().map(|mut talking| std::mem::take(&mut *talking));
        for talk in talking.unwrap_or_default() {
            let _ = talk.join();
        }
    }
}

/// One frame.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Of [`kind`].
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// One connection.
#[derive(Debug)]
pub struct Talk {
    stream: TcpStream,
    shared: Arc<Shared>,
    /// Its end is a RST.
    abrupt: bool,
}

impl Talk {
    fn new(stream: TcpStream, shared: Arc<Shared>) -> Self {
        // Fails only for a socket that is gone already.
        let _ = stream.set_nodelay(true);
        let _ = stream.set_read_timeout(Some(LOOK));
        Self { stream, shared, abrupt: false }
    }

    /// Reads the caller's preface and sends SETTINGS with these parameters.
    pub fn greet(&mut self, settings: &[(u16, u32)]) -> Result<(), Over> {
        let mut preface = [0; PREFACE.len()];
        self.read(&mut preface)?;
        assert_eq!(preface, PREFACE, "the caller does not speak HTTP/2");
        self.settings(settings)
    }

    /// The next frame, whatever it is.
    pub fn frame(&mut self) -> Result<Frame, Over> {
        let mut header = [0; 9];
        self.read(&mut header)?;
        let [high, middle, low, kind, flags, stream @ ..] = header;
        let mut payload = vec![0; usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)];
        self.read(&mut payload)?;
        Ok(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    /// Reads until a request is whole, and returns its stream. Answers SETTINGS and PINGs meanwhile.
    pub fn request(&mut self) -> Result<u32, Over> {
        loop {
            let frame = self.frame()?;
            match frame.kind {
                kind::SETTINGS | kind::PING if frame.flags & 1 == 0 => self.acknowledge(&frame)?,
                kind::HEADERS | kind::DATA if frame.flags & END_STREAM != 0 => return Ok(frame.stream),
                _ => {}
            }
        }
    }

    /// Answers SETTINGS and PINGs until the other side goes.
    pub fn keep_alive(&mut self) -> Result<(), Over> {
        loop {
            self.request()?;
        }
    }

    /// Acknowledges a SETTINGS or PING frame.
    pub fn acknowledge(&mut self, frame: &Frame) -> Result<(), Over> {
        let payload: &[u8] = if frame.kind == kind::PING { &frame.payload } else { &[] };
        self.send(frame.kind, 1, 0, payload)
    }

    /// Sends a frame.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<(), Over> {
        self.write(&frame_bytes(kind, flags, stream, payload))
    }

    /// Sends SETTINGS.
    pub fn settings(&mut self, settings: &[(u16, u32)]) -> Result<(), Over> {
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(identifier, value)| {
                [&identifier.to_be_bytes()[..], &value.to_be_bytes()[..]].concat()
            })
            .collect();
        self.send(kind::SETTINGS, 0, 0, &payload)
    }

    /// Sends a header list in one frame.
    pub fn headers(&mut self, stream: u32, list: &[(&str, &str)], flags: u8) -> Result<(), Over> {
        self.send(kind::HEADERS, END_HEADERS | flags, stream, &header_block(list))
    }

    /// Sends the beginning of a good gRPC answer.
    pub fn good_headers(&mut self, stream: u32) -> Result<(), Over> {
        self.headers(stream, &[(":status", "200"), ("content-type", "application/grpc")], 0)
    }

    /// Sends a whole good answer to a health check.
    pub fn serving(&mut self, stream: u32) -> Result<(), Over> {
        self.good_headers(stream)?;
        self.send(kind::DATA, 0, stream, &SERVING)?;
        self.headers(stream, &[("grpc-status", "0")], END_STREAM)
    }

    /// Sends GOAWAY.
    pub fn goaway(&mut self, last: u32, code: u32, text: &[u8]) -> Result<(), Over> {
        let payload = [&last.to_be_bytes()[..], &code.to_be_bytes()[..], text].concat();
        self.send(kind::GOAWAY, 0, 0, &payload)
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Over> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Does nothing for this time, or until the peer is to stop.
    pub fn pause(&self, length: Duration) -> Result<(), Over> {
        let end = Instant::now() + length;
        while Instant::now() < end {
            if self.shared.stop.load(Ordering::Relaxed) {
                return Err(Over);
            }
            std::thread::sleep(LOOK.min(length));
        }
        Ok(())
    }

    /// Does nothing for as long as the peer runs; it does not even read.
    pub fn hang(&self) -> Result<(), Over> {
        self.pause(Duration::from_secs(3600))
    }

    /// Ends the connection with a RST instead of a FIN, as a kernel does for a process that was killed.
    pub fn reset(&mut self) -> Over {
        let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        // Without it a FIN is sent, and the test that wants a RST fails.
        let _ = setsockopt(&self.stream.as_fd(), sockopt::Linger, &linger);
        self.abrupt = true;
        Over
    }

    fn read(&mut self, mut buffer: &mut [u8]) -> Result<(), Over> {
        while !buffer.is_empty() {
            match self.stream.read(buffer) {
                Ok(0) => return Err(Over),
                Ok(length) => buffer = &mut buffer[length..],
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if self.shared.stop.load(Ordering::Relaxed) {
                        return Err(Over);
                    }
                }
                Err(_) => return Err(Over),
            }
        }
        Ok(())
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        if !self.abrupt {
            let _ = self.stream.shutdown(Shutdown::Both);
        }
    }
}

/// A frame as it goes over the wire.
pub fn frame_bytes(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).expect("a frame is shorter than 4 GiB").to_be_bytes();
    let [a, b, c, d] = stream.to_be_bytes();
    let mut bytes = vec![length[0], length[1], length[2], kind, flags, a, b, c, d];
    bytes.extend_from_slice(payload);
    bytes
}

/// A header list in HPACK: each field as a literal that is never indexed, names and values shorter
/// than 127 bytes.
pub fn header_block(list: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in list {
        block.push(0x10);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("a short text"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

fn listen_narrowly(address: SocketAddrV4, buffer_bytes: usize) -> nix::Result<OwnedFd> {
    let listener = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&listener, sockopt::ReuseAddr, &true)?;
    // Before it listens: connections inherit it, and the window's scale is fixed at the handshake.
    setsockopt(&listener, sockopt::RcvBuf, &buffer_bytes)?;
    bind(listener.as_raw_fd(), &SockaddrIn::from(address))?;
    listen(&listener, Backlog::new(16)?)?;
    Ok(listener)
}
