//! One question to one agent, and what its answer means.

use super::connect::Way;
use super::region::read_region;
use super::{Place, Target, TargetError};
use crate::model::outcome::GrpcStatus;
use crate::model::region::{NodeEvent, PollFailure};
use crate::model::report::Polled;
use crate::proto::report::{MAX_REPORT_BYTES, read_report};
use crate::proto::v1::node_client::NodeClient;
use crate::proto::v1::{RegionReportRequest, ReportRequest};
use crate::secret::Bearer;
use std::error::Error;
use std::future::Future;
use std::time::{Duration, Instant};
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

/// Largest answer for a region: gRPC's own default.
const MAX_REGION_BYTES: usize = 4 * 1024 * 1024;
/// Longest text of somebody else's that is repeated, in characters.
const MAX_TEXT: usize = 300;
/// The status of an answer that came and cannot be used.
pub(super) const BAD_REPORT: &str = "BAD_REPORT";

/// Asks one target, over one connection at a time.
#[derive(Debug)]
pub(super) struct Asker {
    /// Who and where, for messages.
    described: String,
    way: Way,
    channel: Channel,
    metadata: MetadataMap,
    token: Option<Bearer>,
    patience: Duration,
}

impl Asker {
    pub(super) fn new(target: Target, patience: Duration) -> Result<Self, TargetError> {
        let who = match &target.place {
            Place::Node { node, .. } => format!("node {node:?}"),
            Place::Region { region } => format!("region {region:?}"),
        };
        let way = Way::new(&target, &who, patience)?;
        let metadata = metadata(&target, &who)?;
        let described = format!("{who} at {}:{}", target.host, target.port);
        Ok(Self { described, channel: way.channel(), way, metadata, token: target.token, patience })
    }

    /// One report of a node.
    pub(super) async fn report(&mut self, region: String, node: String) -> NodeEvent {
        let mut client =
            NodeClient::new(self.channel.clone()).max_decoding_message_size(2 * MAX_REPORT_BYTES);
        let request = self.request(ReportRequest {});
        match self.ask(async move { client.report(request).await }).await {
            Err(failure) => NodeEvent::Failed { region, node, failure },
            Ok((asked, answered, written)) => {
                let checked = read_report(written).map_err(|bad| bad.to_string()).and_then(|report| {
                    if report.node != node {
                        return Err(format!(
                            "it calls itself {:?}: name the [[node]] so, or correct its address",
                            report.node
                        ));
                    }
                    if report.region != region {
                        return Err(format!(
                            "it stands in region {:?} and this agent in {region:?}: only nodes of the own region \
                             are asked directly",
                            report.region
                        ));
                    }
                    Ok(report)
                });
                match checked {
                    Ok(report) => {
                        let polled = Box::new(Polled { report, asked, answered });
                        NodeEvent::Polled { region, node, polled }
                    }
                    Err(what) => NodeEvent::Failed { region, node, failure: self.bad_report(&what) },
                }
            }
        }
    }

    /// The last reports of all nodes of a region.
    pub(super) async fn region_report(&mut self, region: String) -> Vec<NodeEvent> {
        let mut client = NodeClient::new(self.channel.clone()).max_decoding_message_size(MAX_REGION_BYTES);
        let request = self.request(RegionReportRequest {});
        let answer = match self.ask(async move { client.region_report(request).await }).await {
            Ok((asked, answered, written)) => {
                let read = read_region(&region, written, asked, answered, &self.described);
                read.map_err(|what| self.bad_report(&what))
            }
            Err(failure) => Err(failure),
        };
        answer.unwrap_or_else(|failure| vec![NodeEvent::RegionFailed { region, failure }])
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        *request.metadata_mut() = self.metadata.clone();
        // The other end learns how long an answer is of use.
        request.set_timeout(self.patience);
        request
    }

    /// Waits for an answer no longer than its patience.
    async fn ask<T>(
        &mut self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<(Instant, Instant, T), PollFailure> {
        let asked = Instant::now();
        let answer = tokio::time::timeout(self.patience, call).await;
        let answered = Instant::now();
        match answer {
            Ok(Ok(answer)) => Ok((asked, answered, answer.into_inner())),
            Ok(Err(status)) => {
                if matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded) {
                    self.channel = self.way.channel();
                }
                Err(self.failure(GrpcStatus::from_code(status.code() as u32).as_str(), &text_of(&status)))
            }
            Err(_) => {
                // A peer that vanished without a word would hold this connection for a quarter of
                // an hour; a new one costs little.
                self.channel = self.way.channel();
                let text = format!("no answer within {:?}", self.patience);
                Err(self.failure(GrpcStatus::DeadlineExceeded.as_str(), &text))
            }
        }
    }

    fn bad_report(&self, what: &str) -> PollFailure {
        self.failure(BAD_REPORT, what)
    }

    fn failure(&self, status: &str, text: &str) -> PollFailure {
        let text = self.token.as_ref().map_or_else(|| text.to_owned(), |token| token.redact(text));
        let text: String = text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect();
        let detail = format!("ask {} for its report: {status}: {text}", self.described);
        PollFailure { status: status.to_owned(), detail }
    }
}

/// The message of a status, and what caused it as far as the library tells.
fn text_of(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = status.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// What goes along with every question.
fn metadata(target: &Target, who: &str) -> Result<MetadataMap, TargetError> {
    let bad = |what: String| TargetError::Address { target: who.to_owned(), what };
    let mut metadata = MetadataMap::new();
    for (name, value) in &target.metadata {
        let name: MetadataKey<Ascii> =
            name.parse().map_err(|_| bad(format!("metadata {name:?} is no name")))?;
        let value = value.parse().map_err(|_| bad(format!("the value of metadata {name:?} is not ASCII")))?;
        metadata.append(name, value);
    }
    if let Some(token) = &target.token {
        let mut value: MetadataValue<Ascii> =
            token.header().parse().map_err(|_| bad("the token is no header value".into()))?;
        value.set_sensitive(true);
        metadata.insert("authorization", value);
    }
    Ok(metadata)
}
