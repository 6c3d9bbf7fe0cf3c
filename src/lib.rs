//! Leasehold keeps a service's credentials fresh.
//!
//! It leases database logins from Vault or OpenBao, reads keys and other secrets, publishes all of
//! them as files in one atomic step, tells the service, and ends an old login only when nothing
//! uses it any more.
//!
//! ```text
//!   events in ─────────────▶ decisions (pure) ─────────────▶ effects out
//!   Vault's answers          agent                           vault     login issue renew revoke
//!   the clock                 ├ session ─┬ leased            postgres  try a login, count sessions
//!   changed files             │          └ polled            publish   files on a tmpfs
//!   signals                   ├ publication                  notice    tell the app
//!        ▲                    └ target                       audit     log line, metric
//!        └──────────────────────── driver turns the crank ◀──────┘
//!
//!   data:    Vault ─▶ Grant ─▶ Lease ─▶ Snapshot ─▶ Rendering ─▶ Visible ─▶ Notice delivered
//!   module:  vault    vault    lease    snapshot    render       publish    notice
//! ```
//!
//! Start reading at [`agent::event`] and [`agent::command`]: what may happen and what may be done
//! about it. `Agent::handle(now, Event) -> Vec<Command>` and `Agent::next_wakeup()` hold every
//! decision and do no I/O. [`driver`] is the one loop that does.
//!
//! Layers, each knowing only those above it:
//!
//! | layer | modules |
//! |---|---|
//! | vocabulary | [`time`] [`secret`] [`error`] |
//! | decisions | [`snapshot`] [`lease`] [`agent`] [`render`] [`audit`] |
//! | effects | [`vault`] [`postgres`] [`state`] [`publish`] [`watch`] [`notice`] [`process`] [`metrics`] [`logs`] [`server`] |
//! | input and wiring | [`config`] [`driver`] [`app`] [`cli`] |

pub mod error;
pub mod secret;
pub mod time;

pub mod agent;
pub mod audit;
pub mod lease;
pub mod render;
pub mod snapshot;

pub mod logs;
pub mod metrics;
pub mod notice;
pub mod postgres;
pub mod process;
pub mod publish;
pub mod server;
pub mod state;
pub mod vault;
pub mod watch;

pub mod app;
pub mod cli;
pub mod config;
pub mod driver;
