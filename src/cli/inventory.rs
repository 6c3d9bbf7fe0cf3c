//! `leasehold inventory`.
//!
//! Receives the flags, prints what of the inventory is automated, gives whether the first tier is.
//! Never asks Vault or a database anything.

use crate::cli::trial::say;
use crate::cli::{Exit, InventoryArguments, unread};
use crate::config;
use crate::inventory;

/// Checks.
pub(super) fn check(arguments: &InventoryArguments) -> Exit {
    let inventory = match config::inventory::load(&arguments.file) {
        Ok(inventory) => inventory,
        Err(error) => return unread(&error, "name the inventory with `--file`"),
    };
    if arguments.json {
        say(&inventory::json(&inventory));
    } else {
        inventory::table(&inventory).iter().for_each(|line| say(line));
    }
    if inventory.passes() { Exit::Done } else { Exit::Found }
}
