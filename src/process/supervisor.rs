//! Tells the service manager how far the process is, as systemd's `Type=notify` has it.
//!
//! Receives the address of its socket, gives it a word at a time. Never waits for it.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;

use crate::error::{Class, Failure};

/// Who started us and wants to know; nobody, mostly. Clones share the socket.
#[derive(Clone, Debug, Default)]
pub struct Supervisor(Option<Arc<UnixDatagram>>);

impl Supervisor {
    /// The one who listens at `address`: a path, or with `@` before it a name in the kernel's own
    /// space, as in `NOTIFY_SOCKET`.
    ///
    /// # Errors
    /// When nobody is there.
    pub fn connect(address: &str) -> Result<Self, Failure> {
        let connect = || {
            let address = match address.strip_prefix('@') {
                Some(name) => SocketAddr::from_abstract_name(name)?,
                None => SocketAddr::from_pathname(address)?,
            };
            let socket = UnixDatagram::unbound()?;
            socket.connect_addr(&address)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        connect().map(|socket| Self(Some(Arc::new(socket)))).map_err(|error: std::io::Error| {
            let text = format!("tell the service manager at `{address}`: {error}");
            Failure::new(Class::Ours, text)
                .hint("unset `NOTIFY_SOCKET` where no service manager waits for a word")
        })
    }

    /// The service is up.
    pub fn ready(&self) {
        self.say("READY=1");
    }

    /// It goes down.
    pub fn stopping(&self) {
        self.say("STOPPING=1");
    }

    fn say(&self, word: &str) {
        if let Some(socket) = &self.0 {
            // A manager that does not listen has its own time-out.
            let _ = socket.send(word.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_hears_each_word_at_a_path_or_a_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let name = format!("leasehold-{}", std::process::id());
        let at_path = UnixDatagram::bind(&path).unwrap();
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let at_name = UnixDatagram::bind_addr(&address).unwrap();
        for (socket, address) in
            [(at_path, path.display().to_string()), (at_name, format!("@{name}"))]
        {
            let supervisor = Supervisor::connect(&address).unwrap();
            supervisor.clone().ready();
            supervisor.stopping();
            let mut heard = [0; 64];
            let mut hear = || {
                let length = socket.recv(&mut heard).unwrap();
                String::from_utf8_lossy(&heard[..length]).into_owned()
            };
            assert_eq!([hear(), hear()], ["READY=1", "STOPPING=1"]);
        }
        let nobody = Supervisor::connect("/nonexistent/notify").unwrap_err();
        assert!(nobody.text.contains("/nonexistent/notify"), "{nobody}");
        Supervisor::default().ready();
    }
}
