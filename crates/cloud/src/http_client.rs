//! The HTTP client of all services: through the proxy and with the certificates that the environment names, as the AWS CLI takes
//! them.

use std::time::Duration;

use aws_sdk_s3::config::SharedHttpClient;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};

/// A client for `endpoint`, or for AWS where none is given. What `variable` answers is read once.
pub(crate) fn http_client(endpoint: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> SharedHttpClient {
    let builder = Builder::new().pool_idle_timeout(IDLE_CONNECTION);
    let proxy = proxy(endpoint, &variable);
    let bundle = variable("AWS_CA_BUNDLE").filter(|path| !path.is_empty());
    if proxy.is_none() && bundle.is_none() {
        return builder
            .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
            .build_https();
    }
    let trusted = bundle.and_then(|path| trusted(&path));
    builder.build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder();
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.set_proxy_config(proxy.clone());
        let mut connector = connector.tls_provider(tls::Provider::Rustls(CryptoMode::Ring));
        if let Some(trusted) = &trusted {
            connector.set_tls_context(trusted.clone());
        }
        connector.build()
    })
}

/// The proxy for requests to `endpoint`. What is on this machine, and what tells a machine its credentials, is asked without.
fn proxy(endpoint: Option<&str>, variable: &impl Fn(&str) -> Option<String>) -> Option<ProxyConfig> {
    let either = |name: &str| {
        let told = variable(&name.to_ascii_lowercase()).or_else(|| variable(name));
        told.filter(|value| !value.is_empty())
    };
    let is_plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    let name = if is_plain { "HTTP_PROXY" } else { "HTTPS_PROXY" };
    let url = either(name).or_else(|| either("ALL_PROXY"))?;
    let config = if is_plain {
        ProxyConfig::http(url.as_str())
    } else {
        ProxyConfig::https(url.as_str())
    };
    match config {
        Ok(config) => {
            let others = either("NO_PROXY")
                .map(|others| format!("{others},"))
                .unwrap_or_default();
            Some(config.no_proxy(format!("{others}{NEVER_BY_PROXY}")))
        }
        Err(error) => {
            tracing::warn!(variable = name, %error, "the proxy is not used; expected a URL such as http://proxy:3128");
            None
        }
    }
}

/// What the certificates in a file vouch for; with a warning instead of them where there are none.
fn trusted(path: &str) -> Option<TlsContext> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            tracing::warn!(path, %error, "AWS_CA_BUNDLE cannot be read; the system's certificates count");
            return None;
        }
    };
    let mut store = TrustStore::empty();
    let certificates = text
        .split_inclusive(CERTIFICATE_END)
        .filter(|part| part.contains(CERTIFICATE_BEGIN));
    for certificate in certificates {
        store.add_pem_certificate(certificate.as_bytes());
    }
    let context = TlsContext::builder().with_trust_store(store).build();
    context
        .inspect_err(|error| tracing::warn!(path, %error, "AWS_CA_BUNDLE has no certificates; the system's count"))
        .ok()
}

const CERTIFICATE_BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const CERTIFICATE_END: &str = "-----END CERTIFICATE-----";
/// This machine, and where EC2 and containers tell what role they have.
const NEVER_BY_PROXY: &str = "localhost,127.0.0.0/8,::1,169.254.169.254,169.254.170.2,fd00:ec2::254";
/// A connection that nobody uses is closed after this, before S3 does it: who has pulled a hundred builds is at rest again soon.
const IDLE_CONNECTION: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn told<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        }
    }

    #[test]
    fn the_proxy_is_the_one_of_the_endpoints_scheme() {
        let aws = told(&[("HTTPS_PROXY", "http://p:1")]);
        assert!(proxy(None, &aws).is_some() && proxy(Some("https://x"), &aws).is_some());
        assert!(proxy(Some("http://x"), &aws).is_none());
        assert!(proxy(Some("http://x"), &told(&[("http_proxy", "http://p:1")])).is_some());
        assert!(proxy(None, &told(&[("ALL_PROXY", "http://p:1")])).is_some());
        assert!(proxy(None, &told(&[("HTTPS_PROXY", "")])).is_none());
        assert!(proxy(None, &told(&[])).is_none());
    }

    /// Of a name that nobody but the proxy knows.
    #[tokio::test]
    async fn requests_go_to_the_proxy_and_those_to_this_machine_do_not() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let heard = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = socket.read(&mut request).await.unwrap();
            let answer = b"HTTP/1.1 200 OK\r\netag: \"e\"\r\ncontent-length: 5\r\nconnection: close\r\n\r\n";
            socket.write_all(answer).await.unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let by_proxy = async |endpoint: &str| {
            let variables = [("HTTP_PROXY", address.as_str())];
            let config = aws_sdk_s3::Config::builder()
                .behavior_version(aws_config::BehaviorVersion::latest())
                .region(aws_config::Region::new("us-east-1"))
                .credentials_provider(aws_sdk_s3::config::Credentials::new("k", "s", None, None, "test"))
                .endpoint_url(endpoint)
                .force_path_style(true)
                .retry_config(aws_config::retry::RetryConfig::disabled())
                .http_client(http_client(Some(endpoint), told(&variables)))
                .build();
            let client = aws_sdk_s3::Client::from_conf(config);
            client.head_object().bucket("b").key("k").send().await
        };
        // Nobody listens there, and the proxy is not asked.
        by_proxy("http://127.0.0.1:1").await.unwrap_err();
        let found = by_proxy("http://stack.corp.invalid:4566").await.unwrap();
        assert_eq!(found.content_length(), Some(5));
        let heard = heard.await.unwrap();
        assert!(heard.contains("http://stack.corp.invalid:4566/b/k"), "{heard}");
    }
}
