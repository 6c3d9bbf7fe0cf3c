//! Which files this process may still touch, told to the kernel (Landlock).
//!
//! Receives directories, gives how much of that the kernel keeps. Never lets anything be executed,
//! and never loosens: what is out of reach stays so until the process ends.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, LandlockStatus, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope, make_bitflags, path_beneath_rules,
};

/// What names, TLS, randomness and the signalling of processes need of every system. Whole
/// directories: a file in `/etc` is mostly changed by putting another in its place.
const SYSTEM: [&str; 8] =
    ["/dev/random", "/dev/urandom", "/etc", "/lib", "/lib64", "/proc", "/sys/fs/cgroup", "/usr"];

/// Where the names of servers are looked up, on many machines by a link out of `/etc`.
const RESOLVER: &str = "/etc/resolv.conf";

/// What the kernel is to watch over. Later kernels know more; what that would take away has to be
/// known first.
const KNOWN: ABI = ABI::V5;

/// What a process may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Read, and all below.
    pub reads: BTreeSet<PathBuf>,
    /// Written too, and all below.
    pub writes: BTreeSet<PathBuf>,
    /// Whether signals may go to processes that it did not start.
    pub signals: bool,
}

/// How much of it the kernel keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confined {
    /// All.
    Fully,
    /// What this kernel knows.
    Partly,
    /// Nothing, for this reason.
    Not(String),
}

impl Reach {
    /// Lets the file or directory at `path` be read, whatever is put in its place later: for that
    /// its directory, or the nearest one above that is there. Where it is a link, what that leads
    /// to today as well.
    pub fn read(&mut self, path: &Path) {
        self.reads.extend(around(path));
        self.reads.extend(path.canonicalize().ok().as_deref().and_then(around));
    }

    /// Lets be read what every program needs of the system.
    pub fn read_system(&mut self) {
        self.reads.extend(SYSTEM.map(PathBuf::from).into_iter().filter(|path| path.exists()));
        self.read(Path::new(RESOLVER));
    }
}

fn around(path: &Path) -> Option<PathBuf> {
    let directory = path.ancestors().find(|above| above.is_dir())?;
    // Everything is below the top one: there the file has to do, where it is there.
    let top = directory.parent().is_none();
    if top && !path.exists() {
        return None;
    }
    Some(if top { path } else { directory }.to_owned())
}

/// Closes this process in. Only the calling thread and what it starts from now on: a thread that is
/// there already stays free.
pub fn confine(reach: &Reach) -> Confined {
    match restrict(reach) {
        Ok((RulesetStatus::FullyEnforced, _)) => Confined::Fully,
        Ok((RulesetStatus::PartiallyEnforced, _)) => Confined::Partly,
        Ok((RulesetStatus::NotEnforced, landlock)) => Confined::Not(match landlock {
            LandlockStatus::NotEnabled => "the kernel has Landlock switched off".to_owned(),
            LandlockStatus::NotImplemented | LandlockStatus::Available { .. } => {
                "the kernel has no Landlock, or a filter of system calls hides it".to_owned()
            }
        }),
        Err(error) => Confined::Not(format!("the kernel refuses: {error}")),
    }
}

fn restrict(reach: &Reach) -> Result<(RulesetStatus, LandlockStatus), RulesetError> {
    let read: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let write = read
        | make_bitflags!(AccessFs::{
            WriteFile | Truncate | MakeReg | MakeDir | MakeSym | MakeSock | RemoveFile | RemoveDir
        });
    let mut ruleset = Ruleset::default().handle_access(AccessFs::from_all(KNOWN))?;
    if !reach.signals {
        ruleset = ruleset.scope(Scope::Signal)?;
    }
    let status = ruleset
        .create()?
        .add_rules(path_beneath_rules(&reach.reads, read))?
        .add_rules(path_beneath_rules(&reach.writes, write))?
        .restrict_self()?;
    Ok((status.ruleset, status.landlock))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(file: &Path) -> Vec<PathBuf> {
        let mut reach = Reach::default();
        reach.read(file);
        reach.reads.into_iter().collect()
    }

    #[test]
    fn a_file_is_in_reach_with_what_may_replace_it() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        let (here, there) = (base.join("here"), base.join("there"));
        std::fs::create_dir(&here).unwrap();
        std::fs::create_dir(&there).unwrap();
        std::fs::write(there.join("ca.pem"), "").unwrap();
        std::os::unix::fs::symlink(there.join("ca.pem"), here.join("ca.pem")).unwrap();
        for (path, expected) in [
            (there.join("ca.pem"), vec![&*there]),
            (here.join("ca.pem"), vec![&*here, &*there]),
            (here.join("not/yet/there.pid"), vec![&*here]),
            (here.clone(), vec![&*here]),
            ("/not-there".into(), vec![]),
        ] {
            assert_eq!(reads(&path), expected, "{}", path.display());
        }
    }
}
