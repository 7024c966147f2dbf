//! TLS 1.3 between members, each of whom proves its peer id with the very key that it is named by: raw public keys (RFC 7250) in place
//! of certificates, and both sides sign the handshake.
//!
//! Invariant: a connection that is made is with who has the secret key of the peer id that comes with it; whether that is the peer who was
//! dialled is for libp2p to compare, as with Noise. No session is resumed, so each connection is a proof of its own. Ciphers: AES-128-GCM
//! where both processors have instructions for it, which takes a third of the time of ChaCha20-Poly1305; that elsewhere.
//!
//! Noise proves the same and costs twice as much a byte; who knows no TLS is reached by it ([`Security`]).

use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;

use futures::future::Either;
use futures::{AsyncRead, AsyncWrite};
use futures_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use libp2p::identity::{Keypair, PublicKey, ed25519};
use libp2p::{PeerId, noise};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::ring::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::ring::{default_provider, kx_group, sign};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, CommonState, DigitallySignedStruct, DistinguishedName, ServerConfig,
    SignatureScheme, SupportedCipherSuite,
};

/// What this side has of TLS and of Noise, for connections that it makes and for those that it is asked for: TLS is preferred.
#[derive(Clone)]
pub(super) struct Security {
    tls: Tls,
    noise: noise::Config,
}

/// What a secured connection is written to and read from.
pub(super) type Secured<C> = Either<TlsStream<C>, noise::Output<C>>;

/// A connection could not be secured, or nobody could prove who is at its other end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecurityError {
    /// By TLS.
    #[error("failed to make a TLS connection")]
    Tls(#[source] io::Error),
    /// What is at the other end has shown no key that is a peer's.
    #[error("the other side has proven no peer id")]
    NoPeer,
    /// By Noise.
    #[error(transparent)]
    Noise(#[from] noise::Error),
    /// The own identity is of a kind that TLS has no use for here.
    #[error("failed to make the TLS key of this peer: expected an Ed25519 identity")]
    Key,
    /// The same, from the library.
    #[error("failed to set TLS up")]
    Setup(#[from] rustls::Error),
}

impl Security {
    /// Of the peer with this identity.
    pub(super) fn new(keypair: &Keypair) -> Result<Self, SecurityError> {
        Ok(Self {
            tls: Tls::new(keypair, &suites(has_aes()), has_aes())?,
            noise: noise::Config::new(keypair)?,
        })
    }
}

impl UpgradeInfo for Security {
    type Info = &'static str;
    type InfoIter = [&'static str; 2];

    fn protocol_info(&self) -> Self::InfoIter {
        [TLS_NAME, NOISE_NAME]
    }
}

impl<C> InboundConnectionUpgrade<C> for Security
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = (PeerId, Secured<C>);
    type Error = SecurityError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Output, SecurityError>> + Send>>;

    fn upgrade_inbound(self, socket: C, name: &'static str) -> Self::Future {
        Box::pin(async move {
            if name == TLS_NAME {
                let (peer, stream) = self.tls.accept(socket).await?;
                return Ok((peer, Either::Left(stream)));
            }
            let (peer, stream) = self.noise.upgrade_inbound(socket, name).await?;
            Ok((peer, Either::Right(stream)))
        })
    }
}

impl<C> OutboundConnectionUpgrade<C> for Security
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = (PeerId, Secured<C>);
    type Error = SecurityError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Output, SecurityError>> + Send>>;

    fn upgrade_outbound(self, socket: C, name: &'static str) -> Self::Future {
        Box::pin(async move {
            if name == TLS_NAME {
                let (peer, stream) = self.tls.connect(socket).await?;
                return Ok((peer, Either::Left(stream)));
            }
            let (peer, stream) = self.noise.upgrade_outbound(socket, name).await?;
            Ok((peer, Either::Right(stream)))
        })
    }
}

/// Both sides of TLS for one identity.
#[derive(Clone)]
struct Tls {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Tls {
    /// With these ciphers, the best first.
    fn new(keypair: &Keypair, suites: &[SupportedCipherSuite], has_aes: bool) -> Result<Self, SecurityError> {
        Self::with_key(key_of(keypair)?, suites, has_aes)
    }

    fn with_key(key: CertifiedKey, suites: &[SupportedCipherSuite], has_aes: bool) -> Result<Self, SecurityError> {
        let key = Arc::new(key);
        let provider = Arc::new(CryptoProvider {
            cipher_suites: suites.to_vec(),
            kx_groups: vec![kx_group::X25519],
            ..default_provider()
        });
        let proof = Arc::new(Proof(provider.signature_verification_algorithms));
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::<Proof>::clone(&proof))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::clone(&key))));
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(proof)
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
        server.alpn_protocols = vec![ALPN.to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        // Who connects puts AES first where it has it, and who accepts takes that where it has it too.
        server.ignore_client_order = !has_aes;
        Ok(Self {
            client: Arc::new(client),
            server: Arc::new(server),
        })
    }

    async fn accept<C>(self, socket: C) -> Result<(PeerId, TlsStream<C>), SecurityError>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = TlsAcceptor::from(self.server).accept(socket).await;
        let stream = stream.map_err(SecurityError::Tls)?;
        Self::proven(stream.into())
    }

    async fn connect<C>(self, socket: C) -> Result<(PeerId, TlsStream<C>), SecurityError>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        // Nobody is called by a name: who it is the key says.
        let nobody = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
        let stream = TlsConnector::from(self.client).connect(nobody, socket).await;
        let stream = stream.map_err(SecurityError::Tls)?;
        Self::proven(stream.into())
    }

    /// A connection whose handshake is through, and with whom it is.
    fn proven<C>(mut stream: TlsStream<C>) -> Result<(PeerId, TlsStream<C>), SecurityError> {
        let peer = proven_peer(stream.get_ref().1)?;
        match &mut stream {
            TlsStream::Client(stream) => stream.get_mut().1.set_buffer_limit(Some(WRITE)),
            TlsStream::Server(stream) => stream.get_mut().1.set_buffer_limit(Some(WRITE)),
        }
        Ok((peer, stream))
    }
}

/// Who has signed the handshake of this connection.
fn proven_peer(connection: &CommonState) -> Result<PeerId, SecurityError> {
    match connection.peer_certificates() {
        Some([key]) => peer_of(key).ok_or(SecurityError::NoPeer),
        _ => Err(SecurityError::NoPeer),
    }
}

/// The peer that is named by a key, where it is one of Ed25519.
fn peer_of(key: &[u8]) -> Option<PeerId> {
    let point = key.strip_prefix(PUBLIC_KEY_PREFIX)?;
    // Also that there are 32 bytes, and that they are a point.
    let key = ed25519::PublicKey::try_from_bytes(point).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// The identity as TLS takes it.
fn key_of(keypair: &Keypair) -> Result<CertifiedKey, SecurityError> {
    let identity = keypair.clone().try_into_ed25519();
    let identity = identity.map_err(|_of_another_kind| SecurityError::Key)?;
    let mut secret = SECRET_KEY_PREFIX.to_vec();
    secret.extend_from_slice(identity.secret().as_ref());
    let key = sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(secret))?;
    let public = key.public_key().ok_or(SecurityError::Key)?;
    let public = CertificateDer::from(public.to_vec());
    Ok(CertifiedKey::new(vec![public], key))
}

/// Has each side prove that it has the secret key of the public one that it shows. Whose key that is does not matter here.
#[derive(Debug)]
struct Proof(WebPkiSupportedAlgorithms);

impl Proof {
    fn is_a_peer(key: &CertificateDer<'_>, more: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
        if more.is_empty() && peer_of(key).is_some() {
            return Ok(());
        }
        Err(rustls::Error::InvalidCertificate(CertificateError::BadEncoding))
    }

    fn has_signed(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.0)
    }
}

/// What no connection of TLS 1.3 comes to.
const OLDER: rustls::Error = rustls::Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered);

impl ServerCertVerifier for Proof {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Self::is_a_peer(key, more).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(OLDER)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.has_signed(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Proof {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Self::is_a_peer(key, more).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(OLDER)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.has_signed(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// The ciphers of TLS 1.3, the best first on a processor that has instructions for AES or not.
fn suites(has_aes: bool) -> [SupportedCipherSuite; 3] {
    if has_aes {
        [
            TLS13_AES_128_GCM_SHA256,
            TLS13_CHACHA20_POLY1305_SHA256,
            TLS13_AES_256_GCM_SHA384,
        ]
    } else {
        [
            TLS13_CHACHA20_POLY1305_SHA256,
            TLS13_AES_128_GCM_SHA256,
            TLS13_AES_256_GCM_SHA384,
        ]
    }
}

/// Whether this processor has instructions for AES and for what GCM multiplies.
fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

/// Bytes that are encrypted before they are written: a segment with its header at a time, and little more that waits for who does not read.
const WRITE: usize = 72 << 10;
/// What it is called before anything is secured: not libp2p's TLS, whose certificates it has none of.
const TLS_NAME: &str = "/fleetcast/tls/1";
const NOISE_NAME: &str = "/noise";
/// The same within TLS.
const ALPN: &[u8] = b"fleetcast/1";
/// What comes before the 32 bytes of an Ed25519 key in DER (RFC 8410): of a public key, and of a secret one.
const PUBLIC_KEY_PREFIX: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const SECRET_KEY_PREFIX: &[u8] = &[
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

#[cfg(test)]
mod tests;
