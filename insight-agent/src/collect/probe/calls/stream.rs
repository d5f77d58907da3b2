//! The answer of a server-streaming method: all of its messages, and when they came.

use super::frames::{Compressed, FrameReader};
use crate::collect::probe::call::{Broken, MAX_ANSWER_BYTES, Read};
use crate::collect::probe::failure;
use crate::collect::probe::http2::Exchange;
use crate::collect::probe::message::BadReply;
use crate::model::plan::{Call, MESSAGES_UNLESS_TOLD, ProbePlan};
use crate::model::sample::StreamTiming;
use bytes::Bytes;
use std::time::{Duration, Instant};

/// What is read how.
pub(in crate::collect::probe) struct Reading<'a> {
    pub(in crate::collect::probe) plan: &'a ProbePlan,
    /// Whether the messages are wanted, and not only their number.
    pub(in crate::collect::probe) keeps: bool,
    /// When the request began.
    pub(in crate::collect::probe) began: Instant,
}

impl Reading<'_> {
    /// Reads until the stream has ended, or as many messages as are to be read at most have come; then the rest
    /// is cancelled. `answered` is when its headers came. `timing` is kept up to date, so that it says how
    /// far a stream came that then broke.
    ///
    /// A message ends when its last byte has come to this host, as far as the kernel says.
    pub(in crate::collect::probe) async fn read(
        self,
        exchange: &mut Exchange,
        answered: Instant,
        timing: &mut Option<StreamTiming>,
    ) -> Result<Read, Broken> {
        let most = match &self.plan.call {
            Call::Method(call) => call.max_messages,
            _ => MESSAGES_UNLESS_TOLD,
        };
        let timing = timing.insert(StreamTiming::default());
        let mut reader = FrameReader::new(self.keeps);
        let (mut messages, mut bytes) = (Vec::new(), 0);
        let mut last: Option<Instant> = None;
        while let Some(piece) = exchange.piece().await? {
            bytes += piece.bytes.len();
            if bytes > MAX_ANSWER_BYTES {
                return Err(Broken::Answer(failure::too_large(self.plan, MAX_ANSWER_BYTES)));
            }
            let (came, is_stamped) = piece.came.since(last.unwrap_or(answered));
            let ended = |message: Bytes| {
                timing.messages += 1;
                match last.replace(came) {
                    None => timing.first_message = Some(came.saturating_duration_since(self.began)),
                    Some(before) => {
                        let gap = came.saturating_duration_since(before);
                        timing.largest_gap = Some(timing.largest_gap.unwrap_or(Duration::ZERO).max(gap));
                    }
                }
                if self.keeps {
                    messages.push(message);
                }
                timing.messages < most as u64
            };
            reader.feed(&piece.bytes, ended).map_err(|Compressed| {
                let what = "a message is compressed, although no encoding was offered".to_owned();
                Broken::Answer(failure::bad_reply(self.plan, &BadReply::Unreadable(what)))
            })?;
            if timing.messages >= most as u64 && !exchange.has_ended() {
                timing.cut = true;
                let ended = (last.unwrap_or(came), is_stamped);
                return Ok(Read { messages, body: Bytes::new(), trailers: None, ended });
            }
        }
        let (trailers, ended) = exchange.end(last.unwrap_or(answered));
        // An error may come in the middle of a message; then it is what there is to be told.
        let failed = trailers.as_ref().and_then(|trailers| trailers.get("grpc-status"));
        if !reader.is_between_messages() && failed.is_none_or(|status| status == "0") {
            let what = "the stream ended within a message".to_owned();
            return Err(Broken::Answer(failure::bad_reply(self.plan, &BadReply::Unreadable(what))));
        }
        Ok(Read { messages, body: Bytes::new(), trailers, ended })
    }
}
