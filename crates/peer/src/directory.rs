//! How a host hears of builds: the region's seeders tell in a *directory* which builds they seed and where.
//!
//! A host asks for what has changed since the generation that it knows, and the answer waits until something has, so news
//! travels in a round trip and an idle host costs a message in half a minute. The connection proves the directory's peer id, so whom a
//! host believes is part of the address that it was given.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use futures::StreamExt;
use libp2p::request_response::{Config as RequestConfig, Event, Message, ProtocolSupport, ResponseChannel, json};
use libp2p::swarm::{Config, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm};
use serde::{Deserialize, Serialize};
use swarm::SwarmId;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::members::Members;
use crate::node::{
    Addresses, Admission, Endpoint, EndpointConfig, FIRST_MESSAGE, Hub, NodeError, NodeIdentity, TransportKind,
    cause_of, numbers_of, open, transport_of,
};

/// A build that hosts can fetch now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeededBuild {
    /// Its S3 key.
    pub key: String,
    /// Which version of the object; equal builds have equal ones.
    pub version: String,
    /// Addresses of its seeders, peer ids included.
    pub seeders: Vec<Multiaddr>,
    /// Its size in bytes, so that a host knows which of several builds is the smallest; 0 where the directory does not say.
    #[serde(default)]
    pub size: u64,
}

impl SeededBuild {
    /// The swarm in which it is seeded.
    pub fn swarm(&self) -> SwarmId {
        SwarmId::of_build(&self.key, &self.version)
    }
}

/// What has changed since?
#[derive(Debug, Serialize, Deserialize)]
struct Ask {
    known: Option<u64>,
    /// What makes the one who asks a member, where the swarm is closed: shown anew in case it is another one than when the connection was
    /// made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof: Option<String>,
}

/// All builds, and the generation that they are.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Answer {
    generation: u64,
    builds: Vec<SeededBuild>,
    /// Likewise of the directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof: Option<String>,
}

type Behaviour = json::Behaviour<Ask, Answer>;

/// The builds that a directory's answer lists, read from its bytes as they are read from a connection. For those who try bytes.
#[doc(hidden)]
pub fn read_answer(bytes: &[u8]) -> Option<Vec<SeededBuild>> {
    let answer: Answer = serde_json::from_slice(bytes).ok()?;
    Some(answer.builds)
}

/// What a host shows to a directory with its question, likewise; nothing where it shows nothing.
#[doc(hidden)]
pub fn read_question(bytes: &[u8]) -> Option<String> {
    let ask: Ask = serde_json::from_slice(bytes).ok()?;
    Some(ask.proof.unwrap_or_default())
}

/// A directory. Dropping it ends it.
#[derive(Debug)]
pub struct DirectoryServer {
    endpoint: Endpoint,
    builds: watch::Sender<Option<Vec<SeededBuild>>>,
    followers: Arc<AtomicUsize>,
}

impl DirectoryServer {
    /// Starts a directory: hosts can ask when this returns, and are answered as soon as it is told of builds. It shares its
    /// endpoint, and with that its port, with the swarms of these builds.
    ///
    /// # Errors
    /// Where an address cannot be listened on.
    pub async fn start(config: EndpointConfig) -> Result<Self, NodeError> {
        let (hub, swarm) = open(config, |members| Both {
            members,
            directory: behaviour(),
        })
        .await?;
        let (builds, changes) = watch::channel(None);
        let followers = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(serve(swarm, Arc::clone(&hub), changes, Arc::clone(&followers)));
        let endpoint = Endpoint::running(hub, task.abort_handle());
        Ok(Self {
            endpoint,
            builds,
            followers,
        })
    }

    /// The endpoint, for the swarms of the builds.
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// How many hosts follow it now. One that ends is counted for as long as its connection is there, which is less than a minute.
    pub fn followers(&self) -> usize {
        self.followers.load(Ordering::Relaxed)
    }

    /// These are the builds from now on. Nobody is answered before the first time: a directory that has been started again does not
    /// yet know what it seeds, and must not say that it is nothing.
    pub fn publish(&self, builds: Vec<SeededBuild>) {
        self.builds.send_if_modified(|known| {
            let is_new = known.as_ref() != Some(&builds);
            *known = Some(builds);
            is_new
        });
    }
}

/// Members of swarms and a directory at one port.
#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p::swarm::derive_prelude")]
struct Both {
    members: crate::node::MembersBehaviour,
    directory: Behaviour,
}

/// Questions that wait for news, the oldest first: one of each who asks.
#[derive(Default)]
struct Questions {
    asking: HashSet<PeerId>,
    waiting: VecDeque<(Instant, PeerId, ResponseChannel<Answer>)>,
}

impl Questions {
    /// Of each that asks the last question counts.
    fn push(&mut self, peer: PeerId, channel: ResponseChannel<Answer>) {
        if !self.asking.insert(peer) {
            self.waiting.retain(|(_, other, _)| *other != peer);
        }
        self.waiting.push_back((Instant::now(), peer, channel));
    }

    /// Takes those that have waited since then, or longer.
    fn take_since(&mut self, then: Instant) -> Vec<ResponseChannel<Answer>> {
        let due = self.waiting.partition_point(|(since, ..)| *since <= then);
        let taken = self.waiting.drain(..due).map(|(_, peer, channel)| {
            self.asking.remove(&peer);
            channel
        });
        taken.collect()
    }
}

async fn serve(
    mut swarm: Swarm<Both>,
    hub: Arc<Hub>,
    mut changes: watch::Receiver<Option<Vec<SeededBuild>>>,
    count: Arc<AtomicUsize>,
) {
    let mut followers: HashMap<PeerId, Instant> = HashMap::new();
    let mut answer = Answer {
        // A directory that was restarted is not taken for the one before.
        generation: generation_now(),
        builds: Vec::new(),
        proof: None,
    };
    let mut is_told = false;
    let mut waiting = Questions::default();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            event = swarm.select_next_some() => {
                hub.note(&event);
                if let SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } = &event {
                    followers.remove(peer_id);
                    count.store(followers.len(), Ordering::Relaxed);
                }
                let SwarmEvent::Behaviour(BothEvent::Directory(Event::Message {
                    peer,
                    message: Message::Request { request, channel, .. },
                    ..
                })) = event else {
                    continue;
                };
                take_proof(hub.members.as_ref(), peer, request.proof.as_deref());
                answer.proof = proof_of(hub.members.as_ref());
                followers.insert(peer, Instant::now());
                count.store(followers.len(), Ordering::Relaxed);
                if !is_told || request.known == Some(answer.generation) {
                    waiting.push(peer, channel);
                } else {
                    // Who is gone needs no answer.
                    let _ = swarm.behaviour_mut().directory.send_response(channel, answer.clone());
                }
            }
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                let Some(builds) = changes.borrow_and_update().clone() else {
                    continue;
                };
                answer.builds = builds;
                answer.generation += 1;
                is_told = true;
                for channel in waiting.take_since(Instant::now()) {
                    let _ = swarm.behaviour_mut().directory.send_response(channel, answer.clone());
                }
            }
            _ = tick.tick() => {
                // Who follows asks again as soon as it was answered.
                followers.retain(|_, asked| asked.elapsed() < PATIENCE);
                count.store(followers.len(), Ordering::Relaxed);
                let due = Instant::now().checked_sub(HOLD).filter(|_| is_told);
                for channel in due.into_iter().flat_map(|due| waiting.take_since(due)) {
                    let _ = swarm.behaviour_mut().directory.send_response(channel, answer.clone());
                }
            }
        }
    }
}

/// Whether a directory answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It was asked just now.
    Unknown,
    /// It has answered the last question, or has still time to.
    Answers,
    /// It does not, and why.
    Silent(String),
}

/// What a directory says, followed. Dropping it ends it.
#[derive(Debug)]
pub struct Directory {
    builds: watch::Receiver<Vec<SeededBuild>>,
    reach: watch::Receiver<Reach>,
    task: JoinHandle<()>,
}

impl Directory {
    /// Follows the directory at these addresses. While it cannot be reached it is tried again, and names are looked up anew.
    ///
    /// # Errors
    /// Where the transport cannot be set up.
    pub fn follow(directory: Addresses) -> Result<Self, NodeError> {
        Self::follow_as(&NodeIdentity::random(), None, directory)
    }

    /// The same as one who is known, in a closed swarm where members are given.
    ///
    /// # Errors
    /// Where the transport cannot be set up.
    pub fn follow_as(
        identity: &NodeIdentity,
        members: Option<Arc<Members>>,
        directory: Addresses,
    ) -> Result<Self, NodeError> {
        let transport = directory.at().first().map_or(TransportKind::Tcp, TransportKind::of);
        // Each question has a stream of its own.
        let transport = match transport {
            TransportKind::Tcp => TransportKind::TcpStreams,
            other => other,
        };
        let swarm = swarm_of(identity, members.clone(), &transport)?;
        let (told, builds) = watch::channel(Vec::new());
        let (reached, reach) = watch::channel(Reach::Unknown);
        let task = tokio::spawn(ask(swarm, members, directory, (told, reached)));
        Ok(Self { builds, reach, task })
    }

    /// Whether it answers, which changes with time.
    pub fn reach(&self) -> watch::Receiver<Reach> {
        self.reach.clone()
    }

    /// All builds, as soon as it has answered once. Cancel-safe.
    pub async fn listed(&self) -> Option<Vec<SeededBuild>> {
        let mut reach = self.reach.clone();
        reach.wait_for(|reach| *reach == Reach::Answers).await.ok()?;
        Some(self.builds.borrow().clone())
    }

    /// All builds, as soon as they are others than at the last call; `None` when there will be no more news. Cancel-safe.
    pub async fn changed(&mut self) -> Option<Vec<SeededBuild>> {
        self.builds.changed().await.ok()?;
        Some(self.builds.borrow_and_update().clone())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn ask(
    mut swarm: Swarm<Behaviour>,
    members: Option<Arc<Members>>,
    directory: Addresses,
    (told, reached): (watch::Sender<Vec<SeededBuild>>, watch::Sender<Reach>),
) {
    let (mut known, mut failures) = (None, 0_u32);
    let address = directory.to_string();
    loop {
        let answered = match directory.clone().resolved().await {
            Ok(directory) => {
                let proof = proof_of(members.as_ref());
                ask_once(&mut swarm, &directory, Ask { known, proof }).await
            }
            Err(error) => Err(format!("the name is not known: {error}")),
        };
        match answered {
            Ok(answer) => {
                take_proof(members.as_ref(), directory.peer(), answer.proof.as_deref());
                if failures > 0 {
                    tracing::warn!(address, "the directory answers again");
                }
                (known, failures) = (Some(answer.generation), 0);
                // First: whoever hears that it answers finds what it has said.
                told.send_if_modified(|builds| {
                    let is_new = *builds != answer.builds;
                    *builds = answer.builds;
                    is_new
                });
                reached.send_if_modified(|reach| std::mem::replace(reach, Reach::Answers) != Reach::Answers);
            }
            Err(error) => {
                let wait = (AGAIN_FIRST * (1 << failures.min(10))).min(AGAIN_MAX);
                failures += 1;
                reached.send_replace(Reach::Silent(error.clone()));
                if failures == 1 {
                    tracing::warn!(
                        address,
                        error,
                        "the directory does not answer; is it running there, and is its port open? it is tried until it does"
                    );
                }
                tokio::time::sleep(wait).await;
            }
        }
    }
}

/// One question and its answer, or why there is none.
async fn ask_once(swarm: &mut Swarm<Behaviour>, directory: &Addresses, ask: Ask) -> Result<Answer, String> {
    let (peer, addresses) = (directory.peer(), directory.at().to_vec());
    let question = swarm.behaviour_mut().send_request_with_addresses(&peer, ask, addresses);
    let mut dial_error = None;
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::Behaviour(Event::Message {
                message: Message::Response { response, request_id },
                ..
            }) if request_id == question => return Ok(response),
            SwarmEvent::OutgoingConnectionError { error, .. } => dial_error = Some(cause_of(&error)),
            SwarmEvent::Behaviour(Event::OutboundFailure { error, request_id, .. }) if request_id == question => {
                return Err(dial_error.unwrap_or_else(|| error.to_string()));
            }
            _ => {}
        }
    }
}

fn behaviour() -> Behaviour {
    let config = RequestConfig::default()
        .with_request_timeout(PATIENCE)
        .with_max_concurrent_streams(QUESTIONS_MAX);
    let codec = json::codec::Codec::default().set_request_size_maximum(QUESTION_BYTES_MAX);
    Behaviour::with_codec(codec, [(PROTOCOL, ProtocolSupport::Full)], config)
}

/// Somebody shows anew what makes them a member.
fn take_proof(members: Option<&Arc<Members>>, peer: PeerId, proof: Option<&str>) {
    if let (Some(members), Some(proof)) = (members, proof) {
        members.admit_again(numbers_of(peer), proof.as_bytes());
    }
}

/// What this process shows, where the swarm is closed.
fn proof_of(members: Option<&Arc<Members>>) -> Option<String> {
    members.map(|members| members.shown().to_string())
}

fn swarm_of(
    identity: &NodeIdentity,
    members: Option<Arc<Members>>,
    transport: &TransportKind,
) -> Result<Swarm<Behaviour>, NodeError> {
    let config = Config::with_tokio_executor().with_idle_connection_timeout(2 * HOLD);
    let admission = members.map(|members| Admission {
        members,
        patience: FIRST_MESSAGE,
    });
    let transport = transport_of(transport, identity, admission.as_ref(), None, None, None)?;
    Ok(Swarm::new(transport, behaviour(), identity.peer_id(), config))
}

fn generation_now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_micros()).unwrap_or(u64::MAX / 2))
}

const PROTOCOL: StreamProtocol = StreamProtocol::new("/fleetcast/builds/1");
/// Questions of one connection that may be under way.
const QUESTIONS_MAX: usize = 4;
/// Bytes of a question: a generation and a certificate.
const QUESTION_BYTES_MAX: u64 = 4 << 10;
/// Without news a host is answered after this.
const HOLD: Duration = Duration::from_secs(30);
/// An answer that has not come after this does not come.
const PATIENCE: Duration = Duration::from_secs(45);
/// First wait before a directory that did not answer is asked again; doubles.
const AGAIN_FIRST: Duration = Duration::from_millis(500);
/// Longest such wait.
const AGAIN_MAX: Duration = Duration::from_secs(10);
const _: () = assert!(HOLD.as_millis() < PATIENCE.as_millis());
