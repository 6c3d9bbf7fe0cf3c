//! A command of ours that says something and ends.

use std::process::{Command, Stdio};

/// What it said and how it exited.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub said: String,
    pub complained: String,
}

/// Runs `leasehold` with `arguments` and nothing in its environment.
pub async fn leasehold(arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leasehold"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    ran(command).await
}

/// Runs `command` to its end.
pub async fn ran(mut command: Command) -> Ran {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap();
    Ran { code, said: text(output.stdout), complained: text(output.stderr) }
}
