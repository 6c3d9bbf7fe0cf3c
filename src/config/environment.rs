//! What surrounds the process, as the configuration sees it.
//!
//! Receives variables and the host name once, gives them by name. Never shown: a variable may hold
//! a token.

use std::collections::BTreeMap;

use nix::unistd;

/// Variables and the host name; tests make their own.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    host_name: String,
}

impl Environment {
    /// An environment of these variables.
    pub fn new<K: Into<String>, V: Into<String>>(
        host_name: &str,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let variables =
            variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables, host_name: host_name.to_owned() }
    }

    /// The environment of this process. A variable that is not UTF-8 is left out.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let host_name =
            unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
        Self { variables, host_name }
    }

    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The names of all variables that begin with `prefix`.
    pub fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.variables.keys().map(String::as_str).filter(move |name| name.starts_with(prefix))
    }

    /// The machine's name.
    pub fn host_name(&self) -> &str {
        &self.host_name
    }
}
