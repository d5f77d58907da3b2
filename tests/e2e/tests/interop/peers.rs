//! The independent programs, started and stopped by a test.

use insight_e2e::agent::Site;
use insight_e2e::equipment::Program;
use insight_e2e::process::Process;
use insight_e2e::wait::{PATIENCE, wait_until};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// What the service's unary method wants to be sent, in base64: a protobuf message.
pub const REQUEST_BASE64: &str = "CgVoZWxsbw==";
/// The same bytes for the service: field 1, "hello".
const REQUEST_HEX: &str = "0a0568656c6c6f";

/// The path of a file beside this one.
fn beside(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(name)
}

/// Python with one of the scripts here.
pub fn python(script: &str) -> Command {
    let mut command = Command::new(Program::Python.path());
    command.arg("-B").arg(beside(script));
    command
}

/// A grpcio service that says SERVING until it is told another state.
pub fn service(site: &Site, address: SocketAddr) -> Process {
    let mut command = python("service.py");
    command.arg(address.to_string()).arg(REQUEST_HEX);
    let mut service = Process::start("service.py", command, &site.path("service.log"));
    wait_until("the grpcio service", PATIENCE, || {
        assert!(service.ended().is_none(), "the service ended: {}", service.log());
        service.log().contains("ready").then_some(()).ok_or_else(|| service.log())
    });
    service
}

/// nginx as a gRPC forwarder to `upstream` that tells its times in `x-insight-hop`.
///
/// One process, so that killing it leaves no worker behind.
pub fn nginx(site: &Site, listen: SocketAddr, upstream: SocketAddr) -> Process {
    let folder = site.path("nginx");
    std::fs::create_dir_all(&folder).unwrap();
    let run = folder.display();
    // The default of 1000 requests per connection ends in a GOAWAY, which is another test's theme.
    let config = site.write(
        "nginx.conf",
        &format!(
            "daemon off;\n\
             master_process off;\n\
             pid {run}/pid;\n\
             error_log stderr warn;\n\
             events {{ worker_connections 64; }}\n\
             http {{\n\
               access_log off;\n\
               client_body_temp_path {run}/body;\n\
               proxy_temp_path {run}/proxy;\n\
               fastcgi_temp_path {run}/fastcgi;\n\
               uwsgi_temp_path {run}/uwsgi;\n\
               scgi_temp_path {run}/scgi;\n\
               upstream service {{ server {upstream} max_fails=0; keepalive 4; keepalive_requests 1000000; }}\n\
               server {{\n\
                 listen {listen} http2;\n\
                 keepalive_requests 1000000;\n\
                 add_header x-insight-hop \
                   'nginx;d_s=$request_time;u_s=\"$upstream_header_time\";c_s=\"$upstream_connect_time\"' always;\n\
                 location / {{ grpc_pass grpc://service; }}\n\
               }}\n\
             }}\n"
        ),
    );
    let mut command = Command::new(Program::Nginx.path());
    command.arg("-c").arg(config).arg("-p").arg(&folder).args(["-e", "stderr"]);
    let mut nginx = Process::start("nginx", command, &site.path("nginx.log"));
    wait_until("nginx to listen", PATIENCE, || {
        assert!(nginx.ended().is_none(), "nginx ended: {}", nginx.log());
        let connected = TcpStream::connect_timeout(&listen, Duration::from_secs(1));
        connected.map(drop).map_err(|error| error.to_string())
    });
    nginx
}
