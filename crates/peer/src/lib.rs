//! Host agent: drives the swarm core over libp2p
