//! Whether what is in memory may be written to a disk all the same.
//!
//! Receives what the kernel says of swap and of our control group, gives where pages may go. Never
//! changes any of it: neither is a process's own to set.

use std::path::{Path, PathBuf};

const CONTROL_GROUPS: &str = "/sys/fs/cgroup";

/// Where the kernel may swap us to, and with us the files in memory that we made; nothing where it
/// may not, or swaps to memory only.
pub fn swap() -> Option<String> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let device = device(&read(Path::new("/proc/swaps"))?)?.to_owned();
    let group = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let forbidden = limits(&group).any(|limit| read(&limit).is_some_and(|most| most.trim() == "0"));
    (!forbidden).then_some(device)
}

/// The first entry of `/proc/swaps` that is no compressed memory.
fn device(swaps: &str) -> Option<&str> {
    let devices = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    devices.into_iter().find(|device| !device.starts_with("/dev/zram"))
}

/// The files that limit the swap of a process whose `/proc/PID/cgroup` says `group`: its own
/// group's, and those of the groups around it.
fn limits(group: &str) -> impl Iterator<Item = PathBuf> + '_ {
    let own = group.lines().find_map(|line| line.strip_prefix("0::/"));
    let around = own.into_iter().flat_map(|own| Path::new(own).ancestors());
    around.map(|group| Path::new(CONTROL_GROUPS).join(group).join("memory.swap.max"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_is_what_ends_up_on_a_disk() {
        let head = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        let zram = "/dev/zram0                              partition\t8388604\t0\t100\n";
        let disk = "/swapfile                               file\t\t2097148\t0\t-2\n";
        assert_eq!(device(""), None);
        assert_eq!(device(head), None);
        assert_eq!(device(&[head, zram].concat()), None);
        assert_eq!(device(&[head, zram, disk].concat()), Some("/swapfile"));
    }

    #[test]
    fn a_group_is_limited_by_those_around_it() {
        let found: Vec<_> = limits("1:name=systemd:/x\n0::/a/b\n").collect();
        let expected = ["a/b/", "a/", ""]
            .map(|group| PathBuf::from(format!("/sys/fs/cgroup/{group}memory.swap.max")));
        assert_eq!(found, expected);
        assert_eq!(limits("0::/\n").count(), 1);
        assert_eq!(limits("4:memory:/a\n").count(), 0);
    }
}
