//! The real binary against a real OpenBao and a real PostgreSQL. `make test` starts both servers;
//! without them every test here fails and says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a test that cannot go on fails"
)]

mod support;

mod live {
    mod api;
    mod bootstrap;
    mod canary;
    mod certificates;
    mod directory;
    mod doctor;
    mod effects_notice;
    mod effects_postgres;
    mod effects_servers;
    mod effects_vault;
    mod examples;
    mod faults;
    mod files;
    mod formats;
    mod hardening;
    mod health;
    mod image;
    mod import;
    mod init;
    mod jwt;
    mod kills;
    mod logins;
    mod manifests;
    mod notices;
    mod online;
    mod outages;
    mod pgbouncer;
    mod pod;
    mod recipes;
    mod rehearsal;
    mod reload;
    mod rotation;
    mod session;
    mod sources;
    mod static_role;
    mod stop;
    mod targets;
    mod timeline;
}
