//! `leasehold check`.
//!
//! Receives the flags, prints what was understood of the configuration, with `--online` whether
//! Vault and the databases give what it asks for, and with `--timeline` what will come of it. Never
//! touches the directories of the agent, nor anything that is published.

use std::fmt::Write as _;

use crate::agent::{Confirm, LeasedPolicy, OnStop, Refresh, SecretPolicy};
use crate::cli::trial::{run, say};
use crate::cli::{CheckArguments, Exit, config_path, load};
use crate::config::Config;
use crate::config::environment::Environment;
use crate::notice::{Channel, Console, Process};
use crate::online;
use crate::server::api::Settings;
use crate::snapshot::Connection;
use crate::timeline::{self, span};

/// Checks.
pub(super) fn check(arguments: &CheckArguments, environment: &Environment) -> Exit {
    let path = config_path(arguments.config.as_deref(), environment);
    let loaded = match load(&path, environment, &[]) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    say(&format!("configuration `{}` is valid\n", path.display()));
    say(understood(&loaded.config).trim_end());
    for warning in &loaded.warnings {
        say(&format!("\nwarning: {warning}"));
    }
    if !arguments.online && !arguments.timeline {
        return Exit::Done;
    }
    say("");
    run(async |stop| {
        if arguments.online
            && let Some(failure) = online::online(&loaded.config, stop, say).await?
        {
            return Ok(Exit::after(&failure));
        }
        if arguments.timeline {
            timeline::timeline(&loaded.config, stop, say).await?;
        }
        Ok(Exit::Done)
    })
}

fn understood(config: &Config) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: String| {
        let _ = writeln!(text, "  {key:<10} {value}");
    };
    line("instance", config.instance.clone());
    if let Some(vault) = &config.vault {
        line("vault", vault.address.clone());
    }
    for (name, policy) in &config.policy.secrets {
        line("secret", secret(name, policy));
    }
    line("publish", config.publish.directory.display().to_string());
    for file in &config.files {
        line("file", format!("{}  {:04o}", file.path, file.mode));
    }
    for (name, settings) in &config.targets {
        let how = match &settings.channel {
            // The URL's query may hold something confidential.
            Channel::Http { url, .. } => url.split(['?', '#']).next().unwrap_or_default().into(),
            Channel::Signal { process: Process::PidFile(file), signal } => {
                format!("signal {signal} to the process of {}", file.display())
            }
            Channel::Signal { process: Process::Name(name), signal } => {
                format!("signal {signal} to the process `{name}`")
            }
            Channel::Exec { command, .. } => command.first().cloned().unwrap_or_default(),
            Channel::Pgbouncer(Console { host, port, .. }) => {
                format!("RELOAD on PgBouncer's console at {host} port {port}")
            }
            Channel::Child => "the child".to_owned(),
        };
        let wants = config.policy.targets.get(name).into_iter().flatten();
        let wants: Vec<&str> = wants.map(|name| &**name).collect();
        line("notify", format!("{name}  {how}  for {}", wants.join(" ")));
    }
    line("state", config.state.directory.display().to_string());
    let listen = [("probes", config.listen.probes), ("metrics", config.listen.metrics)];
    for (what, address) in listen {
        if let Some(address) = address {
            line("listen", format!("{address}  {what}"));
        }
    }
    match &config.listen.api {
        Some(Settings::Unix { path, .. }) => {
            line("listen", format!("unix:{}  api", path.display()));
        }
        Some(Settings::Tcp { address, .. }) => line("listen", format!("{address}  api")),
        None => {}
    }
    let leases = match config.policy.on_stop {
        OnStop::Drain => "leases get their grace",
        OnStop::Revoke => "leases end",
        OnStop::Keep => "leases stay for the next process",
    };
    line("on stop", leases.to_owned());
    text
}

fn secret(name: &str, policy: &SecretPolicy) -> String {
    let (mut text, required) = match policy {
        SecretPolicy::Leased(leased) => (login(name, leased), leased.required),
        SecretPolicy::Polled(polled) => {
            let mut text = format!("{name}  {}", polled.source);
            used_at(&mut text, polled.connection.as_deref());
            let _ = match polled.refresh {
                Refresh::Asked(every) => write!(text, ", asked every {}", span(every)),
                Refresh::Made => write!(text, ", made anew after two thirds of its life"),
                Refresh::Local(every) => {
                    write!(text, ", watched, and looked at every {}", span(every))
                }
            };
            (text, polled.required)
        }
    };
    if !required {
        text.push_str(", optional");
    }
    text
}

fn used_at(text: &mut String, connection: Option<&Connection>) {
    if let Some(connection) = connection {
        let hosts = connection.hosts.join(",");
        let _ = write!(text, ", for {hosts}:{}/{}", connection.port, connection.dbname);
    }
}

fn login(name: &str, leased: &LeasedPolicy) -> String {
    let mut text = format!("{name}  {}", leased.source);
    used_at(&mut text, leased.connection.as_deref());
    let evidence = match leased.confirm {
        Confirm::None => "its successor is published",
        Confirm::Told => "every target has acknowledged",
        Confirm::Moved => "every target has acknowledged and its sessions are gone",
    };
    let _ = write!(text, ", ends {} after {evidence}", span(leased.grace));
    if let Some(every) = leased.rotate_every {
        let _ = write!(text, ", replaced every {}", span(every));
    }
    text
}
