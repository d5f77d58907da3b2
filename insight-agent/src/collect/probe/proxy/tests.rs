//! Tunnels through a double of a proxy: what no real one can be made to answer.

use super::*;
use tokio::net::TcpListener;

/// What `open` says of a proxy that reads a request and writes these parts, each for itself; and the next
/// bytes of the stream behind it.
async fn through(parts: &'static [&'static [u8]]) -> (Result<(), TunnelError>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let proxy = tokio::spawn(async move {
        let (mut far, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(far.read_u8().await.unwrap());
        }
        for part in parts {
            far.write_all(part).await.unwrap();
            far.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        String::from_utf8(request).unwrap()
    });
    let credentials = Basic::from_text(b"me:s3cret");
    let opened = open(&mut near, "sg.example:443", credentials.as_ref()).await;
    let request = proxy.await.unwrap();
    assert_eq!(
        request,
        "CONNECT sg.example:443 HTTP/1.1\r\nHost: sg.example:443\r\n\
         Proxy-Authorization: Basic bWU6czNjcmV0\r\n\r\n"
    );
    let mut behind = Vec::new();
    let _ = near.read_to_end(&mut behind).await;
    (opened, behind)
}

#[tokio::test]
async fn a_tunnel_begins_with_the_byte_behind_the_head() {
    let (opened, behind) = through(&[b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\n\x00\x00\x06first bytes"]).await;
    opened.unwrap();
    assert_eq!(behind, b"\x00\x00\x06first bytes");
    let (opened, behind) = through(&[b"HTT", b"P/1.0 200 fine\r", b"\n\r", b"\nabc"]).await;
    opened.unwrap();
    assert_eq!(behind, b"abc");
    let (opened, behind) = through(&[b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\n\r\nabc"]).await;
    opened.unwrap();
    assert_eq!(behind, b"abc");
}

#[tokio::test]
async fn each_refusal_says_what_the_proxy_said() {
    let (opened, _) = through(&[b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"]).await;
    let text = opened.unwrap_err().to_string();
    assert_eq!(text, "the proxy answered HTTP 407 \"Proxy Authentication Required\"");
    let cases: [(&'static [&'static [u8]], &str); 4] = [
        (&[b"HTTP/1.1 502\r\n\r\n"], "HTTP 502"),
        (&[b"HTTP/1.1 200 OK\r\nVia"], "closed the connection"),
        (&[b"SSH-2.0-OpenSSH_9.2\r\n"], "does not begin with HTTP/1"),
        (&[], "closed the connection"),
    ];
    for (parts, expected) in cases {
        let text = through(parts).await.0.unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn a_head_without_end_is_given_up() {
    static LONG: [u8; 20_000] = {
        let mut bytes = [b'x'; 20_000];
        let start = b"HTTP/1.1 200 OK\r\n";
        let mut at = 0;
        while at < start.len() {
            bytes[at] = start[at];
            at += 1;
        }
        bytes
    };
    static PARTS: [&[u8]; 1] = [&LONG];
    assert!(matches!(through(&PARTS).await.0, Err(TunnelError::TooLong)));
}

#[test]
fn a_file_without_credentials_is_named_and_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proxy.auth");
    std::fs::write(&file, "s3cret").unwrap();
    let mut route = RoutePlan::example(([127, 0, 0, 1], 1).into());
    route.dial.proxy =
        Some(crate::model::dial::ProxyPlan { host: "proxy".into(), port: 1, auth_file: Some(file.clone()) });
    let text = credentials(&route).unwrap_err().to_string();
    assert!(text.contains("proxy.auth") && !text.contains("s3cret"), "{text}");
    std::fs::write(&file, "me:s3cret\n").unwrap();
    assert!(credentials(&route).unwrap().is_some());
}
