//! `leasehold jwt`.
//!
//! Receives the flags, does what they say to a key set in Vault, prints the answer as JSON. Never
//! prints a key, and takes none from the command line.

use serde_json::{Value, json};

use crate::cli::trial::{logged_in, run, say};
use crate::cli::{Exit, JwtArguments, JwtCommand, print, unread};
use crate::config;
use crate::config::environment::Environment;
use crate::controller::{self, Controller, Halt, Keyset};
use crate::error::{Class, Failure};
use crate::keyset::{Agents, Missing};
use crate::rotation::Step;
use crate::secret::Secret;
use crate::timeline::Error;
use crate::vault::credential_file;

/// Does it.
pub(super) fn jwt(command: &JwtCommand, environment: &Environment) -> Exit {
    let (arguments, secret_file) = match command {
        JwtCommand::Bootstrap { set, secret_file } => (set, secret_file.as_deref()),
        JwtCommand::Initiate(set)
        | JwtCommand::Promote(set)
        | JwtCommand::Complete(set)
        | JwtCommand::Cleanup(set)
        | JwtCommand::Abort(set)
        | JwtCommand::Resume(set)
        | JwtCommand::Status(set)
        | JwtCommand::Plan(set) => (set, None),
    };
    let file = match config::controller::load(&arguments.config, environment) {
        Ok(file) => file,
        Err(error) => return unread(&error, "name the file with `--config`"),
    };
    run(async |_| {
        let set = chosen(&file.keysets, arguments).map_err(Error::Configuration)?;
        let secret = secret_file.map(|path| credential_file("secret that is imported", path));
        let secret = secret.transpose().map_err(Error::Configuration)?;
        logged_in(&file.vault, async |vault, made| {
            let (token, agents) = (made.token(), Agents::default());
            let controller = Controller { vault, token: &token, set, agents: &agents };
            match answer(command, &controller, secret).await {
                Ok(answer) => {
                    say(&answer.to_string());
                    Ok(Exit::Done)
                }
                Err(Halt::Failed(failure)) => Err(Error::Failed(failure)),
                Err(Halt::Refused(refused)) => {
                    let hint = controller::advice(&refused);
                    print(&format!("change the key set `{}`: {refused}\nhint: {hint}", set.name));
                    Ok(Exit::TryAgain)
                }
                Err(Halt::Trouble(trouble)) => {
                    let (text, hint) = controller::problem(&trouble);
                    print(&format!("go on with the key set `{}`: {text}\nhint: {hint}", set.name));
                    Ok(Exit::Configuration)
                }
            }
        })
        .await
    })
}

async fn answer(
    command: &JwtCommand,
    controller: &Controller<'_>,
    secret: Option<Secret>,
) -> Result<Value, Halt> {
    match command {
        JwtCommand::Bootstrap { .. } => {
            Ok(controller::status(&controller.bootstrap(secret).await?))
        }
        JwtCommand::Initiate(_) => Ok(controller::initiated(&controller.initiate().await?)),
        JwtCommand::Promote(_) => Ok(controller::status(&controller.promote().await?)),
        JwtCommand::Complete(_) => Ok(controller::completed(&controller.complete().await?)),
        JwtCommand::Cleanup(_) => {
            let (manifest, removed, until) = controller.cleanup().await?;
            Ok(controller::cleaned(&manifest, &removed, until))
        }
        JwtCommand::Abort(_) => Ok(controller::status(&controller.abort().await?)),
        JwtCommand::Resume(_) => Ok(controller::status(&controller.resume().await?)),
        JwtCommand::Status(_) => {
            let seen = controller.look().await?;
            let mut status = controller::status(controller.sound(&seen)?);
            status["waits_for"] = json!(controller::waits(&controller.plan(&seen)));
            Ok(status)
        }
        JwtCommand::Plan(_) => {
            let seen = controller.look().await?;
            controller.sound(&seen)?;
            let plan = controller.plan(&seen);
            Ok(json!({
                "step": plan.step.as_ref().map(Step::name),
                "next_look": plan.wake,
                "waits_for": plan.waits.iter().map(Missing::to_string).collect::<Vec<_>>(),
            }))
        }
    }
}

fn chosen<'a>(sets: &'a [Keyset], arguments: &JwtArguments) -> Result<&'a Keyset, Failure> {
    let wrong = |text: String| {
        let names: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
        let hint = format!("name one with `--keyset`: {}", names.join(", "));
        Failure::new(Class::Ours, text).hint(hint)
    };
    match (&arguments.keyset, sets) {
        (Some(name), sets) => sets
            .iter()
            .find(|set| set.name == *name)
            .ok_or_else(|| wrong(format!("choose a key set: there is no `{name}` in the file"))),
        (None, [only]) => Ok(only),
        (None, _) => Err(wrong(format!("choose a key set: the file has {}", sets.len()))),
    }
}
