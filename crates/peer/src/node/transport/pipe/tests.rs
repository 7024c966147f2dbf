use super::super::handover::{Arrived, read_shared, write_shared};
use super::*;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use libp2p::core::muxing::SubstreamBox;
use proptest::prelude::*;

#[tokio::test]
async fn bytes_arrive_in_order_through_a_window_smaller_than_a_write() {
    let (mut near, mut far) = pair(7, None);
    let sent: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    let copy = sent.clone();
    let writer = tokio::spawn(async move {
        near.write_all(&copy).await.unwrap();
        near.close().await.unwrap();
    });
    let mut received = Vec::new();
    far.read_to_end(&mut received).await.unwrap();
    writer.await.unwrap();
    assert_eq!(received, sent);
}

#[tokio::test]
async fn a_writer_waits_while_nobody_reads() {
    let (mut near, mut far) = pair(4, None);
    assert_eq!(near.write(b"abcdef").await.unwrap(), 4);
    assert!(near.write(b"ef").now_or_never().is_none());
    let mut buf = [0; 2];
    far.read_exact(&mut buf).await.unwrap();
    assert_eq!(near.write(b"ef").await.unwrap(), 2);
}

#[tokio::test]
async fn each_end_sees_that_the_other_has_gone() {
    let (mut near, far) = pair(4, None);
    drop(far);
    assert_eq!(near.write(b"a").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(near.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_writer_that_waits_is_woken_by_a_read_and_by_the_reader_leaving() {
    let (mut near, mut far) = pair(4, None);
    near.write_all(b"full").await.unwrap();
    let writer = tokio::spawn(async move {
        near.write_all(b"more").await.unwrap();
        near.write_all(b"lost").await
    });
    tokio::task::yield_now().await;
    let mut read = [0; 4];
    far.read_exact(&mut read).await.unwrap();
    tokio::task::yield_now().await;
    drop(far);
    assert_eq!(writer.await.unwrap().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn a_half_that_was_closed_properly_ends_properly_though_the_connection_is_cut() {
    let (mut near, mut far) = pair(4, None);
    near.write_all(b"bye").await.unwrap();
    near.close().await.unwrap();
    far.cut().end();
    let mut read = Vec::new();
    far.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"bye");
    assert_eq!(
        near.read(&mut [0]).await.unwrap_err().kind(),
        io::ErrorKind::ConnectionReset
    );
}

#[test]
fn a_cut_keeps_no_stream_alive() {
    let (near, far) = pair(4, None);
    let cut = near.cut();
    drop(near);
    assert!(cut.is_of_use());
    drop(far);
    assert!(!cut.is_of_use());
    cut.end();
}

#[tokio::test]
async fn a_shared_buffer_is_not_copied_and_a_foreign_slice_is() {
    let (mut near, far) = pair(100, None);
    let bytes = Bytes::from(vec![7; 50]);
    let written = std::future::poll_fn(|cx| write_shared(Pin::new(&mut near), cx, &bytes)).await;
    assert_eq!(written.unwrap(), 50);
    near.write_all(b"foreign").await.unwrap();
    let state = far.incoming.state.lock();
    assert_eq!(state.queue[0].as_slice().as_ptr(), bytes.as_ptr());
    assert_eq!(state.queue[1].as_slice(), b"foreign");
}

#[tokio::test]
async fn a_shared_buffer_passes_libp2p_s_boxes_and_a_full_window_uncopied() {
    let (near, mut far) = pair(30, None);
    let mut boxed = SubstreamBox::new(near);
    let bytes = Bytes::from(vec![7; 60]);
    let written = std::future::poll_fn(|cx| write_shared(Pin::new(&mut boxed), cx, &bytes)).await;
    assert_eq!(written.unwrap(), 30);
    assert_eq!(far.incoming.state.lock().queue[0].as_slice().as_ptr(), bytes.as_ptr());
    far.read_exact(&mut [0; 30]).await.unwrap();
    let rest = bytes.slice(30..);
    let written = std::future::poll_fn(|cx| write_shared(Pin::new(&mut boxed), cx, &rest)).await;
    assert_eq!(written.unwrap(), 30);
    assert_eq!(far.incoming.state.lock().queue[0].as_slice().as_ptr(), rest.as_ptr());
}

#[tokio::test]
async fn a_large_buffer_is_read_as_it_was_written_and_a_small_one_is_copied() {
    let (mut near, far) = pair(9000, None);
    let mut far = SubstreamBox::new(far);
    let bytes = Bytes::from(vec![7; 5000]);
    let written = std::future::poll_fn(|cx| write_shared(Pin::new(&mut near), cx, &bytes)).await;
    assert_eq!(written.unwrap(), 5000);
    near.write_all(b"small").await.unwrap();
    let mut buf = [0; 3000];
    for part in [bytes.slice(..3000), bytes.slice(3000..)] {
        let read = std::future::poll_fn(|cx| read_shared(Pin::new(&mut far), cx, &mut buf)).await;
        match read.unwrap() {
            Arrived::Shared(read) => assert_eq!((read.as_ptr(), read.len()), (part.as_ptr(), part.len())),
            Arrived::Copied(count) => panic!("{count} bytes were copied"),
        }
    }
    let read = std::future::poll_fn(|cx| read_shared(Pin::new(&mut far), cx, &mut buf)).await;
    assert!(matches!(read.unwrap(), Arrived::Copied(5)));
    assert_eq!(&buf[..5], b"small");
    // All of it has left the window.
    near.write_all(&[1; 9000]).now_or_never().unwrap().unwrap();
}

#[tokio::test]
async fn a_wrapper_that_has_bytes_of_its_own_reads_copies_and_one_that_keeps_some_back_is_an_error() {
    /// Puts a byte before what it reads, or keeps the last one.
    struct Wrapper {
        inner: PipeEnd,
        adds: bool,
    }
    impl AsyncRead for Wrapper {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
            if self.adds {
                buf[0] = b'>';
                return Pin::new(&mut self.inner)
                    .poll_read(cx, &mut buf[1..])
                    .map_ok(|count| count + 1);
            }
            Pin::new(&mut self.inner).poll_read(cx, buf).map_ok(|count| count - 1)
        }
    }
    for adds in [true, false] {
        let (mut near, inner) = pair(9000, None);
        near.write_all(&[7; 2000]).await.unwrap();
        let mut wrapper = Wrapper { inner, adds };
        let mut buf = [0; 2001];
        let read = std::future::poll_fn(|cx| read_shared(Pin::new(&mut wrapper), cx, &mut buf)).await;
        match read {
            Ok(Arrived::Copied(2001)) if adds => assert_eq!(buf[..3], *b">\x07\x07"),
            Err(error) if !adds => assert_eq!(error.kind(), io::ErrorKind::InvalidData),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_wrapper_that_writes_something_else_in_between_is_not_misled() {
    /// Writes a length before what it is asked to write, as a framing wrapper does.
    struct Framing(PipeEnd);
    impl AsyncWrite for Framing {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let length = [u8::try_from(buf.len()).unwrap()];
            assert!(Pin::new(&mut self.0).poll_write(cx, &length).is_ready());
            Pin::new(&mut self.0).poll_write(cx, buf)
        }
        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }
        fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_close(cx)
        }
    }
    let (near, mut far) = pair(100, None);
    let mut framing = Framing(near);
    let bytes = Bytes::from_static(b"payload");
    let written = std::future::poll_fn(|cx| write_shared(Pin::new(&mut framing), cx, &bytes)).await;
    assert_eq!(written.unwrap(), 7);
    framing.close().await.unwrap();
    let mut read = Vec::new();
    far.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"\x07payload");
}

#[tokio::test]
async fn on_a_path_bytes_land_in_order_and_none_before_its_time() {
    let path = PathDelay::new(DELAY).unwrap();
    let (mut near, mut far) = pair(7, Some(&path));
    let sent: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    let copy = sent.clone();
    let began = tokio::time::Instant::now();
    let writer = tokio::spawn(async move {
        for part in copy.chunks(999) {
            near.write_all(part).await.unwrap();
        }
        near.close().await.unwrap();
    });
    let mut received = vec![0; 1];
    far.read_exact(&mut received).await.unwrap();
    assert!(began.elapsed() >= DELAY, "{:?}", began.elapsed());
    // The end comes behind what is on the way.
    far.read_to_end(&mut received).await.unwrap();
    writer.await.unwrap();
    assert_eq!(received, sent);
}

#[tokio::test]
async fn what_is_on_the_way_is_no_room_taken_and_what_has_landed_is() {
    let path = PathDelay::new(DELAY).unwrap();
    let (mut near, mut far) = pair(4, Some(&path));
    near.write_all(b"abcdef").await.unwrap();
    near.write_all(b"ghi").await.unwrap();
    far.read_exact(&mut [0; 1]).await.unwrap();
    assert!(near.write(b"j").now_or_never().is_none());
    far.read_exact(&mut [0; 8]).await.unwrap();
    assert_eq!(near.write(b"j").await.unwrap(), 1);
}

#[tokio::test]
async fn a_cut_comes_behind_what_is_on_the_way() {
    let path = PathDelay::new(DELAY).unwrap();
    let (mut near, mut far) = pair(9, Some(&path));
    near.write_all(b"last").await.unwrap();
    near.cut().end();
    let mut read = [0; 4];
    far.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"last");
    let reset = far.read(&mut read).await.unwrap_err();
    assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn what_lands_after_its_reader_has_gone_is_dropped_and_the_next_is_carried() {
    let path = PathDelay::new(DELAY).unwrap();
    let (mut near, far) = pair(9, Some(&path));
    near.write_all(b"lost").await.unwrap();
    drop(far);
    let (mut near, mut far) = pair(9, Some(&path));
    for _ in 0..2 {
        near.write_all(b"kept").await.unwrap();
        // Meanwhile whoever has carried this is done, and the next has to be found.
        far.read_exact(&mut [0; 4]).await.unwrap();
        tokio::task::yield_now().await;
    }
}

const DELAY: std::time::Duration = std::time::Duration::from_millis(20);

#[derive(Clone, Copy, Debug)]
enum Step {
    Write { length: usize, shared: bool },
    Read(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let write = (1..40_usize, any::<bool>()).prop_map(|(length, shared)| Step::Write { length, shared });
    prop::collection::vec(prop_oneof![write, (1..40_usize).prop_map(Step::Read)], 1..200)
}

proptest! {
    /// The model: a writer's and a reader's count, whose difference is what waits.
    #[test]
    fn any_interleaving_keeps_order_bytes_and_the_bound(limit in 1..50_usize, steps in steps()) {
        let (mut near, mut far) = pair(limit, None);
        let cx = &mut Context::from_waker(Waker::noop());
        let sent = Bytes::from_iter((0..200 * 40_u32).map(|n| n.to_le_bytes()[(n % 2) as usize]));
        let (mut written, mut read) = (0, 0);
        for step in steps {
            match step {
                Step::Write { length, shared } => {
                    let bytes = sent.slice(written..written + length);
                    let result = if shared {
                        write_shared(Pin::new(&mut near), cx, &bytes)
                    } else {
                        Pin::new(&mut near).poll_write(cx, &bytes)
                    };
                    let room = limit - (written - read);
                    match result {
                        Poll::Ready(taken) => {
                            let taken = taken.unwrap();
                            prop_assert_eq!(taken, length.min(room));
                            written += taken;
                        }
                        Poll::Pending => prop_assert_eq!(room, 0),
                    }
                }
                Step::Read(length) => {
                    let mut buf = vec![0; length];
                    match Pin::new(&mut far).poll_read(cx, &mut buf) {
                        Poll::Ready(filled) => {
                            let filled = filled.unwrap();
                            prop_assert_eq!(filled, length.min(written - read));
                            prop_assert_eq!(&buf[..filled], &sent[read..read + filled]);
                            read += filled;
                        }
                        Poll::Pending => prop_assert_eq!(written, read),
                    }
                }
            }
            prop_assert!(written - read <= limit);
        }
        drop(near);
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).now_or_never().unwrap().unwrap();
        prop_assert_eq!(&rest[..], &sent[read..written]);
    }
}
