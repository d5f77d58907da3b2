"""Calls an Insight receiver with grpcio, knowing nothing but what reflection tells.

Argument: ADDRESS. Prints one JSON object: what a good call gave, and how two bad ones ended.
"""

import json
import sys

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

DEADLINE_SECONDS = 10

channel = grpc.insecure_channel(sys.argv[1])
pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
method = pool.FindServiceByName("insight.v1.Probe").FindMethodByName("Measure")
Request = message_factory.GetMessageClass(method.input_type)
Response = message_factory.GetMessageClass(method.output_type)
measure = channel.unary_unary(
    "/insight.v1.Probe/Measure",
    request_serializer=Request.SerializeToString,
    response_deserializer=Response.FromString,
)


def refusal(**fields):
    try:
        measure(Request(**fields), timeout=DEADLINE_SECONDS)
    except grpc.RpcError as error:
        return {"code": error.code().name, "details": error.details()}
    return {"code": "OK", "details": ""}


response, call = measure.with_call(
    Request(delay_ns=20_000_000, sequence=42, payload=b"12345", response_payload_bytes=7),
    timeout=DEADLINE_SECONDS,
)
print(
    json.dumps(
        {
            "good": json_format.MessageToDict(response),
            "trailers": {key: value for key, value in call.trailing_metadata()},
            "delay": refusal(delay_ns=10**12),
            "size": refusal(response_payload_bytes=2**31),
        }
    )
)
