//! Real listeners on loopback, asked by a client that writes and reads bytes.

mod admin_listener;
mod metrics_listener;
mod tls_listener;
mod web_config_file;

use super::*;
use crate::door::{Door, Limits};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// A listener under test; it ends with the test's runtime.
struct Server {
    addr: SocketAddr,
    readiness: Arc<Readiness>,
    _stop: oneshot::Sender<()>,
    _task: JoinHandle<()>,
}

/// Starts a listener that `serve` makes of a socket and a shutdown signal.
async fn start<F: Future<Output = ()> + Send + 'static>(
    readiness: Arc<Readiness>,
    serve: impl FnOnce(TcpListener, oneshot::Receiver<()>) -> F,
) -> Server {
    let listener = bind("test", "127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    Server { addr, readiness, _stop: stop, _task: tokio::spawn(serve(listener, stopped)) }
}

/// A page of one line.
fn up() -> Exposition {
    Arc::new(|give| {
        let _ = give("up 1\n".to_owned());
    })
}

async fn start_metrics(exposition: Exposition, web_config: Option<WebConfig>) -> Server {
    start_behind(Door::new(Limits::new(256, 256)), exposition, web_config).await
}

async fn start_behind(door: Arc<Door>, exposition: Exposition, web_config: Option<WebConfig>) -> Server {
    let readiness = Arc::new(Readiness::not_yet("the first window is not complete"));
    let parts = MetricsListener { exposition, readiness: Arc::clone(&readiness), web_config, door };
    start(readiness, |listener, stopped| serve_metrics(listener, parts, async { drop(stopped.await) })).await
}

#[derive(Debug)]
struct Answer {
    status: u16,
    /// By lower-case name.
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// One request, `METHOD PATH`, with these header lines, on a stream of its own.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str, headers: &[&str]) -> Answer {
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let text = format!("{request} HTTP/1.1\r\nConnection: close\r\n{lines}\r\n");
    let exchange = async {
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        String::from_utf8(bytes).unwrap()
    };
    parse(&tokio::time::timeout(DEADLINE, exchange).await.expect("no answer"))
}

fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let pair = |line: &str| line.split_once(": ").map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()));
    Answer { status, headers: lines.filter_map(pair).collect(), body: body.to_owned() }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// Asks with a `Host` header of the listener's own address.
    async fn ask(&self, request: &str, headers: &[&str]) -> Answer {
        let host = format!("Host: {}", self.addr);
        ask(self.connect().await, request, &[&[host.as_str()], headers].concat()).await
    }
}
