//! Which leases and users have an owner.
//!
//! Receives what Vault lists, what the database lists and what agents know, gives a row for each
//! lease and user with its owner. Never asks anybody, and never names the user of a lease where
//! two could be it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::doctor::name;
use crate::postgres::Role;
use crate::vault::LeaseTimes;

/// Vault makes the user first and then the lease; a busy database takes some seconds for it.
const APART: i64 = 10;
/// Vault lets a login work so much longer than its lease.
const LONGER: i64 = 5;

/// A lease that Vault lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// How it may be shown.
    pub hash: String,
    /// When it began and ends. Asked only of those that no agent knows.
    pub times: Option<LeaseTimes>,
}

/// A lease that an agent knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// How it may be shown.
    pub hash: String,
    /// The database user, where it is one.
    pub user: Option<String>,
    /// The directory of the state that it is in.
    pub state: String,
    /// What its agent does with it.
    pub plan: Plan,
}

/// What an agent does with a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It keeps it.
    Held,
    /// It lets it end then.
    Draining(Timestamp),
    /// It ends it now.
    Ending,
}

/// Whose a lease is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// An agent's.
    Agent(Plan, String),
    /// So new that an agent may be about to take it.
    Young,
    /// Nobody's that is known.
    Nobody,
}

/// A lease with its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRow {
    /// The lease.
    pub lease: Lease,
    /// Whose it is.
    pub owner: Owner,
    /// Its user: an agent's word for it, else the only one whose times fit.
    pub user: Option<String>,
}

/// Whose a user is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Belongs {
    /// It is of a lease that an agent knows.
    Agent,
    /// It is of this lease that no agent knows: no other fits.
    Lease(String),
    /// It is of one of several leases, or of none.
    Unclear,
    /// No lease fits, but it is so new that one may be on its way.
    Young,
    /// No lease explains it: only `VALID UNTIL` ends it.
    NoLease,
}

/// A user with what it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// The user.
    pub user: Role,
    /// What it belongs to.
    pub belongs: Belongs,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Every lease.
    pub leases: Vec<LeaseRow>,
    /// Every user.
    pub users: Vec<UserRow>,
    /// Of the unclear users so many have no lease. [`once`] counts them.
    pub surplus: usize,
    /// So many leases fit unclear users that are not young.
    open: usize,
}

impl Compared {
    /// Leases that nobody owns.
    pub fn lost_leases(&self) -> usize {
        self.leases.iter().filter(|row| row.owner == Owner::Nobody).count()
    }

    /// Users that have no lease.
    pub fn lost_users(&self) -> usize {
        self.surplus + self.users.iter().filter(|row| row.belongs == Belongs::NoLease).count()
    }

    /// All without an owner. A lease and its user are one.
    pub fn lost(&self) -> usize {
        self.lost_leases() + self.lost_users()
    }
}

/// Compares the leases and users of one role. What is younger than `settled` is not judged. Users
/// that are unclear are counted by [`once`].
pub fn compare(
    leases: Vec<Lease>,
    users: Vec<Role>,
    known: &[Known],
    settled: Duration,
) -> Compared {
    let by_hash: BTreeMap<&str, &Known> =
        known.iter().map(|known| (known.hash.as_str(), known)).collect();
    let theirs: BTreeSet<&str> = known.iter().filter_map(|known| known.user.as_deref()).collect();

    let unknown: Vec<&Lease> =
        leases.iter().filter(|lease| !by_hash.contains_key(lease.hash.as_str())).collect();
    let strangers: Vec<&Role> =
        users.iter().filter(|user| !theirs.contains(user.name.as_str())).collect();
    let fitting = Fitting::new(&unknown, &strangers, settled);

    let user_rows = users.iter().map(|user| {
        let belongs = if theirs.contains(user.name.as_str()) {
            Belongs::Agent
        } else if let Some(lease) = fitting.leases.get(user.name.as_str()) {
            Belongs::Lease((*lease).to_owned())
        } else if fitting.unclear.contains(user.name.as_str()) {
            Belongs::Unclear
        } else if young(user, settled) {
            Belongs::Young
        } else {
            Belongs::NoLease
        };
        UserRow { user: user.clone(), belongs }
    });
    let users = user_rows.collect();
    let lease_rows = leases.iter().map(|lease| {
        let young = lease.times.is_some_and(|times| times.age < settled);
        let (owner, user) = match by_hash.get(lease.hash.as_str()) {
            Some(known) => (Owner::Agent(known.plan, known.state.clone()), known.user.clone()),
            None => {
                let owner = if young { Owner::Young } else { Owner::Nobody };
                (owner, fitting.users.get(lease.hash.as_str()).map(|user| (*user).to_owned()))
            }
        };
        LeaseRow { lease: lease.clone(), owner, user }
    });
    let leases = lease_rows.collect();
    Compared { leases, users, surplus: 0, open: fitting.open }
}

fn young(user: &Role, settled: Duration) -> bool {
    name::age(&user.name, user.asked).is_some_and(|age| age < settled)
}

/// Leaves each user with the role that explains it, where the users of several are named alike, and
/// counts over all of those the unclear ones that no lease is left for.
pub fn once(roles: &mut [Compared], settled: Duration) {
    let unexplained = |row: &UserRow| match row.belongs {
        Belongs::NoLease | Belongs::Young => true,
        Belongs::Agent | Belongs::Lease(_) | Belongs::Unclear => false,
    };
    let rows = roles.iter().flat_map(|role| &role.users);
    let explained = rows.filter(|row| !unexplained(row)).map(|row| row.user.name.clone());
    let mut seen: BTreeSet<String> = explained.collect();
    for role in &mut *roles {
        role.users.retain(|row| !unexplained(row) || seen.insert(row.user.name.clone()));
    }
    for group in alike(roles, settled) {
        let first = group.roles.first().and_then(|role| roles.get_mut(*role));
        if let Some(role) = first {
            role.surplus = group.users.len().saturating_sub(group.open);
        }
    }
}

/// Roles that have unclear users in common.
struct Group {
    roles: Vec<usize>,
    /// Those users, each once.
    users: BTreeSet<String>,
    /// The leases of all the roles that such users fit.
    open: usize,
}

/// A user that fits the leases of two roles stands in both, and is one user all the same.
fn alike(roles: &[Compared], settled: Duration) -> Vec<Group> {
    let paired = |row: &&UserRow| matches!(row.belongs, Belongs::Lease(_));
    let rows = roles.iter().flat_map(|role| &role.users);
    let paired: BTreeSet<&str> = rows.filter(paired).map(|row| row.user.name.as_str()).collect();
    let mut groups: Vec<Group> = Vec::new();
    for (index, role) in roles.iter().enumerate() {
        let unclear = role.users.iter().filter(|row| {
            let own = row.belongs == Belongs::Unclear && !young(&row.user, settled);
            own && !paired.contains(row.user.name.as_str())
        });
        let users: BTreeSet<String> = unclear.map(|row| row.user.name.clone()).collect();
        let (common, others): (Vec<Group>, Vec<Group>) =
            groups.into_iter().partition(|group| !group.users.is_disjoint(&users));
        groups = others;
        let mut all = Group { roles: vec![index], users, open: role.open };
        for group in common {
            all.roles.extend(group.roles);
            all.users.extend(group.users);
            all.open += group.open;
        }
        groups.push(all);
    }
    groups
}

/// Which leases and users fit one another.
struct Fitting<'a> {
    /// Users by their leases, where neither fits another.
    users: BTreeMap<&'a str, &'a str>,
    /// The same the other way round.
    leases: BTreeMap<&'a str, &'a str>,
    /// Users that fit a lease which others fit too.
    unclear: BTreeSet<&'a str>,
    /// How many leases those of them fit that are not young.
    open: usize,
}

/// How many fit, and one of them.
#[derive(Clone, Copy, Default)]
struct Fits {
    count: usize,
    one: usize,
}

impl<'a> Fitting<'a> {
    fn new(leases: &[&'a Lease], users: &[&'a Role], settled: Duration) -> Self {
        let made: Vec<Option<Timestamp>> =
            users.iter().map(|user| name::made(&user.name)).collect();
        let mut of_leases = vec![Fits::default(); leases.len()];
        let mut of_users = vec![Fits::default(); users.len()];
        // Which leases a user fits that is not young.
        let mut judged = vec![false; leases.len()];
        for (l, lease) in leases.iter().enumerate() {
            for (u, user) in users.iter().enumerate() {
                if fit(lease, made[u], user.valid_until) {
                    of_leases[l] = Fits { count: of_leases[l].count + 1, one: u };
                    of_users[u] = Fits { count: of_users[u].count + 1, one: l };
                    judged[l] |= !young(user, settled);
                }
            }
        }
        let mut fitting = Self {
            users: BTreeMap::new(),
            leases: BTreeMap::new(),
            unclear: BTreeSet::new(),
            open: 0,
        };
        for (user, fits) in users.iter().zip(&of_users).filter(|(_, fits)| fits.count > 0) {
            if fits.count == 1 && of_leases[fits.one].count == 1 {
                let lease = leases[fits.one];
                fitting.users.insert(&lease.hash, &user.name);
                fitting.leases.insert(&user.name, &lease.hash);
            } else {
                fitting.unclear.insert(&user.name);
            }
        }
        let open = leases
            .iter()
            .zip(judged)
            .filter(|(lease, judged)| *judged && !fitting.users.contains_key(lease.hash.as_str()));
        fitting.open = open.count();
        fitting
    }
}

/// Whether a user may be the lease's. What Vault wrote into its name says when it was made; else
/// `VALID UNTIL` follows the lease's end, where the role's statements have it.
fn fit(lease: &Lease, made: Option<Timestamp>, valid_until: Option<Timestamp>) -> bool {
    let Some(times) = lease.times else { return false };
    let near = |apart: i64| (-1..=APART).contains(&apart);
    match (made, valid_until, times.expires) {
        (Some(made), ..) => near(times.issued.as_second() - made.as_second()),
        (None, Some(until), Some(end)) => near(end.as_second() + LONGER - until.as_second()),
        (None, None, _) | (None, _, None) => true,
    }
}

#[cfg(test)]
mod tests;
