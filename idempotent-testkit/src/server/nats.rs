use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::ServerError;
use super::process::Process;
use super::start::{directory, free_port, try_ports, wait_until_ready};

const PROGRAM: &str = "nats-server";
const INSTALL: &str = "apt-get install nats-server";
/// Where Debian puts it, which is not on everybody's `PATH`.
const DEBIAN: &str = "/usr/sbin/nats-server";
/// The pause before a new server is asked again whether it is ready.
const READY_PAUSE: Duration = Duration::from_millis(10);

/// A NATS server with `JetStream` of this test's own, in a directory of its own.
///
/// # Examples
///
/// ```no_run
/// // It needs an installed `nats-server`.
/// use idempotent_testkit::server::NatsServer;
///
/// let server = NatsServer::start()?;
/// println!("listening on {}", server.url());
/// # Ok::<(), idempotent_testkit::server::ServerError>(())
/// ```
#[derive(Debug)]
pub struct NatsServer {
    url: String,
    // Before the directory, so that the process is gone when its files go.
    process: Process,
    port: u16,
    directory: TempDir,
}

impl NatsServer {
    /// Starts a server on a free port of the loopback interface, and waits until it answers.
    ///
    /// # Errors
    ///
    /// If the server is not installed, or does not get ready.
    pub fn start() -> Result<Self, ServerError> {
        try_ports(true, || {
            let (directory, port) = (directory()?, free_port()?);
            let mut server = Self {
                url: format!("nats://127.0.0.1:{port}"),
                process: spawn(directory.path(), port)?,
                port,
                directory,
            };
            server.wait_until_ready()?;
            Ok(server)
        })
    }

    /// Where to connect.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends the server at once, without a chance to write anything more.
    ///
    /// # Errors
    ///
    /// If it cannot be ended.
    pub fn kill(&mut self) -> Result<(), ServerError> {
        Ok(self.process.kill()?)
    }

    /// Starts the server again, with the same files in the same place. Kills it first if it runs.
    ///
    /// # Errors
    ///
    /// If it does not get ready.
    pub fn restart(&mut self) -> Result<(), ServerError> {
        self.process.kill()?;
        self.process = spawn(self.directory.path(), self.port)?;
        self.wait_until_ready()
    }

    fn wait_until_ready(&mut self) -> Result<(), ServerError> {
        let (process, directory) = (&mut self.process, self.directory.path());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        // It listens when what it has kept is read.
        let is_ready = || Ok(TcpStream::connect(address).is_ok());
        wait_until_ready(directory, READY_PAUSE, || process.has_ended(), is_ready)
    }
}

fn spawn(directory: &Path, port: u16) -> Result<Process, ServerError> {
    match spawn_program(PROGRAM, directory, port) {
        Err(ServerError::Missing { .. }) => spawn_program(DEBIAN, directory, port),
        started => started,
    }
}

fn spawn_program(program: &str, directory: &Path, port: u16) -> Result<Process, ServerError> {
    let mut command = Command::new(program);
    command
        .arg("-js")
        .arg("-sd")
        .arg(directory.join("data"))
        .args(["-a", "127.0.0.1", "-p", &port.to_string()])
        .arg("-l")
        .arg(directory.join("log"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Process::start(&mut command, PROGRAM, INSTALL)
}
