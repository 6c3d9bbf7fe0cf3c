//! The README's first steps, as they stand there.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/configs/quickstart.yaml");

#[test]
fn the_first_steps_go_as_written() {
    let readme = fs::read_to_string(README).unwrap();
    let (_, block) = readme.split_once("```sh\n").unwrap();
    let (steps, _) = block.split_once("```\n").unwrap();
    let (built, steps) = steps.split_once("export LEASEHOLD_CONFIG").unwrap();
    // What these two do was done.
    assert_eq!(built, "cargo build\nPATH=\"$PWD/target/debug:$PATH\"\n");
    let base = tempfile::tempdir_in("/dev/shm").unwrap();
    let try_out = base.path().join("try");
    let elsewhere = |text: &str| text.replace("/dev/shm/leasehold-try", try_out.to_str().unwrap());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = elsewhere(&fs::read_to_string(CONFIG).unwrap());
    let config = config.replace(":9101", &format!(":{port}"));
    fs::create_dir_all(base.path().join("examples/configs")).unwrap();
    fs::write(base.path().join("examples/configs/quickstart.yaml"), config).unwrap();

    let program = Path::new(env!("CARGO_BIN_EXE_leasehold")).parent().unwrap();
    let steps = elsewhere(&format!("set -eu\nexport LEASEHOLD_CONFIG{steps}wait\n"));
    let ended = Command::new("bash")
        .args(["-c", &steps])
        .current_dir(base.path())
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", program.display()))
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    let complained = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}\n{complained}");
    let mut rest = said.as_str();
    for part in [
        "DB_PASSWORD=",
        "first",
        "generation 1 is published\n",
        "ready\n",
        "generation 2 is published\n",
        "second",
        "  ready  generation 2\n",
        "db ",
        "stopped\n",
    ] {
        let Some((_, after)) = rest.split_once(part) else { panic!("{part:?} in {said}") };
        rest = after;
    }
    assert!(!try_out.exists());
}
