//! Two ends over loopback, and somebody between them.

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;

fn key(text: &str) -> RunKey {
    RunKey::of_secret(text.as_bytes()).unwrap()
}

async fn ends() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

/// What both sides come to.
async fn meet(of_worker: &str, of_run: &str) -> (Result<(Value, Pipe), SealError>, Result<Pipe, SealError>) {
    let (near, far) = ends().await;
    let (worker, run) = (key(of_worker), key(of_run));
    let hello = json!("here I am");
    let answer = |hello: Value| json!({"heard": hello});
    tokio::join!(introduce(near, &worker, &hello), receive(far, &run, answer))
}

const KEY: &str = "sixteen bytes and more";

#[tokio::test]
async fn what_is_said_arrives_whole_in_both_directions_whatever_its_length() {
    let (worker, run) = meet(KEY, KEY).await;
    let ((answer, mut worker), mut run) = (worker.unwrap(), run.unwrap());
    assert_eq!(answer, json!({"heard": "here I am"}));
    for length in [1, PLAIN_MAX, PLAIN_MAX + 1, 3_000_000] {
        let sent: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        for (from, to) in [(&mut worker, &mut run)] {
            let mut heard = vec![0; length];
            let (written, read) = tokio::join!(from.writer.write_all(&sent), to.reader.read_exact(&mut heard));
            written.unwrap();
            read.unwrap();
            assert_eq!(heard, sent);
            let (written, read) = tokio::join!(to.writer.write_all(&sent), from.reader.read_exact(&mut heard));
            written.unwrap();
            read.unwrap();
            assert_eq!(heard, sent);
        }
    }
    drop(worker);
    let mut rest = Vec::new();
    run.reader.read_to_end(&mut rest).await.unwrap();
    assert_eq!(
        (rest.len(), run.ended.why().as_deref()),
        (0, Some("the connection was closed"))
    );
}

/// Seen of a worker that was killed while something was on its way to it.
#[test]
fn who_has_gone_without_reading_all_has_closed_the_connection() {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut, UnexpectedEof};
    for (kind, expected) in [
        (UnexpectedEof, "the connection was closed"),
        (ConnectionReset, "the connection was closed"),
        (BrokenPipe, "the connection was closed"),
        (TimedOut, "the connection has broken: timed out"),
    ] {
        assert_eq!(gone(&kind.into()), expected, "{kind}");
    }
}

#[tokio::test]
async fn another_key_is_told_from_a_connection_that_breaks_by_both() {
    let (worker, run) = meet(KEY, "sixteen bytes of somebody else").await;
    assert!(matches!(worker, Err(SealError::OtherKey)) && matches!(run, Err(SealError::OtherKey)));
}

#[tokio::test]
async fn what_was_said_once_cannot_be_said_again_by_somebody_else() {
    // Somebody between them keeps what the worker says, and says it to another run with the same key.
    let (near, mut between) = ends().await;
    let own = key(KEY);
    let worker = tokio::spawn(async move { introduce::<_, Value>(near, &own, &json!(1)).await.map(drop) });
    let mut said = vec![0; MAGIC.len()];
    between.read_exact(&mut said).await.unwrap();
    let packet = read_packet(&mut between).await.unwrap();
    let (mut again, far) = ends().await;
    again.write_all(&said).await.unwrap();
    write_packet(&mut again, &packet).await.unwrap();
    // It cannot answer the answer: what it makes up is not sealed.
    let own = key(KEY);
    let run = tokio::spawn(async move { receive(far, &own, |_: Value| json!("welcome")).await.map(drop) });
    read_packet(&mut again).await.unwrap();
    write_packet(&mut again, &[7; 16]).await.unwrap();
    assert!(matches!(run.await.unwrap(), Err(SealError::OtherKey)));
    worker.abort();
}

#[tokio::test]
async fn a_byte_that_is_changed_on_the_way_ends_the_pipe() {
    let (near, mut between_near) = ends().await;
    let (mut between_far, far) = ends().await;
    let own = key(KEY);
    let run = tokio::spawn(async move { receive(far, &own, |_: Value| json!("welcome")).await });
    let own = key(KEY);
    let worker = tokio::spawn(async move { introduce::<_, Value>(near, &own, &json!(1)).await });
    let mut magic = vec![0; MAGIC.len()];
    between_near.read_exact(&mut magic).await.unwrap();
    between_far.write_all(&magic).await.unwrap();
    for is_to_run in [true, false, true] {
        let (from, to) = match is_to_run {
            true => (&mut between_near, &mut between_far),
            false => (&mut between_far, &mut between_near),
        };
        let packet = read_packet(from).await.unwrap();
        write_packet(to, &packet).await.unwrap();
    }
    let (_, mut worker) = worker.await.unwrap().unwrap();
    let mut run = run.await.unwrap().unwrap();
    worker.writer.write_all(b"a result").await.unwrap();
    let mut packet = read_packet(&mut between_near).await.unwrap();
    packet[3] ^= 1;
    write_packet(&mut between_far, &packet).await.unwrap();
    let mut heard = Vec::new();
    run.reader.read_to_end(&mut heard).await.unwrap();
    assert!(heard.is_empty());
    assert!(run.ended.why().unwrap().contains("not sealed with the key of the run"));
}

#[tokio::test]
async fn who_speaks_otherwise_is_a_stranger() {
    let (mut near, far) = ends().await;
    near.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let met = receive(far, &key(KEY), |hello: Value| hello).await;
    assert!(matches!(met, Err(SealError::Stranger)));
}
