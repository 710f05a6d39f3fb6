//! The programs that the tests start, and how they get onto a machine.

use std::{fmt, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use crate::process::{capture, program, run, succeeds};

/// The first Redis whose `SET` takes `NX` and `GET` together.
const OLDEST_REDIS: Version = Version { major: 7, minor: 0 };

/// Makes sure that the programs which the tests start are there, and installs them where it can.
///
/// It installs with `apt-get`, and only as root or with a `sudo` that asks for no password.
/// Elsewhere it fails, and says what to install.
pub(crate) fn ensure_installed() -> Result<()> {
    if !succeeds(program("cc").arg("--version")) {
        Installer::find("a C compiler, `cc`", "gcc")?.install("gcc")?;
    }
    if !succeeds(program("redis-server").arg("--version")) {
        let what = format!("`redis-server`, {OLDEST_REDIS} or newer");
        let installer = Installer::find(&what, "redis-server")?;
        installer.install("redis-server")?;
        installer.keep_stopped("redis-server")?;
    }
    let version = redis_version()?;
    ensure!(
        version >= OLDEST_REDIS,
        "`redis-server` is {version}, and the tests need {OLDEST_REDIS} or newer: put a newer one \
         first in PATH"
    );
    println!("cc and redis-server {version} are here");
    Ok(())
}

fn redis_version() -> Result<Version> {
    let text = capture(program("redis-server").arg("--version"))?;
    Version::of_redis(&text)
        .with_context(|| format!("`redis-server` does not tell its version: {text}"))
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Version {
    major: u32,
    minor: u32,
}

impl Version {
    /// Reads `Redis server v=7.0.15 sha=00000000:0 ..`, or what Valkey says in its place.
    fn of_redis(text: &str) -> Option<Self> {
        let number = text
            .split_whitespace()
            .find_map(|word| word.strip_prefix("v="))?;
        let mut parts = number.split('.').map(str::parse);
        Some(Self {
            major: parts.next()?.ok()?,
            minor: parts.next()?.ok()?,
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Installs Debian packages.
#[derive(Clone, Copy, Debug)]
struct Installer {
    with_sudo: bool,
}

impl Installer {
    /// Finds a way to install `what`, or says that a person must.
    fn find(what: &str, package: &str) -> Result<Self> {
        let is_root = capture(program("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
        let installer = Self {
            with_sudo: !is_root,
        };
        ensure!(
            succeeds(program("apt-get").arg("--version")) && succeeds(&mut installer.admin("true")),
            "the tests need {what}, and this program cannot install it: there is no `apt-get`, or \
             no right to use it. Please install it; in Debian and Ubuntu its package is `{package}`"
        );
        Ok(installer)
    }

    fn install(self, package: &str) -> Result<()> {
        run(self.apt_get().args(["update", "--quiet"]))?;
        run(self
            .apt_get()
            .args(["install", "--yes", "--no-install-recommends", package]))
    }

    /// Ends the service that came with a package, now and after a restart: the tests start servers
    /// of their own, and nobody asked for one that listens on a port.
    fn keep_stopped(self, service: &str) -> Result<()> {
        if Path::new("/run/systemd/system").exists() {
            run(self.admin("systemctl").args(["disable", "--now", service]))?;
        }
        Ok(())
    }

    /// `RUNLEVEL=1` keeps a package from starting its service on a machine without systemd.
    fn apt_get(self) -> Command {
        let mut command = self.admin("env");
        command.args(["DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get"]);
        command
    }

    fn admin(self, name: &str) -> Command {
        if self.with_sudo {
            let mut command = program("sudo");
            command.args(["--non-interactive", name]);
            command
        } else {
            program(name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_a_server_is_read() {
        let redis = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d";
        assert_eq!(
            Version::of_redis(redis),
            Some(Version { major: 7, minor: 0 })
        );
        let valkey = "Valkey server v=8.1.1 sha=00000000:1 malloc=libc bits=64 build=0";
        assert_eq!(
            Version::of_redis(valkey),
            Some(Version { major: 8, minor: 1 })
        );
        assert_eq!(Version::of_redis("Redis server version 2.8"), None);
        assert_eq!(Version::of_redis("v=seven.0"), None);
    }

    #[test]
    fn versions_are_ordered_by_number() {
        let newer = Version {
            major: 10,
            minor: 2,
        };
        assert!(newer > OLDEST_REDIS);
        assert!(Version { major: 6, minor: 2 } < OLDEST_REDIS);
    }
}
