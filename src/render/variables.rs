//! The variables of a process: those of every `dotenv` file.
//!
//! Receives a [`Snapshot`], gives names and values. Never gives a name by which a value could make a
//! program run something else than it was told to.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Class, Failure};
use crate::render::{File, Format, dotenv};
use crate::secret::Secret;
use crate::snapshot::{SecretName, Snapshot};

/// Names that the loader, a shell or an interpreter takes for an order to load or run something.
const DANGEROUS: [&str; 69] = [
    "BASHOPTS",
    "BASH_ENV",
    "BROWSER",
    "BUNDLE_GEMFILE",
    "CDPATH",
    "CLASSPATH",
    "DOTNET_STARTUP_HOOKS",
    "EDITOR",
    "ENV",
    "ERL_AFLAGS",
    "ERL_FLAGS",
    "GCONV_PATH",
    "GEM_HOME",
    "GEM_PATH",
    "GIT_ASKPASS",
    "GIT_EXEC_PATH",
    "GIT_EXTERNAL_DIFF",
    "GIT_PAGER",
    "GIT_PROXY_COMMAND",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GLIBC_TUNABLES",
    "GUNICORN_CMD_ARGS",
    "HOME",
    "HOSTALIASES",
    "IFS",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "LOCPATH",
    "LUA_CPATH",
    "LUA_INIT",
    "LUA_PATH",
    "MAVEN_OPTS",
    "NLSPATH",
    "NODE_EXTRA_CA_CERTS",
    "NODE_OPTIONS",
    "NODE_PATH",
    "OPENSSL_CONF",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "PAGER",
    "PATH",
    "PERL5DB",
    "PERL5LIB",
    "PERL5OPT",
    "PERLLIB",
    "PGSYSCONFDIR",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "PROMPT_COMMAND",
    "PS4",
    "PYTHONBREAKPOINT",
    "PYTHONHOME",
    "PYTHONINSPECT",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "PYTHONWARNINGS",
    "RESOLV_HOST_CONF",
    "RES_OPTIONS",
    "RUBYLIB",
    "RUBYOPT",
    "SHELL",
    "SHELLOPTS",
    "TMPDIR",
    "TZDIR",
    "VISUAL",
    "ZDOTDIR",
    "_JAVA_OPTIONS",
];

/// The same of every name that begins so.
const DANGEROUS_PREFIXES: [&str; 7] =
    ["BASH_FUNC_", "DYLD_", "GIT_CONFIG", "LD_", "LEASEHOLD_", "MALLOC_", "NPM_CONFIG_"];

/// The kernel takes no longer `NAME=value` with its end, in bytes.
const LONGEST: usize = 128 * 1024 - 2;

/// The variables of all `dotenv` files whose secrets have values, and libpq's two where exactly one
/// file is a service file; `directory` is where readers find the files.
///
/// # Errors
/// As [`render`](super::render) of these files. `Ours` for a name that is not for a value to choose,
/// and where two files give one name two values.
pub fn variables(
    files: &[File],
    snapshot: &Snapshot,
    directory: &Path,
) -> Result<Vec<(String, Secret)>, Failure> {
    let mut all = BTreeMap::new();
    for file in files {
        gather(file, snapshot, false, &mut all)?;
    }
    let mut services = files.iter().filter_map(|file| {
        let Format::PgService { alias, .. } = &file.format else { return None };
        Some((directory.join(&file.path), alias))
    });
    if let (Some((path, alias)), None) = (services.next(), services.next()) {
        all.insert("PGSERVICEFILE".to_owned(), Secret::new(path.display().to_string()));
        all.insert("PGSERVICE".to_owned(), Secret::new(alias.clone()));
    }
    all.insert("LEASEHOLD_DIRECTORY".to_owned(), Secret::new(directory.display().to_string()));
    Ok(all.into_iter().collect())
}

/// Tries whether a process can have the value of `secret`, as [`try_out`](super::try_out) does of
/// files.
///
/// # Errors
/// As [`variables`], where that depends on values in `snapshot`.
pub fn try_variables(
    files: &[File],
    snapshot: &Snapshot,
    secret: &SecretName,
) -> Result<(), Failure> {
    let mut all = BTreeMap::new();
    let concerned = files.iter().filter(|file| file.format.secrets().contains(secret));
    concerned.into_iter().try_for_each(|file| gather(file, snapshot, true, &mut all))
}

/// Adds the variables of `file`, of those secrets that have values where it need not have all.
fn gather(
    file: &File,
    snapshot: &Snapshot,
    in_part: bool,
    all: &mut BTreeMap<String, Secret>,
) -> Result<(), Failure> {
    let Format::Dotenv { secrets, names } = &file.format else { return Ok(()) };
    let values: Vec<_> =
        secrets.iter().filter_map(|name| snapshot.secrets.get_key_value(name)).collect();
    if values.len() < secrets.len() && !in_part {
        return Ok(());
    }
    for (name, item) in dotenv::variables(&file.path, names, &values)? {
        let refused = |why: &str| {
            let text = format!("set `{name}` of `{}` in the environment: {why}", file.path);
            Failure::new(Class::Ours, text)
        };
        if is_dangerous(&name) {
            return Err(refused("it makes programs load or run what it says")
                .hint("give it another name by `names` or `prefix`"));
        }
        let value = item.as_text();
        if name.len() + value.len() >= LONGEST {
            return Err(refused("no process can have so long a variable"));
        }
        if value.contains('\0') {
            return Err(refused("its value has a NUL, which no variable can have"));
        }
        if all.get(&name).is_some_and(|other| other.expose() != value) {
            return Err(refused("another file gives it another value")
                .hint("give one of them another name by `names` or `prefix`"));
        }
        all.insert(name, Secret::new(value.into_owned()));
    }
    Ok(())
}

fn is_dangerous(name: &str) -> bool {
    DANGEROUS.contains(&name) || DANGEROUS_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_programs_obey_are_refused() {
        for name in ["LD_PRELOAD", "LD_AUDIT", "PATH", "NODE_OPTIONS", "BASH_ENV", "PYTHONPATH"] {
            assert!(is_dangerous(name), "{name}");
        }
        for name in ["DB_PASSWORD", "DATABASE_URL", "PGPASSWORD", "LDAP_PASSWORD", "GIT_TOKEN"] {
            assert!(!is_dangerous(name), "{name}");
        }
        assert!(DANGEROUS.is_sorted() && DANGEROUS_PREFIXES.is_sorted());
    }
}
