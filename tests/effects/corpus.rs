//! Every input of the fuzzers' corpus, once: what a fuzzer found stays found.

use std::path::Path;

use crate::fuzzed;

#[test]
fn no_input_of_the_corpus_panics_or_shows_a_secret() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    for (name, target) in fuzzed::ALL {
        let inputs: Vec<_> = std::fs::read_dir(root.join(name))
            .expect("a folder for each target")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        assert!(inputs.len() >= 3, "`{name}` has lost its corpus");
        for input in inputs {
            println!("{}", input.display());
            target(&std::fs::read(&input).expect("an input"));
        }
    }
    fuzzed::sweep();
}
