//! The shop: a tonic server with as much reflection as a test wants.

use crate::model::method::fixtures::{GetRequest, Item, ListRequest, Order, shop};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reflection {
    V1,
    V1Alpha,
    Absent,
}

/// What came in, by the path of its method.
#[derive(Clone, Default)]
pub(super) struct Counts {
    pub(super) reflections: Arc<AtomicUsize>,
    pub(super) calls: Arc<AtomicUsize>,
}

impl Counts {
    pub(super) fn reflections(&self) -> usize {
        self.reflections.load(Ordering::SeqCst)
    }
}

/// Serves until the test's runtime ends.
pub(super) async fn serve(reflection: Reflection) -> (SocketAddr, Counts) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let counts = Counts::default();
    let descriptors = shop();
    let builder =
        || tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(&descriptors);
    let v1 = (reflection == Reflection::V1).then(|| builder().build_v1().unwrap());
    let v1alpha = (reflection == Reflection::V1Alpha).then(|| builder().build_v1alpha().unwrap());
    let counting = counts.clone();
    let server = tonic::transport::Server::builder()
        .layer(tower::layer::layer_fn(move |inner| Counting { inner, counts: counting.clone() }))
        .add_service(Shop)
        .add_optional_service(v1)
        .add_optional_service(v1alpha);
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    tokio::spawn(server.serve_with_incoming(incoming));
    (address, counts)
}

#[derive(Clone)]
struct Counting<S> {
    inner: S,
    counts: Counts,
}

impl<S: Service<http::Request<B>>, B> Service<http::Request<B>> for Counting<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> S::Future {
        let is_reflection = request.uri().path().contains("reflection");
        let count = if is_reflection { &self.counts.reflections } else { &self.counts.calls };
        count.fetch_add(1, Ordering::SeqCst);
        self.inner.call(request)
    }
}

#[derive(Clone)]
struct Shop;

impl tonic::server::NamedService for Shop {
    const NAME: &'static str = "shop.v1.Shop";
}

type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

struct Get;

impl tonic::server::UnaryService<GetRequest> for Get {
    type Response = Order;
    type Future = Later<Result<Response<Order>, Status>>;

    fn call(&mut self, request: Request<GetRequest>) -> Self::Future {
        Box::pin(async move {
            let GetRequest { id, labels, numbers, kind } = request.into_inner();
            if id == "none" {
                return Err(Status::not_found("no such order"));
            }
            if id == "broken" {
                return Err(Status::internal("out of order"));
            }
            let items = numbers
                .into_iter()
                .map(|number| Item { item_name: format!("item-{number}"), amount: number.unsigned_abs() });
            let mut response =
                Response::new(Order { id, items: items.collect(), labels, kind, ..Order::default() });
            response.metadata_mut().insert("x-served-by", "shop-1".parse().unwrap());
            Ok(response)
        })
    }
}

struct List;

impl tonic::server::ServerStreamingService<ListRequest> for List {
    type Response = Order;
    type ResponseStream = ReceiverStream<Result<Order, Status>>;
    type Future = Later<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<ListRequest>) -> Self::Future {
        Box::pin(async move {
            let ListRequest { messages, gap_ms, gap_after, breaks } = request.into_inner();
            let (sender, receiver) = mpsc::channel(1);
            tokio::spawn(async move {
                for nth in 0..messages {
                    if gap_after > 0 && nth == gap_after {
                        tokio::time::sleep(Duration::from_millis(gap_ms.into())).await;
                    }
                    let order = Order { id: nth.to_string(), ..Order::default() };
                    if sender.send(Ok(order)).await.is_err() {
                        return;
                    }
                }
                if breaks {
                    let _ = sender.send(Err(Status::data_loss("the shelf fell over"))).await;
                }
            });
            Ok(Response::new(ReceiverStream::new(receiver)))
        })
    }
}

impl<B> Service<http::Request<B>> for Shop
where
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<tonic::codegen::StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Later<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/shop.v1.Shop/Get" => {
                    let mut grpc = tonic::server::Grpc::new(ProstCodec::<Order, GetRequest>::default());
                    grpc.unary(Get, request).await
                }
                "/shop.v1.Shop/List" => {
                    let mut grpc = tonic::server::Grpc::new(ProstCodec::<Order, ListRequest>::default());
                    grpc.server_streaming(List, request).await
                }
                _ => Status::unimplemented("the shop has Get and List").into_http(),
            })
        })
    }
}
