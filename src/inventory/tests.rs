use super::*;

/// One that lacks nothing.
fn whole(name: &str, tier: u8) -> Entry {
    Entry {
        name: name.to_owned(),
        tier,
        owner: Some("platform".to_owned()),
        driver: Some(Driver::Database),
        policy: Policy { max_age: Some(Duration::from_secs(86_400)), schedule: None },
    }
}

#[test]
fn an_entry_is_covered_by_an_owner_a_driver_and_a_time() {
    let by_date = Policy { max_age: None, schedule: Some("0 0 1 */3 *".to_owned()) };
    for (entry, gaps) in [
        (whole("a", 1), &[][..]),
        (Entry { policy: by_date, ..whole("a", 1) }, &[]),
        (Entry { owner: None, ..whole("a", 1) }, &[Gap::Owner]),
        (Entry { driver: None, ..whole("a", 1) }, &[Gap::Driver]),
        (Entry { driver: Some(Driver::Manual), ..whole("a", 1) }, &[Gap::ByHand]),
        (Entry { policy: Policy::default(), ..whole("a", 1) }, &[Gap::Policy]),
        (
            Entry { owner: None, driver: None, policy: Policy::default(), ..whole("a", 1) },
            &[Gap::Owner, Gap::Driver, Gap::Policy],
        ),
    ] {
        assert_eq!(entry.gaps(), gaps, "{entry:?}");
        assert_eq!(entry.is_covered(), gaps.is_empty());
    }
}

#[test]
fn the_first_tier_decides() {
    let open = |tier| Entry { owner: None, ..whole("open", tier) };
    for (entries, passes) in [
        (vec![whole("a", 1)], true),
        (vec![whole("a", 1), open(2)], true),
        (vec![whole("a", 1), open(1)], false),
        (vec![whole("a", 2)], false),
        (vec![], false),
    ] {
        let inventory = Inventory { entries };
        assert_eq!(inventory.passes(), passes, "{inventory:?}");
    }
}

#[test]
fn only_all_of_a_tier_are_a_hundred_percent() {
    let mut entries: Vec<Entry> = (0..999).map(|number| whole(&number.to_string(), 1)).collect();
    entries.push(Entry { driver: None, ..whole("last", 1) });
    entries.push(whole("third", 3));
    let coverage = Inventory { entries }.coverage();
    let percents: Vec<_> = coverage.iter().map(|one| (one.tier, one.percent())).collect();
    assert_eq!(percents, [(1, Some(99)), (3, Some(100))]);
    assert_eq!(Inventory::default().coverage(), [Coverage { tier: 1, covered: 0, all: 0 }]);
    assert_eq!(Inventory::default().coverage()[0].percent(), None);
}

#[test]
fn each_driver_is_what_its_word_says() {
    for (word, driver) in Driver::WORDS {
        assert_eq!(driver.word(), word);
    }
}
