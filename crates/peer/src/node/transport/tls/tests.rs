use super::super::pipe::{PipeEnd, pair};
use super::*;
use futures::{AsyncReadExt, AsyncWriteExt};
use rustls::CipherSuite;

const WINDOW: usize = 64 << 10;

fn tls(keypair: &Keypair, has_aes: bool) -> Tls {
    Tls::new(keypair, &suites(has_aes), has_aes).unwrap()
}

/// One that shows the public key of `shown` and signs as `signer`.
fn impostor(shown: &Keypair, signer: &Keypair) -> Tls {
    let shown = key_of(shown).unwrap();
    let key = CertifiedKey::new(shown.cert.clone(), key_of(signer).unwrap().key);
    Tls::with_key(key, &suites(true), true).unwrap()
}

type Shaken = Result<(PeerId, TlsStream<PipeEnd>), SecurityError>;

async fn shake(client: Tls, server: Tls) -> (Shaken, Shaken) {
    let (near, far) = pair(WINDOW, None);
    let accepted = tokio::spawn(server.accept(far));
    let connected = client.connect(near).await;
    (connected, accepted.await.unwrap())
}

#[tokio::test]
async fn both_sides_learn_who_is_at_the_other_end() {
    let (a, b) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let (connected, accepted) = shake(tls(&a, true), tls(&b, true)).await;
    let ((of_b, mut near), (of_a, mut far)) = (connected.unwrap(), accepted.unwrap());
    assert_eq!((of_a, of_b), (a.public().to_peer_id(), b.public().to_peer_id()));
    near.write_all(b"there").await.unwrap();
    far.write_all(b"back").await.unwrap();
    let (mut there, mut back) = ([0; 5], [0; 4]);
    far.read_exact(&mut there).await.unwrap();
    near.read_exact(&mut back).await.unwrap();
    assert_eq!((&there, &back), (b"there", b"back"));
}

#[tokio::test]
async fn aes_is_taken_where_both_have_it_and_nowhere_else() {
    let taken = async |client: bool, server: bool| {
        let (a, b) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let (connected, accepted) = shake(tls(&a, client), tls(&b, server)).await;
        let (connected, _accepted) = (connected.unwrap().1, accepted.unwrap());
        connected.get_ref().1.negotiated_cipher_suite().unwrap().suite()
    };
    assert_eq!(taken(true, true).await, CipherSuite::TLS13_AES_128_GCM_SHA256);
    for (client, server) in [(true, false), (false, true), (false, false)] {
        assert_eq!(
            taken(client, server).await,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
            "client has AES: {client}, server has AES: {server}"
        );
    }
}

#[tokio::test]
async fn who_shows_the_key_of_another_peer_is_turned_away_on_both_sides() {
    let [own, other, victim] = [(); 3].map(|()| Keypair::generate_ed25519());
    // As the server it is found out by who connects.
    let (connected, accepted) = shake(tls(&own, true), impostor(&victim, &other)).await;
    assert!(connected.is_err() && accepted.is_err());
    // As the client by who accepts: who connects is through before it has been looked at.
    let (connected, accepted) = shake(impostor(&victim, &other), tls(&own, true)).await;
    assert!(matches!(accepted, Err(SecurityError::Tls(_))));
    let (_, mut stream) = connected.unwrap();
    assert!(stream.read(&mut [0; 1]).await.is_err());
    // What the victim has itself is good.
    let (connected, accepted) = shake(impostor(&victim, &victim), tls(&own, true)).await;
    assert!(connected.is_ok());
    assert_eq!(accepted.unwrap().0, victim.public().to_peer_id());
}

#[test]
fn what_is_no_key_of_a_peer_names_nobody() {
    let key = key_of(&Keypair::generate_ed25519()).unwrap().cert[0].to_vec();
    assert!(peer_of(&key).is_some());
    for length in 0..key.len() {
        assert_eq!(peer_of(&key[..length]), None, "the first {length} bytes");
    }
    assert_eq!(peer_of(&[&key[..], &[0]].concat()), None, "a byte more");
    for at in 0..PUBLIC_KEY_PREFIX.len() {
        let mut other = key.clone();
        other[at] ^= 1;
        assert_eq!(peer_of(&other), None, "byte {at} is another");
    }
}

#[tokio::test]
async fn bytes_that_are_changed_on_their_way_are_an_error_and_never_read() {
    let (a, b) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let ((near, left), (right, far)) = (pair(WINDOW, None), pair(WINDOW, None));
    let accepted = tokio::spawn(tls(&b, true).accept(far));
    let (left_in, mut left_out) = left.split();
    let (right_in, mut right_out) = right.split();
    let changes = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let changing = Arc::clone(&changes);
    tokio::spawn(async move { futures::io::copy(right_in, &mut left_out).await });
    tokio::spawn(async move {
        let (mut left_in, mut buffer) = (left_in, [0; 4096]);
        while let Ok(count @ 1..) = left_in.read(&mut buffer).await {
            // The handshake passes as it is.
            if changing.load(std::sync::atomic::Ordering::Relaxed) {
                buffer[count / 2] ^= 1;
            }
            right_out.write_all(&buffer[..count]).await.unwrap();
        }
    });
    let (_, mut near) = tls(&a, true).connect(near).await.unwrap();
    let (_, mut far) = accepted.await.unwrap().unwrap();
    changes.store(true, std::sync::atomic::Ordering::Relaxed);
    near.write_all(&[7; 1000]).await.unwrap();
    near.flush().await.unwrap();
    let read = far.read(&mut [0; 1000]).await;
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_stream_that_is_cut_off_does_not_look_like_one_that_has_ended() {
    let (a, b) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let (connected, accepted) = shake(tls(&a, true), tls(&b, true)).await;
    let (near, mut far) = (connected.unwrap().1, accepted.unwrap().1);
    // Without a word of TLS that this is the end.
    drop(near);
    assert_eq!(
        far.read(&mut [0; 10]).await.unwrap_err().kind(),
        io::ErrorKind::UnexpectedEof
    );
    let (connected, accepted) = shake(tls(&a, true), tls(&b, true)).await;
    let (mut near, mut far) = (connected.unwrap().1, accepted.unwrap().1);
    near.close().await.unwrap();
    assert_eq!(far.read(&mut [0; 10]).await.unwrap(), 0);
}
