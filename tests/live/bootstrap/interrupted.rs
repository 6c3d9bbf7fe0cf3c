//! A run that is killed anywhere is simply repeated.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use super::Site;

const APPLY: [&str; 3] = ["bootstrap", "apply", "--yes"];

/// Kills it after the first step of each run, so behind every one. The password is set and replaced
/// in one run or anew: there it is the second.
#[tokio::test]
async fn behind_each_step() {
    let site = Site::new().await;
    let steps = site.bootstrap.run(&["bootstrap", "plan"], 1);
    let steps = steps.lines().filter(|line| line.starts_with(['+', '~', '!'])).count();
    let mut runs = 0;
    loop {
        let mut child = site.bootstrap.command(&APPLY).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let done = lines.any(|line| {
            let line = line.unwrap();
            line.starts_with("done: ") && !line.contains("done: connection")
        });
        let _ = child.kill();
        child.wait().unwrap();
        if !done {
            break;
        }
        runs += 1;
        assert!(runs <= 3 * steps, "{runs} runs have not brought {steps} steps to their end");
    }
    assert!(runs > steps / 2, "only {runs} runs were needed for {steps} steps");
    ended_well(&site).await;
}

/// Kills it ever later, so in the middle of every step, the replacing of the password above all.
#[tokio::test]
async fn at_any_time() {
    let site = Site::new().await;
    for millis in (0..240).step_by(12) {
        kill_after(&site, &APPLY, millis);
    }
    site.bootstrap.apply();
    for millis in (0..120).step_by(6) {
        kill_after(&site, &["bootstrap", "apply", "--yes", "--reset-root"], millis);
    }
    site.bootstrap.apply();
    ended_well(&site).await;
}

fn kill_after(site: &Site, words: &[&str], millis: u64) {
    let mut command = site.bootstrap.command(words);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Which step it meets is chance; that is the point.
    std::thread::sleep(Duration::from_millis(millis));
    let _ = child.kill();
    child.wait().unwrap();
}

async fn ended_well(site: &Site) {
    assert!(site.bootstrap.run(&["bootstrap", "plan"], 0).contains("no change"));
    site.first_password_is_refused().await;
    site.bootstrap.run(&["doctor"], 0);
}
