//! One of the functions of `targets`, which `LEASEHOLD_FUZZ` names, under libFuzzer.
#![no_main]

mod targets;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("LEASEHOLD_FUZZ").unwrap_or_default();
    let found = targets::ALL.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("LEASEHOLD_FUZZ=`{name}` names no target")).1
});

fuzz_target!(|data: &[u8]| TARGET(data));
