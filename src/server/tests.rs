use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::*;

/// A listener that answers `/here`, until the sender goes.
async fn served(
    name: &'static str,
) -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let listener = Listener::bind(name, (Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let address: SocketAddr = listener.address().parse().unwrap();
    assert_ne!(address.port(), 0);
    let (stop, stopped) = oneshot::channel();
    let answer: Answer =
        Arc::new(|path| (path == "/here").then(|| Page::text(StatusCode::OK, "found")));
    let task = tokio::spawn(listener.serve(pages(answer), async { drop(stopped.await) }));
    (address, stop, task)
}

/// Everything that comes back for `request` until the connection ends.
async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(request).await;
    let mut reply = Vec::new();
    let read = stream.read_to_end(&mut reply);
    let _ = tokio::time::timeout(Duration::from_secs(10), read).await.expect("no end");
    String::from_utf8(reply).unwrap()
}

async fn status(address: SocketAddr, request: &str) -> String {
    let reply = exchange(address, request.as_bytes()).await;
    reply.split(' ').nth(1).unwrap_or("none").to_owned()
}

#[tokio::test]
async fn only_short_questions_are_answered() {
    let (address, _stop, _task) = served("probes").await;
    let headers: String = (0..100).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(MOST_HEADER_BYTES));
    for (request, expected) in [
        ("GET /here HTTP/1.1\r\nHost: pod.example\r\n\r\n".to_owned(), "200"),
        ("GET /here?q HTTP/1.0\r\n\r\n".to_owned(), "200"),
        ("HEAD /here HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), "200"),
        ("GET /there HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), "404"),
        ("POST /here HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n".to_owned(), "405"),
        ("GET /here HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc".to_owned(), "413"),
        (
            "GET /here HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                .to_owned(),
            "413",
        ),
        ("GET /here HTTP/1.1\r\nHost: h\r\nOrigin: http://evil.example\r\n\r\n".to_owned(), "403"),
        (format!("GET /here HTTP/1.1\r\nHost: h\r\n{headers}\r\n"), "431"),
        (format!("GET /here HTTP/1.1\r\nHost: h\r\n{long}\r\n"), "431"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
    ] {
        assert_eq!(status(address, &request).await, expected, "{request:.80}");
    }
}

#[tokio::test]
async fn a_head_has_no_body_and_a_connection_ends_after_one_answer() {
    let (address, _stop, _task) = served("probes").await;
    let head = exchange(address, b"HEAD /here HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(head.ends_with("\r\n\r\n") && head.contains("content-length: 6"), "{head}");
    let twice = b"GET /here HTTP/1.1\r\nHost: h\r\n\r\n".repeat(2);
    assert_eq!(exchange(address, &twice).await.matches("found").count(), 1);
}

#[tokio::test]
async fn a_name_that_points_at_this_machine_is_refused_where_only_this_machine_may_ask() {
    let (address, _stop, _task) = served("metrics").await;
    for (host, expected) in [
        ("127.0.0.1:9100", "200"),
        ("localhost", "200"),
        ("[::1]:9100", "200"),
        ("evil.example:9100", "421"),
        ("localhost.evil.example", "421"),
        ("", "421"),
    ] {
        let request = format!("GET /here HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(status(address, &request).await, expected, "{host}");
    }
    assert_eq!(status(address, "GET /here HTTP/1.0\r\n\r\n").await, "421");
}

#[tokio::test]
async fn silent_callers_cannot_keep_others_out() {
    let (address, _stop, _task) = served("probes").await;
    let mut silent = Vec::new();
    for _ in 0..MOST_CONNECTIONS + 8 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let answer = status(address, "GET /here HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(answer, "200");
    // The oldest made room, long before their time was over; the newest still have theirs.
    let mut byte = [0];
    let ended = silent[0].read(&mut byte).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    let newest = silent.last().expect("one").try_read(&mut byte);
    assert!(newest.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
}

#[tokio::test]
async fn a_stop_ends_the_listener() {
    let (address, stop, task) = served("probes").await;
    let _open = TcpStream::connect(address).await.unwrap();
    drop(stop);
    tokio::time::timeout(Duration::from_secs(10), task).await.expect("no end").unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let first = Listener::bind("probes", (Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let address = first.address().parse().unwrap();
    let failure = Listener::bind("metrics", address).await.err().unwrap();
    assert!(failure.text.contains(first.address()), "{failure}");
    assert!(failure.to_string().contains("hint: choose another address in `listen.metrics`"));
}
