use super::super::pipe::{PipeEnd, pair};
use super::*;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use libp2p::core::muxing::StreamMuxerExt;
use std::future::poll_fn;

type End = OneStreamMuxer<PipeEnd>;

fn ends(window: usize) -> (End, End) {
    let (near, far) = pair(window, None);
    (End::new(near, Side::Made), End::new(far, Side::Accepted))
}

async fn streams(made: &mut End, accepted: &mut End) -> (OnlyStream<PipeEnd>, OnlyStream<PipeEnd>) {
    let near = poll_fn(|cx| made.poll_outbound_unpin(cx)).await.unwrap();
    let far = poll_fn(|cx| accepted.poll_inbound_unpin(cx)).await.unwrap();
    (near, far)
}

#[tokio::test]
async fn what_one_side_has_closed_the_other_may_still_write_to() {
    let (mut a, mut b) = ends(1024);
    let (mut near, mut far) = streams(&mut a, &mut b).await;
    near.write_all(b"question").await.unwrap();
    near.close().await.unwrap();
    let mut question = Vec::new();
    far.read_to_end(&mut question).await.unwrap();
    assert_eq!(question, b"question");
    assert!(near.write(b"more").await.is_err());
    far.write_all(b"answer").await.unwrap();
    far.close().await.unwrap();
    let mut answer = Vec::new();
    near.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"answer");
    // Nobody has said that the connection is of no more use.
    assert!(poll_fn(|cx| a.poll_unpin(cx)).now_or_never().is_none());
}

#[tokio::test]
async fn there_is_one_stream_and_whoever_made_the_connection_opens_it() {
    let (mut a, mut b) = ends(1024);
    assert!(poll_fn(|cx| a.poll_inbound_unpin(cx)).now_or_never().is_none());
    let refused = poll_fn(|cx| b.poll_outbound_unpin(cx)).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::QuotaExceeded);
    let _streams = streams(&mut a, &mut b).await;
    let refused = poll_fn(|cx| a.poll_outbound_unpin(cx)).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::QuotaExceeded);
    assert!(poll_fn(|cx| b.poll_inbound_unpin(cx)).now_or_never().is_none());
}

#[tokio::test]
async fn a_connection_ends_with_its_stream_on_both_sides() {
    let (mut a, mut b) = ends(1024);
    let (mut near, mut far) = streams(&mut a, &mut b).await;
    let ended = tokio::spawn(async move { poll_fn(|cx| a.poll_unpin(cx)).await.map(|_| ()).is_err() && drop_of(a) });
    tokio::task::yield_now().await;
    near.write_all(b"last words").await.unwrap();
    drop(near);
    assert!(ended.await.unwrap());
    let mut words = Vec::new();
    far.read_to_end(&mut words).await.unwrap();
    assert_eq!(words, b"last words");
    drop(far);
    assert!(poll_fn(|cx| b.poll_unpin(cx)).await.is_err());
    assert!(poll_fn(|cx| b.poll_inbound_unpin(cx)).await.is_err());
}

fn drop_of(end: End) -> bool {
    drop(end);
    true
}

#[tokio::test]
async fn who_waits_at_a_stream_is_woken_when_its_connection_is_dropped_or_closed() {
    for is_closed in [false, true] {
        let (mut a, mut b) = ends(8);
        let (near, _far) = streams(&mut a, &mut b).await;
        let (mut inlet, mut outlet) = near.split();
        let reader = tokio::spawn(async move { inlet.read(&mut [0; 8]).await });
        let writer = tokio::spawn(async move { outlet.write_all(&[0; 64]).await });
        // Both have waited once when this task runs again: the test's runtime has one thread.
        tokio::task::yield_now().await;
        if is_closed {
            poll_fn(|cx| a.poll_close_unpin(cx)).await.unwrap();
        }
        drop(a);
        for ended in [reader.await.unwrap().map(|_| ()), writer.await.unwrap()] {
            assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        }
    }
}

#[tokio::test]
async fn a_stream_that_nobody_has_opened_goes_with_its_connection() {
    let (a, b) = ends(8);
    drop(a);
    let mut b = b;
    let mut far = poll_fn(|cx| b.poll_inbound_unpin(cx)).await.unwrap();
    assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
    drop((far, b));
}
