//! The far end of a white-box probe: how long did the service itself take?

use super::stamp::Arrived;
use super::{Drill, GrpcOptions};
use crate::proto::v1::probe_server::Probe;
use crate::proto::v1::{MeasureRequest, MeasureResponse};
use bytes::Bytes;
use std::time::{Duration, Instant};
use tonic::{Request, Response, Status};

/// Answers `insight.v1.Probe/Measure`.
#[derive(Debug)]
pub struct Receiver {
    options: GrpcOptions,
    drill: Drill,
    /// `max_payload` zero bytes; replies share slices of it.
    zeros: Bytes,
}

impl Receiver {
    /// A receiver within the options' bounds.
    pub fn new(options: GrpcOptions, drill: Drill) -> Self {
        let zeros = Bytes::from(vec![0; options.max_payload]);
        Self { options, drill, zeros }
    }

    fn check(&self, request: &MeasureRequest) -> Result<Duration, Status> {
        let delay = Duration::from_nanos(request.delay_ns);
        if delay > self.options.max_delay {
            return Err(Status::invalid_argument(format!(
                "delay_ns = {}: this receiver waits at most {:?}: ask for less, or raise its grpc.max_delay",
                request.delay_ns, self.options.max_delay
            )));
        }
        let limit = self.options.max_payload;
        for (field, length) in [
            ("response_payload_bytes", request.response_payload_bytes as usize),
            ("payload", request.payload.len()),
        ] {
            if length > limit {
                return Err(Status::invalid_argument(format!(
                    "{field} of {length} bytes: this receiver allows {limit}: ask for less, or raise its grpc.max_payload"
                )));
            }
        }
        Ok(delay)
    }
}

#[tonic::async_trait]
impl Probe for Receiver {
    async fn measure(&self, request: Request<MeasureRequest>) -> Result<Response<MeasureResponse>, Status> {
        let now = Instant::now();
        let arrived = request.extensions().get::<Arrived>().map_or(now, |stamp| stamp.0);
        let wait_before = (self.options.thread_wait)();
        let request = request.into_inner();
        let delay = self.check(&request)? + self.drill.delay();
        let applied = if delay.is_zero() {
            Duration::ZERO
        } else {
            let start = Instant::now();
            tokio::time::sleep(delay).await;
            start.elapsed()
        };
        // The runtime of this listener has one thread, so both readings are of the same one.
        let wait = (self.options.thread_wait)()
            .zip(wait_before)
            .map(|(after, before)| nanoseconds(after.saturating_sub(before)));
        let took = arrived.elapsed();
        if let Some(reports) = &self.options.reports {
            reports.service_times.record(took);
        }
        Ok(Response::new(MeasureResponse {
            receive_to_send_ns: nanoseconds(took),
            runqueue_wait_ns: wait,
            applied_delay_ns: nanoseconds(applied),
            received_payload_bytes: u32::try_from(request.payload.len()).unwrap_or(u32::MAX),
            payload: self.zeros.slice(..request.response_payload_bytes as usize),
            sequence: request.sequence,
            region: self.options.region.clone(),
            node: self.options.node.clone(),
        }))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
