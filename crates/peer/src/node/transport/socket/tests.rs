use std::future::poll_fn;
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream as TokioStream};

use super::*;

/// A socket that has a reader with little room, which reads when it is told to.
async fn pair() -> (Socket, TokioStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    socket2::SockRef::from(&listener).set_recv_buffer_size(4 << 10).unwrap();
    let near = TokioStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    (Socket::new(TcpStream(near), None), far)
}

#[tokio::test]
async fn what_nobody_takes_has_not_left_and_has_when_somebody_does() {
    let (mut near, far) = pair().await;
    poll_fn(|cx| poll_through(Pin::new(&mut near), cx, 1 << 10))
        .await
        .unwrap();
    // Until it takes no more.
    let mut written = 0;
    while let Ok(count) = tokio::time::timeout(Duration::from_millis(100), near.write(&[7; 8 << 10])).await {
        written += count.unwrap();
    }
    assert!(
        written < 1 << 20,
        "{written} bytes are in a socket whose reader has room for few"
    );
    near.flush().await.unwrap();
    let left = poll_fn(|cx| poll_through(Pin::new(&mut near), cx, 1 << 10));
    assert!(tokio::time::timeout(Duration::from_millis(100), left).await.is_err());
    let read = tokio::spawn(async move {
        let mut far = TcpStream(far);
        let mut all = vec![0; written];
        far.read_exact(&mut all).await.unwrap();
        far
    });
    poll_fn(|cx| poll_through(Pin::new(&mut near), cx, 1 << 10))
        .await
        .unwrap();
    read.await.unwrap();
}

#[tokio::test]
async fn who_waits_for_it_to_leave_hears_when_the_other_side_has_gone() {
    let (mut near, far) = pair().await;
    while let Ok(count) = tokio::time::timeout(Duration::from_millis(100), near.write(&[7; 8 << 10])).await {
        count.unwrap();
    }
    let waiting = tokio::spawn(async move { poll_fn(|cx| poll_through(Pin::new(&mut near), cx, 1 << 10)).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    drop(far);
    let ended = tokio::time::timeout(Duration::from_secs(5), waiting).await;
    // Whether it is an error is for who writes next to find out.
    assert!(ended.is_ok());
}
