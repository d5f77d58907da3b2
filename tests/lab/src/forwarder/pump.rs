//! One body from one stream to another: data under both sides' flow control, then trailers.

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use std::future::poll_fn;
use std::time::Duration;

/// Why a body did not arrive whole.
enum Broken {
    /// The sending side reset its stream, closed its connection, or stalled.
    Source(Reason),
    /// The receiving side is gone; there is nobody to tell.
    Sink,
}

/// Carries everything from `from` to `to`. A reset of one side becomes a reset of the other;
/// a stall longer than `idle` becomes a reset of both. Cancelling resets both streams.
pub(super) async fn run(mut from: RecvStream, mut to: SendStream<Bytes>, idle: Duration) {
    match carry(&mut from, &mut to, idle).await {
        Ok(()) | Err(Broken::Sink) => {}
        Err(Broken::Source(reason)) => to.send_reset(reason),
    }
}

async fn carry(from: &mut RecvStream, to: &mut SendStream<Bytes>, idle: Duration) -> Result<(), Broken> {
    let gone = |_| Broken::Sink;
    while let Some(mut chunk) = next(from, to, idle).await? {
        let length = chunk.len();
        // Known with the last data frame: then no empty frame has to follow.
        let last = from.is_end_stream();
        while !chunk.is_empty() {
            to.reserve_capacity(chunk.len());
            let granted = tokio::time::timeout(idle, poll_fn(|cx| to.poll_capacity(cx))).await;
            let granted = granted.ok().flatten().ok_or(Broken::Sink)?.map_err(gone)?;
            let part = chunk.split_to(granted.min(chunk.len()));
            to.send_data(part, last && chunk.is_empty()).map_err(gone)?;
        }
        // Only now may the source send more: a slow sink slows its source, not fills memory.
        from.flow_control().release_capacity(length).map_err(|_| Broken::Source(Reason::INTERNAL_ERROR))?;
        if last {
            if length == 0 {
                to.send_data(Bytes::new(), true).map_err(gone)?;
            }
            return Ok(());
        }
    }
    match from.trailers().await {
        Ok(Some(trailers)) => to.send_trailers(trailers).map_err(gone),
        Ok(None) => to.send_data(Bytes::new(), true).map_err(gone),
        Err(error) => Err(Broken::Source(error.reason().unwrap_or(Reason::CANCEL))),
    }
}

/// The next chunk; `None` at the end of the data.
async fn next(
    from: &mut RecvStream,
    to: &mut SendStream<Bytes>,
    idle: Duration,
) -> Result<Option<Bytes>, Broken> {
    tokio::select! {
        chunk = tokio::time::timeout(idle, from.data()) => match chunk {
            Ok(chunk) => chunk.transpose().map_err(|e| Broken::Source(e.reason().unwrap_or(Reason::CANCEL))),
            Err(_) => Err(Broken::Source(Reason::CANCEL)),
        },
        _ = poll_fn(|cx| to.poll_reset(cx)) => Err(Broken::Sink),
    }
}
