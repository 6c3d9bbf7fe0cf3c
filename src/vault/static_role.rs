//! Static database roles: one login for all, whose password Vault replaces.
//!
//! Receives a role and the version that is known, gives the login and how long until Vault replaces
//! its password. Never makes it do so.

use std::collections::BTreeMap;
use std::time::Duration;

use rustify_derive::Endpoint;
use serde::Deserialize;

use crate::agent::event::Reading;
use crate::error::{Class, Failure};
use crate::lease::Granted;
use crate::secret::{Credential, Secret};
use crate::snapshot::{Field, Version, fingerprint};
use crate::vault::answer::{Envelope, seconds};
use crate::vault::error::Operation;
use crate::vault::leases::some_secret;
use crate::vault::wire::Call;
use crate::vault::{Vault, names};

// vaultrs demands `rotation_period`, which a role with a schedule does not have.

#[derive(Endpoint)]
#[endpoint(path = "{self.mount}/static-creds/{self.role}")]
struct ReadStaticLogin {
    #[endpoint(skip)]
    mount: String,
    #[endpoint(skip)]
    role: String,
}

#[derive(Deserialize)]
struct Login {
    username: Option<String>,
    #[serde(default, deserialize_with = "some_secret")]
    password: Option<Secret>,
    /// Whole seconds until the password is replaced; 0 when that is overdue.
    ttl: Option<i64>,
}

impl Vault {
    pub(super) async fn read_static(
        &self,
        token: &Secret,
        (mount, role): (&str, &str),
        known: Option<&Version>,
    ) -> Result<Reading, Failure> {
        let request = ReadStaticLogin {
            mount: names::path("mount", mount)?,
            role: names::path("role", role)?,
        };
        let call = Call {
            operation: Operation::Read,
            doing: format!("read `{}/static-creds/{}`", request.mount, request.role),
            token: Some(token),
            hidden: Vec::new(),
        };
        let answer: Envelope<Login> = self.inner.wire.send(&call, &request).await?;
        let login = answer.data.and_then(|login| {
            let credential = Credential { username: login.username?, password: login.password? };
            Some((credential, login.ttl))
        });
        let Some((credential, ttl)) = login else {
            return Err(call
                .failure(Class::Ours, "vault's answer has no `username` and `password`")
                .hint(
                    "of static roles, only those with the credential type `password` can be used",
                ));
        };
        let left: Option<Duration> = ttl.map(seconds);
        let text = |text: &str| Field::Text(Secret::new(text.to_owned()));
        let version = fingerprint(
            &self.inner.hash_key,
            &BTreeMap::from([
                ("username".to_owned(), text(&credential.username)),
                ("password".to_owned(), Field::Text(credential.password.clone())),
            ]),
        );
        if known == Some(&version) {
            return Ok(Reading::Same { left });
        }
        Ok(Reading::New { version, content: Granted::Login(credential), left })
    }
}
