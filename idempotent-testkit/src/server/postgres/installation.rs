use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

use rustix::process::geteuid;

use crate::server::ServerError;

pub(super) const PROGRAM: &str = "postgres";
pub(super) const INSTALL: &str = "apt-get install postgresql";
/// Where Debian keeps the programs, a folder for each version, because several may be installed.
const DEBIAN: &str = "/usr/lib/postgresql";
/// The system's user that servers run as where the test is root.
const USER: &str = "postgres";

/// The programs of one version of PostgreSQL, and who may run them.
#[derive(Clone, Debug)]
pub(super) struct Installation {
    programs: PathBuf,
    /// The user and the group of the server, if they are not the test's own.
    server: Option<(u32, u32)>,
}

impl Installation {
    /// Finds the programs on the `PATH`, or else the newest where Debian keeps them.
    pub(super) fn find() -> Result<Self, ServerError> {
        let missing = ServerError::Missing {
            program: PROGRAM,
            install: INSTALL,
        };
        let programs = on_path().or_else(newest_of_debian).ok_or(missing)?;
        let server = if geteuid().is_root() {
            Some(user()?)
        } else {
            None
        };
        Ok(Self { programs, server })
    }

    /// One of the programs, run as the test.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        // Whatever the developer's own shell says about servers.
        for (name, _) in env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        command
    }

    /// One of the programs, run as the server.
    pub(super) fn server_command(&self, program: &str) -> Command {
        self.as_server(self.command(program))
    }

    /// A program without arguments, run as the server.
    pub(super) fn as_server(&self, mut command: Command) -> Command {
        if let Some((user, group)) = self.server {
            let program = command.get_program().to_owned();
            // `exec`s, so that the process which is killed is the server.
            command = Command::new("setpriv");
            command
                .args(["--reuid", &user.to_string(), "--regid", &group.to_string()])
                .arg("--clear-groups")
                .arg(program)
                .current_dir("/");
        }
        command
    }

    /// Runs SQL as the superuser, and returns what is printed.
    pub(super) fn psql(
        &self,
        directory: &Path,
        port: u16,
        sql: &str,
    ) -> Result<String, ServerError> {
        let mut psql = self.command("psql");
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--set", "ON_ERROR_STOP=1", "--username", "postgres"])
            .args(["--dbname", "postgres", "--command", sql])
            .arg("--host")
            .arg(directory)
            .args(["--port", &port.to_string()])
            .stdin(Stdio::null());
        let output = psql.output()?;
        if output.status.success() {
            let text = String::from_utf8_lossy(&output.stdout);
            return Ok(text.trim_end().to_owned());
        }
        Err(ServerError::Refused {
            command: sql.to_owned(),
            reply: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Lets the server reach what is in `directory`, and put its socket there.
    pub(super) fn open_to_server(&self, directory: &Path) -> io::Result<()> {
        self.give(directory)?;
        // Root, who passes everywhere, is the only other one to come.
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
    }

    /// Copies the files of an empty server to `data`.
    pub(super) fn copy_template(&self, data: &Path) -> Result<(), ServerError> {
        let template = self.template()?;
        Ok(self.copy(&template, data)?)
    }

    /// The files of an empty server, which are made once for all tests on this machine.
    fn template(&self) -> Result<PathBuf, ServerError> {
        let version = self.command(PROGRAM).arg("--version").output()?.stdout;
        let version = String::from_utf8_lossy(&version);
        // Input:  postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)
        // Output: 15.18
        let version = version.split(' ').nth(2).unwrap_or_default().trim();
        let me = geteuid().as_raw();
        let templates = env::temp_dir().join(format!("idempotent-testkit-{me}"));
        let template = templates.join(format!("postgres-{version}"));
        if !template.exists() {
            fs::create_dir_all(&templates)?;
            let place = tempfile::tempdir_in(&templates)?;
            for directory in [&templates, place.path()] {
                fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
            }
            self.give(place.path())?;
            let made = place.path().join("data");
            self.make_template(&made)?;
            match fs::rename(&made, &template) {
                // Another test was quicker.
                Err(_) if template.exists() => {}
                renamed => renamed?,
            }
        }
        // Others can write to the temporary directory too.
        if fs::symlink_metadata(&templates)?.uid() == me {
            Ok(template)
        } else {
            Err(io::Error::from(io::ErrorKind::PermissionDenied).into())
        }
    }

    fn make_template(&self, data: &Path) -> Result<(), ServerError> {
        let mut initdb = self.server_command("initdb");
        let output = initdb
            .args(["--no-sync", "--no-locale", "--encoding", "UTF8"])
            .args(["--auth", "trust", "--username", "postgres"])
            .args(["--wal-segsize", "1"])
            .arg("--pgdata")
            .arg(data)
            .stdin(Stdio::null())
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(ServerError::NotReady {
            log: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let to = to.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.copy(&entry.path(), &to)?;
            } else {
                fs::copy(entry.path(), &to)?;
                self.give(&to)?;
            }
        }
        fs::set_permissions(to, fs::Permissions::from_mode(0o700))?;
        self.give(to)
    }

    fn give(&self, path: &Path) -> io::Result<()> {
        match self.server {
            Some((user, group)) => chown(path, Some(user), Some(group)),
            None => Ok(()),
        }
    }
}

fn on_path() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    // `initdb` too: some systems have the client's programs there and not the server's.
    env::split_paths(&path).find(|folder| has_programs(folder))
}

fn newest_of_debian() -> Option<PathBuf> {
    let versions = fs::read_dir(DEBIAN).ok()?.filter_map(|version| {
        let version = version.ok()?.file_name();
        let number: u32 = version.to_str()?.parse().ok()?;
        let folder = Path::new(DEBIAN).join(version).join("bin");
        has_programs(&folder).then_some((number, folder))
    });
    let (_, newest) = versions.max_by_key(|(number, _)| *number)?;
    Some(newest)
}

fn has_programs(folder: &Path) -> bool {
    ["initdb", PROGRAM, "psql"]
        .iter()
        .all(|program| folder.join(program).is_file())
}

/// The numbers of the user that comes with the package, and of its group.
fn user() -> Result<(u32, u32), ServerError> {
    let users = fs::read_to_string("/etc/passwd")?;
    let numbers = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != USER {
            return None;
        }
        let mut numbers = fields.skip(1).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    numbers.ok_or(ServerError::Missing {
        program: PROGRAM,
        install: INSTALL,
    })
}
