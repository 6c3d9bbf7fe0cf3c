//! Where secrets may lie, and room for the next set of them.
//!
//! Receives an open directory, gives whether it is in memory, and keeps space in it. Never waits
//! for space.

use rustix::fs::{FallocateFlags, StatFs};
use rustix::io::{Errno, Result};

use crate::publish::directory::Directory;
use crate::publish::names::{RESERVE, parents};
use crate::render::Rendering;

const TMPFS: u32 = 0x0102_1994;
const RAMFS: u32 = 0x8584_58f6;

/// Whether the file system never writes to a disk of its own accord.
pub(super) fn is_memory(filesystem: &StatFs) -> bool {
    // The numbers have 32 bits; the field differs in width and sign from one machine to the next.
    matches!(filesystem.f_type as u32, TMPFS | RAMFS)
}

/// Files and directories that a set adds, with the links that make it visible.
fn inodes(rendering: &Rendering) -> u64 {
    let directories: std::collections::BTreeSet<&str> =
        rendering.files.keys().flat_map(|path| parents(path)).collect();
    let count = 2 * rendering.files.len() + directories.len() + 4;
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Bytes that a set takes, in whole blocks, and one more block for the status.
fn bytes(rendering: &Rendering, block: u64) -> u64 {
    let files = rendering.files.values();
    let lengths = files.map(|file| u64::try_from(file.bytes.len()).unwrap_or(u64::MAX));
    lengths.map(|length| length.div_ceil(block) * block).sum::<u64>() + block
}

/// Keeps room for one more set like `rendering`: grows or shrinks the reserve.
///
/// # Errors
/// `NOSPC` when there is too little room, of bytes or of files.
pub(super) fn keep_room(generations: &Directory, rendering: &Rendering) -> Result<()> {
    let filesystem = rustix::fs::fstatfs(generations.fd())?;
    if filesystem.f_files > 0 && filesystem.f_ffree < inodes(rendering) {
        return Err(Errno::NOSPC);
    }
    let block = u64::try_from(filesystem.f_bsize).unwrap_or(4096).max(512);
    let wanted = bytes(rendering, block);
    let file = generations.file_to_write(RESERVE)?;
    rustix::fs::ftruncate(&file, wanted.min(length(&file)?))?;
    match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, wanted) {
        // A ramfs knows no limit, so there is nothing to keep.
        Err(Errno::OPNOTSUPP) => Ok(()),
        other => other,
    }
}

fn length(file: &std::fs::File) -> Result<u64> {
    rustix::fs::fstat(file).map(|stat| u64::try_from(stat.st_size).unwrap_or(0))
}

/// Gives the room up, for the set that is about to be written.
pub(super) fn give_up_room(generations: &Directory) -> Result<()> {
    generations.remove(RESERVE)
}
