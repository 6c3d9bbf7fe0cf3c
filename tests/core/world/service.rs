//! What the database, the disk and the service do: they take logins, files and notices.

use leasehold::agent::command::{Notice, TargetName};
use leasehold::agent::event::{Event, Op, Visible};
use leasehold::error::{Class, Failure};
use leasehold::lease::RoleId;
use leasehold::secret::{Credential, Secret};
use leasehold::snapshot::{SecretName, Snapshot};

use super::{Happening, World, again};

impl World {
    pub(super) fn probe(&mut self, op: Op, secret: &SecretName, credential: Credential) {
        self.say(format!("probe {secret} as {}", credential.username));
        self.later("probe", move |world, failure| {
            let number = credential.username.trim_start_matches("user-").to_owned();
            let id = format!("lease-{number}");
            let lease = world.vault.leases.get(&id);
            let result = match (failure, lease) {
                (Some(failure), _) => Err(failure),
                _ if !world.database.up => Err(again("connection refused")),
                (None, Some(lease)) if lease.life.alive && !world.database.refuses => {
                    Ok(lease.role)
                }
                (None, _) => Err(Failure::new(Class::Denied, "28P01")),
            };
            if result.is_ok() {
                world.proved.insert(Secret::new(id).short_hash());
            }
            let Some(late) = world.database.role_after.or_else(|| world.weather.role_after())
            else {
                return Event::Probed { op, result };
            };
            if result.is_err() {
                return Event::Probed { op, result };
            }
            let result = world.weather.fault("probe", None).map_or(result, Err);
            world.order += 1;
            let at = (world.now + late, world.order);
            world.queue.insert(at, Happening::Answer(Event::Probed { op, result }));
            Event::Accepted { op }
        });
    }

    pub(super) fn count(&mut self, op: Op, secret: SecretName, roles: Vec<RoleId>) {
        self.say(format!("count {secret}"));
        self.later("count", move |world, failure| {
            let result = match failure {
                Some(failure) => Err(failure),
                None if !world.database.up => Err(again("connection refused")),
                None => {
                    let uses = world.app.uses.get(&secret);
                    let sessions = |role| u64::from(uses.is_some_and(|uses| uses.contains(&role)));
                    Ok(vec![roles.into_iter().map(|role| (role, sessions(role))).collect()])
                }
            };
            Event::Counted { op, result }
        });
    }

    /// `switch`: in the files of the newest policy.
    pub(super) fn publish(&mut self, snapshot: Snapshot, switch: bool) {
        let versions: Vec<String> = snapshot
            .secrets
            .iter()
            .map(|(name, value)| format!("{name}={}", value.version))
            .collect();
        let files = if switch { " in new files" } else { "" };
        let versions = versions.join(" ");
        let line = self.named(&format!("publish {}{files}: {versions}", snapshot.generation));
        self.say(line);
        if let Some(failure) = self.fault("publish") {
            self.at_once.push_back(Event::Published { result: Err(failure) });
            return;
        }
        let before = self.visible.clone();
        let same = before.as_ref().is_some_and(|old| {
            old.secrets.len() == snapshot.secrets.len()
                && old.secrets.iter().all(|(name, value)| {
                    snapshot.secrets.get(name).is_some_and(|new| new.version == value.version)
                })
        });
        let same = same && !(switch && std::mem::take(&mut self.new_files));
        if let (Some(old), true) = (&before, same) {
            let result = Ok(Visible { generation: old.generation, changed: false });
            self.at_once.push_back(Event::Published { result });
            return;
        }
        self.check_snapshot(&snapshot, before.as_ref());
        self.check_values(&snapshot, before.as_ref());
        let generation = snapshot.generation;
        for (name, value) in &snapshot.secrets {
            let role = self.lease_by(&value.version).map(|(_, lease)| lease.role);
            if let (Some(role), Some(delay)) = (role, self.app.moves_in) {
                self.app.uses.entry(name.clone()).or_default().insert(role);
                self.order += 1;
                let key = (self.now + delay, self.order);
                self.queue.insert(key, Happening::Moved(name.clone(), role));
            } else if let Some(role) = role {
                // Some sessions come, but the old ones stay.
                self.app.uses.entry(name.clone()).or_default().insert(role);
            }
        }
        self.visible = Some(snapshot);
        let result = Ok(Visible { generation, changed: true });
        self.at_once.push_back(Event::Published { result });
    }

    pub(super) fn deliver(&mut self, op: Op, target: TargetName, notice: &Notice) {
        let names: Vec<&str> = notice.secrets.iter().map(|secret| &*secret.name).collect();
        self.say(format!("tell {target}: {}", names.join(" ")));
        let said: Vec<_> =
            notice.secrets.iter().map(|told| (told.name.clone(), told.version.clone())).collect();
        let generation = notice.generation;
        self.later("deliver", move |world, failure| {
            let deaf = world.app.deaf.contains(&target).then(|| again("connection refused"));
            let result = failure.or(deaf).map_or(Ok(()), Err);
            // Whoever hears of an older set after a newer one reads the newer one all the same.
            let last = world.heard.entry(target.clone()).or_default();
            if result.is_ok() && generation >= *last {
                *last = generation;
                let said =
                    said.into_iter().map(|(name, version)| ((target.clone(), name), version));
                world.told.extend(said);
            }
            Event::Delivered { op, result }
        });
    }
}
