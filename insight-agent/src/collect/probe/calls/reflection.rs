//! Asking a service what its messages look like: `grpc.reflection.v1`, or `v1alpha` where that is all there is.
//!
//! It goes along the probe's own route, with its TLS and its metadata, on a connection of its own that is
//! closed again: what it takes is in no sample's figures.
//!
//! **Source**: `grpc/reflection/v1/reflection.proto`. Both versions have the same messages.

use super::schema;
use crate::collect::probe::access::Keys;
use crate::collect::probe::call::{RequestHead, call};
use crate::collect::probe::connect::{Attempt, NotOpened, Opening, Session};
use crate::collect::probe::event_log::EventLog;
use crate::model::expect::Expectations;
use crate::model::method::{pool_of, split};
use crate::model::outcome::{Failure, FailureClass, GrpcStatus};
use crate::model::plan::{Call, MethodCall, ProbePlan};
use prost::Message;
use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorProto;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const V1ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// Most bytes of descriptors that a service may send: large services have some hundred kilobytes, and what is
/// kept is several times that.
const DESCRIPTORS_MOST: usize = 4 << 20;
/// Most files of one service with all that they import, and so most questions.
const FILES_MOST: usize = 512;

/// The files of the method's service, and all that they import.
///
/// **Errors**: the path's own failure if it is broken; else class `schema`.
pub(super) async fn descriptors(
    plan: &ProbePlan,
    asked: &MethodCall,
    keys: Keys<'_>,
    deadline: Instant,
) -> Result<DescriptorPool, Failure> {
    let (opening, mut losses) = (Opening::default(), Vec::new());
    let attempt = Attempt { plan, keys, deadline, opening: &opening, losses: &mut losses };
    // What happens on this connection is none of the samples' business.
    let opened = Session::open(attempt, &Arc::new(EventLog::default())).await;
    let (session, _) = opened.map_err(|NotOpened { failure, .. }| failure)?;
    let mut asking = Asking { plan, session, deadline, path: V1 };
    let (service, _) = split(&asked.method);
    let mut files = Files::default();
    files.add(plan, asking.files(MessageRequest::FileContainingSymbol(service.to_owned())).await?)?;
    while let Some(name) = files.missing() {
        if files.by_name.len() >= FILES_MOST {
            let why = format!("the service has more than {FILES_MOST} files: name a descriptor_set");
            return Err(schema(plan, GrpcStatus::ResourceExhausted, &why));
        }
        // Some servers leave out what every client has.
        let well_known = DescriptorPool::global().get_file_by_name(&name);
        let found = match well_known {
            Some(file) => vec![file.file_descriptor_proto().encode_to_vec()],
            None => asking.files(MessageRequest::FileByFilename(name.clone())).await?,
        };
        files.add(plan, found)?;
        if !files.by_name.contains_key(&name) {
            let why = format!("the service imports {name:?} and does not have it: name a descriptor_set");
            return Err(schema(plan, GrpcStatus::Internal, &why));
        }
    }
    pool_of(files.by_name.into_values().collect()).map_err(|error| super::misfit(plan, &error))
}

/// A connection on which a service is asked.
struct Asking<'a> {
    plan: &'a ProbePlan,
    session: Session,
    deadline: Instant,
    /// The version that it speaks, as far as is known.
    path: &'static str,
}

impl Asking<'_> {
    /// Serialised files that answer a question.
    async fn files(&mut self, question: MessageRequest) -> Result<Vec<Vec<u8>>, Failure> {
        let mut answer = self.ask(&question).await;
        let is_unknown = |answer: &Result<_, Failure>| {
            answer.as_ref().is_err_and(|failure| failure.class == FailureClass::Misrouted)
        };
        if is_unknown(&answer) && self.path == V1 {
            self.path = V1ALPHA;
            answer = self.ask(&question).await;
        }
        if is_unknown(&answer) {
            let why = "it offers no reflection, neither v1 nor v1alpha, or no hop knows the way to it: switch it \
                       on, or name a descriptor_set";
            return Err(schema(self.plan, GrpcStatus::Unimplemented, why));
        }
        let response = answer.map_err(|failure| self.as_schema(failure))?;
        match response.message_response {
            Some(MessageResponse::FileDescriptorResponse(found)) => Ok(found.file_descriptor_proto),
            Some(MessageResponse::ErrorResponse(error)) => {
                let status =
                    u32::try_from(error.error_code).map_or(GrpcStatus::Unknown, GrpcStatus::from_code);
                let said: String = error.error_message.chars().take(200).collect();
                let why = format!("its reflection says {}: {said:?}: correct probe.method", status.as_str());
                Err(schema(self.plan, status, &why))
            }
            _ => Err(schema(
                self.plan,
                GrpcStatus::Internal,
                "its reflection answers another question: name a descriptor_set",
            )),
        }
    }

    /// One question, on a stream of its own: so it ends, whatever the server does with open streams.
    async fn ask(&self, question: &MessageRequest) -> Result<ServerReflectionResponse, Failure> {
        let request = ServerReflectionRequest {
            host: self.plan.route.authority.clone(),
            message_request: Some(question.clone()),
        };
        let left = self.deadline.saturating_duration_since(Instant::now());
        let plan = ProbePlan {
            call: Call::Unary { method: self.path.to_owned(), request: request.encode_to_vec() },
            expect: Expectations::default(),
            deadline: left,
            drain: Duration::ZERO,
            ..self.plan.clone()
        };
        let unusable = |why: String| schema(self.plan, GrpcStatus::Internal, &why);
        let head = RequestHead::new(&plan).map_err(|error| unusable(error.to_string()))?;
        let end = call(&plan, &head, &self.session.connection, 0, self.deadline).await;
        end.result?;
        ServerReflectionResponse::decode(end.message)
            .map_err(|error| unusable(format!("its reflection cannot be read: {error}")))
    }

    /// What was answered is about the service's description; what broke is about the path.
    fn as_schema(&self, failure: Failure) -> Failure {
        use FailureClass::{Protocol, Proxy, Status};
        match failure.class {
            Status if failure.status == GrpcStatus::NotFound => {
                let why = format!("its reflection says NOT_FOUND ({}): correct probe.method", failure.detail);
                schema(self.plan, failure.status, &why)
            }
            Protocol | Proxy | Status => schema(self.plan, failure.status, &failure.detail),
            _ => failure,
        }
    }
}

/// What was learnt so far.
#[derive(Default)]
struct Files {
    by_name: BTreeMap<String, FileDescriptorProto>,
    bytes: usize,
}

impl Files {
    fn add(&mut self, plan: &ProbePlan, files: Vec<Vec<u8>>) -> Result<(), Failure> {
        for bytes in files {
            self.bytes += bytes.len();
            if self.bytes > DESCRIPTORS_MOST {
                let most = DESCRIPTORS_MOST >> 20;
                let why = format!("its descriptors are larger than {most} MiB: name a descriptor_set");
                return Err(schema(plan, GrpcStatus::ResourceExhausted, &why));
            }
            let file = FileDescriptorProto::decode(&*bytes).map_err(|error| {
                let why = format!("a file of its reflection cannot be read: {error}: name a descriptor_set");
                schema(plan, GrpcStatus::Internal, &why)
            })?;
            self.by_name.entry(file.name().to_owned()).or_insert(file);
        }
        Ok(())
    }

    /// A file that another one imports, and that is not there.
    fn missing(&self) -> Option<String> {
        let imported = self.by_name.values().flat_map(|file| &file.dependency);
        imported.into_iter().find(|name| !self.by_name.contains_key(*name)).cloned()
    }
}
