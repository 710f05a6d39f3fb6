use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::ServerError;
use super::process::Process;
use super::start::{directory, free_port, try_ports, wait_until_ready};

const PROGRAM: &str = "rabbitmq-server";
const INSTALL: &str = "apt-get install rabbitmq-server";
/// Where Debian has the server's own scripts, which run as whoever starts them.
const FOLDER: &str = "/usr/lib/rabbitmq/lib";
/// The pause before a new server is asked again whether it is ready.
const READY_PAUSE: Duration = Duration::from_millis(50);

/// A RabbitMQ server of this test's own, in a directory of its own, on free ports of the loopback
/// interface.
///
/// It takes some seconds to start. Its user is `guest`.
#[derive(Debug)]
pub struct RabbitServer {
    // Before the directory, so that the processes are gone when their files go.
    broker: Process,
    /// Names the nodes of an Erlang system; the server's own one, so that servers do not meet.
    _names: Process,
    ports: Ports,
    directory: TempDir,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    amqp: u16,
    distribution: u16,
    names: u16,
}

impl RabbitServer {
    /// Starts a server, and waits until it takes connections.
    ///
    /// # Errors
    ///
    /// If the server is not installed, or does not get ready.
    pub fn start() -> Result<Self, ServerError> {
        try_ports(true, Self::try_start)
    }

    fn try_start() -> Result<Self, ServerError> {
        let directory = directory()?;
        let ports = Ports {
            amqp: free_port()?,
            distribution: free_port()?,
            names: free_port()?,
        };
        let mut names = Command::new("epmd");
        names.args(["-address", "127.0.0.1", "-port", &ports.names.to_string()]);
        let names = Process::start(silent(&mut names), PROGRAM, INSTALL)?;
        let broker = spawn(directory.path(), ports)?;
        let mut server = Self {
            broker,
            _names: names,
            ports,
            directory,
        };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Where to connect.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.ports.amqp)
    }

    /// Ends the server as a power cut would.
    ///
    /// # Errors
    ///
    /// If it cannot be killed.
    pub fn kill(&mut self) -> Result<(), ServerError> {
        Ok(self.broker.kill()?)
    }

    /// Starts the server again, with the same files in the same place. Kills it first if it runs.
    ///
    /// # Errors
    ///
    /// If the server does not get ready.
    pub fn restart(&mut self) -> Result<(), ServerError> {
        self.broker.kill()?;
        self.broker = spawn(self.directory.path(), self.ports)?;
        self.wait_until_ready()
    }

    fn wait_until_ready(&mut self) -> Result<(), ServerError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.amqp));
        let broker = &mut self.broker;
        // It listens when it has started, and not before.
        let is_ready = || Ok(TcpStream::connect(address).is_ok());
        wait_until_ready(
            self.directory.path(),
            READY_PAUSE,
            || broker.has_ended(),
            is_ready,
        )
    }
}

fn spawn(directory: &Path, ports: Ports) -> Result<Process, ServerError> {
    let log = fs::File::create(directory.join("log"))?;
    let mut command = Command::new(script().unwrap_or_else(|| PROGRAM.into()));
    silent(&mut command).stdout(log.try_clone()?).stderr(log);
    command
        // The server takes the place of its script, so that it can be killed.
        .env("RABBITMQ_ALLOW_INPUT", "true")
        .env("RABBITMQ_SERVER_START_ARGS", "-noinput")
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+sbwt none +S 2:2")
        .env("RABBITMQ_NODENAME", "test@localhost")
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", ports.amqp.to_string())
        .env("RABBITMQ_DIST_PORT", ports.distribution.to_string())
        .env("ERL_EPMD_PORT", ports.names.to_string())
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
        .env("RABBITMQ_CONFIG_FILE", directory.join("none"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", directory.join("plugins"))
        .env("RABBITMQ_LOGS", "-")
        .env("RABBITMQ_LOG_BASE", directory)
        .env("RABBITMQ_MNESIA_BASE", directory.join("data"))
        .env("RABBITMQ_PID_FILE", directory.join("pid"))
        .env("HOME", directory);
    Process::start(&mut command, PROGRAM, INSTALL)
}

/// The server's own script. The one on Debian's `PATH` changes to a user who may not write here.
fn script() -> Option<PathBuf> {
    let versions = fs::read_dir(FOLDER).ok()?.flatten();
    let mut scripts = versions.map(|version| version.path().join("sbin").join(PROGRAM));
    scripts.find(|script| script.is_file())
}

fn silent(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
}
