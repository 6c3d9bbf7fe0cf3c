//! The command line.
//!
//! Receives arguments and the environment, gives an exit code. Never prints an error twice: each is
//! printed here, once, with its hint on a line of its own.

mod api;
mod ask;
mod check;
mod config;
mod doctor;
mod exec;
mod health;
mod help;
mod import;
mod init;
mod inventory;
mod jwt;
mod refresh;
mod rehearse;
mod run;
mod status;
mod stop;
mod teach;
mod trial;
mod vault;
mod wait;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, FromArgMatches, Parser, Subcommand, ValueHint};

use crate::cli::teach::Completed;
use crate::config::environment::Environment;
use crate::config::{ConfigError, Loaded, Override, duration};
use crate::error::{Class, Failure, chain};
use crate::supervise::{self, OnRotate};

/// Where the configuration is when nobody says.
const CONFIG: &str = "/etc/leasehold/leasehold.yaml";

#[derive(Debug, Parser)]
#[command(name = "leasehold", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Publish the secrets of a service and keep them fresh until SIGTERM
    #[command(after_help = help::RUN)]
    Run(RunArguments),
    /// Publish the secrets of a service once, and leave the leases for `run` to go on with
    #[command(after_help = help::INIT)]
    Init(InitArguments),
    /// Run a command with the secrets as files and in its environment, and keep it up with them
    #[command(after_help = help::EXEC)]
    Exec(ExecArguments),
    /// Ask a running agent for its health: exit status 0 or 1, for a probe that runs a command
    #[command(after_help = help::HEALTH)]
    Health(HealthArguments),
    /// Show what a running agent holds, has told, and does next
    #[command(after_help = help::STATUS)]
    Status(StatusArguments),
    /// Wait until a running agent has published
    #[command(after_help = help::WAIT)]
    Wait(WaitArguments),
    /// Have a running agent ask Vault now, as for a service that its database refused
    #[command(after_help = help::REFRESH)]
    Refresh(RefreshArguments),
    /// Stop a running agent, as SIGTERM does, and wait until it has
    #[command(after_help = help::STOP)]
    Stop(StopArguments),
    /// Say what is wrong with a configuration, or what was understood of it
    #[command(after_help = help::CHECK)]
    Check(CheckArguments),
    /// Try one rotation of each login out, for real, and end what was made
    #[command(after_help = help::REHEARSE)]
    Rehearse(RehearseArguments),
    /// Look at what is there: `doctor leaks` lists leases and database users without an owner
    #[command(subcommand)]
    Doctor(DoctorCommand),
    /// Set Vault and PostgreSQL up as a file says, and prove that they are
    #[command(subcommand)]
    Vault(VaultCommand),
    /// Bring secrets from files, Kubernetes or another path into Vault, and read them again
    #[command(after_help = help::IMPORT)]
    Import(ImportArguments),
    /// Look whether every secret has somebody and something that rotates it
    #[command(subcommand)]
    Inventory(InventoryCommand),
    /// Make the key set of a service's tokens and rotate its keys by hand, straight in Vault
    #[command(subcommand)]
    Jwt(JwtCommand),
    /// Print what a configuration may have, or how one is understood
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a script by which a shell completes this program's commands and flags
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// Which shell
        shell: Completed,
    },
    /// Print the manual page
    #[command(after_help = help::MAN)]
    Man {
        /// Write a page for each command into this directory instead
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print a JSON Schema, which editors check a configuration by as it is written
    #[command(after_help = help::SCHEMA)]
    Schema,
    /// Print the table of every key, its default and its meaning
    #[command(after_help = help::REFERENCE)]
    Reference,
    /// Print a configuration with defaults, environment and flags in it, and where each came from
    #[command(after_help = help::PRINT)]
    Print(RunArguments),
}

#[derive(Debug, Subcommand)]
enum DoctorCommand {
    /// List every lease and database user that has no owner
    #[command(after_help = help::LEAKS)]
    Leaks(LeaksArguments),
}

#[derive(Debug, Subcommand)]
enum VaultCommand {
    /// Compare Vault and PostgreSQL with a file, and make them as it says
    #[command(subcommand)]
    Bootstrap(BootstrapCommand),
    /// Try every role and every policy out, for real, and end what was made
    #[command(after_help = help::VAULT_DOCTOR)]
    Doctor(ProveArguments),
}

#[derive(Debug, Subcommand)]
enum BootstrapCommand {
    /// Print what is otherwise than the file says
    #[command(after_help = help::BOOTSTRAP_PLAN)]
    Plan(PlanArguments),
    /// Print it, ask, and do it
    #[command(after_help = help::BOOTSTRAP_APPLY)]
    Apply(ApplyArguments),
}

#[derive(Args, Debug)]
struct PlanArguments {
    /// The file that says what Vault and PostgreSQL are to be like
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: PathBuf,
    /// Give Vault's role a new password and have Vault replace it, though Vault has it alone: for a
    /// Vault that was restored, or a password that was changed by hand
    #[arg(long)]
    reset_root: bool,
}

#[derive(Args, Debug)]
struct ApplyArguments {
    #[command(flatten)]
    plan: PlanArguments,
    /// Do it without asking
    #[arg(long)]
    yes: bool,
}

#[derive(Args, Debug)]
struct ProveArguments {
    /// The file that says what Vault and PostgreSQL are to be like
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: PathBuf,
}

#[derive(Args, Debug)]
struct ImportArguments {
    #[command(flatten)]
    source: ImportSource,
    /// The path of Vault that it goes to, as `secret/novacore/api`. With a slash at its end each
    /// Secret or path of the source goes below it under its own name
    #[arg(long, value_name = "PATH")]
    to: String,
    /// Take each value of `--env` as it stands behind the `=`, as Docker does
    #[arg(long, requires = "env")]
    literal: bool,
    /// Bring this field only; may be repeated
    #[arg(long, value_name = "FIELD")]
    only: Vec<String>,
    /// Where another value is there, write a version with this one
    #[arg(long)]
    replace: bool,
    /// Look, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// A file with an operator's token, in place of VAULT_TOKEN or BAO_TOKEN
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    token_file: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct ImportSource {
    /// A file of `NAME=value` lines
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    env: Option<PathBuf>,
    /// A file with Kubernetes Secrets, YAML or JSON; `-` is the standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    manifest: Option<PathBuf>,
    /// A path of a KV engine of the same Vault; with a slash at its end, all below it
    #[arg(long, value_name = "PATH")]
    kv: Option<String>,
}

#[derive(Debug, Subcommand)]
enum InventoryCommand {
    /// Print what of the inventory is automated; fails while tier 1 is not
    #[command(after_help = help::INVENTORY)]
    Check(InventoryArguments),
}

#[derive(Debug, Subcommand)]
enum JwtCommand {
    /// Make the key set, from the secret that a service signs with so far or from a new key
    #[command(after_help = help::JWT)]
    Bootstrap {
        #[command(flatten)]
        set: JwtArguments,
        /// The file with that secret; its tokens stay valid where they name no `kid`. Symmetric
        /// algorithms only
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        secret_file: Option<PathBuf>,
    },
    /// Begin a rotation: a new key is made and shown to who verifies
    #[command(after_help = help::JWT)]
    Initiate(JwtArguments),
    /// Have the new key sign, once everybody who verifies knows it
    #[command(after_help = help::JWT)]
    Promote(JwtArguments),
    /// End the rotation, once nobody signs with the old key any more
    #[command(after_help = help::JWT)]
    Complete(JwtArguments),
    /// Take away old keys of which no token can be alive
    #[command(after_help = help::JWT)]
    Cleanup(JwtArguments),
    /// Give the rotation up that is open: the key before signs on, or again
    #[command(after_help = help::JWT)]
    Abort(JwtArguments),
    /// Go on with a key set that was written by hand or restored
    #[command(after_help = help::JWT)]
    Resume(JwtArguments),
    /// Show every key, and what is waited for
    #[command(after_help = help::JWT)]
    Status(JwtArguments),
    /// Say what the controller would do next, and when
    #[command(after_help = help::JWT)]
    Plan(JwtArguments),
}

#[derive(Args, Debug)]
struct JwtArguments {
    /// The controller's file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: PathBuf,
    /// Which of its key sets; needed where there are several
    #[arg(long, value_name = "NAME")]
    keyset: Option<String>,
}

#[derive(Args, Debug)]
struct InventoryArguments {
    /// The file that names every secret
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct LeaksArguments {
    /// The configuration file [default: $LEASEHOLD_CONFIG, else /etc/leasehold/leasehold.yaml]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// The state directory of another agent, beside the configuration's own; may be repeated
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    state: Vec<PathBuf>,
    /// Look at this secret only; may be repeated
    #[arg(long, value_name = "NAME")]
    secret: Vec<String>,
    /// A file with an operator's token, in place of VAULT_TOKEN or BAO_TOKEN
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    token_file: Option<PathBuf>,
    /// What is younger is `young`, and not counted
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = span)]
    older_than: Duration,
    /// The names of the role's database users, as a pattern for SQL's LIKE, where the role has a
    /// username_template [default: v-%-ROLE-%, with the first 8 characters of the role]
    #[arg(long, value_name = "LIKE")]
    users: Option<String>,
    /// Print one JSON document with every lease and user
    #[arg(long)]
    json: bool,
    /// End a lease of OWNER `nobody`, as it stands under LEASE, or `all` of them; may be repeated
    #[arg(long, value_name = "LEASE", conflicts_with = "json")]
    end: Vec<String>,
}

/// A duration as the configuration has it.
fn span(text: &str) -> Result<Duration, String> {
    duration(text).ok_or_else(|| "write it as `90s`, `5m` or `24h`".to_owned())
}

#[derive(Args, Debug)]
struct CheckArguments {
    /// The configuration file [default: $LEASEHOLD_CONFIG, else /etc/leasehold/leasehold.yaml]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// Log in to Vault, read every path, make a lease of each leased secret, log in with it and end
    /// it; tell which rights the token lacks, and which it should not have
    #[arg(long)]
    online: bool,
    /// Log in to Vault and tell when each login will be renewed, replaced and ended. Where the
    /// policy does not show a role, one login is made and ended at once
    #[arg(long)]
    timeline: bool,
}

#[derive(Args, Debug)]
struct RunArguments {
    /// The configuration file [default: $LEASEHOLD_CONFIG, else /etc/leasehold/leasehold.yaml]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// What to log: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How to log it: json or text
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

#[derive(Args, Debug)]
struct InitArguments {
    #[command(flatten)]
    run: RunArguments,
    /// How long it may take [default: `init_timeout` of the configuration, 2m]
    #[arg(long, value_name = "DURATION")]
    timeout: Option<String>,
}

#[derive(Args, Debug)]
struct HealthArguments {
    /// The configuration file, whose `listen.probes` is asked
    /// [default: $LEASEHOLD_CONFIG, else /etc/leasehold/leasehold.yaml]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// Ask there, as `http://127.0.0.1:9101`, without a configuration
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    url: Option<String>,
    /// Whether the agent's loop turns
    #[arg(long, group = "probe")]
    live: bool,
    /// Whether every required secret is published and valid; where no other is asked for
    #[arg(long, group = "probe")]
    ready: bool,
    /// Whether something was published
    #[arg(long, group = "probe")]
    startup: bool,
}

#[derive(Args, Debug)]
struct ApiArguments {
    /// The configuration file, whose `listen.api` is asked
    /// [default: $LEASEHOLD_CONFIG, else /etc/leasehold/leasehold.yaml]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// Ask at this socket, without a configuration
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, conflicts_with = "config")]
    socket: Option<String>,
}

#[derive(Args, Debug)]
struct StatusArguments {
    #[command(flatten)]
    api: ApiArguments,
    /// Print the agent's own JSON
    #[arg(long)]
    json: bool,
    /// Show it again every two seconds
    #[arg(long)]
    watch: bool,
}

#[derive(Args, Debug)]
struct WaitArguments {
    #[command(flatten)]
    api: ApiArguments,
    /// Wait for this generation or a newer one
    #[arg(long, value_name = "N", default_value_t = 1)]
    generation: u64,
    /// How long it may take, an agent that is not there yet included
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = span)]
    timeout: Duration,
}

#[derive(Args, Debug)]
struct ExecArguments {
    #[command(flatten)]
    run: RunArguments,
    /// What a rotation does to the command: `restart`, `signal:NAME` or `none`
    #[arg(long, value_name = "MODE", default_value = "restart", value_parser = exec::on_rotate)]
    on_rotate: OnRotate,
    /// What asks it to end at a restart
    #[arg(long, value_name = "NAME", default_value = "TERM", value_parser = exec::signal)]
    stop_signal: rustix::process::Signal,
    /// How long it may take for that before it is killed
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = span)]
    kill_after: Duration,
    /// How long the secrets may take to be there, in place of `init_timeout`
    #[arg(long, value_name = "DURATION")]
    timeout: Option<String>,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

#[derive(Args, Debug)]
struct RefreshArguments {
    #[command(flatten)]
    api: ApiArguments,
    /// Only about this secret
    #[arg(value_name = "SECRET")]
    secret: Option<String>,
}

#[derive(Args, Debug)]
struct StopArguments {
    #[command(flatten)]
    api: ApiArguments,
    /// How long to wait for its end
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = span)]
    timeout: Duration,
}

#[derive(Args, Debug)]
struct RehearseArguments {
    /// The configuration file [default: $LEASEHOLD_CONFIG, else /etc/leasehold/leasehold.yaml]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// How long the old login works on, in place of `grace`
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    grace_seconds: Option<u64>,
}

impl RunArguments {
    /// Those that follow the name of the command.
    fn only(arguments: &[OsString]) -> Result<Self, clap::Error> {
        let command = Self::augment_args(clap::Command::new("run"));
        Self::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }

    fn config(&self, environment: &Environment) -> PathBuf {
        config_path(self.config.as_deref(), environment)
    }

    fn overrides(&self) -> Vec<Override> {
        let flags = [
            ("--log-level", "log.level", &self.log_level),
            ("--log-format", "log.format", &self.log_format),
        ];
        let given = flags.into_iter().filter_map(|(flag, key, value)| {
            Some(Override { flag, key, value: value.as_ref()?.clone() })
        });
        given.collect()
    }
}

impl InitArguments {
    fn overrides(&self) -> Vec<Override> {
        with_timeout(&self.run, self.timeout.as_ref())
    }
}

impl ExecArguments {
    fn overrides(&self) -> Vec<Override> {
        with_timeout(&self.run, self.timeout.as_ref())
    }
}

fn with_timeout(run: &RunArguments, timeout: Option<&String>) -> Vec<Override> {
    let timeout = timeout.cloned();
    let timeout = timeout.map(|value| Override { flag: "--timeout", key: "init_timeout", value });
    run.overrides().into_iter().chain(timeout).collect()
}

/// Where the configuration is: `flag`, else the variable, else the usual place.
fn config_path(flag: Option<&Path>, environment: &Environment) -> PathBuf {
    let given = || environment.get("LEASEHOLD_CONFIG").map(PathBuf::from);
    flag.map(Path::to_owned).or_else(given).unwrap_or_else(|| PathBuf::from(CONFIG))
}

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All done.
    Done,
    /// All done, and something was found that should not be.
    Found,
    /// The command line is wrong.
    Usage,
    /// Vault or the database could not be reached in time.
    Unavailable,
    /// Our own fault.
    Fault,
    /// The directory, its owner, its space or the state do not let us publish.
    CannotPublish,
    /// Somebody else is at it, or a guard said no.
    TryAgain,
    /// Vault refused.
    Denied,
    /// The configuration is wrong.
    Configuration,
    /// A second signal said: at once.
    Signalled(u8),
    /// As the child of `exec` ended.
    AsChild(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl Exit {
    /// The number that a script sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Found => 1,
            Self::Usage => 64,
            Self::Unavailable => 69,
            Self::Fault => 70,
            Self::CannotPublish => 73,
            Self::TryAgain => 75,
            Self::Denied => 77,
            Self::Configuration => 78,
            Self::Signalled(code) | Self::AsChild(code) => code,
        }
    }

    /// How the process ends after a failure that it cannot go on from.
    fn after(failure: &Failure) -> Self {
        match failure.class {
            Class::Again { .. } | Class::Unclear | Class::Gone => Self::Unavailable,
            Class::Denied => Self::Denied,
            Class::Missing => Self::Configuration,
            Class::Conflict => Self::TryAgain,
            Class::Ours => Self::Fault,
        }
    }
}

/// Does what `arguments` say.
pub fn main(arguments: impl IntoIterator<Item = OsString>, environment: &Environment) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // Ours alone, so that it is in no help.
    if let Some((_, [word, rest @ ..])) = arguments.split_first()
        && word == supervise::COMMAND
    {
        return exec::become_child(rest);
    }
    match parse(arguments) {
        Ok(Command::Run(arguments)) => run::run(&arguments, environment),
        Ok(Command::Init(arguments)) => init::init(&arguments, environment),
        Ok(Command::Exec(arguments)) => exec::exec(&arguments, environment),
        Ok(Command::Health(arguments)) => health::health(&arguments, environment),
        Ok(Command::Status(arguments)) => status::status(&arguments, environment),
        Ok(Command::Wait(arguments)) => wait::wait(&arguments, environment),
        Ok(Command::Refresh(arguments)) => refresh::refresh(&arguments, environment),
        Ok(Command::Stop(arguments)) => stop::stop(&arguments, environment),
        Ok(Command::Check(arguments)) => check::check(&arguments, environment),
        Ok(Command::Rehearse(arguments)) => rehearse::rehearse(&arguments, environment),
        Ok(Command::Doctor(DoctorCommand::Leaks(arguments))) => {
            doctor::leaks(&arguments, environment)
        }
        Ok(Command::Vault(VaultCommand::Bootstrap(BootstrapCommand::Plan(arguments)))) => {
            vault::plan(&arguments, environment)
        }
        Ok(Command::Vault(VaultCommand::Bootstrap(BootstrapCommand::Apply(arguments)))) => {
            vault::apply(&arguments, environment)
        }
        Ok(Command::Vault(VaultCommand::Doctor(arguments))) => {
            vault::prove(&arguments, environment)
        }
        Ok(Command::Import(arguments)) => import::import(&arguments, environment),
        Ok(Command::Inventory(InventoryCommand::Check(arguments))) => inventory::check(&arguments),
        Ok(Command::Jwt(command)) => jwt::jwt(&command, environment),
        Ok(Command::Config(command)) => config::config(&command, environment),
        Ok(Command::Completions { shell }) => teach::completions(shell),
        Ok(Command::Man { dir }) => teach::man(dir.as_deref()),
        Err(error) => {
            let _ = error.print();
            let asked = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion];
            if asked.contains(&error.kind()) { Exit::Done } else { Exit::Usage }
        }
    }
}

fn parse(arguments: Vec<OsString>) -> Result<Command, clap::Error> {
    // A service waits for it, and the other commands take a quarter of a millisecond to describe.
    // What is wrong is told with all of them.
    if arguments.get(1).is_some_and(|name| name == "run")
        && let Ok(run) = RunArguments::only(&arguments[1..])
    {
        return Ok(Command::Run(run));
    }
    let matches = teach::command().try_get_matches_from(arguments)?;
    Arguments::from_arg_matches(&matches).map(|arguments| arguments.command)
}

/// Loads the configuration at `path`, or prints what is wrong with it.
fn load(path: &Path, environment: &Environment, overrides: &[Override]) -> Result<Loaded, Exit> {
    crate::config::load(path, environment, overrides).map_err(|error| failed(&error))
}

/// Prints why there is no configuration.
fn failed(error: &ConfigError) -> Exit {
    unread(error, "name the file with `--config` or `LEASEHOLD_CONFIG`")
}

/// Prints what is wrong with a file; `hint` is for one that is not there.
fn unread(error: &ConfigError, hint: &str) -> Exit {
    let hint = match error {
        ConfigError::Read { .. } => format!("\nhint: {hint}"),
        ConfigError::Long { .. } | ConfigError::Syntax { .. } | ConfigError::Invalid { .. } => {
            String::new()
        }
    };
    print(&format!("{}{hint}", chain(error)));
    Exit::Configuration
}

/// One error on the standard error stream; nobody is there to hear it when that fails.
fn print(error: &str) {
    let _ = writeln!(std::io::stderr(), "leasehold: {error}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(arguments: &[&str]) -> Exit {
        let arguments = ["leasehold"].iter().chain(arguments).map(OsString::from);
        main(arguments, &Environment::default())
    }

    #[test]
    fn what_ends_before_it_begins_has_its_code() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.yaml");
        let file = path.to_str().unwrap();
        assert_eq!(ended(&["--version"]), Exit::Done);
        assert_eq!(ended(&["walk"]), Exit::Usage);
        assert_eq!(ended(&["run", "--config", file]), Exit::Configuration);
        std::fs::write(&path, "secrets: [").unwrap();
        assert_eq!(ended(&["run", "--config", file]), Exit::Configuration);
        std::fs::write(&path, "secrets: {}").unwrap();
        let asking = [&["status"][..], &["wait"], &["refresh"], &["refresh", "db"], &["stop"]];
        for command in asking {
            assert_eq!(ended(&[command, &["--config", file]].concat()), Exit::Configuration);
        }
        for command in
            [&["run"][..], &["init"], &["health"], &["check"], &["rehearse"], &["doctor", "leaks"]]
        {
            assert_eq!(ended(&[command, &["--config", file]].concat()), Exit::Configuration);
        }
        for command in [
            &["vault", "bootstrap", "plan", "--config"][..],
            &["vault", "bootstrap", "apply", "--yes", "--config"],
            &["vault", "doctor", "--config"],
        ] {
            assert_eq!(ended(&[command, &[file]].concat()), Exit::Configuration, "{command:?}");
        }
        let inventory =
            "secrets: { a: { tier: 1, owner: x, driver: database, policy: { max_age: 1d } } }";
        for (text, exit) in [
            ("secrets: {}".to_owned(), Exit::Found),
            ("secrets: []".to_owned(), Exit::Configuration),
            (inventory.to_owned(), Exit::Done),
            (inventory.replace("owner: x, ", ""), Exit::Found),
            (inventory.replace("tier: 1", "tier: 2"), Exit::Found),
        ] {
            std::fs::write(&path, &text).unwrap();
            for more in [&[][..], &["--json"]] {
                let command = ["inventory", "check", "--file", file];
                assert_eq!(ended(&[&command[..], more].concat()), exit, "{text}");
            }
        }
        for wrong in [
            &["vault"][..],
            &["vault", "bootstrap"],
            &["vault", "bootstrap", "plan"],
            &["vault", "doctor"],
            &["inventory", "check"],
            &["doctor"],
            &["doctor", "leaks", "--older-than", "soon"],
            &["status", "--config", "c", "--socket", "s"],
            &["wait", "--generation", "-1"],
            &["stop", "--timeout", "soon"],
            &["health", "--live", "--ready"],
            &["health", "--url", "127.0.0.1:9101"],
            &["health", "--url", "http://127.0.0.1:9101/livez"],
        ] {
            assert_eq!(ended(wrong), Exit::Usage, "{wrong:?}");
        }
    }

    fn parsed(arguments: &[&str]) -> Result<RunArguments, ErrorKind> {
        let arguments = ["leasehold"].iter().chain(arguments).map(OsString::from);
        match parse(arguments.collect()) {
            Ok(Command::Run(arguments)) => Ok(arguments),
            Ok(other) => panic!("another command: {other:?}"),
            Err(error) => Err(error.kind()),
        }
    }

    #[test]
    fn the_configuration_is_where_the_nearest_voice_says() {
        let none = Environment::default();
        let given = Environment::new("h", [("LEASEHOLD_CONFIG", "/from/variable")]);
        let bare = parsed(&["run"]).unwrap();
        let flagged = parsed(&["run", "--config", "/from/flag"]).unwrap();
        assert_eq!(bare.config(&none), PathBuf::from(CONFIG));
        assert_eq!(bare.config(&given), PathBuf::from("/from/variable"));
        assert_eq!(flagged.config(&given), PathBuf::from("/from/flag"));
    }

    #[test]
    fn flags_become_settings() {
        let overrides =
            parsed(&["run", "--log-level", "debug", "--log-format=text"]).unwrap().overrides();
        let keys: Vec<_> = overrides.iter().map(|flag| (flag.key, flag.value.as_str())).collect();
        assert_eq!(keys, [("log.level", "debug"), ("log.format", "text")]);
    }

    #[test]
    fn a_wrong_command_line_is_told_from_a_question() {
        assert_eq!(parsed(&["--version"]).unwrap_err(), ErrorKind::DisplayVersion);
        assert_eq!(parsed(&["run", "--help"]).unwrap_err(), ErrorKind::DisplayHelp);
        for wrong in [&[][..], &["walk"], &["run", "--conf"], &["run", "extra"]] {
            assert!(!matches!(
                parsed(wrong).unwrap_err(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            ));
        }
    }

    #[test]
    fn exit_codes() {
        for (class, code) in [
            (Class::Again { after: None }, 69),
            (Class::Unclear, 69),
            (Class::Gone, 69),
            (Class::Denied, 77),
            (Class::Missing, 78),
            (Class::Conflict, 75),
            (Class::Ours, 70),
        ] {
            assert_eq!(Exit::after(&Failure::new(class, "x")).code(), code, "{class:?}");
        }
        assert_eq!((Exit::Done.code(), Exit::Found.code(), Exit::Usage.code()), (0, 1, 64));
        assert_eq!((Exit::CannotPublish.code(), Exit::Configuration.code()), (73, 78));
    }
}
