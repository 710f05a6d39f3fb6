use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::installation::Installation;
use super::{NO_PORT, PostgresServer, READY_PAUSE, sockets, url_of};
use crate::server::ServerError;
use crate::server::process::Process;
use crate::server::start::{directory, wait_until_ready};

const PROGRAM: &str = "pgbouncer";
const INSTALL: &str = "apt-get install pgbouncer";
/// Where Debian keeps it, which is not on every user's `PATH`.
const DEBIAN: &str = "/usr/sbin/pgbouncer";

/// A PgBouncer of this test's own, which hands each transaction to any of two connections to a
/// server.
#[derive(Debug)]
pub struct PgBouncer {
    process: Process,
    directory: TempDir,
}

impl PgBouncer {
    /// Starts one before `server`, and waits until it answers.
    ///
    /// # Errors
    ///
    /// If it is not installed, or does not get ready, or if the server was not started here.
    pub fn start(server: &PostgresServer) -> Result<Self, ServerError> {
        let own = server.own()?;
        let directory = directory()?;
        let settings = directory.path().join("settings");
        let port = own.port.unwrap_or(NO_PORT);
        fs::write(
            &settings,
            text(own.directory.path(), port, directory.path()),
        )?;
        own.installation.open_to_server(directory.path())?;
        let mut command = own.installation.as_server(Command::new(program()));
        command
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Process::start(&mut command, PROGRAM, INSTALL)?;
        let mut bouncer = Self { process, directory };
        bouncer.wait_until_ready(&own.installation)?;
        Ok(bouncer)
    }

    /// Where to connect.
    #[must_use]
    pub fn url(&self) -> String {
        url_of(self.directory.path(), NO_PORT)
    }

    fn wait_until_ready(&mut self, installation: &Installation) -> Result<(), ServerError> {
        let (directory, process) = (self.directory.path(), &mut self.process);
        let is_ready = || {
            Ok(!sockets(directory)?.is_empty()
                && installation.psql(directory, NO_PORT, "SELECT 1").is_ok())
        };
        wait_until_ready(directory, READY_PAUSE, || process.has_ended(), is_ready)
    }
}

/// The settings of one that listens in `here` on behalf of the server in `there`.
fn text(there: &Path, port: u16, here: &Path) -> String {
    let (there, here) = (there.display(), here.display());
    format!(
        "[databases]\n\
         * = host={there} port={port} user=postgres\n\
         [pgbouncer]\n\
         unix_socket_dir = {here}\n\
         listen_port = {NO_PORT}\n\
         logfile = {here}/log\n\
         auth_type = any\n\
         pool_mode = transaction\n\
         default_pool_size = 2\n"
    )
}

fn program() -> PathBuf {
    let debian = Path::new(DEBIAN);
    if debian.is_file() {
        debian.to_owned()
    } else {
        PROGRAM.into()
    }
}
