//! `insight.lab.v1.Words`: methods whose messages have content, described by server reflection. `Echo` answers
//! with what it is sent (NOT_FOUND for an empty text), `Repeat` with as many of it as it says.

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
    ServiceDescriptorProto,
};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::tokio_stream::Stream;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// The unary method.
pub const ECHO: &str = "/insight.lab.v1.Words/Echo";
/// The streaming method.
pub const REPEAT: &str = "/insight.lab.v1.Words/Repeat";

/// What both methods take and give.
#[derive(Clone, PartialEq, Message)]
pub struct Text {
    /// Any text; `Repeat` numbers its messages in [`Text::nth`].
    #[prost(string, tag = "1")]
    pub text: String,
    /// How many messages `Repeat` sends.
    #[prost(uint32, tag = "2")]
    pub times: u32,
    /// Milliseconds between two of them.
    #[prost(uint32, tag = "3")]
    pub gap_ms: u32,
    /// Number of a message, from 1 on.
    #[prost(uint32, tag = "4")]
    pub nth: u32,
}

/// What protoc would write of these messages and methods.
pub fn descriptor_set() -> Vec<u8> {
    let field = |(name, number, kind): (&str, i32, Type)| FieldDescriptorProto {
        name: Some(name.to_owned()),
        json_name: Some(if name == "gap_ms" { "gapMs" } else { name }.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        ..Default::default()
    };
    let fields = [
        ("text", 1, Type::String),
        ("times", 2, Type::Uint32),
        ("gap_ms", 3, Type::Uint32),
        ("nth", 4, Type::Uint32),
    ];
    let method = |name: &str, streams: bool| MethodDescriptorProto {
        name: Some(name.to_owned()),
        input_type: Some(".insight.lab.v1.Text".to_owned()),
        output_type: Some(".insight.lab.v1.Text".to_owned()),
        server_streaming: Some(streams),
        ..Default::default()
    };
    let file = FileDescriptorProto {
        name: Some("insight/lab/v1/words.proto".to_owned()),
        package: Some("insight.lab.v1".to_owned()),
        syntax: Some("proto3".to_owned()),
        message_type: vec![DescriptorProto {
            name: Some("Text".to_owned()),
            field: fields.map(field).into(),
            ..Default::default()
        }],
        service: vec![ServiceDescriptorProto {
            name: Some("Words".to_owned()),
            method: vec![method("Echo", false), method("Repeat", true)],
            ..Default::default()
        }],
        ..Default::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

/// The service.
#[derive(Clone)]
pub(super) struct Words;

impl tonic::server::NamedService for Words {
    const NAME: &'static str = "insight.lab.v1.Words";
}

type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

struct Echo;

impl tonic::server::UnaryService<Text> for Echo {
    type Response = Text;
    type Future = std::future::Ready<Result<Response<Text>, Status>>;

    fn call(&mut self, request: Request<Text>) -> Self::Future {
        let text = request.into_inner();
        std::future::ready(if text.text.is_empty() {
            Err(Status::not_found("there is no text"))
        } else {
            Ok(Response::new(text))
        })
    }
}

struct Repeat;

impl tonic::server::ServerStreamingService<Text> for Repeat {
    type Response = Text;
    type ResponseStream = Coming;
    type Future = std::future::Ready<Result<Response<Coming>, Status>>;

    fn call(&mut self, request: Request<Text>) -> Self::Future {
        let asked = request.into_inner();
        let (sender, coming) = mpsc::channel(1);
        tokio::spawn(async move {
            for nth in 1..=asked.times {
                if nth > 1 {
                    tokio::time::sleep(Duration::from_millis(asked.gap_ms.into())).await;
                }
                if sender.send(Text { nth, ..asked.clone() }).await.is_err() {
                    return;
                }
            }
        });
        std::future::ready(Ok(Response::new(Coming(coming))))
    }
}

/// Messages as they come.
struct Coming(mpsc::Receiver<Text>);

impl Stream for Coming {
    type Item = Result<Text, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|message| message.map(Ok))
    }
}

impl<B> Service<http::Request<B>> for Words
where
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<tonic::codegen::StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Later<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<Text, Text>::default());
            Ok(match request.uri().path() {
                ECHO => grpc.unary(Echo, request).await,
                REPEAT => grpc.server_streaming(Repeat, request).await,
                _ => {
                    Status::unimplemented("insight.lab.v1.Words has the methods Echo and Repeat").into_http()
                }
            })
        })
    }
}
