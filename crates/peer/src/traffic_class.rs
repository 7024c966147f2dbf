//! What class of traffic the packets of a connection are, for switches that know classes: the six bits of a differentiated service (DSCP).

use std::net::SocketAddr;
use std::str::FromStr;

use socket2::SockRef;
use tokio::net::TcpStream;

/// A class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrafficClass(u8);

impl FromStr for TrafficClass {
    type Err = String;

    /// By its name, or by its number.
    fn from_str(text: &str) -> Result<Self, String> {
        let named = CLASSES.iter().find(|(name, _)| *name == text).map(|(_, class)| *class);
        let numbered = || text.parse().ok().filter(|class| *class < 64);
        named
            .or_else(numbered)
            .map(Self)
            .ok_or_else(|| format!("expected {TRAFFIC_CLASS}"))
    }
}

impl TrafficClass {
    /// Puts what this connection sends into the class; what cannot be put there goes on as it was.
    pub(crate) fn put_on(self, stream: &TcpStream) {
        // The other two bits are the congestion's.
        let bits = u32::from(self.0) << 2;
        let socket = SockRef::from(stream);
        let put = match stream.local_addr() {
            Ok(SocketAddr::V6(address)) if address.ip().to_ipv4_mapped().is_none() => socket.set_tclass_v6(bits),
            Ok(_) => socket.set_tos_v4(bits),
            Err(error) => Err(error),
        };
        if let Err(error) = put {
            tracing::debug!(%error, class = self.0, "a connection is in no class");
        }
    }
}

/// What a class is.
pub const TRAFFIC_CLASS: &str = "a class of traffic in quotes: \"le\" (less than best effort), \"cs1\", \"af11\" … \"af43\", or a number from 0 to 63";
const CLASSES: [(&str, u8); 22] = [
    ("le", 1),
    ("cs0", 0),
    ("cs1", 8),
    ("cs2", 16),
    ("cs3", 24),
    ("cs4", 32),
    ("cs5", 40),
    ("cs6", 48),
    ("cs7", 56),
    ("af11", 10),
    ("af12", 12),
    ("af13", 14),
    ("af21", 18),
    ("af22", 20),
    ("af23", 22),
    ("af31", 26),
    ("af32", 28),
    ("af33", 30),
    ("af41", 34),
    ("af42", 36),
    ("af43", 38),
    ("ef", 46),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_a_name_or_a_number() {
        let class = |text: &str| text.parse::<TrafficClass>().map(|class| class.0);
        assert_eq!(class("le"), Ok(1));
        assert_eq!(class("af43"), Ok(38));
        assert_eq!(class("63"), Ok(63));
        for wrong in ["64", "-1", "", "LE", "high"] {
            assert!(class(wrong).unwrap_err().contains("\"cs1\""), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_connection_is_in_its_class_over_both_families() {
        for host in ["127.0.0.1", "::1"] {
            let Ok(listener) = tokio::net::TcpListener::bind((host, 0)).await else {
                eprintln!("there is no {host} here");
                continue;
            };
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            "cs1".parse::<TrafficClass>().unwrap().put_on(&stream);
            let socket = SockRef::from(&stream);
            let bits = if host == "::1" {
                socket.tclass_v6()
            } else {
                socket.tos_v4()
            };
            assert_eq!(bits.unwrap() >> 2, 8, "{host}");
        }
    }
}
