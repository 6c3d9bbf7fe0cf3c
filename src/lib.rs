//! Leasehold keeps the secrets of one service fresh while the service runs.
//!
//! Three rings. The outer one talks to the world, the middle one is a loop, the inner one decides
//! and knows nothing of either:
//!
//! ```text
//!     Vault       database        files        service     signals, scrapes
//!       |            |              |             |               |
//!   +---+------------+--------------+-------------+---------------+-----------+
//!   | vault      postgres     publish, watch   notice     process, server     |  acts once,
//!   |                           local                     state, logs, metrics|  says how it went
//!   +------+------------------------------------------------------^-----------+
//!          | Event                                                | Command
//!   +------v------------------------------------------------------+-----------+
//!   | driver                                                                  |  one loop
//!   +------+------------------------------------------------------^-----------+
//!          | handle(now, event)                                   | commands
//!   +------v------------------------------------------------------+-----------+
//!   | agent: session, a leased or polled secret each, publication, targets    |  decides
//!   +-------------------------------------------------------------------------+
//! ```
//!
//! What may happen is listed in [`agent::event`], what may be done about it in [`agent::command`]:
//! read these two first, then [`agent`], which turns the one into the other, and [`driver`], which
//! carries it out. To follow one login through the program: [`vault`] receives it, [`lease`] counts
//! its time, [`snapshot`] puts it beside the others, [`render`] writes the bytes of the files,
//! [`publish`] makes them visible, and [`notice`] says so.
//!
//! Modules in reading order; each layer uses only those above it:
//!
//! | layer | modules |
//! |---|---|
//! | vocabulary | [`time`] [`date`] [`secret`] [`error`] [`jwt`] |
//! | decisions | [`snapshot`] [`lease`] [`agent`] [`render`] [`audit`] [`keyset`] [`rotation`] |
//! | effects | [`vault`] [`local`] [`postgres`] [`state`] [`publish`] [`watch`] [`notice`] [`process`] [`metrics`] [`logs`] [`server`] [`client`] [`supervise`] |
//! | input and wiring | [`config`] [`controller`] [`driver`] [`app`] [`timeline`] [`rehearsal`] [`online`] [`doctor`] [`bootstrap`] [`import`] [`inventory`] [`cli`] |

pub mod date;
pub mod error;
pub mod jwt;
pub mod secret;
pub mod time;

pub mod agent;
pub mod audit;
pub mod keyset;
pub mod lease;
pub mod render;
pub mod rotation;
pub mod snapshot;

pub mod client;
pub mod local;
pub mod logs;
pub mod metrics;
pub mod notice;
pub mod postgres;
pub mod process;
pub mod publish;
pub mod server;
pub mod state;
pub mod supervise;
pub mod vault;
pub mod watch;

pub mod app;
pub mod bootstrap;
pub mod cli;
pub mod config;
pub mod controller;
pub mod doctor;
pub mod driver;
pub mod import;
pub mod inventory;
pub mod online;
pub mod rehearsal;
pub mod timeline;
