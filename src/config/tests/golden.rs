//! Messages beside what they are said of, in `tests/configs/messages.txt`: a configuration (a first
//! line of `NAME=value` sets a variable), a line of dashes, and what a person is told.

use super::*;

#[test]
fn each_message_stands_beside_its_mistake() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs/messages.txt");
    let golden = std::fs::read_to_string(&path).unwrap();
    let mut now = String::new();
    for block in golden.split("====\n").filter(|block| !block.is_empty()) {
        let input = block.split("----\n").next().unwrap_or_default();
        let variables = input.lines().map_while(|line| line.split_once('='));
        let variables: Vec<_> = variables.filter(|(name, _)| !name.contains([' ', ':'])).collect();
        let skipped = input.lines().skip(variables.len());
        let text: String = skipped.flat_map(|line| [line, "\n"]).collect();
        let file = if text.starts_with("vault:") { text } else { format!("{VAULT}{text}") };
        let has = |file: &str, key: &str| file.lines().any(|line| line.starts_with(key));
        let file = if has(&file, "secrets:") { file } else { format!("{file}{DB}") };
        let file = if has(&file, "publish:") { file } else { format!("{file}{PUBLISH}") };
        let told = match loaded(&file, &variables) {
            Ok(loaded) => loaded.warnings.iter().map(|line| format!("  {line}\n")).collect(),
            Err(_) => problems(&file, &variables) + "\n",
        };
        now += &format!("====\n{input}----\n{told}");
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, now).unwrap();
    } else {
        assert!(now == golden, "run this test with UPDATE_EXPECT=1");
    }
}
