//! The programs that the tests start, and how they get onto a machine.

use std::{
    cmp::Reverse,
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::process::{capture, program, run, succeeds};

/// A server, or what stands before one, that the tests start.
#[derive(Debug)]
struct Tool {
    program: &'static str,
    /// The Debian package, and the service that comes with it.
    package: &'static str,
    /// Where else than on the `PATH` Debian has it; `*` stands for a version.
    folder: Option<&'static str>,
    oldest: Version,
}

const TOOLS: [Tool; 5] = [
    Tool {
        program: "redis-server",
        package: "redis-server",
        folder: None,
        // The first whose `SET` takes `NX` and `GET` together.
        oldest: Version::new(7, 0),
    },
    Tool {
        program: "postgres",
        package: "postgresql",
        folder: Some("/usr/lib/postgresql/*/bin"),
        // The first that vacuums for rows that were only inserted.
        oldest: Version::new(13, 0),
    },
    Tool {
        program: "pgbouncer",
        package: "pgbouncer",
        folder: Some("/usr/sbin"),
        oldest: Version::new(1, 12),
    },
    Tool {
        // The server itself tells its version only by starting.
        program: "rabbitmqctl",
        package: "rabbitmq-server",
        folder: Some("/usr/sbin"),
        // The oldest that the tests were run with.
        oldest: Version::new(3, 10),
    },
    Tool {
        program: "nats-server",
        package: "nats-server",
        folder: Some("/usr/sbin"),
        // The oldest that the tests were run with.
        oldest: Version::new(2, 9),
    },
];

/// Makes sure that the programs which the tests start are there, and installs them where it can.
///
/// It installs with `apt-get`, and only as root or with a `sudo` that asks for no password.
/// Elsewhere it fails, and says what to install.
pub(crate) fn ensure_installed() -> Result<()> {
    if !succeeds(program("cc").arg("--version")) {
        Installer::find("a C compiler, `cc`", "gcc")?.install("gcc")?;
    }
    let mut found = vec!["cc".to_owned()];
    for tool in &TOOLS {
        found.push(format!("{} {}", tool.program, tool.ensure()?));
    }
    println!("{} are here", found.join(", "));
    Ok(())
}

/// Makes sure that there is a C++ compiler, in which libFuzzer is written.
pub(crate) fn ensure_cpp_compiler() -> Result<()> {
    if !succeeds(program("c++").arg("--version")) {
        Installer::find("a C++ compiler, `c++`", "g++")?.install("g++")?;
    }
    Ok(())
}

impl Tool {
    fn ensure(&self) -> Result<Version> {
        let Self {
            program: name,
            package,
            oldest,
            ..
        } = self;
        if self.path().is_none() {
            let what = format!("`{name}`, {oldest} or newer");
            let installer = Installer::find(&what, package)?;
            installer.install(package)?;
            installer.keep_stopped(package)?;
        }
        let path = self.path();
        let path = path.with_context(|| format!("`{name}` is not there, though installed"))?;
        let text = capture(program(path).arg("--version"))?;
        let version = Version::read(&text)
            .with_context(|| format!("`{name}` does not tell its version: {text}"))?;
        ensure!(
            version >= *oldest,
            "`{name}` is {version}, and the tests need {oldest} or newer: put a newer one first in \
             PATH"
        );
        Ok(version)
    }

    /// Where it is, in its newest version.
    fn path(&self) -> Option<PathBuf> {
        if succeeds(program(self.program).arg("--version")) {
            return Some(self.program.into());
        }
        let (before, after) = match self.folder?.split_once('*') {
            None => (self.folder?, None),
            Some((before, after)) => (before, Some(after.trim_start_matches('/'))),
        };
        let folders = match after {
            None => vec![PathBuf::from(before)],
            Some(after) => versions(Path::new(before))
                .into_iter()
                .map(|version| Path::new(before).join(version).join(after))
                .collect(),
        };
        let mut paths = folders.iter().map(|folder| folder.join(self.program));
        paths.find(|path| path.is_file())
    }
}

/// The folders in `folder` that are named for a version, newest first.
fn versions(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut numbers: Vec<u32> = names.filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable_by_key(|number| Reverse(*number));
    numbers.iter().map(ToString::to_string).collect()
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Version {
    major: u32,
    minor: u32,
}

impl Version {
    const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// Reads the first number of `Redis server v=7.0.15 sha=00000000:0 ..`, and of what others say
    /// in its place.
    fn read(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        words.find_map(|word| {
            let word = ["v=", "v"]
                .iter()
                .find_map(|v| word.strip_prefix(v))
                .unwrap_or(word);
            // A version that is not released yet is `18beta1`.
            let mut parts = word.split('.').map(|part| {
                let end = part.find(|c: char| !c.is_ascii_digit());
                part[..end.unwrap_or(part.len())].parse()
            });
            Some(Self {
                major: parts.next()?.ok()?,
                minor: parts.next().map_or(Some(0), Result::ok)?,
            })
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
        for (text, version) in [
            (
                "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d",
                Some(Version::new(7, 0)),
            ),
            (
                "Valkey server v=8.1.1 sha=00000000:1 malloc=libc bits=64 build=0",
                Some(Version::new(8, 1)),
            ),
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)",
                Some(Version::new(15, 18)),
            ),
            ("postgres (PostgreSQL) 18beta1", Some(Version::new(18, 0))),
            (
                "PgBouncer 1.18.0\nlibevent 2.1.12",
                Some(Version::new(1, 18)),
            ),
            ("3.10.8", Some(Version::new(3, 10))),
            ("nats-server: v2.9.10", Some(Version::new(2, 9))),
            ("v=seven.0", None),
        ] {
            assert_eq!(Version::read(text), version, "{text}");
        }
    }

    #[test]
    fn versions_are_ordered_by_number() {
        assert!(Version::new(10, 2) > Version::new(7, 0));
        assert!(Version::new(6, 2) < Version::new(7, 0));
    }
}
