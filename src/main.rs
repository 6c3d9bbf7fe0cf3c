//! Starts Leasehold; the only place where the process ends.

use std::process::ExitCode;

use leasehold::cli;
use leasehold::config::environment::Environment;

fn main() -> ExitCode {
    cli::main(std::env::args_os(), &Environment::of_process()).into()
}
