//! `leasehold doctor leaks` as an operator runs it.

use std::process::Command;

use serde_json::Value;

use super::from_servers;
use super::world::World;

/// What it said and how it exited.
#[derive(Debug)]
pub struct Examined {
    pub code: i32,
    pub said: String,
    pub complained: String,
}

impl Examined {
    /// Everything that can be read of it.
    pub fn all(&self) -> String {
        format!("{}{}", self.said, self.complained)
    }

    /// What `--json` printed.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.said).unwrap()
    }
}

/// Runs it with root's token. Blocks: a proxy of the test answers nothing meanwhile.
pub fn leaks(world: &World, config: &Value, arguments: &[&str]) -> Examined {
    let token = from_servers("VAULT_TOKEN");
    leaks_with(world, config, arguments, &[("VAULT_TOKEN", &token)])
}

/// Runs it with these variables and no others.
pub fn leaks_with(
    world: &World,
    config: &Value,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Examined {
    world.write("doctor.yaml", &config.to_string());
    let output = Command::new(env!("CARGO_BIN_EXE_leasehold"))
        .args(["doctor", "leaks", "--config"])
        .arg(world.path("doctor.yaml"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Examined {
        code: output.status.code().unwrap(),
        said: text(output.stdout),
        complained: text(output.stderr),
    }
}
