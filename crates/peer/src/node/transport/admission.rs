//! What comes first on a connection of a closed swarm: both sides show their certificates, who has dialled first. What is not a member
//! has cost a handshake and some buffers then, no stream, no task and no answer.
//!
//! Invariant: a connection that comes out of here is with a member, who was one a moment ago. Where a connection is one stream it is done
//! on that, within TLS or Noise and before anything is agreed on beyond it; else on a stream of its own, which is the first.

use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::PeerId;
use libp2p::core::connection::ConnectedPoint;
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use signing::{CERTIFICATE_TEXT_MAX, NotAdmitted};

use crate::members::{Members, Refusal};

/// Who is let in, and how long somebody who has dialled may take to show what makes them a member.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    pub(crate) members: Arc<Members>,
    pub(crate) patience: Duration,
}

/// Why a connection is with no member, or not with one who takes this process for one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdmissionError {
    /// The other side is none.
    #[error("who is there is no member: {0}")]
    NotAMember(#[from] Refusal),
    /// The other side says so of this one.
    #[error("this process is not let in there: {0}")]
    NotLetIn(&'static str),
    /// It has shown nothing in time.
    #[error("who is there has shown no certificate within {} s", .0.as_secs())]
    Late(Duration),
    /// The connection has ended.
    #[error("the connection has ended while certificates were shown")]
    Ended(#[from] io::Error),
}

/// Which side this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Dialled,
    Accepted,
}

impl Admission {
    /// Shows and asks for certificates on a connection with who has proven to be `peer`.
    async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        side: Side,
        peer: PeerId,
        stream: &mut S,
    ) -> Result<(), AdmissionError> {
        let members = &self.members;
        let shown = async {
            match side {
                Side::Dialled => {
                    write(stream, &[], &members.shown()).await?;
                    let mut answer = [0];
                    stream.read_exact(&mut answer).await?;
                    if answer[0] != LET_IN {
                        return Err(AdmissionError::NotLetIn(reason(answer[0])));
                    }
                    members.admit(peer, &read(stream).await?)?;
                }
                Side::Accepted => {
                    let admitted = members.admit(peer, &read(stream).await?);
                    if let Err(why) = admitted {
                        // Who has none at all is told nothing.
                        if let Some(code) = code(&why) {
                            stream.write_all(&[code]).await?;
                            stream.close().await?;
                            // What ends at once may take the answer with it.
                            _ = tokio::time::timeout(LAST_WORD, stream.read(&mut [0])).await;
                        }
                        tracing::debug!(%peer, %why, "not let in");
                        return Err(why.into());
                    }
                    write(stream, &[LET_IN], &members.shown()).await?;
                }
            }
            Ok(())
        };
        match tokio::time::timeout(self.patience, shown).await {
            Ok(shown) => shown,
            Err(_late) => Err(AdmissionError::Late(self.patience)),
        }
    }

    /// The same on the first stream of a connection that has several.
    pub(super) async fn pass(
        self,
        peer: PeerId,
        mut muxer: StreamMuxerBox,
        point: ConnectedPoint,
    ) -> io::Result<(PeerId, StreamMuxerBox)> {
        let side = if point.is_dialer() {
            Side::Dialled
        } else {
            Side::Accepted
        };
        let exchanged = async {
            let opened = std::future::poll_fn(|cx| {
                let opened = match side {
                    Side::Dialled => muxer.poll_outbound_unpin(cx),
                    Side::Accepted => muxer.poll_inbound_unpin(cx),
                };
                match opened {
                    Poll::Ready(opened) => Poll::Ready(opened),
                    // A muxer moves when it is polled.
                    Poll::Pending => match muxer.poll_unpin(cx) {
                        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                        Poll::Ready(Ok(_)) | Poll::Pending => Poll::Pending,
                    },
                }
            });
            let mut stream = opened.await?;
            let exchange = async {
                self.exchange(side, peer, &mut stream).await?;
                stream.close().await?;
                Ok::<(), AdmissionError>(())
            };
            let mut exchange = std::pin::pin!(exchange);
            std::future::poll_fn(|cx| {
                if let Poll::Ready(exchanged) = exchange.as_mut().poll(cx) {
                    return Poll::Ready(exchanged);
                }
                match muxer.poll_unpin(cx) {
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
                    Poll::Ready(Ok(_)) | Poll::Pending => Poll::Pending,
                }
            })
            .await
        };
        let exchanged = tokio::time::timeout(self.patience, exchanged).await;
        let exchanged = exchanged.unwrap_or(Err(AdmissionError::Late(self.patience)));
        match exchanged {
            Ok(()) => Ok((peer, muxer)),
            Err(error) => Err(io::Error::new(io::ErrorKind::PermissionDenied, error)),
        }
    }
}

/// Writes a certificate's text behind its length and what comes `before` it, all at once.
async fn write<S: AsyncWrite + Unpin>(stream: &mut S, before: &[u8], text: &str) -> io::Result<()> {
    let length = u16::try_from(text.len()).map_err(io::Error::other)?;
    let bytes = [before, &length.to_le_bytes(), text.as_bytes()].concat();
    stream.write_all(&bytes).await?;
    stream.flush().await
}

/// A certificate's text, of which no more is read than one can have.
async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, AdmissionError> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    let length = usize::from(u16::from_le_bytes(length));
    if length > CERTIFICATE_TEXT_MAX {
        let none = signing::NotACertificate::TooLong { length };
        return Err(Refusal::from(NotAdmitted::from(none)).into());
    }
    let mut text = vec![0; length];
    stream.read_exact(&mut text).await?;
    Ok(text)
}

/// A security protocol within which certificates are shown, or just that where a swarm is open. Its name is another one then, so that who
/// is of an open swarm and who of a closed one is told apart before anything else.
#[derive(Clone)]
pub(super) struct Admitting<U> {
    security: U,
    admission: Option<Admission>,
}

/// What a security protocol is called, as it calls itself and as it is asked for.
#[derive(Clone)]
pub(super) struct Name<I> {
    of_security: I,
    asked_for: Cow<'static, str>,
}

impl<I> AsRef<str> for Name<I> {
    fn as_ref(&self) -> &str {
        &self.asked_for
    }
}

impl<U> Admitting<U> {
    pub(super) const fn new(security: U, admission: Option<Admission>) -> Self {
        Self { security, admission }
    }
}

impl<U: UpgradeInfo<Info = &'static str>> UpgradeInfo for Admitting<U> {
    type Info = Name<&'static str>;
    type InfoIter = Vec<Name<&'static str>>;

    fn protocol_info(&self) -> Self::InfoIter {
        let names = self.security.protocol_info().into_iter();
        let names = names.map(|of_security| Name {
            of_security,
            asked_for: match &self.admission {
                Some(_) => format!("{of_security}{CLOSED}").into(),
                None => of_security.into(),
            },
        });
        names.collect()
    }
}

type Upgrading<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// A connection could not be secured, or is with no member.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdmittingError<E: std::error::Error> {
    /// By whom it was to be secured.
    #[error(transparent)]
    Security(#[from] SecurityFailed<E>),
    /// The other side is no member.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
}

/// What the security protocol says.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct SecurityFailed<E: std::error::Error>(pub(crate) E);

impl<C, D, U, E> InboundConnectionUpgrade<C> for Admitting<U>
where
    C: Send + 'static,
    D: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    U: UpgradeInfo<Info = &'static str>,
    U: InboundConnectionUpgrade<C, Output = (PeerId, D), Error = E, Future: Send> + Send + 'static,
    E: std::error::Error + Send + 'static,
{
    type Output = (PeerId, D);
    type Error = AdmittingError<E>;
    type Future = Upgrading<(PeerId, D), Self::Error>;

    fn upgrade_inbound(self, socket: C, name: Self::Info) -> Self::Future {
        Box::pin(async move {
            let secured = self.security.upgrade_inbound(socket, name.of_security).await;
            let secured = secured.map_err(SecurityFailed)?;
            Ok(let_in(self.admission.as_ref(), Side::Accepted, secured).await?)
        })
    }
}

impl<C, D, U, E> OutboundConnectionUpgrade<C> for Admitting<U>
where
    C: Send + 'static,
    D: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    U: UpgradeInfo<Info = &'static str>,
    U: OutboundConnectionUpgrade<C, Output = (PeerId, D), Error = E, Future: Send> + Send + 'static,
    E: std::error::Error + Send + 'static,
{
    type Output = (PeerId, D);
    type Error = AdmittingError<E>;
    type Future = Upgrading<(PeerId, D), Self::Error>;

    fn upgrade_outbound(self, socket: C, name: Self::Info) -> Self::Future {
        Box::pin(async move {
            let secured = self.security.upgrade_outbound(socket, name.of_security).await;
            let secured = secured.map_err(SecurityFailed)?;
            Ok(let_in(self.admission.as_ref(), Side::Dialled, secured).await?)
        })
    }
}

/// Who has proven its key shows its certificate next, where the swarm is closed.
async fn let_in<D: AsyncRead + AsyncWrite + Send + Unpin>(
    admission: Option<&Admission>,
    side: Side,
    (peer, mut stream): (PeerId, D),
) -> Result<(PeerId, D), AdmissionError> {
    if let Some(admission) = admission {
        admission.exchange(side, peer, &mut stream).await?;
    }
    Ok((peer, stream))
}

/// Why somebody is not let in, in a byte, for those who have a certificate.
fn code(why: &Refusal) -> Option<u8> {
    match why {
        Refusal::NotAdmitted(NotAdmitted::Ended { .. }) => Some(1),
        Refusal::NotAdmitted(NotAdmitted::NotYet { .. }) => Some(2),
        Refusal::NotAdmitted(NotAdmitted::Untrusted { .. }) => Some(3),
        Refusal::NotAdmitted(NotAdmitted::OtherPeer { .. }) => Some(4),
        Refusal::NotAdmitted(NotAdmitted::Forged { .. }) => Some(5),
        Refusal::Denied { .. } => Some(6),
        Refusal::OtherGroup { .. } => Some(7),
        Refusal::NotAdmitted(NotAdmitted::NotACertificate(_)) | Refusal::Unknown => None,
    }
}

/// The same in words.
const fn reason(code: u8) -> &'static str {
    match code {
        1 => "its certificate has ended by the clock there; does it need a new one, or is a clock wrong?",
        2 => "its certificate has not begun by the clock there; is a clock wrong?",
        3 => "its certificate is of a key that is not in the file of --members there",
        4 => "its certificate is of another peer id; is its key another one than when it was certified?",
        5 => "its certificate is not as it was issued",
        6 => "it is on the deny list there",
        7 => "it is of none of the groups that are wanted there",
        _ => "no reason is given",
    }
}

const LET_IN: u8 = 0;
/// How long who is not let in may take to hear why.
const LAST_WORD: Duration = Duration::from_millis(500);
/// What is behind the name of a security protocol within which certificates are shown.
const CLOSED: &str = "/members/1";
