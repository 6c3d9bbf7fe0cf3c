//! `leasehold health`.
//!
//! Receives the flags, gives what a probe of the agent answers as an exit status. Never logs in,
//! reads a state or needs a shell: it is the probe of an image with nothing else in it.

use std::time::Duration;

use hyper::{Method, Uri};

use crate::cli::ask::now;
use crate::cli::{Exit, HealthArguments, config_path, load, print};
use crate::client::{self, Place};
use crate::config::environment::Environment;

/// A kubelet waits for a second where nobody says, and its own limit is the one that counts.
const LIMIT: Duration = Duration::from_secs(5);

/// Asks a probe.
pub(super) fn health(arguments: &HealthArguments, environment: &Environment) -> Exit {
    let probe = match (arguments.live, arguments.startup) {
        (true, _) => "/livez",
        (_, true) => "/startupz",
        (false, false) => "/readyz",
    };
    let place = match &arguments.url {
        Some(url) => place(url),
        None => listener(arguments, environment),
    };
    let place = match place {
        Ok(place) => place,
        Err(exit) => return exit,
    };
    match now(client::ask(&place, Method::GET, probe, None, LIMIT)) {
        Ok(answer) if answer.good() => Exit::Done,
        Ok(answer) => {
            print(answer.body.trim_end());
            Exit::Found
        }
        Err(failure) => {
            print(&failure.to_string());
            Exit::Found
        }
    }
}

/// The probes' listener of the configuration.
fn listener(arguments: &HealthArguments, environment: &Environment) -> Result<Place, Exit> {
    let path = config_path(arguments.config.as_deref(), environment);
    let config = load(&path, environment, &[])?.config;
    match config.listen.probes {
        Some(address) if address.port() != 0 => Ok(Place::from(address)),
        Some(_) => {
            print(
                "ask a probe: `listen.probes` has port 0, so only the agent's log says where it \
                 is\nhint: name it with `--url`, or give it a port",
            );
            Err(Exit::Configuration)
        }
        None => {
            print(
                "ask a probe: the configuration has no `listen.probes`\nhint: set it, as \
                 `127.0.0.1:9101`, or name an address with `--url`",
            );
            Err(Exit::Configuration)
        }
    }
}

fn place(url: &str) -> Result<Place, Exit> {
    let parsed = url.parse::<Uri>().ok().filter(|uri| uri.scheme_str() == Some("http"));
    let host = parsed.as_ref().and_then(Uri::host).filter(|host| !host.is_empty());
    match (&parsed, host) {
        (Some(uri), Some(host)) if uri.path() == "/" && uri.query().is_none() => Ok(Place::Tcp {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: uri.port_u16().unwrap_or(80),
        }),
        _ => {
            print("ask a probe: `--url` is not an address\nhint: as `http://127.0.0.1:9101`");
            Err(Exit::Usage)
        }
    }
}
