//! A host's end of a directory: one question after the other, and rows beside it, over one connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use libp2p::Swarm;
use libp2p::request_response::{Event, Message, OutboundFailure, OutboundRequestId};
use libp2p::swarm::{Config, NetworkBehaviour, SwarmEvent};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::rows::{self, Handing, RowFate, RowSender};
use super::{Answer, Ask, HOLD, SeededBuild, proof_of, take_proof};
use crate::members::Members;
use crate::node::{
    Addresses, Admission, FIRST_MESSAGE, NodeError, NodeIdentity, TransportKind, cause_of, transport_of,
};
use crate::traffic_class::TrafficClass;

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
    rows: RowSender,
    task: JoinHandle<()>,
}

impl Directory {
    /// Follows the directory at these addresses. While it cannot be reached it is tried again, and names are looked up anew.
    ///
    /// # Errors
    /// Where the transport cannot be set up.
    pub fn follow(directory: Addresses) -> Result<Self, NodeError> {
        Self::follow_as(&NodeIdentity::random(), None, None, directory)
    }

    /// The same as one who is known, in a closed swarm where members are given. What is sent over TCP is of this class of traffic.
    ///
    /// # Errors
    /// Where the transport cannot be set up.
    pub fn follow_as(
        identity: &NodeIdentity,
        members: Option<Arc<Members>>,
        class: Option<TrafficClass>,
        directory: Addresses,
    ) -> Result<Self, NodeError> {
        let transport = directory.at().first().map_or(TransportKind::Tcp, TransportKind::of);
        // Each question has a stream of its own.
        let transport = match transport {
            TransportKind::Tcp => TransportKind::TcpStreams,
            other => other,
        };
        let swarm = swarm_of(identity, members.clone(), class, &transport)?;
        let (told, builds) = watch::channel(Vec::new());
        let (reached, reach) = watch::channel(Reach::Unknown);
        let (rows, to_hand) = mpsc::channel(1);
        let follower = Follower {
            swarm,
            members,
            at: directory.at().to_vec(),
            address: directory.to_string(),
            directory,
            told,
            reached,
            known: None,
            failures: 0,
            question: None,
            again_at: Instant::now(),
            dial_error: None,
            handed: HashMap::new(),
        };
        let task = tokio::spawn(follower.run(to_hand));
        Ok(Self {
            builds,
            reach,
            rows: RowSender(rows),
            task,
        })
    }

    /// Whether it answers, which changes with time.
    pub fn reach(&self) -> watch::Receiver<Reach> {
        self.reach.clone()
    }

    /// By which rows are handed to it, for as long as it is followed.
    pub fn rows(&self) -> RowSender {
        self.rows.clone()
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

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p::swarm::derive_prelude")]
struct Asks {
    builds: super::Behaviour,
    rows: rows::Behaviour,
}

struct Follower {
    swarm: Swarm<Asks>,
    members: Option<Arc<Members>>,
    directory: Addresses,
    /// As it is said.
    address: String,
    /// Where it was when its name was looked up last.
    at: Vec<libp2p::Multiaddr>,
    told: watch::Sender<Vec<SeededBuild>>,
    reached: watch::Sender<Reach>,
    known: Option<u64>,
    /// Questions that were not answered since the last one that was.
    failures: u32,
    question: Option<OutboundRequestId>,
    /// When it is asked next, if it is not being asked.
    again_at: Instant,
    dial_error: Option<String>,
    handed: HashMap<OutboundRequestId, oneshot::Sender<RowFate>>,
}

impl Follower {
    async fn run(mut self, mut rows: mpsc::Receiver<Handing>) {
        loop {
            if self.question.is_none() && self.again_at <= Instant::now() {
                self.ask().await;
            }
            tokio::select! {
                event = self.swarm.select_next_some() => self.handle(event),
                Some(row) = rows.recv() => self.hand(row),
                () = tokio::time::sleep_until(self.again_at.into()), if self.question.is_none() => {}
            }
        }
    }

    async fn ask(&mut self) {
        match self.directory.clone().resolved().await {
            Ok(directory) => self.at = directory.at().to_vec(),
            Err(error) => return self.is_silent(format!("the name is not known: {error}")),
        }
        let ask = Ask {
            known: self.known,
            proof: proof_of(self.members.as_ref()),
        };
        self.dial_error = None;
        let builds = &mut self.swarm.behaviour_mut().builds;
        let question = builds.send_request_with_addresses(&self.directory.peer(), ask, self.at.clone());
        self.question = Some(question);
    }

    fn handle(&mut self, event: SwarmEvent<AsksEvent>) {
        match event {
            SwarmEvent::Behaviour(AsksEvent::Builds(Event::Message {
                message: Message::Response { response, request_id },
                ..
            })) if self.question == Some(request_id) => self.has_answered(response),
            SwarmEvent::Behaviour(AsksEvent::Builds(Event::OutboundFailure { error, request_id, .. }))
                if self.question == Some(request_id) =>
            {
                let why = self.dial_error.take().unwrap_or_else(|| error.to_string());
                if matches!(error, OutboundFailure::Timeout) {
                    // A directory that is there answers sooner, with or without news. A connection leads nowhere when this machine has got
                    // another address or has slept, and the kernel says so after a quarter of an hour: the next question makes a new one.
                    let _ = self.swarm.disconnect_peer_id(self.directory.peer());
                }
                self.is_silent(why);
            }
            SwarmEvent::Behaviour(AsksEvent::Rows(Event::Message {
                message: Message::Response { response, request_id },
                ..
            })) => self.row_ends(request_id, response),
            SwarmEvent::Behaviour(AsksEvent::Rows(Event::OutboundFailure { error, request_id, .. })) => {
                self.row_ends(
                    request_id,
                    RowFate::NotNow(format!("no answer of the directory: {error}")),
                );
            }
            SwarmEvent::OutgoingConnectionError { error, .. } => self.dial_error = Some(cause_of(&error)),
            _ => {}
        }
    }

    fn has_answered(&mut self, answer: Answer) {
        self.question = None;
        take_proof(self.members.as_ref(), self.directory.peer(), answer.proof.as_deref());
        if self.failures > 0 {
            tracing::warn!(address = self.address, "the directory answers again");
        }
        (self.known, self.failures) = (Some(answer.generation), 0);
        // First: whoever hears that it answers finds what it has said.
        self.told.send_if_modified(|builds| {
            let is_new = *builds != answer.builds;
            *builds = answer.builds;
            is_new
        });
        self.reached
            .send_if_modified(|reach| std::mem::replace(reach, Reach::Answers) != Reach::Answers);
    }

    fn is_silent(&mut self, error: String) {
        self.question = None;
        self.again_at = Instant::now() + (AGAIN_FIRST * (1 << self.failures.min(10))).min(AGAIN_MAX);
        self.failures += 1;
        if self.failures == 1 {
            tracing::warn!(
                address = self.address,
                error,
                "the directory does not answer; is it running there, and is its port open? it is tried until it does"
            );
        }
        self.reached.send_replace(Reach::Silent(error));
    }

    /// A row goes over the connection that there is: to make one is the questions' matter.
    fn hand(&mut self, Handing { row, answer }: Handing) {
        let directory = self.directory.peer();
        if !self.swarm.is_connected(&directory) {
            let _ = answer.send(RowFate::NotNow("the directory is not connected now".to_owned()));
            return;
        }
        let told = rows::Told {
            row: *row,
            proof: proof_of(self.members.as_ref()),
        };
        let row = self.swarm.behaviour_mut().rows.send_request(&directory, told);
        self.handed.insert(row, answer);
    }

    fn row_ends(&mut self, row: OutboundRequestId, fate: RowFate) {
        if let Some(answer) = self.handed.remove(&row) {
            // Who does not wait any more tells it again.
            let _ = answer.send(fate);
        }
    }
}

fn swarm_of(
    identity: &NodeIdentity,
    members: Option<Arc<Members>>,
    class: Option<TrafficClass>,
    transport: &TransportKind,
) -> Result<Swarm<Asks>, NodeError> {
    let config = Config::with_tokio_executor().with_idle_connection_timeout(2 * HOLD);
    let admission = members.map(|members| Admission {
        members,
        patience: FIRST_MESSAGE,
    });
    let transport = transport_of(transport, identity, admission.as_ref(), class, None, None)?;
    let asks = Asks {
        builds: super::behaviour(),
        rows: rows::behaviour(),
    };
    Ok(Swarm::new(transport, asks, identity.peer_id(), config))
}

/// First wait before a directory that did not answer is asked again; doubles.
const AGAIN_FIRST: Duration = Duration::from_millis(500);
/// Longest such wait.
const AGAIN_MAX: Duration = Duration::from_secs(10);
