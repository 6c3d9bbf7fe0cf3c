//! Against real servers: `make test` starts them and says where they are.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test that cannot go on fails"
)]

mod live {
    mod effects_notice;
    mod effects_postgres;
    mod effects_servers;
    mod effects_vault;
}
