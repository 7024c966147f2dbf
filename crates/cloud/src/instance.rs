//! What a machine of EC2 is told of itself by its metadata service (IMDSv2).

use std::time::Duration;

use aws_config::imds::client::Client;
use aws_config::provider_config::ProviderConfig;

use crate::http_client::http_client;

/// The availability zone of this machine, where it is one of EC2 and its metadata service answers within some two seconds.
/// `endpoint` is for tests; AWS_EC2_METADATA_SERVICE_ENDPOINT names another one.
pub async fn availability_zone(endpoint: Option<&str>) -> Option<String> {
    let provider = ProviderConfig::default().with_http_client(http_client(Some(ON_EC2), |_| None));
    let mut builder = Client::builder()
        .configure(&provider)
        .max_attempts(1)
        .connect_timeout(PATIENCE)
        .read_timeout(PATIENCE);
    if let Some(endpoint) = endpoint {
        builder = builder.endpoint(endpoint).ok()?;
    }
    let client = builder.build();
    let asked = client.get("/latest/meta-data/placement/availability-zone");
    let zone = match tokio::time::timeout(PATIENCE * 2, asked).await {
        Ok(Ok(zone)) => zone.as_ref().trim().to_owned(),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the metadata service tells no zone");
            return None;
        }
        Err(_) => return None,
    };
    // What comes from there is put into rows and messages.
    let is_name =
        |zone: &str| (1..=64).contains(&zone.len()) && zone.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    is_name(&zone).then_some(zone)
}

/// Whether this machine says that it is one of EC2: others would wait for a metadata service that is not there.
pub fn is_on_ec2() -> bool {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    read("/sys/class/dmi/id/sys_vendor").trim() == "Amazon EC2"
        || read("/sys/hypervisor/uuid").to_ascii_lowercase().starts_with("ec2")
}

/// Never asked through a proxy.
const ON_EC2: &str = "http://169.254.169.254";
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// A metadata service that wants a token, as IMDSv2 does.
    async fn metadata(zone: &'static str) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let length = socket.read(&mut request).await.unwrap();
                let request = String::from_utf8_lossy(&request[..length]).to_ascii_lowercase();
                let body = if request.starts_with("put /latest/api/token") {
                    "a-token"
                } else if request.contains("x-aws-ec2-metadata-token: a-token") {
                    zone
                } else {
                    ""
                };
                let status = if body.is_empty() { "401 Unauthorized" } else { "200 OK" };
                let answer = format!(
                    "HTTP/1.1 {status}\r\nx-aws-ec2-metadata-token-ttl-seconds: 21600\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        endpoint
    }

    #[tokio::test]
    async fn the_zone_is_the_one_that_the_metadata_service_tells() {
        let endpoint = metadata("eu-west-1b").await;
        assert_eq!(availability_zone(Some(&endpoint)).await.as_deref(), Some("eu-west-1b"));
        let nonsense = metadata("<html>\n").await;
        assert_eq!(availability_zone(Some(&nonsense)).await, None);
        // Nobody listens there.
        assert_eq!(availability_zone(Some("http://127.0.0.1:1")).await, None);
    }
}
