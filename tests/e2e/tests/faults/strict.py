"""A grpcio service that permits one PING in 300 ms and takes no second offence.

Argument: ADDRESS. The end of standard input ends it.
"""

import sys
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

server = grpc.server(
    futures.ThreadPoolExecutor(max_workers=2),
    options=[
        ("grpc.http2.min_ping_interval_without_data_ms", 300),
        ("grpc.http2.max_ping_strikes", 1),
        ("grpc.keepalive_permit_without_calls", 1),
    ],
)
states = health.HealthServicer()
health_pb2_grpc.add_HealthServicer_to_server(states, server)
if server.add_insecure_port(sys.argv[1]) == 0:
    sys.exit(f"cannot listen at {sys.argv[1]}")
states.set("", health_pb2.HealthCheckResponse.SERVING)
server.start()
print("ready", flush=True)
sys.stdin.read()
