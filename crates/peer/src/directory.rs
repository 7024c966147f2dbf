//! How a host hears of builds: the region's seeders tell in a *directory* which builds they seed and where.
//!
//! A host asks for what has changed since the generation that it knows, and the answer waits until something has, so news
//! travels in a round trip and an idle host costs a message in half a minute. The connection proves the directory's peer id, so whom a
//! host believes is part of the address that it was given.
//!
//! Map: this file is the directory's end, `following` a host's, `rows` what hosts hand over for the table.

mod following;
mod rows;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use futures::StreamExt;
use libp2p::request_response::{Config as RequestConfig, Event, Message, ProtocolSupport, ResponseChannel, json};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm};
use serde::{Deserialize, Serialize};
use swarm::SwarmId;
use tokio::sync::{mpsc, watch};

use crate::members::Members;
use crate::node::{Endpoint, EndpointConfig, Hub, NodeError, numbers_of, open};
pub use following::{Directory, Reach};
#[doc(hidden)]
pub use rows::read_row;
pub use rows::{HandedRow, RowFate, RowSender};

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
    taker: rows::Taker,
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
            rows: rows::behaviour(),
        })
        .await?;
        let (builds, changes) = watch::channel(None);
        let followers = Arc::new(AtomicUsize::new(0));
        let taker = rows::Taker::default();
        let serving = Serving {
            hub: Arc::clone(&hub),
            count: Arc::clone(&followers),
            taker: Arc::clone(&taker),
            followers: HashMap::new(),
            answer: Answer {
                // A directory that was restarted is not taken for the one before.
                generation: generation_now(),
                builds: Vec::new(),
                proof: None,
            },
            is_told: false,
            waiting: Questions::default(),
            desk: rows::Desk::default(),
        };
        let task = tokio::spawn(serve(swarm, serving, changes));
        let endpoint = Endpoint::running(hub, task.abort_handle());
        Ok(Self {
            endpoint,
            builds,
            followers,
            taker,
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

    /// The rows that hosts hand over from now on, for whoever writes them; those are told to keep their rows where nobody does. Whoever
    /// calls this again gets them in place of the one before.
    pub fn take_rows(&self) -> mpsc::Receiver<HandedRow> {
        rows::taken_from(&self.taker)
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
    rows: rows::Behaviour,
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

/// What a directory knows of those who ask.
struct Serving {
    hub: Arc<Hub>,
    /// How many follow it, for others to read.
    count: Arc<AtomicUsize>,
    taker: rows::Taker,
    /// When each asked last.
    followers: HashMap<PeerId, Instant>,
    answer: Answer,
    is_told: bool,
    waiting: Questions,
    desk: rows::Desk,
}

async fn serve(mut swarm: Swarm<Both>, mut serving: Serving, mut changes: watch::Receiver<Option<Vec<SeededBuild>>>) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        let due = tokio::select! {
            event = swarm.select_next_some() => {
                serving.hub.note(&event);
                serving.handle(&mut swarm, event);
                continue;
            }
            (channel, fate) = serving.desk.next() => {
                // Who is gone tells its row again.
                let _ = swarm.behaviour_mut().rows.send_response(channel, fate);
                continue;
            }
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                let Some(builds) = changes.borrow_and_update().clone() else {
                    continue;
                };
                serving.answer.builds = builds;
                serving.answer.generation += 1;
                serving.is_told = true;
                serving.waiting.take_since(Instant::now())
            }
            _ = tick.tick() => {
                // Who follows asks again as soon as it was answered.
                serving.followers.retain(|_, asked| asked.elapsed() < PATIENCE);
                serving.tell_count();
                serving.desk.tick();
                let due = Instant::now().checked_sub(HOLD).filter(|_| serving.is_told);
                due.map(|due| serving.waiting.take_since(due)).unwrap_or_default()
            }
        };
        for channel in due {
            // Who is gone needs no answer.
            let _ = swarm
                .behaviour_mut()
                .directory
                .send_response(channel, serving.answer.clone());
        }
    }
}

impl Serving {
    fn handle(&mut self, swarm: &mut Swarm<Both>, event: SwarmEvent<BothEvent>) {
        match event {
            SwarmEvent::ConnectionClosed {
                peer_id,
                num_established: 0,
                ..
            } => {
                self.followers.remove(&peer_id);
                self.tell_count();
            }
            SwarmEvent::Behaviour(BothEvent::Directory(Event::Message {
                peer,
                message: Message::Request { request, channel, .. },
                ..
            })) => {
                take_proof(self.hub.members.as_ref(), peer, request.proof.as_deref());
                self.answer.proof = proof_of(self.hub.members.as_ref());
                self.followers.insert(peer, Instant::now());
                self.tell_count();
                if !self.is_told || request.known == Some(self.answer.generation) {
                    self.waiting.push(peer, channel);
                } else {
                    // Who is gone needs no answer.
                    let directory = &mut swarm.behaviour_mut().directory;
                    let _ = directory.send_response(channel, self.answer.clone());
                }
            }
            SwarmEvent::Behaviour(BothEvent::Rows(Event::Message {
                peer,
                message: Message::Request { request, channel, .. },
                ..
            })) => {
                let members = self.hub.members.as_ref();
                take_proof(members, peer, request.proof.as_deref());
                if let Err((channel, fate)) = self.desk.take((peer, request), members, &self.taker, channel) {
                    let _ = swarm.behaviour_mut().rows.send_response(channel, fate);
                }
            }
            _ => {}
        }
    }

    fn tell_count(&self) {
        self.count.store(self.followers.len(), Ordering::Relaxed);
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
const _: () = assert!(HOLD.as_millis() < PATIENCE.as_millis());
