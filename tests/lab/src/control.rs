//! The control protocol of every component: one JSON value per line, each answered by one line.
//!
//! Plain TCP on the component's own loopback address. The answer is `{"ok": value}` or
//! `{"error": "text"}`; requests are the typed enums of the component's module.

use anyhow::{Context, Result, anyhow};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Longest accepted line in bytes: a hundred times the longest request there is.
const MAX_LINE_BYTES: u64 = 64 * 1024;
/// How long the calling side waits for a connection and for an answer. Control is answered
/// from memory, so this is the patience with a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// What travels back.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer<T> {
    Ok(T),
    Error(String),
}

/// Asks the component whose control address is `address`, blocking the calling thread.
///
/// # Errors
/// Nobody answers there within 5 s, or the component refuses the request and says why.
pub fn ask<Q: Serialize, A: DeserializeOwned>(address: SocketAddr, request: &Q) -> Result<A> {
    let what = || format!("control {address}");
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).with_context(what)?;
    stream.set_read_timeout(Some(PATIENCE)).with_context(what)?;
    stream.set_nodelay(true).with_context(what)?;
    let mut line = serde_json::to_vec(request).with_context(what)?;
    line.push(b'\n');
    stream.write_all(&line).with_context(what)?;
    let mut answer = String::new();
    BufReader::new(stream.take(MAX_LINE_BYTES)).read_line(&mut answer).with_context(what)?;
    match serde_json::from_str(&answer).with_context(|| format!("control {address}: answer {answer:?}"))? {
        Answer::Ok(value) => Ok(value),
        Answer::Error(text) => Err(anyhow!("control {address}: {text}")),
    }
}

/// Serves control requests with `answer` until the runtime ends. The returned future never
/// completes: spawn it, or select on it.
pub async fn serve<Q, A, F>(listener: TcpListener, answer: F)
where
    Q: DeserializeOwned,
    A: Serialize,
    F: Fn(Q) -> Result<A> + Send + Sync + 'static,
{
    let answer = Arc::new(answer);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let answer = answer.clone();
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, &*answer).await {
                        tracing::debug!("control connection: {error:#}");
                    }
                });
            }
            Err(error) => {
                tracing::warn!("control accept: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// One connection: line in, line out, until the peer closes.
async fn converse<Q, A, F>(stream: tokio::net::TcpStream, answer: &F) -> Result<()>
where
    Q: DeserializeOwned,
    A: Serialize,
    F: Fn(Q) -> Result<A>,
{
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut read = tokio::io::BufReader::new(read);
    loop {
        let mut line = String::new();
        if (&mut read).take(MAX_LINE_BYTES).read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let mut bytes = {
            let request = serde_json::from_str::<Q>(&line);
            let result = request.with_context(|| format!("request {:?}", line.trim_end())).and_then(answer);
            serde_json::to_vec(&result.map_or_else(|e| Answer::Error(format!("{e:#}")), Answer::Ok))?
        };
        bytes.push(b'\n');
        write.write_all(&bytes).await?;
    }
}
