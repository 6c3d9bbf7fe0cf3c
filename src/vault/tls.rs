//! The HTTP client and its trust in the server.
//!
//! Receives the TLS files, gives a client that trusts nothing else, made anew when one of them
//! changes. Never follows a redirect and never uses a proxy: both would carry the token to another
//! host.

mod refusal;

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity};
use zeroize::Zeroizing;

use crate::error::{Class, Failure, chain};
use crate::vault::{ClientCertificate, Settings};

pub(super) use refusal::{refusal, refusal_of_ours};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// As many reads as are under way at once.
const IDLE_CONNECTIONS: usize = 8;

/// One client, made anew when a TLS file changes.
pub(super) struct Clients {
    files: Files,
    current: Mutex<Current>,
}

struct Current {
    client: Client,
    /// How the files looked when they were read last.
    looks: Vec<Option<Look>>,
    /// What became of that, until it is told.
    news: Option<Result<(), Failure>>,
}

/// Which files there are.
#[derive(Default)]
struct Files {
    /// Whether there is TLS; without it reading a file would only cost time.
    tls: bool,
    /// The only authorities that are believed; the system's where there are none.
    ca_cert: Option<PathBuf>,
    client: Option<ClientCertificate>,
    /// What names them in the configuration.
    client_keys: [&'static str; 2],
}

/// What changes when a file is written or replaced.
#[derive(PartialEq, Eq)]
struct Look {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Clients {
    pub(super) fn new(address: &str, settings: &Settings) -> Result<Self, Failure> {
        // Fails only where a provider is installed already, and that is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let files = match address.starts_with("https:") {
            true => {
                let (client, client_keys) = settings.shown().unzip();
                Files {
                    tls: true,
                    ca_cert: settings.ca_cert.clone(),
                    client: client.cloned(),
                    client_keys: client_keys.unwrap_or_default(),
                }
            }
            false => Files::default(),
        };
        // Looked at before they are read: a change meanwhile shows at the next request.
        let looks = files.looks();
        let client = files.client()?;
        Ok(Self { files, current: Mutex::new(Current { client, looks, news: None }) })
    }

    /// The client for the files as they are now; while they cannot be used, the client as it was.
    pub(super) fn client(&self) -> Client {
        let looks = self.files.looks();
        let mut current = self.current();
        if looks != current.looks {
            current.looks = looks;
            let made = self.files.client().map(|client| current.client = client);
            current.news = Some(made);
        }
        current.client.clone()
    }

    /// What became of files that changed, once for each change.
    pub(super) fn news(&self) -> Option<Result<(), Failure>> {
        self.current().news.take()
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn looks(&self) -> Vec<Option<Look>> {
        let own = self.client.iter().flat_map(|client| [&client.cert, &client.key]);
        self.ca_cert.iter().chain(own).map(|path| Look::at(path)).collect()
    }

    /// A client for the files as they are.
    fn client(&self) -> Result<Client, Failure> {
        let mut builder = Client::builder()
            .user_agent(concat!("leasehold/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT)
            // The other side closes what is idle too long, and the kernel's keep-alive notices one
            // that is gone; a clock of our own for that would wake us for nothing.
            .pool_idle_timeout(None)
            .pool_max_idle_per_host(IDLE_CONNECTIONS);
        let mut what = "ready the vault client".to_owned();
        let refuse = |what: &str, why: &str| Failure::new(Class::Ours, format!("{what}: {why}"));
        if !self.tls {
            builder = builder.tls_certs_only([]);
        }
        if let Some(path) = &self.ca_cert {
            what = format!("use vault's CA `{}`", path.display());
            let roots = Certificate::from_pem_bundle(&read("vault.ca_cert", path)?)
                .map_err(|error| refuse(&what, &chain(&error)))?;
            if roots.is_empty() {
                return Err(refuse(&what, "it holds no PEM certificate"));
            }
            builder = builder.tls_certs_only(roots);
        }
        if let Some(ClientCertificate { cert, key }) = &self.client {
            let pair = format!("client certificate `{}` with `{}`", cert.display(), key.display());
            let [cert_key, key_key] = self.client_keys;
            let mut pem = read(key_key, key)?;
            pem.push(b'\n');
            pem.extend_from_slice(&read(cert_key, cert)?);
            let identity = Identity::from_pem(&pem)
                .map_err(|error| refuse(&format!("use the {pair}"), &chain(&error)))?;
            what = format!("{what}, {pair}");
            builder = builder.identity(identity);
        }
        builder.build().map_err(|error| refuse(&what, &chain(&error)))
    }
}

impl Look {
    fn at(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|meta| Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

fn read(key: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    std::fs::read(path).map(Zeroizing::new).map_err(|error| {
        let class =
            if error.kind() == io::ErrorKind::NotFound { Class::Missing } else { Class::Ours };
        Failure::new(class, format!("read `{}`: {error}", path.display()))
            .hint(format!("`{key}` names a PEM file that this process can read"))
    })
}
