//! A reader of reports, as an agent of the region is one.

use insight_agent::model::report::{NodeReport, Polled};
use insight_agent::proto::report::read_report;
use insight_agent::proto::v1::ReportRequest;
use insight_agent::proto::v1::node_client::NodeClient;
use insight_lab::Lab;
use std::time::Instant;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

/// Asks one node's agent.
pub struct Reader {
    client: NodeClient<Channel>,
    authorization: String,
}

impl Reader {
    /// Of the agent on `node`. Opens the connection when it is first needed.
    pub fn new(lab: &Lab, node: &str) -> Self {
        let address = lab.agent(node).unwrap().grpc;
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        let token = std::fs::read_to_string(lab.report_token_file()).unwrap();
        Self { client: NodeClient::new(channel), authorization: format!("Bearer {}", token.trim()) }
    }

    /// One poll.
    pub async fn poll(&mut self) -> anyhow::Result<Polled> {
        let mut request = Request::new(ReportRequest {});
        request.metadata_mut().insert("authorization", self.authorization.parse()?);
        let asked = Instant::now();
        let answer = self.client.report(request).await?;
        let report: NodeReport = read_report(answer.into_inner())?;
        Ok(Polled { report, asked, answered: Instant::now() })
    }
}

/// A runtime for one test.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
