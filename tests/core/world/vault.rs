//! What Vault does: tokens and leases, and how they end.

use std::time::Duration;

use leasehold::agent::event::{Event, LoginFailure, Op, Token, TokenTerm};
use leasehold::error::{Class, Failure};
use leasehold::lease::{Grant, Granted, LeaseTerm, RoleId};
use leasehold::secret::{Credential, Secret};
use leasehold::snapshot::SecretName;

use super::{CHILD_MAX, Lease, Life, World};

impl World {
    pub(super) fn login(&mut self, op: Op, refused: &[String]) {
        let sent = self.now;
        if refused.contains(&self.vault.credential) {
            self.say("login without sending");
            let failure = Failure::new(Class::Denied, "refused before");
            let result = Err(self.login_failure(failure));
            self.at_once.push_back(Event::LoggedIn { op, sent, result });
            return;
        }
        self.say("login");
        self.later("login", move |world, failure| {
            let result = match failure {
                Some(failure) => Err(world.login_failure(failure)),
                None => {
                    world.vault.next += 1;
                    let name = format!("token-{}", world.vault.next);
                    let ttl = world.vault.token_ttl;
                    let end = world.vault.token_max.map(|max| world.now + max);
                    let born = world.now;
                    let mut life = Life { born, expires: born, end, alive: true, muddied: false };
                    life.renew(world.now, ttl);
                    world.vault.tokens.insert(name.clone(), life);
                    let term = TokenTerm { ttl: Some(ttl), renewable: true, periodic: None };
                    Ok(Token { secret: Secret::new(name), term, ours: true })
                }
            };
            Event::LoggedIn { op, sent, result }
        });
    }

    pub(super) fn login_failure(&self, failure: Failure) -> LoginFailure {
        let (credential, lasting) = (Some(self.vault.credential.clone()), self.vault.locks);
        LoginFailure { failure, credential, lasting }
    }

    pub(super) fn create_token(
        &mut self,
        op: Op,
        secret: SecretName,
        token: Secret,
        term: Duration,
    ) {
        self.say(format!("child token for {secret}"));
        let sent = self.now;
        self.later("create-token", move |world, failure| {
            let alive = world.vault.tokens.get(token.expose()).is_some_and(|life| life.alive);
            let result = match failure {
                Some(failure) => Err(failure),
                None if !alive => Err(Failure::new(Class::Gone, "bad token")),
                None if !world.vault.children => {
                    Err(Failure::new(Class::Denied, "permission denied"))
                }
                None => {
                    world.vault.next_child += 1;
                    let name = format!("child-{}", world.vault.next_child);
                    let born = world.now;
                    let (expires, end) = (born + term, Some(born + CHILD_MAX));
                    let life = Life { born, expires, end, alive: true, muddied: false };
                    world.vault.tokens.insert(name.clone(), life);
                    world.vault.parents.insert(name.clone(), token.expose().to_owned());
                    let term = TokenTerm { ttl: Some(term), renewable: true, periodic: None };
                    Ok(Token { secret: Secret::new(name), term, ours: true })
                }
            };
            Event::TokenCreated { op, secret, sent, result }
        });
    }

    pub(super) fn token(&mut self, op: Op, token: Secret, increment: Option<Duration>) {
        let child = self.vault.parents.contains_key(token.expose());
        let whose = if child { "child token" } else { "token" };
        let what = increment.map_or(format!("lookup {whose}"), |span| {
            format!("renew {whose} for {}", span.as_secs())
        });
        self.say(what);
        let sent = self.now;
        let kind = if increment.is_some() { "renew-token" } else { "lookup-token" };
        self.later(kind, move |world, failure| {
            let now = world.now;
            let endless = world.vault.token_max.is_none() && !child;
            let (lag, ghost) = (world.weather.lag, world.ledger.ghost);
            let result = match (failure, world.vault.tokens.get_mut(token.expose())) {
                (Some(failure), life) => {
                    if let Some(life) = life.filter(|_| failure.class == Class::Gone) {
                        life.muddied = true;
                    }
                    Err(failure)
                }
                (None, Some(life)) if life.alive && life.born + lag <= now => {
                    let period = world.vault.token_ttl;
                    let ttl = match increment {
                        Some(increment) => {
                            life.muddied |= ghost;
                            life.renew(now, if endless { period } else { increment })
                        }
                        None => now.until(life.expires),
                    };
                    let periodic = increment.is_none().then_some(endless);
                    Ok(TokenTerm { ttl: Some(ttl), renewable: true, periodic })
                }
                (None, _) => Err(Failure::new(Class::Gone, "bad token")),
            };
            Event::TokenSeen { op, sent, result }
        });
    }

    pub fn kill_token(&mut self, name: &str) {
        if let Some(life) = self.vault.tokens.get_mut(name) {
            life.alive = false;
        }
        self.vault.quiet_until = self.now;
        self.expire();
    }

    /// Revokes every token behind the agent's back.
    pub fn kill_tokens(&mut self) {
        self.vault.tokens.values_mut().for_each(|life| life.alive = false);
        self.vault.quiet_until = self.now;
        self.expire();
    }

    /// Revokes every lease behind the agent's back.
    pub fn kill_leases(&mut self) {
        self.vault.leases.values_mut().for_each(|lease| lease.life.alive = false);
    }

    pub(super) fn issue(&mut self, op: Op, secret: SecretName, token: Secret) {
        self.say(format!("issue {secret}"));
        let sent = self.now;
        self.later("issue", move |world, failure| {
            let (now, lag) = (world.now, world.weather.lag);
            let life = world.vault.tokens.get(token.expose());
            let child = world.vault.parents.contains_key(token.expose());
            let alive = life.is_some_and(|life| life.alive && (child || life.born + lag <= now));
            let unclear = failure.as_ref().is_some_and(|f| f.class == Class::Unclear);
            let result = match failure {
                Some(failure) if !unclear => Err(failure),
                _ if !alive => Err(Failure::new(Class::Denied, "permission denied")),
                failure => {
                    let grant = world.grant(&secret, &token);
                    failure.map_or(Ok(grant), Err)
                }
            };
            Event::Issued { op, secret, sent, result }
        });
    }

    pub(super) fn grant(&mut self, secret: &SecretName, token: &Secret) -> Grant {
        self.vault.next += 1;
        let number = self.vault.next;
        let id = format!("lease-{number}");
        let now = self.now;
        let (ttl, max) = self.term_of(secret);
        let end = Some(now + max);
        let mut life = Life { born: now, expires: now, end, alive: true, muddied: false };
        let duration = life.renew(now, ttl);
        self.vault.issues.push(now);
        let role = 10_000 + number as RoleId;
        let (secret, token) = (secret.clone(), token.expose().to_owned());
        let hash = Secret::new(id.clone()).short_hash();
        let lease = Lease { life, token, role, secret, hash };
        self.granted(&id, &lease);
        self.vault.leases.insert(id.clone(), lease);
        Grant {
            lease_id: Secret::new(id),
            duration,
            renewable: self.vault.renewable,
            content: Granted::Login(Credential {
                username: format!("user-{number}"),
                password: Secret::new(format!("password-{number}")),
            }),
            request_id: format!("request-{number}"),
        }
    }

    pub(super) fn renew_lease(&mut self, op: Op, lease: Secret, increment: Duration) {
        self.say(format!("renew {} for {}s", lease.expose(), increment.as_secs()));
        if increment.subsec_nanos() != 0 || increment.is_zero() {
            self.broke(format!("an increment of {increment:?} renews to the full default"));
        }
        let sent = self.now;
        let deadline = self.deadlines.get(&self.hash_of(&lease)).copied();
        let ttl = self
            .vault
            .leases
            .get(lease.expose())
            .map_or(self.vault.ttl, |lease| self.term_of(&lease.secret).0);
        if let Some(deadline) = deadline
            && sent + increment > deadline + Duration::from_secs(1)
            && !self.stopping
            && sent < deadline
        {
            self.broken
                .push(format!("{} drains until {deadline:?} and is lengthened", lease.expose()));
        }
        self.check_ending(&lease, increment < ttl && deadline.is_none());
        self.later("renew-lease", move |world, failure| {
            let result = failure.map_or_else(|| world.term(&lease, Some(increment)), Err);
            Event::LeaseSeen { op, sent, result }
        });
    }

    pub(super) fn term(
        &mut self,
        lease: &Secret,
        increment: Option<Duration>,
    ) -> Result<LeaseTerm, Failure> {
        let (now, ghost, renewable) = (self.now, self.ledger.ghost, self.vault.renewable);
        match self.vault.leases.get_mut(lease.expose()) {
            Some(Lease { life, .. }) if life.alive => {
                let ttl = match increment {
                    Some(_) if !renewable => {
                        return Err(Failure::new(Class::Ours, "lease is not renewable"));
                    }
                    Some(increment) => {
                        life.muddied |= ghost;
                        life.renew(now, increment)
                    }
                    None => now.until(life.expires),
                };
                // Vault tells whole seconds.
                Ok(LeaseTerm { ttl: Duration::from_secs(ttl.as_secs()) })
            }
            _ => Err(Failure::new(Class::Gone, "invalid lease")),
        }
    }

    pub(super) fn lookup_lease(&mut self, op: Op, lease: Secret) {
        self.say(format!("lookup {}", lease.expose()));
        let sent = self.now;
        self.later("lookup-lease", move |world, failure| {
            let born = world.vault.leases.get(lease.expose()).map(|lease| lease.life.born);
            let unknown = born.is_some_and(|born| world.now < born + world.weather.lag);
            // A standby answers, and has not heard of it.
            let failure = failure.or(unknown.then(|| Failure::new(Class::Gone, "invalid lease")));
            let result = failure.map_or_else(|| world.term(&lease, None), Err);
            Event::LeaseSeen { op, sent, result }
        });
    }

    pub(super) fn revoke_lease(&mut self, op: Op, lease: Secret) {
        self.say(format!("revoke {}", lease.expose()));
        self.check_ending(&lease, true);
        self.later("revoke-lease", move |world, failure| {
            let result = match (failure, world.vault.leases.get_mut(lease.expose())) {
                (Some(failure), _) => Err(failure),
                (None, _) if !world.vault.revokes => {
                    Err(Failure::new(Class::Denied, "permission denied"))
                }
                (None, Some(lease)) if lease.life.alive => {
                    lease.life.alive = false;
                    Ok(())
                }
                (None, _) => Err(Failure::new(Class::Gone, "invalid lease")),
            };
            Event::LeaseRevoked { op, result }
        });
    }

    pub(super) fn expire(&mut self) {
        let now = self.now;
        if now < self.vault.quiet_until {
            return;
        }
        for life in self.vault.tokens.values_mut() {
            life.alive &= now < life.expires;
        }
        for (child, parent) in &self.vault.parents {
            if !self.vault.tokens.get(child).is_some_and(|life| life.alive) {
                continue;
            }
            let alive = self.vault.tokens.get(parent).is_some_and(|token| token.alive);
            if let Some(life) = self.vault.tokens.get_mut(child) {
                life.alive &= alive;
            }
        }
        for lease in self.vault.leases.values_mut().filter(|lease| lease.life.alive) {
            let token = self.vault.tokens.get(&lease.token).is_some_and(|token| token.alive);
            lease.life.alive = token && now < lease.life.expires;
        }
        let tokens = self.vault.tokens.values();
        let all = tokens.chain(self.vault.leases.values().map(|lease| &lease.life));
        let ends = all.filter(|life| life.alive).map(|life| life.expires);
        self.vault.quiet_until = ends.min().unwrap_or(now);
    }

    pub(super) fn term_of(&self, secret: &SecretName) -> (Duration, Duration) {
        self.vault.roles.get(secret).copied().unwrap_or((self.vault.ttl, self.vault.max))
    }

    pub(super) fn hash_of(&self, id: &Secret) -> String {
        self.vault.leases.get(id.expose()).map_or_else(|| id.short_hash(), |it| it.hash.clone())
    }

    pub(super) fn lease_by(&self, hash: &str) -> Option<(&String, &Lease)> {
        self.vault.leases.iter().rev().find(|(_, lease)| lease.hash == hash)
    }
}
