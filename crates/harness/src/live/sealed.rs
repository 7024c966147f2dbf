//! A pipe over TCP that only those who have the key of the run can use, and nobody else can read: Noise NNpsk0, which proves to each side
//! that the other one has the key. Packets are 2 bytes of length and so many of one Noise message; an empty one says that somebody is there.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use snow::resolvers::{BoxedCryptoResolver, CryptoResolver, RingResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{HandshakeState, StatelessTransportState};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};

use super::coordination;
use super::pipe::{Ended, Pipe};

/// What all workers of a run and the run itself have, and nobody else.
#[derive(Clone)]
pub(crate) struct RunKey([u8; 32]);

impl std::fmt::Debug for RunKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RunKey(..)")
    }
}

impl RunKey {
    /// The key that a file has: any bytes, 16 of them at least; space at its end does not count.
    ///
    /// # Errors
    /// Where it cannot be read, is too short, or everybody on the machine can read it.
    pub(crate) fn of_file(path: &Path) -> Result<Self, String> {
        use std::os::unix::fs::PermissionsExt;
        let name = path.display();
        let failed = |error: std::io::Error| format!("--key-file {name}: {error}");
        let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode();
        if mode & 0o004 != 0 {
            return Err(format!(
                "--key-file {name}: everybody on this machine can read it (mode {:o}); expected chmod 600",
                mode & 0o777
            ));
        }
        Self::of_secret(&std::fs::read(path).map_err(failed)?).map_err(|why| format!("--key-file {name}: {why}"))
    }

    /// The key that is made of these bytes.
    ///
    /// # Errors
    /// Where they are few.
    pub(crate) fn of_secret(secret: &[u8]) -> Result<Self, String> {
        let secret = secret.trim_ascii_end();
        if secret.len() < SECRET_LENGTH_MIN {
            return Err(format!(
                "{} bytes; expected {SECRET_LENGTH_MIN} or more, such as those of `openssl rand -hex 32`",
                secret.len()
            ));
        }
        let mut text = b"fleetcast 1 key of a run's workers ".to_vec();
        text.extend_from_slice(secret);
        Ok(Self(*swarm::Hash::of(&text).as_bytes()))
    }
}

/// Why there is no pipe.
#[derive(Debug, thiserror::Error)]
pub(super) enum SealError {
    #[error("the connection has broken")]
    Broken(#[from] std::io::Error),
    #[error("it has another key")]
    OtherKey,
    #[error("it does not speak as a harness does")]
    Stranger,
    #[error("it did not say who it is within {} s", HANDSHAKE_PATIENCE.as_secs())]
    Silent,
}

/// The worker's side: says `hello` and hears the answer. There is a pipe whatever the answer is.
pub(super) async fn introduce<H: Serialize, A: DeserializeOwned>(
    mut stream: TcpStream,
    key: &RunKey,
    hello: &H,
) -> Result<(A, Pipe), SealError> {
    let work = async {
        stream.set_nodelay(true)?;
        let mut noise = handshake(key, true);
        let mut packet = vec![0; PACKET_MAX];
        let hello = serde_json::to_vec(hello).map_err(std::io::Error::other)?;
        let length = noise.write_message(&hello, &mut packet).map_err(not_sealed)?;
        stream.write_all(MAGIC).await?;
        write_packet(&mut stream, &packet[..length]).await?;
        let answer = read_packet(&mut stream).await?;
        if answer.is_empty() {
            return Err(SealError::OtherKey);
        }
        let answer: A = open(&mut noise, &answer)?;
        let sealed = noise.into_stateless_transport_mode().map_err(not_sealed)?;
        // Whoever repeats what another one has said cannot say this.
        let length = sealed.write_message(0, &[], &mut packet).map_err(not_sealed)?;
        write_packet(&mut stream, &packet[..length]).await?;
        Ok((answer, pipe(stream, sealed, [1, 0])))
    };
    let done = tokio::time::timeout(HANDSHAKE_PATIENCE, work).await;
    done.unwrap_or(Err(SealError::Silent))
}

/// The coordinator's side: hears who it is, and answers.
pub(super) async fn receive<H: DeserializeOwned, A: Serialize>(
    mut stream: TcpStream,
    key: &RunKey,
    answer: impl FnOnce(H) -> A,
) -> Result<Pipe, SealError> {
    let work = async {
        stream.set_nodelay(true)?;
        let mut magic = [0; MAGIC.len()];
        stream.read_exact(&mut magic).await?;
        if magic != *MAGIC {
            return Err(SealError::Stranger);
        }
        let mut noise = handshake(key, false);
        let hello = read_packet(&mut stream).await?;
        let hello: H = match open(&mut noise, &hello) {
            Ok(hello) => hello,
            Err(error) => {
                write_packet(&mut stream, &[]).await?;
                // What was said is read to its end, or it may be lost with the answer.
                stream.shutdown().await?;
                return Err(error);
            }
        };
        let mut packet = vec![0; PACKET_MAX];
        let answer = serde_json::to_vec(&answer(hello)).map_err(std::io::Error::other)?;
        let length = noise.write_message(&answer, &mut packet).map_err(not_sealed)?;
        write_packet(&mut stream, &packet[..length]).await?;
        let sealed = noise.into_stateless_transport_mode().map_err(not_sealed)?;
        let proof = read_packet(&mut stream).await?;
        sealed.read_message(0, &proof, &mut packet).map_err(not_sealed)?;
        Ok(pipe(stream, sealed, [0, 1]))
    };
    let done = tokio::time::timeout(HANDSHAKE_PATIENCE, work).await;
    done.unwrap_or(Err(SealError::Silent))
}

fn handshake(key: &RunKey, is_initiator: bool) -> HandshakeState {
    let resolver: BoxedCryptoResolver = Box::new(Primitives);
    let parameters = PATTERN.parse().expect("a pattern of Noise");
    let built = snow::Builder::with_resolver(parameters, resolver)
        .prologue(MAGIC)
        .and_then(|builder| builder.psk(0, &key.0))
        .and_then(|builder| match is_initiator {
            true => builder.build_initiator(),
            false => builder.build_responder(),
        });
    built.expect("the pattern takes one key and no others")
}

/// What a handshake message says, where it is sealed with the same key.
fn open<T: DeserializeOwned>(noise: &mut HandshakeState, packet: &[u8]) -> Result<T, SealError> {
    let mut said = vec![0; PACKET_MAX];
    let length = noise.read_message(packet, &mut said).map_err(not_sealed)?;
    serde_json::from_slice(&said[..length]).map_err(|_unknown| SealError::Stranger)
}

const fn not_sealed(_: snow::Error) -> SealError {
    SealError::OtherKey
}

/// `counts` are the messages that were written and read already.
fn pipe(stream: TcpStream, sealed: StatelessTransportState, [written, read]: [u64; 2]) -> Pipe {
    let (from_wire, to_wire) = stream.into_split();
    let sealed = Arc::new(sealed);
    let ended = Ended::default();
    let (reader, inbound) = tokio::io::duplex(BUFFER);
    let (writer, outbound) = tokio::io::duplex(BUFFER);
    let (opener, why) = (Arc::clone(&sealed), ended.clone());
    let mut inbound = inbound;
    let opening = async move {
        let Err(error) = open_all(from_wire, &opener, &mut inbound, read).await;
        // Said before its end is seen.
        why.because(error);
        drop(inbound);
    };
    let why = ended.clone();
    let sealing = async move {
        if let Err(error) = seal_all(outbound, &sealed, to_wire, written).await {
            why.because(gone(&error));
        }
    };
    let carried = [
        coordination::counted(sealing).boxed(),
        coordination::counted(opening).boxed(),
    ];
    Pipe {
        reader: Box::new(reader),
        writer: Box::new(writer),
        ended,
        carriers: carried.map(tokio::spawn).into(),
    }
}

/// Opens what comes until nothing does any more, and says why.
async fn open_all(
    mut wire: OwnedReadHalf,
    sealed: &StatelessTransportState,
    inbound: &mut DuplexStream,
    mut count: u64,
) -> Result<std::convert::Infallible, String> {
    let mut said = vec![0; PACKET_MAX];
    loop {
        let packet = match tokio::time::timeout(SILENCE_MAX, read_packet(&mut wire)).await {
            Ok(Ok(packet)) => packet,
            Ok(Err(error)) => return Err(gone(&error)),
            Err(_) => return Err(format!("nothing was heard for {} s", SILENCE_MAX.as_secs())),
        };
        let Ok(length) = sealed.read_message(count, &packet, &mut said) else {
            return Err("something came that is not sealed with the key of the run".to_owned());
        };
        count += 1;
        if inbound.write_all(&said[..length]).await.is_err() {
            return Err("this side has ended".to_owned());
        }
    }
}

/// A process that is killed closes its connections; where it had not read all, the system says that by a reset.
fn gone(error: &std::io::Error) -> String {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    match error.kind() {
        UnexpectedEof | ConnectionReset | BrokenPipe => "the connection was closed".to_owned(),
        _ => format!("the connection has broken: {error}"),
    }
}

/// Seals what is written, and says now and then that somebody is there.
async fn seal_all(
    mut outbound: DuplexStream,
    sealed: &StatelessTransportState,
    mut wire: OwnedWriteHalf,
    mut count: u64,
) -> std::io::Result<()> {
    let (mut plain, mut packet) = (vec![0; PLAIN_MAX], vec![0; PACKET_MAX]);
    loop {
        let read = match tokio::time::timeout(SIGN_OF_LIFE, outbound.read(&mut plain)).await {
            Ok(Ok(0) | Err(_)) => return wire.shutdown().await,
            Ok(Ok(read)) => read,
            Err(_) => 0,
        };
        let length = sealed
            .write_message(count, &plain[..read], &mut packet)
            .map_err(std::io::Error::other)?;
        count += 1;
        write_packet(&mut wire, &packet[..length]).await?;
    }
}

async fn write_packet(wire: &mut (impl AsyncWrite + Unpin), packet: &[u8]) -> std::io::Result<()> {
    let length = u16::try_from(packet.len()).map_err(std::io::Error::other)?;
    let mut bytes = Vec::with_capacity(packet.len() + 2);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(packet);
    wire.write_all(&bytes).await
}

async fn read_packet(wire: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let length = wire.read_u16().await?;
    let mut packet = vec![0; length.into()];
    wire.read_exact(&mut packet).await?;
    Ok(packet)
}

/// The primitives of libp2p's own Noise: those of ring, and X25519 beside them.
struct Primitives;

impl CryptoResolver for Primitives {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        RingResolver.resolve_rng()
    }

    fn resolve_dh(&self, choice: &snow::params::DHChoice) -> Option<Box<dyn Dh>> {
        matches!(choice, snow::params::DHChoice::Curve25519).then(|| Box::<X25519>::default() as Box<dyn Dh>)
    }

    fn resolve_hash(&self, choice: &snow::params::HashChoice) -> Option<Box<dyn Hash>> {
        RingResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &snow::params::CipherChoice) -> Option<Box<dyn Cipher>> {
        RingResolver.resolve_cipher(choice)
    }
}

/// A key for one handshake.
#[derive(Default)]
struct X25519 {
    secret: [u8; 32],
    public: [u8; 32],
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, secret: &[u8]) {
        self.secret.copy_from_slice(secret);
        self.public = x25519(self.secret, X25519_BASEPOINT_BYTES);
    }

    fn generate(&mut self, random: &mut dyn Random) -> Result<(), snow::Error> {
        let mut secret = [0; 32];
        random.try_fill_bytes(&mut secret)?;
        self.set(&secret);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &self.secret
    }

    fn dh(&self, public: &[u8], shared: &mut [u8]) -> Result<(), snow::Error> {
        let public = public.first_chunk().ok_or(snow::Error::Dh)?;
        let secret = x25519(self.secret, *public);
        // What anybody could know is no secret.
        if secret == [0; 32] {
            return Err(snow::Error::Dh);
        }
        shared[..32].copy_from_slice(&secret);
        Ok(())
    }
}

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";
/// What a worker says first, so that whoever else connects is told from one.
const MAGIC: &[u8; 19] = b"fleetcast worker 1\n";
/// What Noise allows.
const PACKET_MAX: usize = 65_535;
/// Without the tag.
const PLAIN_MAX: usize = PACKET_MAX - 16;
/// Bytes that wait on their way between the codec and the wire.
const BUFFER: usize = 256 << 10;
/// Bytes of a secret at least: 128 bits.
const SECRET_LENGTH_MIN: usize = 16;
/// Who has connected says within this who it is.
pub(super) const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// Who has nothing to say says so after this.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
/// Who says nothing for so long is gone: a machine that was switched off, a process that stands still, a network that is cut.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(15);
const _: () = assert!(SILENCE_MAX.as_secs() > 3 * SIGN_OF_LIFE.as_secs());

#[cfg(test)]
mod tests;
