//! A service as tests know it: its descriptors, and its messages as prost has them.

use prost::Message;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use std::collections::HashMap;

const SHOP: &str = r#"
syntax = "proto3";
package shop.v1;
import "shop/v1/order.proto";
service Shop {
  rpc Get(GetRequest) returns (Order);
  rpc List(ListRequest) returns (stream Order);
  rpc Upload(stream Order) returns (Order);
}
message GetRequest {
  string id = 1;
  map<string, string> labels = 2;
  repeated int32 numbers = 3;
  Kind kind = 4;
}
message ListRequest { uint32 messages = 1; uint32 gap_ms = 2; uint32 gap_after = 3; bool breaks = 4; }
"#;

const ORDER: &str = r#"
syntax = "proto3";
package shop.v1;
import "google/protobuf/timestamp.proto";
message Order {
  string id = 1;
  repeated Item items = 2;
  map<string, string> labels = 3;
  Kind kind = 4;
  optional string note = 5;
  int64 count = 6;
  google.protobuf.Timestamp made_at = 7;
}
message Item { string item_name = 1; uint32 amount = 2; }
enum Kind { KIND_UNSPECIFIED = 0; KIND_OPEN = 1; }
"#;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct GetRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(map = "string, string", tag = "2")]
    pub(crate) labels: HashMap<String, String>,
    #[prost(int32, repeated, tag = "3")]
    pub(crate) numbers: Vec<i32>,
    #[prost(int32, tag = "4")]
    pub(crate) kind: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ListRequest {
    #[prost(uint32, tag = "1")]
    pub(crate) messages: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) gap_ms: u32,
    #[prost(uint32, tag = "3")]
    pub(crate) gap_after: u32,
    #[prost(bool, tag = "4")]
    pub(crate) breaks: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Order {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) items: Vec<Item>,
    #[prost(map = "string, string", tag = "3")]
    pub(crate) labels: HashMap<String, String>,
    #[prost(int32, tag = "4")]
    pub(crate) kind: i32,
    #[prost(string, optional, tag = "5")]
    pub(crate) note: Option<String>,
    #[prost(int64, tag = "6")]
    pub(crate) count: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Item {
    #[prost(string, tag = "1")]
    pub(crate) item_name: String,
    #[prost(uint32, tag = "2")]
    pub(crate) amount: u32,
}

struct Written;

impl FileResolver for Written {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "shop/v1/shop.proto" => File::from_source(name, SHOP),
            "shop/v1/order.proto" => File::from_source(name, ORDER),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// The descriptor set, with everything that it imports, as protoc writes it.
pub(crate) fn shop() -> Vec<u8> {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Written);
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file("shop/v1/shop.proto").unwrap();
    compiler.file_descriptor_set().encode_to_vec()
}
