//! What the command line says of itself: grouped help, completions for shells, manual pages.
//!
//! Receives the definition of the commands. Never repeats what stands there.

use std::io::{self, Write};
use std::path::Path;

use clap::{Command, CommandFactory, ValueEnum};
use clap_complete::{Shell, generate};
use clap_mangen::{Man, generate_to};

use crate::cli::{Arguments, Exit, print};

/// A shell that completions are made for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Completed {
    /// Bash
    Bash,
    /// Z shell
    Zsh,
    /// Fish
    Fish,
}

/// Commands by what somebody wants; one that is in no group stands below the last.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Beside a service", &["run", "init", "exec", "health"]),
    ("Ask a running agent", &["status", "wait", "refresh", "stop"]),
    ("Before it goes live", &["check", "rehearse"]),
    ("Set up what it needs", &["vault", "import", "inventory", "jwt"]),
    ("When something is left behind", &["doctor"]),
    ("About this program", &["config", "completions", "man"]),
];

const OTHERS: &str = "Others";

const EXAMPLES: &str = "\
Examples:
  leasehold check --config leasehold.yaml     is this configuration right?
  leasehold run --config leasehold.yaml       publish, and keep fresh until SIGTERM
  leasehold config reference                  every key, its default and its meaning
  leasehold help run                          more about one command";

/// The command line, with its help in groups.
pub(super) fn command() -> Command {
    let command = Arguments::command().after_help(EXAMPLES);
    let groups = groups(&command);
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}Options:\n{{options}}{{after-help}}"
    ))
}

fn groups(command: &Command) -> String {
    let named = |name: &&str| command.get_subcommands().find(|it| it.get_name() == *name);
    let mut groups: Vec<(&str, Vec<&Command>)> = GROUPS
        .iter()
        .map(|(heading, names)| (*heading, names.iter().filter_map(named).collect()))
        .collect();
    let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let others = command.get_subcommands().filter(|it| !grouped.contains(&it.get_name()));
    groups.push((OTHERS, others.collect()));
    let mut text = String::new();
    for (heading, commands) in groups.iter().filter(|(_, commands)| !commands.is_empty()) {
        text += &format!("{heading}:\n");
        for command in commands {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            text += &format!("  {:<12} {about}\n", command.get_name());
        }
        text.push('\n');
    }
    text
}

/// Prints a script that completes commands and flags.
pub(super) fn completions(shell: Completed) -> Exit {
    let shell = match shell {
        Completed::Bash => Shell::Bash,
        Completed::Zsh => Shell::Zsh,
        Completed::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut command(), "leasehold", &mut script);
    put(&script)
}

/// Prints the manual page, or writes one for each command into `directory`.
pub(super) fn man(directory: Option<&Path>) -> Exit {
    let Some(directory) = directory else {
        let mut page = Vec::new();
        return match Man::new(command()).render(&mut page) {
            Ok(()) => put(&page),
            Err(error) => unwritten("the manual page", &error),
        };
    };
    match generate_to(command(), directory) {
        Ok(()) => Exit::Done,
        Err(error) => unwritten(&format!("manual pages into `{}`", directory.display()), &error),
    }
}

/// Prints all of it. Who reads only the beginning need not hear of it.
pub(super) fn put(bytes: &[u8]) -> Exit {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let hint = "see whether what it is sent to has room";
            print(&format!("write to the standard output: {error}\nhint: {hint}"));
            Exit::CannotPublish
        }
        Ok(()) | Err(_) => Exit::Done,
    }
}

fn unwritten(what: &str, error: &io::Error) -> Exit {
    print(&format!("write {what}: {error}\nhint: name a directory that is there, with `--dir`"));
    Exit::CannotPublish
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_a_group_and_has_examples() {
        let command = command();
        assert!(!groups(&command).contains(OTHERS), "{}", groups(&command));
        fn check(command: &Command, path: &str) {
            for below in command.get_subcommands() {
                let path = format!("{path} {}", below.get_name());
                if below.has_subcommands() {
                    check(below, &path);
                } else {
                    let help = below.get_after_help().map(ToString::to_string).unwrap_or_default();
                    assert!(help.contains(&format!("  {path}")), "`{path}` has no example");
                }
            }
        }
        check(&command, "leasehold");
    }

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }
}
