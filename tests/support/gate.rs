//! A gate in front of a server: passes bytes on, may hold them back, and can be shut.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, JoinSet};

use leasehold::time::Moment;

use super::{eventually, now, secs};

/// Passes bytes on, until it is shut: then its port refuses connections.
pub struct Gate {
    pub address: SocketAddr,
    way: Arc<Mutex<Way>>,
    running: Option<AbortHandle>,
}

#[derive(Clone, Default)]
struct Way {
    /// Each connection tries them in turn, the next one beginning at the next.
    upstreams: Vec<String>,
    delay: Duration,
}

impl Gate {
    /// A gate in front of `upstream`, open.
    pub async fn before(upstream: impl Into<String>) -> Self {
        Self::at("127.0.0.1:0", vec![upstream.into()]).await
    }

    /// A gate at `address` before several servers: who is refused by one goes to the next.
    pub async fn at(address: &str, upstreams: Vec<String>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let way = Arc::new(Mutex::new(Way { upstreams, delay: Duration::ZERO }));
        let mut gate = Self { address, way, running: None };
        gate.serve(listener);
        gate
    }

    /// Leads to `upstreams` from here on.
    pub fn lead_to(&self, upstreams: Vec<String>) {
        self.way.lock().unwrap().upstreams = upstreams;
    }

    /// Keeps back for `delay` what goes into connections that are made from here on.
    pub fn delay(&self, delay: Duration) {
        self.way.lock().unwrap().delay = delay;
    }

    fn serve(&mut self, listener: TcpListener) {
        let way = Arc::clone(&self.way);
        let task = tokio::spawn(async move {
            // Owned by this task: with it all its connections end.
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let way = {
                    let mut way = way.lock().unwrap();
                    let now = way.clone();
                    if !way.upstreams.is_empty() {
                        way.upstreams.rotate_left(1);
                    }
                    now
                };
                connections.spawn(async move {
                    for upstream in &way.upstreams {
                        if let Ok(server) = TcpStream::connect(upstream).await {
                            return splice(client, server, way.delay).await;
                        }
                    }
                });
            }
        });
        self.running = Some(task.abort_handle());
    }

    /// Refuses connections and cuts those that are open.
    pub async fn shut(&mut self) {
        self.running.take().unwrap().abort();
        let address = self.address;
        eventually("the gate is shut", secs(5), async || {
            TcpStream::connect(address).await.is_err().then_some(())
        })
        .await;
    }

    /// Lets connections through again, on the same port.
    pub async fn open(&mut self) {
        let address = self.address;
        let listener =
            eventually("the gate's port", secs(5), async || TcpListener::bind(address).await.ok())
                .await;
        self.serve(listener);
    }
}

/// Bytes both ways until either is done.
async fn splice(client: TcpStream, server: TcpStream, delay: Duration) {
    let (ask, asked) = unbounded_channel();
    let (answer, answered) = unbounded_channel();
    tokio::select! {
        () = take(&client, ask, delay) => {}
        () = take(&server, answer, Duration::ZERO) => {}
        () = give(&server, asked) => {}
        () = give(&client, answered) => {}
    }
}

async fn take(from: &TcpStream, line: UnboundedSender<(Moment, Vec<u8>)>, delay: Duration) {
    let mut buffer = [0; 16 * 1024];
    while from.readable().await.is_ok() {
        match from.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(count) if line.send((now() + delay, buffer[..count].to_vec())).is_err() => break,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    // What was read is still on its way: `give` ends when that has arrived.
    drop(line);
    std::future::pending().await
}

async fn give(to: &TcpStream, mut line: UnboundedReceiver<(Moment, Vec<u8>)>) {
    while let Some((due, chunk)) = line.recv().await {
        tokio::time::sleep(now().until(due)).await;
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            if to.writable().await.is_err() {
                return;
            }
            match to.try_write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}
