//! Which places for the file are refused.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Refused;

/// File systems whose locks and shared memory do not reach the other machines that mount them.
const NETWORK: [&str; 9] = [
    "afs",
    "ceph",
    "cifs",
    "fuse.glusterfs",
    "fuse.sshfs",
    "nfs",
    "nfs4",
    "smb3",
    "smbfs",
];

/// Refuses a path whose records would not last, or could not be shared.
pub(crate) fn check(path: &Path) -> Result<(), Refused> {
    if path.as_os_str().is_empty() {
        return Err(Refused::EmptyPath);
    }
    if path == Path::new(":memory:") {
        return Err(Refused::Memory);
    }
    if path.as_os_str().as_encoded_bytes().starts_with(b"file:") {
        return Err(Refused::Uri);
    }
    // Only Linux has this file. Elsewhere, and where it cannot be read, the documentation has to do.
    if let Some(path) = resolve(path)
        && let Ok(mounts) = fs::read_to_string("/proc/self/mountinfo")
        && let Some(kind) = network_file_system(&mounts, &path)
    {
        return Err(Refused::Network {
            path,
            kind: kind.to_owned(),
        });
    }
    Ok(())
}

/// Where the file is, or will be.
fn resolve(path: &Path) -> Option<PathBuf> {
    let existing = fs::canonicalize(path);
    existing.ok().or_else(|| {
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let parent = fs::canonicalize(parent.unwrap_or_else(|| Path::new("."))).ok()?;
        Some(parent.join(path.file_name()?))
    })
}

/// The kind of the network file system that `path` is on, if it is on one.
///
/// ```text
/// 36 35 98:0 /root /mnt/my\040disk rw,noatime shared:1 - nfs4 server:/export rw
/// ```
fn network_file_system<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let mounts = mounts.lines().filter_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let point = PathBuf::from(unescape(mount.split(' ').nth(4)?));
        let depth = path
            .starts_with(&point)
            .then(|| point.components().count())?;
        Some((depth, file_system.split(' ').next()?))
    });
    // Of two on the same point, the later one hides the earlier.
    let (_, kind) = mounts.max_by_key(|&(depth, _)| depth)?;
    NETWORK.contains(&kind).then_some(kind)
}

/// Blanks, tabs, line feeds and backslashes of a mount point are written in octal.
fn unescape(point: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .into_iter()
    .fold(point.to_owned(), |point, (escape, plain)| {
        point.replace(escape, plain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 27 0:50 / /mnt/my\\040share rw,relatime shared:9 - nfs4 server:/export rw,vers=4.2
41 40 254:1 / /mnt/my\\040share/local rw - xfs /dev/vdb rw
42 27 0:51 / /data rw - cifs //server/data rw
43 27 254:2 / /data rw - ext4 /dev/vdc rw
";

    fn kind(path: &str) -> Option<&'static str> {
        network_file_system(MOUNTS, Path::new(path))
    }

    #[test]
    fn a_network_file_system_is_found() {
        assert_eq!(kind("/mnt/my share/db"), Some("nfs4"));
    }

    #[test]
    fn the_innermost_and_latest_mount_counts() {
        assert_eq!(kind("/mnt/my share/local/db"), None);
        assert_eq!(kind("/data/db"), None);
    }

    #[test]
    fn a_mount_point_is_not_a_prefix_of_letters() {
        assert_eq!(kind("/mnt/my share2/db"), None);
    }
}
