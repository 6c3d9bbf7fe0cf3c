//! A Vault that grants what it is said to grant, and a database that takes every login of it.
//!
//! Receives requests and the time, gives answers. Never fails but where a real one would.

use std::time::Duration;

use super::{LeaseTerms, Terms, TokenTerms};
use crate::agent::event::{Token, TokenTerm};
use crate::error::{Class, Failure};
use crate::lease::{Grant, Granted, LeaseTerm, RoleId};
use crate::secret::{Credential, Secret};
use crate::snapshot::SecretName;
use crate::time::Moment;

/// The servers.
pub(super) struct Servers {
    terms: Terms,
    tokens: Vec<Life>,
    leases: Vec<Lease>,
}

struct Life {
    name: Secret,
    expires: Option<Moment>,
    end: Option<Moment>,
}

struct Lease {
    secret: SecretName,
    number: usize,
    token: usize,
    role: RoleId,
    life: Life,
}

impl Life {
    fn new(name: String, now: Moment, ttl: Option<Duration>, longest: Option<Duration>) -> Self {
        let end = longest.map(|longest| now + longest);
        let mut life = Self { name: Secret::new(name), expires: None, end };
        if let Some(ttl) = ttl {
            life.renew(now, ttl);
        }
        life
    }

    fn renew(&mut self, now: Moment, increment: Duration) {
        let wanted = now + increment;
        self.expires = Some(self.end.map_or(wanted, |end| end.min(wanted)));
    }

    fn ended(&self, now: Moment) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    /// Vault counts whole seconds.
    fn left(&self, now: Moment) -> Option<Duration> {
        self.expires.map(|at| Duration::from_secs(now.until(at).as_secs()))
    }
}

fn gone() -> Failure {
    Failure::new(Class::Gone, "it has ended")
}

impl Servers {
    pub(super) fn new(terms: &Terms) -> Self {
        Self { terms: terms.clone(), tokens: Vec::new(), leases: Vec::new() }
    }

    /// Whether somebody else's token has ended: what comes then is theirs to know.
    pub(super) fn out_of_tokens(&self, now: Moment) -> bool {
        !self.terms.token.ours && self.tokens.last().is_some_and(|token| token.ended(now))
    }

    pub(super) fn login(&mut self, now: Moment) -> Result<Token, Failure> {
        let TokenTerms { ttl, renewable, longest, ours } = self.terms.token;
        if ours || self.tokens.is_empty() {
            let name = format!("token {}", self.tokens.len());
            self.tokens.push(Life::new(name, now, ttl, longest));
        }
        let life = self.tokens.last().ok_or_else(gone)?;
        let periodic = (!ours).then_some(longest.is_none());
        let term = TokenTerm { ttl: life.left(now), renewable, periodic };
        Ok(Token { secret: life.name.clone(), term, ours })
    }

    pub(super) fn lookup_token(&self, now: Moment, token: &Secret) -> Result<TokenTerm, Failure> {
        let TokenTerms { renewable, longest, .. } = self.terms.token;
        let life = self.tokens.iter().find(|life| life.name == *token);
        let life = life.filter(|life| !life.ended(now)).ok_or_else(gone)?;
        Ok(TokenTerm { ttl: life.left(now), renewable, periodic: Some(longest.is_none()) })
    }

    pub(super) fn renew_token(
        &mut self,
        now: Moment,
        token: &Secret,
        increment: Option<Duration>,
    ) -> Result<TokenTerm, Failure> {
        let TokenTerms { ttl, longest, .. } = self.terms.token;
        self.lookup_token(now, token)?;
        // A token without an end gets a period, whatever is asked for.
        let increment = if longest.is_none() { ttl } else { increment.or(ttl) };
        let life = self.tokens.iter_mut().find(|life| life.name == *token);
        if let (Some(life), Some(increment)) = (life, increment) {
            life.renew(now, increment);
        }
        Ok(TokenTerm { periodic: None, ..self.lookup_token(now, token)? })
    }

    pub(super) fn revoke_token(&mut self, now: Moment, token: &Secret) {
        let found = self.tokens.iter_mut().filter(|life| life.name == *token);
        found.for_each(|life| life.expires = Some(now));
    }

    pub(super) fn issue(
        &mut self,
        now: Moment,
        secret: &SecretName,
        token: &Secret,
    ) -> Result<Grant, Failure> {
        let terms = self.terms.leases.get(secret).copied().ok_or_else(gone)?;
        let LeaseTerms { ttl, renewable, longest } = terms;
        let token = self.tokens.iter().position(|life| life.name == *token).ok_or_else(gone)?;
        let number = 1 + self.leases.iter().filter(|lease| lease.secret == *secret).count();
        let name = format!("{secret} {number}");
        let end = longest.or((!renewable).then_some(ttl));
        let life = Life::new(name.clone(), now, Some(ttl), end);
        let role = RoleId::try_from(self.leases.len()).unwrap_or(RoleId::MAX);
        self.leases.push(Lease { secret: secret.clone(), number, token, role, life });
        Ok(Grant {
            lease_id: Secret::new(name.clone()),
            duration: ttl,
            renewable,
            content: Granted::Login(Credential {
                username: name.clone(),
                password: Secret::new(name),
            }),
            request_id: String::new(),
        })
    }

    pub(super) fn lookup_lease(&self, now: Moment, id: &Secret) -> Result<LeaseTerm, Failure> {
        let lease = self.leases.iter().find(|lease| lease.life.name == *id).ok_or_else(gone)?;
        if self.end(lease).is_some_and(|at| at <= now) {
            return Err(gone());
        }
        Ok(LeaseTerm { ttl: lease.life.left(now).unwrap_or_default() })
    }

    pub(super) fn renew_lease(
        &mut self,
        now: Moment,
        id: &Secret,
        increment: Duration,
    ) -> Result<LeaseTerm, Failure> {
        self.lookup_lease(now, id)?;
        let lease = self.leases.iter_mut().find(|lease| lease.life.name == *id);
        let lease = lease.ok_or_else(gone)?;
        if self.terms.leases.get(&lease.secret).is_none_or(|terms| terms.longest.is_none()) {
            return Err(Failure::new(Class::Denied, "vault refuses to renew it"));
        }
        lease.life.renew(now, increment);
        self.lookup_lease(now, id)
    }

    pub(super) fn revoke_lease(&mut self, now: Moment, id: &Secret) {
        let found = self.leases.iter_mut().filter(|lease| lease.life.name == *id);
        found.for_each(|lease| lease.life.expires = Some(now));
    }

    /// The database's word on a login.
    pub(super) fn role(&self, credential: &Credential) -> Result<RoleId, Failure> {
        let found = self.leases.iter().find(|lease| lease.life.name == credential.password);
        found.map(|lease| lease.role).ok_or_else(gone)
    }

    /// The number of the login with this hash among those of its secret, and when it ends as things
    /// stand.
    pub(super) fn of_hash(&self, hash: &str) -> Option<(usize, Option<Moment>)> {
        let found = self.leases.iter().find(|lease| lease.life.name.short_hash() == hash)?;
        Some((found.number, self.end(found)))
    }

    /// With its token, if that is sooner.
    fn end(&self, lease: &Lease) -> Option<Moment> {
        let token = self.tokens.get(lease.token).and_then(|token| token.expires);
        [lease.life.expires, token].into_iter().flatten().min()
    }
}
