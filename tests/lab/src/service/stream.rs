//! `insight.lab.v1.Work/Stream`: messages of a size, at an interval, as the request asks for.

use crate::clock::Timer;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::Stream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

/// Metadata that says how many messages to send.
pub const MESSAGES: &str = "x-lab-messages";
/// Metadata that says how many bytes each has.
pub const BYTES: &str = "x-lab-bytes";
/// Metadata that says how long after each the next one is due, in microseconds.
pub const INTERVAL_US: &str = "x-lab-interval-us";

/// What no test needs more of: messages, bytes in each, and a minute between two.
const MOST: [(&str, u64); 3] = [(MESSAGES, 100_000), (BYTES, 1 << 20), (INTERVAL_US, 60_000_000)];

/// Messages that wait for the connection to take them.
const AHEAD: usize = 4;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    messages: u64,
    bytes: usize,
    interval: Duration,
}

impl Asked {
    /// Absent metadata asks for one empty message.
    fn read(metadata: &MetadataMap) -> Result<Self, Status> {
        let [messages, bytes, interval_us] = MOST.map(|(key, most)| {
            let Some(value) = metadata.get(key) else { return Ok(u64::from(key == MESSAGES)) };
            let number = value.to_str().ok().and_then(|text| text.parse().ok());
            number.filter(|number| *number <= most).ok_or_else(|| {
                Status::invalid_argument(format!("{key} = {value:?}: expected a number up to {most}"))
            })
        });
        let (messages, interval) = (messages?, Duration::from_micros(interval_us?));
        Ok(Self { messages, bytes: bytes? as usize, interval })
    }
}

/// The method itself.
pub(super) struct Messages;

impl tonic::server::ServerStreamingService<()> for Messages {
    type Response = Vec<u8>;
    type ResponseStream = Coming;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Coming>, Status>> + Send>>;

    fn call(&mut self, request: Request<()>) -> Self::Future {
        Box::pin(async move {
            let asked = Asked::read(request.metadata())?;
            let timer = Timer::new().map_err(|error| Status::internal(format!("timer: {error}")))?;
            let (sender, coming) = mpsc::channel(AHEAD);
            tokio::spawn(send(asked, timer, sender));
            Ok(Response::new(Coming(coming)))
        })
    }
}

/// Sends until all is sent or nobody wants more. The first message is due at once, and each other
/// one by the clock and not by the one before: a slow reader does not stretch the stream.
async fn send(asked: Asked, timer: Timer, sender: mpsc::Sender<Vec<u8>>) {
    let mut due = Instant::now();
    for _ in 0..asked.messages {
        if !asked.interval.is_zero()
            && let Err(error) = timer.sleep_until(due).await
        {
            return tracing::warn!("interval not waited: {error}");
        }
        due += asked.interval;
        if sender.send(vec![0; asked.bytes]).await.is_err() {
            return;
        }
    }
}

/// Messages as they come.
pub(super) struct Coming(mpsc::Receiver<Vec<u8>>);

impl Stream for Coming {
    type Item = Result<Vec<u8>, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|message| message.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(pairs: &[(&'static str, &str)]) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        for (key, value) in pairs {
            metadata.insert(*key, value.parse().unwrap());
        }
        metadata
    }

    #[test]
    fn what_is_not_asked_for_is_one_empty_message() {
        let asked = Asked::read(&metadata(&[])).unwrap();
        assert_eq!(asked, Asked { messages: 1, bytes: 0, interval: Duration::ZERO });
        let asked = Asked::read(&metadata(&[(MESSAGES, "7"), (BYTES, "9"), (INTERVAL_US, "20000")])).unwrap();
        assert_eq!(asked, Asked { messages: 7, bytes: 9, interval: Duration::from_millis(20) });
    }

    #[test]
    fn what_is_no_number_or_too_much_is_refused_with_its_key() {
        for (key, value) in [(MESSAGES, "many"), (BYTES, "1048577"), (INTERVAL_US, "-1")] {
            let status = Asked::read(&metadata(&[(key, value)])).unwrap_err();
            assert!(status.message().contains(key), "{status}");
        }
    }

    #[tokio::test]
    async fn messages_come_at_their_interval_and_then_end() {
        let asked = Asked { messages: 3, bytes: 5, interval: Duration::from_millis(20) };
        let (sender, mut coming) = mpsc::channel(AHEAD);
        let began = Instant::now();
        tokio::spawn(send(asked, Timer::new().unwrap(), sender));
        let mut lengths = Vec::new();
        while let Some(message) = coming.recv().await {
            lengths.push(message.len());
        }
        assert_eq!(lengths, [5, 5, 5]);
        assert!(began.elapsed() >= 2 * asked.interval, "{:?}", began.elapsed());
    }
}
