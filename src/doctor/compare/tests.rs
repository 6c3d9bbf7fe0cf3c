use super::*;

const SETTLED: Duration = Duration::from_secs(120);
/// What every clock shows.
const NOW: i64 = 1_800_000_000;
const HOUR: i64 = 3600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A lease of an hour that was issued `ago`.
fn lease(hash: &str, ago: i64) -> Lease {
    let issued = at(NOW - ago);
    let times = LeaseTimes {
        issued,
        expires: Some(at(NOW - ago + HOUR)),
        age: Duration::from_secs(ago.unsigned_abs()),
    };
    Lease { hash: hash.to_owned(), times: Some(times) }
}

/// A user whose name says that it was made `ago`.
fn user(random: &str, ago: i64) -> Role {
    plain(&format!("v-approle-app-{random}-{}", NOW - ago), Some(HOUR - ago + LONGER))
}

/// A user with any name, whose password works for `left` seconds.
fn plain(name: &str, left: Option<i64>) -> Role {
    let valid_until = left.map(|left| at(NOW + left));
    Role { name: name.to_owned(), valid_until, asked: at(NOW) }
}

fn known(hash: &str, user: &Role, plan: Plan) -> Known {
    let user = Some(user.name.clone());
    Known { hash: hash.to_owned(), user, state: "/state".to_owned(), plan }
}

/// One word for each row, leases first, and how many are lost.
fn words(leases: &[Lease], users: &[Role], known: &[Known]) -> (String, usize) {
    let mut found = compare(leases.to_vec(), users.to_vec(), known, SETTLED);
    once(std::slice::from_mut(&mut found), SETTLED);
    let leases = found.leases.iter().map(|row| {
        let owner = match &row.owner {
            Owner::Agent(Plan::Held, _) => "held",
            Owner::Agent(Plan::Draining(_), _) => "draining",
            Owner::Agent(Plan::Ending, _) => "ending",
            Owner::Young => "young",
            Owner::Nobody => "nobody",
        };
        match &row.user {
            Some(user) => format!("{owner}={}", user.split('-').nth(3).unwrap_or(user)),
            None => owner.to_owned(),
        }
    });
    let users = found.users.iter().map(|row| match &row.belongs {
        Belongs::Agent => "agent".to_owned(),
        Belongs::Lease(hash) => format!("of-{hash}"),
        Belongs::Unclear => "unclear".to_owned(),
        Belongs::Young => "young".to_owned(),
        Belongs::NoLease => "no-lease".to_owned(),
    });
    let all: Vec<String> = leases.chain(std::iter::once("|".to_owned())).chain(users).collect();
    (all.join(" "), found.lost())
}

#[test]
fn what_an_agent_knows_has_an_owner() {
    let (a, b, c) = (user("a", 500), user("b", 400), user("c", 300));
    let leases = [lease("1", 500), lease("2", 400), lease("3", 300)];
    let states = [
        known("1", &a, Plan::Draining(at(NOW + 60))),
        known("2", &b, Plan::Held),
        known("3", &c, Plan::Ending),
    ];
    let all = [a, b, c];
    assert_eq!(
        words(&leases, &all, &states),
        ("draining=a held=b ending=c | agent agent agent".to_owned(), 0)
    );
    assert_eq!(words(&[], &[], &states), ("|".to_owned(), 0), "what Vault has ended");
    assert_eq!(words(&leases, &[], &states).1, 0, "a database that was not asked");
}

#[test]
fn a_lease_that_nobody_knows_is_lost_unless_it_is_young() {
    for (ago, word, lost) in
        [(0, "young", 0), (119, "young", 0), (120, "nobody", 1), (9000, "nobody", 1)]
    {
        let (leases, users) = ([lease("1", ago)], [user("a", ago)]);
        assert_eq!(words(&leases, &users, &[]), (format!("{word}=a | of-1"), lost), "{ago}");
    }
}

#[test]
fn a_user_without_a_lease_is_lost_unless_it_is_young() {
    for (user, word, lost) in [
        (user("a", 10), "young", 0),
        (user("a", 500), "no-lease", 1),
        // A name that tells no time is never young.
        (plain("app_1", Some(3600)), "no-lease", 1),
        (plain("app_1", None), "no-lease", 1),
    ] {
        let name = user.name.clone();
        assert_eq!(words(&[], &[user], &[]), (format!("| {word}"), lost), "{name}");
    }
}

#[test]
fn a_user_is_paired_by_time_where_nobody_else_fits() {
    let leases = [lease("1", 500), lease("2", 400), lease("3", 300)];
    let users = [user("c", 300), user("a", 503), user("b", 400)];
    let paired = ("nobody=a nobody=b nobody=c | of-3 of-1 of-2".to_owned(), 3);
    assert_eq!(words(&leases, &users, &[]), paired);

    // The end tells where the name does not.
    let (a, b) = (plain("a", Some(HOUR - 500 + 5)), plain("b", Some(HOUR - 400 + 5)));
    let found = words(&leases[..2], &[b, a], &[]);
    assert_eq!(found, ("nobody=a nobody=b | of-2 of-1".to_owned(), 2));

    // A renewal moves the end, never the time in the name.
    let mut renewed = lease("1", 500);
    if let Some(times) = &mut renewed.times {
        times.expires = Some(at(NOW + HOUR));
    }
    assert_eq!(words(&[renewed], &[user("a", 500)], &[]).0, "nobody=a | of-1");
}

#[test]
fn users_that_fit_several_leases_are_counted() {
    let two = [lease("1", 500), lease("2", 499)];
    let (a, b, c) = (user("a", 500), user("b", 499), user("c", 501));
    for (users, text, lost) in [
        (vec![a.clone(), b.clone()], "nobody nobody | unclear unclear", 2),
        (vec![a.clone(), b.clone(), c], "nobody nobody | unclear unclear unclear", 3),
        (vec![a.clone()], "nobody nobody | unclear", 2),
        // One of them lies further off: no lease is near it.
        (vec![a, b, user("d", 900)], "nobody nobody | unclear unclear no-lease", 3),
    ] {
        assert_eq!(words(&two, &users, &[]), (text.to_owned(), lost));
    }
    // A name and an end that tell nothing fit all.
    let users = [plain("a", None), plain("b", None)];
    assert_eq!(words(&two[..1], &users, &[]), ("nobody | unclear unclear".to_owned(), 2));
}

#[test]
fn a_known_user_is_taken_out_of_the_question() {
    // `a` fits both leases, `b` only the second.
    let leases = [lease("1", 500), lease("2", 492)];
    let users = [user("a", 500), user("b", 492)];
    assert_eq!(words(&leases, &users, &[]), ("nobody nobody | unclear unclear".to_owned(), 2));
    let state = [known("1", &users[0], Plan::Held)];
    assert_eq!(words(&leases, &users, &state), ("held=a nobody=b | agent of-2".to_owned(), 1));
}

#[test]
fn a_user_that_two_roles_could_have_is_counted_once() {
    let users = [user("a", 500), user("b", 900), user("c", 10)];
    let of = |leases: &[Lease]| compare(leases.to_vec(), users.to_vec(), &[], SETTLED);
    let mut roles = [of(&[]), of(&[lease("1", 500)])];
    once(&mut roles, SETTLED);
    let names = |role: &Compared| {
        let names = role.users.iter().map(|row| row.user.name.split('-').nth(3).unwrap());
        names.map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!((names(&roles[0]), names(&roles[1])), ("b c".to_owned(), "a".to_owned()));
    assert_eq!((roles[0].lost(), roles[1].lost()), (1, 1));
}

#[test]
fn an_unclear_user_of_several_roles_is_counted_once_and_by_all_their_leases() {
    let (a, b, c) = (user("a", 500), user("b", 500), user("c", 500));
    let (one, two) = (lease("1", 500), lease("2", 500));
    // Their leases may be on their way.
    let fresh = [user("d", 10), user("e", 10), user("f", 10)];
    for (users, roles, lost) in [
        (vec![a.clone(), b.clone()], vec![vec![one.clone()], vec![two.clone()]], 0),
        (vec![a.clone(), b.clone(), c], vec![vec![one.clone()], vec![two.clone()]], 1),
        (vec![a.clone(), b.clone()], vec![vec![one.clone()], vec![]], 1),
        // `u` has its pair in the first role; the second's lease is left for `v`.
        (
            vec![user("u", 500), user("v", 495)],
            vec![vec![lease("1", 500)], vec![lease("2", 495)]],
            0,
        ),
        (fresh.to_vec(), vec![vec![lease("1", 10)]], 0),
    ] {
        let of = |leases: &Vec<Lease>| compare(leases.clone(), users.clone(), &[], SETTLED);
        let mut compared: Vec<Compared> = roles.iter().map(of).collect();
        once(&mut compared, SETTLED);
        let found: usize = compared.iter().map(Compared::lost_users).sum();
        assert_eq!(found, lost, "{compared:#?}");
    }
    // Old ones are counted beside young ones, and by their own leases.
    let users = [vec![a, b], fresh.to_vec()].concat();
    let leases = vec![one, lease("2", 10), lease("3", 10)];
    let mut compared = [compare(leases, users, &[], SETTLED)];
    once(&mut compared, SETTLED);
    assert_eq!(compared[0].lost_users(), 1);
}
