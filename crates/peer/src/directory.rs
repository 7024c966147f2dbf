//! How a host hears of builds: the region's seeders tell in a *directory* which builds they seed and where.
//!
//! A host asks for what has changed since the generation that it knows, and the answer waits until something has, so news
//! travels in a round trip and an idle host costs a message in half a minute. The connection proves the directory's peer id, so whom a
//! host believes is part of the address that it was given.

use std::time::{Duration, Instant, SystemTime};

use futures::StreamExt;
use libp2p::core::multiaddr::Protocol;
use libp2p::request_response::{Config as RequestConfig, Event, Message, ProtocolSupport, ResponseChannel, json};
use libp2p::swarm::{Config, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::node::{NodeError, NodeIdentity, TransportKind, listen_on, transport_of};

/// A build that hosts can fetch now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeededBuild {
    /// Its S3 key.
    pub key: String,
    /// Which version of the object; equal builds have equal ones.
    pub version: String,
    /// Addresses of its seeders, peer ids included.
    pub seeders: Vec<Multiaddr>,
}

/// What has changed since?
#[derive(Debug, Serialize, Deserialize)]
struct Ask {
    known: Option<u64>,
}

/// All builds, and the generation that they are.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Answer {
    generation: u64,
    builds: Vec<SeededBuild>,
}

type Behaviour = json::Behaviour<Ask, Answer>;

/// A directory. Dropping it ends it.
#[derive(Debug)]
pub struct DirectoryServer {
    address: Multiaddr,
    builds: watch::Sender<Vec<SeededBuild>>,
    task: JoinHandle<()>,
}

impl DirectoryServer {
    /// Starts an empty directory: hosts can ask when this returns.
    ///
    /// # Errors
    /// Where the address cannot be listened on.
    pub async fn start(
        identity: &NodeIdentity,
        transport: &TransportKind,
        listen: Multiaddr,
        advertise: Option<Multiaddr>,
    ) -> Result<Self, NodeError> {
        let mut swarm = swarm_of(identity, transport)?;
        let listening = listen_on(&mut swarm, listen).await?;
        let address = advertise.unwrap_or(listening).with(Protocol::P2p(identity.peer_id()));
        let (builds, changes) = watch::channel(Vec::new());
        let task = tokio::spawn(serve(swarm, changes));
        Ok(Self { address, builds, task })
    }

    /// Where hosts reach it, peer id included.
    pub const fn address(&self) -> &Multiaddr {
        &self.address
    }

    /// These are the builds from now on.
    pub fn publish(&self, builds: Vec<SeededBuild>) {
        self.builds.send_if_modified(|known| {
            let is_new = *known != builds;
            *known = builds;
            is_new
        });
    }
}

impl Drop for DirectoryServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut swarm: Swarm<Behaviour>, mut changes: watch::Receiver<Vec<SeededBuild>>) {
    let mut answer = Answer {
        // A directory that was restarted is not taken for the one before.
        generation: generation_now(),
        builds: Vec::new(),
    };
    let mut waiting: Vec<(Instant, ResponseChannel<Answer>)> = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            event = swarm.select_next_some() => {
                let SwarmEvent::Behaviour(Event::Message { message: Message::Request { request, channel, .. }, .. }) = event else {
                    continue;
                };
                if request.known == Some(answer.generation) {
                    waiting.push((Instant::now(), channel));
                } else {
                    // Who is gone needs no answer.
                    let _ = swarm.behaviour_mut().send_response(channel, answer.clone());
                }
            }
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                answer.builds.clone_from(&changes.borrow_and_update());
                answer.generation += 1;
                for (_, channel) in waiting.drain(..) {
                    let _ = swarm.behaviour_mut().send_response(channel, answer.clone());
                }
            }
            _ = tick.tick() => {
                let due = waiting.partition_point(|(since, _)| since.elapsed() >= HOLD);
                for (_, channel) in waiting.drain(..due) {
                    let _ = swarm.behaviour_mut().send_response(channel, answer.clone());
                }
            }
        }
    }
}

/// What a directory says, followed. Dropping it ends it.
#[derive(Debug)]
pub struct Directory {
    builds: watch::Receiver<Vec<SeededBuild>>,
    task: JoinHandle<()>,
}

impl Directory {
    /// Follows the directory at `address`, which ends with its peer id. While it cannot be reached it is tried again.
    ///
    /// # Errors
    /// Where the transport cannot be set up.
    pub fn follow(address: Multiaddr, directory: PeerId) -> Result<Self, NodeError> {
        let transport = TransportKind::of(&address);
        let swarm = swarm_of(&NodeIdentity::random(), &transport)?;
        let (told, builds) = watch::channel(Vec::new());
        let task = tokio::spawn(ask(swarm, directory, address, told));
        Ok(Self { builds, task })
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
    directory: PeerId,
    address: Multiaddr,
    told: watch::Sender<Vec<SeededBuild>>,
) {
    let (mut known, mut failures) = (None, 0_u32);
    loop {
        let addresses = vec![address.clone()];
        let behaviour = swarm.behaviour_mut();
        behaviour.send_request_with_addresses(&directory, Ask { known }, addresses);
        let answered = loop {
            match swarm.select_next_some().await {
                SwarmEvent::Behaviour(Event::Message {
                    message: Message::Response { response, .. },
                    ..
                }) => break Ok(response),
                SwarmEvent::Behaviour(Event::OutboundFailure { error, .. }) => break Err(error),
                _ => {}
            }
        };
        match answered {
            Ok(answer) => {
                if failures > 0 {
                    tracing::info!(%address, "the directory answers again");
                }
                (known, failures) = (Some(answer.generation), 0);
                told.send_if_modified(|builds| {
                    let is_new = *builds != answer.builds;
                    *builds = answer.builds;
                    is_new
                });
            }
            Err(error) => {
                let wait = (AGAIN_FIRST * (1 << failures.min(10))).min(AGAIN_MAX);
                failures += 1;
                tracing::warn!(%address, %error, ?wait, "the directory does not answer; trying again");
                tokio::time::sleep(wait).await;
            }
        }
    }
}

fn swarm_of(identity: &NodeIdentity, transport: &TransportKind) -> Result<Swarm<Behaviour>, NodeError> {
    let config = RequestConfig::default().with_request_timeout(PATIENCE);
    let behaviour = Behaviour::new([(PROTOCOL, ProtocolSupport::Full)], config);
    let config = Config::with_tokio_executor().with_idle_connection_timeout(2 * HOLD);
    let transport = transport_of(transport, identity, None)?;
    Ok(Swarm::new(transport, behaviour, identity.peer_id(), config))
}

fn generation_now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_micros()).unwrap_or(u64::MAX / 2))
}

const PROTOCOL: StreamProtocol = StreamProtocol::new("/fleetcast/builds/1");
/// Without news a host is answered after this.
const HOLD: Duration = Duration::from_secs(30);
/// An answer that has not come after this does not come.
const PATIENCE: Duration = Duration::from_secs(45);
/// First wait before a directory that did not answer is asked again; doubles.
const AGAIN_FIRST: Duration = Duration::from_millis(500);
/// Longest such wait.
const AGAIN_MAX: Duration = Duration::from_secs(10);
const _: () = assert!(HOLD.as_millis() < PATIENCE.as_millis());
