//! Every fault that we know of, under two programs that query all the time: none of their queries
//! fails while a login is valid, no lease is left over, and the log names the fault.
//!
//! A file a family, a row a fault. Each family has one short trial for `make test`; the rows are
//! long ones, for `make soak`, which prints a table of them.

/// A long trial for each row: its name, and what its family's `run` wants to know.
macro_rules! soak {
    ($($name:ident = $fault:expr;)+) => { $(
        #[tokio::test]
        #[ignore = "takes minutes; `make soak` runs it"]
        async fn $name() {
            run(stringify!($name), crate::support::trial::SOAK, $fault).await;
        }
    )+ };
}

mod clock;
mod directory;
mod hooks;
mod kills;
mod postgres;
mod raft;
mod replica;
mod session;
mod vault;
