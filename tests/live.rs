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
    mod canary;
    mod directory;
    mod doctor;
    mod effects_notice;
    mod effects_postgres;
    mod effects_servers;
    mod effects_vault;
    mod faults;
    mod formats;
    mod health;
    mod init;
    mod kills;
    mod notices;
    mod outages;
    mod rehearsal;
    mod rotation;
    mod session;
    mod sources;
    mod stop;
    mod targets;
    mod timeline;
}
