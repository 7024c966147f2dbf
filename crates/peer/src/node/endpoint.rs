//! What a process has once, however many swarms it is in: its identity, its listener and its connections. One port is open in
//! the firewall, and the first message of a connection says which swarm it is for.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use libp2p::swarm::{Config, ConnectionId, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm};
use parking_lot::Mutex;
use swarm::wire::ADDRESS_LENGTH_MAX;
use swarm::{HostId, SwarmId};
use tokio::task::{AbortHandle, JoinHandle};

use super::addresses::{self, Addresses};
use super::behaviour::Behaviour;
use super::listening::listen_at;
use super::shared::Shared;
use super::standing::keep_the_door;
use super::{
    Admission, Node, NodeConfig, NodeError, NodeIdentity, PathDelay, PathFaults, Standstill, TransportKind, host_of,
    transport_of,
};
use crate::members::Members;
use crate::traffic_class::TrafficClass;

/// What an endpoint needs to start.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Its key.
    pub identity: NodeIdentity,
    /// How it connects.
    pub transport: TransportKind,
    /// Where it listens: addresses of this machine, or a wildcard for all of a family. A port 0 is any, and the same for both
    /// families where that can be had.
    pub listen: Vec<Multiaddr>,
    /// Where others reach it, if not where it listens.
    pub advertise: Vec<Multiaddr>,
    /// Connections at a time. What comes beyond is refused.
    pub connections: u32,
    /// Who may be talked to; everybody where absent.
    pub members: Option<Arc<Members>>,
    /// Who has connected shows within this who they are, and says what for.
    pub first_message: Duration,
    /// The class of traffic of what it sends over TCP; none of its own where absent.
    pub traffic_class: Option<TrafficClass>,
    /// What is between it and the others besides the network that is there, in a run on one machine.
    pub path: Option<PathDelay>,
    /// What goes wrong on its paths, likewise.
    pub faults: Option<PathFaults>,
    /// What makes it stand still, likewise.
    pub standstill: Option<Standstill>,
}

impl EndpointConfig {
    /// With this key, listening at one address.
    pub fn at(identity: NodeIdentity, transport: TransportKind, listen: Multiaddr) -> Self {
        Self {
            identity,
            transport,
            listen: vec![listen],
            advertise: Vec::new(),
            connections: CONNECTIONS,
            members: None,
            first_message: FIRST_MESSAGE,
            traffic_class: None,
            path: None,
            faults: None,
            standstill: None,
        }
    }

    /// With this key, listening for who is on this machine.
    pub fn on_loopback(identity: NodeIdentity, transport: TransportKind) -> Self {
        let listen = transport.any_port("/ip4/127.0.0.1");
        Self::at(identity, transport, listen)
    }

    /// With this key, listening at every address of the machine, of both families.
    pub fn everywhere(identity: NodeIdentity, transport: TransportKind) -> Self {
        let families = ["/ip4/0.0.0.0", "/ip6/::"];
        let listen = families.iter().map(|family| transport.any_port(family)).collect();
        Self {
            listen,
            ..Self::at(identity, transport, Multiaddr::empty())
        }
    }
}

/// A listener that the members of swarms share. The last one to drop it ends it.
#[derive(Clone)]
pub struct Endpoint(Arc<Running>);

struct Running {
    hub: Arc<Hub>,
    task: AbortHandle,
    /// Sees to who is a member, where that matters.
    doorkeeper: Option<AbortHandle>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(doorkeeper) = &self.doorkeeper {
            doorkeeper.abort();
        }
    }
}

impl Endpoint {
    /// Starts it: it listens when this returns.
    ///
    /// # Errors
    /// Where an address cannot be listened on.
    pub async fn start(config: EndpointConfig) -> Result<Self, NodeError> {
        let (hub, swarm) = open(config, |behaviour| behaviour).await?;
        let task = hub.spawn(drive(swarm, Arc::clone(&hub)));
        Ok(Self::running(hub, task.abort_handle()))
    }

    pub(crate) fn running(hub: Arc<Hub>, task: AbortHandle) -> Self {
        let members = hub.members.clone();
        let doorkeeper = members.map(|members| hub.spawn(keep_the_door(Arc::clone(&hub), members)).abort_handle());
        Self(Arc::new(Running { hub, task, doorkeeper }))
    }

    /// Becomes a member of a swarm. Who comes for a swarm that it is in already is turned away until the first has ended.
    pub fn join(&self, config: NodeConfig) -> Node {
        Node::joined(self.clone(), config)
    }

    /// Who it is.
    pub fn peer_id(&self) -> PeerId {
        self.0.hub.peer
    }

    /// Where others can dial it, peer id included: what another machine may reach first, loopback last.
    pub fn addresses(&self) -> Vec<Multiaddr> {
        let peer = libp2p::core::multiaddr::Protocol::P2p(self.0.hub.peer);
        let at = self.0.hub.reachable_at(&[]).into_iter();
        at.map(|address| address.with(peer.clone())).collect()
    }

    /// Connections that there are, of all its members.
    pub fn connections(&self) -> u32 {
        self.0.hub.connections.load(Ordering::Relaxed)
    }

    /// Ends all connections, so that the other sides know at once, and waits until that is done; not longer than a second.
    pub async fn close(&self) {
        self.0.hub.command(Command::CloseAll);
        for _ in 0..CLOSE_TICKS {
            if self.connections() == 0 {
                return;
            }
            tokio::time::sleep(CLOSE_TICK).await;
        }
    }

    pub(super) fn hub(&self) -> &Arc<Hub> {
        &self.0.hub
    }

    /// Ends it at once, whoever else has it.
    pub(super) fn abort(&self) {
        self.0.task.abort();
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Endpoint").field(&self.0.hub.peer).finish()
    }
}

/// What only the behaviour can do.
pub(super) enum Command {
    Dial {
        member: Arc<Shared>,
        host: HostId,
        addresses: Addresses,
    },
    Close(ConnectionId),
    /// All that there are with this one.
    ClosePeer(PeerId),
    CloseAll,
}

/// What members and connections of an endpoint share. Its lock is taken last and never held while a member is called.
pub(crate) struct Hub {
    peer: PeerId,
    pub(super) connections: AtomicU32,
    standstill: Option<Standstill>,
    pub(crate) members: Option<Arc<Members>>,
    pub(super) first_message: Duration,
    state: Mutex<HubState>,
}

#[derive(Default)]
struct HubState {
    members: HashMap<SwarmId, Arc<Shared>>,
    /// Which swarm a connection is for that others made.
    accepted: HashMap<ConnectionId, Arc<Shared>>,
    /// Where connections come from or lead to, where that is an IP address.
    seen_at: HashMap<ConnectionId, IpAddr>,
    commands: VecDeque<Command>,
    behaviour: Option<Waker>,
    listening: Vec<Multiaddr>,
    advertise: Vec<Multiaddr>,
}

impl Hub {
    fn new(config: &EndpointConfig) -> Self {
        let advertise = config.advertise.clone();
        Self {
            peer: config.identity.peer_id(),
            connections: AtomicU32::new(0),
            standstill: config.standstill.clone(),
            members: config.members.clone(),
            first_message: config.first_message,
            state: Mutex::new(HubState {
                advertise,
                ..HubState::default()
            }),
        }
    }

    /// The number of this process in its swarms.
    pub(super) fn number(&self) -> HostId {
        host_of(self.peer)
    }

    /// Has a task run as long as this process does, but for when it is to stand still.
    pub(super) fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        match self.standstill.clone() {
            Some(standstill) => tokio::spawn(standstill.around(task)),
            None => tokio::spawn(task),
        }
    }

    /// `false` where there is a member of that swarm already.
    pub(super) fn enter(&self, swarm: SwarmId, member: &Arc<Shared>) -> bool {
        let mut state = self.state.lock();
        match state.members.entry(swarm) {
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(Arc::clone(member));
                true
            }
            std::collections::hash_map::Entry::Occupied(_) => false,
        }
    }

    /// Forgets a member and the connections that were made to it.
    pub(super) fn leave(&self, swarm: SwarmId, member: &Arc<Shared>) {
        let mut state = self.state.lock();
        if state
            .members
            .get(&swarm)
            .is_some_and(|known| Arc::ptr_eq(known, member))
        {
            state.members.remove(&swarm);
        }
        state.accepted.retain(|_, known| !Arc::ptr_eq(known, member));
    }

    /// Whom a connection that somebody made is for.
    pub(super) fn accept(&self, swarm: SwarmId, connection: ConnectionId) -> Option<Arc<Shared>> {
        let mut state = self.state.lock();
        let member = Arc::clone(state.members.get(&swarm)?);
        state.accepted.insert(connection, Arc::clone(&member));
        Some(member)
    }

    /// A connection has ended: whom it was for, where others made it.
    pub(super) fn ended(&self, connection: ConnectionId) -> Option<Arc<Shared>> {
        let mut state = self.state.lock();
        state.seen_at.remove(&connection);
        state.accepted.remove(&connection)
    }

    /// A connection comes from there, or leads there.
    pub(super) fn saw(&self, connection: ConnectionId, ip: Option<IpAddr>) {
        if let Some(ip) = ip {
            self.state.lock().seen_at.insert(connection, ip.to_canonical());
        }
    }

    /// What the socket of a connection shows of its other end.
    pub(super) fn seen_at(&self, connection: ConnectionId) -> Option<IpAddr> {
        self.state.lock().seen_at.get(&connection).copied()
    }

    /// Its parts in swarms.
    pub(super) fn parts(&self) -> Vec<Arc<Shared>> {
        self.state.lock().members.values().cloned().collect()
    }

    pub(super) fn command(&self, command: Command) {
        let mut state = self.state.lock();
        state.commands.push_back(command);
        if let Some(waker) = state.behaviour.take() {
            waker.wake();
        }
    }

    /// The next command for the behaviour, which is woken when there is one.
    pub(super) fn next_command(&self, cx: &Context<'_>) -> Option<Command> {
        let mut state = self.state.lock();
        let command = state.commands.pop_front();
        if command.is_none() {
            state.behaviour = Some(cx.waker().clone());
        }
        command
    }

    /// Where others can reach it: what was said, or the addresses it listens at. Those of `towards`, from which it reaches its seeders,
    /// come first; loopback is for those who are on this machine, so it is there where a seeder is, or where there is nothing else.
    pub(super) fn reachable_at(&self, towards: &[IpAddr]) -> Vec<Multiaddr> {
        let state = self.state.lock();
        if !state.advertise.is_empty() {
            return state.advertise.clone();
        }
        let rank = |address: &Multiaddr| match addresses::ip_of(address) {
            Some(ip) if towards.contains(&ip) => Some(0),
            _ if addresses::is_routable(address) => Some(1),
            Some(ip) if ip.is_loopback() => Some(2),
            _ => None,
        };
        let ranked = state
            .listening
            .iter()
            .filter_map(|address| Some((rank(address)?, address)));
        let mut ranked: Vec<(u8, &Multiaddr)> = ranked.collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        let only_loopback = ranked.iter().all(|(rank, _)| *rank == 2);
        let said = ranked
            .into_iter()
            .filter(|(rank, _)| *rank < 2 || towards.is_empty() || only_loopback);
        said.map(|(_, address)| address.clone()).collect()
    }

    /// The same as a contact carries it.
    pub(super) fn contact(&self, towards: &[IpAddr]) -> Bytes {
        Addresses::new(self.peer, self.reachable_at(towards)).encode_within(ADDRESS_LENGTH_MAX)
    }

    /// Where it listens has changed: members tell others.
    pub(crate) fn note<E>(&self, event: &SwarmEvent<E>) {
        let mut lost = None;
        match event {
            SwarmEvent::NewListenAddr { address, .. } => {
                let mut state = self.state.lock();
                if state.listening.contains(address) {
                    return;
                }
                state.listening.push(address.clone());
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.state.lock().listening.retain(|known| known != address);
                tracing::info!(%address, "this machine has this address no more");
                lost = addresses::ip_of(address);
            }
            SwarmEvent::ListenerClosed { reason, addresses, .. } => {
                tracing::warn!(?addresses, ?reason, "listener closed");
                self.state.lock().listening.retain(|known| !addresses.contains(known));
            }
            _ => return,
        }
        for member in self.parts() {
            if let Some(ip) = lost {
                member.address_lost(ip);
            }
            member.tell_address();
        }
    }
}

async fn drive(mut swarm: Swarm<Behaviour>, hub: Arc<Hub>) {
    loop {
        let event = swarm.select_next_some().await;
        hub.note(&event);
    }
}

/// Makes the libp2p swarm of an endpoint, listening. `around` puts other protocols beside the one of members.
pub(crate) async fn open<B: NetworkBehaviour>(
    config: EndpointConfig,
    around: impl FnOnce(Behaviour) -> B,
) -> Result<(Arc<Hub>, Swarm<B>), NodeError> {
    let (path, faults) = (config.path.as_ref(), config.faults.as_ref());
    let admission = config.members.clone().map(|members| Admission {
        members,
        patience: config.first_message,
    });
    let identity = &config.identity;
    let transport = transport_of(
        &config.transport,
        identity,
        admission.as_ref(),
        config.traffic_class,
        path,
        faults,
    )?;
    let hub = Arc::new(Hub::new(&config));
    let behaviour = around(Behaviour::new(Arc::clone(&hub), &config));
    let host = Arc::clone(&hub);
    let swarm_config = Config::with_executor(move |task: Task| _ = host.spawn(task))
        .with_idle_connection_timeout(config.first_message)
        .with_substream_upgrade_protocol_override(libp2p::core::upgrade::Version::V1Lazy);
    let mut swarm = Swarm::new(transport, behaviour, hub.peer, swarm_config);
    listen_at(&mut swarm, &hub, &config.listen).await?;
    Ok((hub, swarm))
}

/// What libp2p has run.
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Who has connected says within this who they are and what for.
pub(crate) const FIRST_MESSAGE: Duration = Duration::from_secs(10);
/// Connections that an endpoint takes where nobody says how many.
const CONNECTIONS: u32 = 512;
/// How often, and with what pause, the end of all connections is looked for.
const CLOSE_TICKS: u32 = 200;
const CLOSE_TICK: Duration = Duration::from_millis(5);
