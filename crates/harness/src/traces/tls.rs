//! Whom a collector at an https URL has to be, and who we are to it: by the system's certificates, or by the files that the environment
//! variables of OpenTelemetry's specification name.

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// What certificates are held against, and our own.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    /// In place of the system's: OTEL_EXPORTER_OTLP_CERTIFICATE.
    roots: Vec<CertificateDer<'static>>,
    /// OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE, and OTEL_EXPORTER_OTLP_CLIENT_KEY as a file in PEM.
    own: Option<(Vec<CertificateDer<'static>>, Vec<u8>)>,
}

pub(super) type TlsClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

impl Trust {
    /// As the environment has it: `either` gives the value of a variable of traces or of all signals.
    pub(super) fn of(either: &impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let roots = match either("CERTIFICATE") {
            Some(file) => certificates("CERTIFICATE", &file)?,
            None => Vec::new(),
        };
        let own = match (either("CLIENT_CERTIFICATE"), either("CLIENT_KEY")) {
            (None, None) => None,
            (Some(chain), Some(key)) => {
                let chain = certificates("CLIENT_CERTIFICATE", &chain)?;
                let bytes = std::fs::read(&key).map_err(|error| unread("CLIENT_KEY", &key, &error))?;
                key_of(&bytes).map_err(|error| unread("CLIENT_KEY", &key, &error))?;
                Some((chain, bytes))
            }
            _ => {
                return Err(format!(
                    "{PREFIX}CLIENT_CERTIFICATE and {PREFIX}CLIENT_KEY belong together, and one is set; expected both or neither"
                ));
            }
        };
        Ok(Self { roots, own })
    }

    pub(super) fn client(&self) -> Result<TlsClient, String> {
        let told = |error: rustls::Error| error.to_string();
        let tls = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(told)?;
        let tls = if self.roots.is_empty() {
            tls.with_native_roots()
                .map_err(|error| format!("the system's certificates cannot be read: {error}{HINT}"))?
        } else {
            let mut roots = RootCertStore::empty();
            for root in &self.roots {
                roots.add(root.clone()).map_err(told)?;
            }
            tls.with_root_certificates(roots)
        };
        let tls = match &self.own {
            None => tls.with_no_client_auth(),
            Some((chain, key)) => {
                let key = key_of(key).map_err(|error| error.to_string())?;
                tls.with_client_auth_cert(chain.clone(), key).map_err(told)?
            }
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .build();
        Ok(Client::builder(TokioExecutor::new()).build(connector))
    }
}

/// An error, and what to do where it is about a certificate.
pub(super) fn hinted(error: String) -> String {
    if error.contains("UnknownIssuer") {
        return error + HINT;
    }
    if error.contains("CertificateRequired") {
        return format!(
            "{error}; it wants to know who calls: expected files in {PREFIX}CLIENT_CERTIFICATE and {PREFIX}CLIENT_KEY"
        );
    }
    error
}

fn certificates(variable: &str, file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.map_err(|error| unread(variable, file, &error))?;
    if read.is_empty() {
        return Err(unread(variable, file, &"no certificate is in it"));
    }
    Ok(read)
}

fn key_of(pem: &[u8]) -> Result<PrivateKeyDer<'static>, rustls::pki_types::pem::Error> {
    PrivateKeyDer::from_pem_slice(pem)
}

fn unread(variable: &str, file: &str, why: &impl std::fmt::Display) -> String {
    format!("{PREFIX}{variable} (or that of traces) = {file}: {why}; expected a file in PEM")
}

const PREFIX: &str = "OTEL_EXPORTER_OTLP_";
const HINT: &str =
    "; expected a certificate that this system trusts, or the file of its authority in OTEL_EXPORTER_OTLP_CERTIFICATE";
