"""A gRPC service on grpcio: health, and one unary method that wants known bytes.

Arguments: ADDRESS, EXPECTED (hexadecimal). Each line on standard input is the name of the state
that the health check shall tell from then on; the end of the input ends the service.
"""

import sys
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

ADDRESS, EXPECTED = sys.argv[1], bytes.fromhex(sys.argv[2])


def get(request, context):
    if request != EXPECTED:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"got {request.hex()}")
    if ("x-insight-probe", "1") not in [tuple(pair) for pair in context.invocation_metadata()]:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the probe does not say that it is one")
    return b"\x0a\x03abc"


server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
states = health.HealthServicer()
health_pb2_grpc.add_HealthServicer_to_server(states, server)
# Without (de)serialisers grpcio hands over the bytes as they are.
handlers = {"Get": grpc.unary_unary_rpc_method_handler(get)}
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("stock.v1.Stock", handlers),))
if server.add_insecure_port(ADDRESS) == 0:
    sys.exit(f"cannot listen at {ADDRESS}")
states.set("", health_pb2.HealthCheckResponse.SERVING)
server.start()
print("ready", flush=True)
for line in sys.stdin:
    states.set("", health_pb2.HealthCheckResponse.ServingStatus.Value(line.strip()))
