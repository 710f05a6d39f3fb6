use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use tempfile::TempDir;

use super::process::Process;
use super::start::{directory, free_port, try_ports, wait_until_ready};
use super::{Endpoint, ServerError, resp};

const PROGRAM: &str = "redis-server";
const INSTALL: &str = "apt-get install redis-server";
const VARIABLE: &str = "IDEMPOTENT_TEST_REDIS";
/// The pause before a new server is asked again whether it is ready.
const READY_PAUSE: Duration = Duration::from_millis(10);

/// A Redis server of this test's own, in a directory of its own, without snapshots.
///
/// # Examples
///
/// ```no_run
/// // It needs an installed `redis-server`.
/// use idempotent_testkit::server::RedisServer;
///
/// let server = RedisServer::start()?;
/// println!("listening on {}", server.url());
/// # Ok::<(), idempotent_testkit::server::ServerError>(())
/// ```
#[derive(Debug)]
pub struct RedisServer {
    url: String,
    // Before the directory, so that the process is gone when its files go.
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    process: Process,
    command: Vec<String>,
    endpoint: Endpoint,
    port: Option<u16>,
    directory: TempDir,
}

/// What a command has cost the server.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct CommandStats {
    /// How often it was called.
    pub calls: u64,
    /// The server's time, in microseconds. Each call's is rounded down.
    pub micros: u64,
}

/// Options for a [`RedisServer`].
#[derive(Clone, Debug, Default)]
pub struct RedisBuilder {
    arguments: Vec<String>,
    tcp: bool,
}

impl RedisBuilder {
    /// Passes an option to the server, as in `.arg("--appendonly", "yes")`.
    #[must_use]
    pub fn arg(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// Listens on a free port of the loopback interface, beside the Unix socket.
    #[must_use]
    pub fn tcp(mut self) -> Self {
        self.tcp = true;
        self
    }

    /// Starts the server, and waits until it answers.
    ///
    /// # Errors
    ///
    /// If the server is not installed, or does not get ready.
    pub fn start(&self) -> Result<RedisServer, ServerError> {
        try_ports(self.tcp, || self.try_start())
    }

    fn try_start(&self) -> Result<RedisServer, ServerError> {
        let directory = directory()?;
        let port = if self.tcp { Some(free_port()?) } else { None };
        let socket = directory.path().join("s");
        let (port_text, directory_text) = (port.unwrap_or(0).to_string(), text(directory.path()));
        let mut command: Vec<String> = [
            ["--port", &port_text],
            ["--bind", "127.0.0.1"],
            ["--unixsocket", &text(&socket)],
            ["--dir", &directory_text],
            ["--logfile", "log"],
            ["--save", ""],
        ]
        .into_iter()
        .flatten()
        .map(str::to_owned)
        .collect();
        command.extend(self.arguments.iter().cloned());

        let url = match port {
            None => format!("redis+unix://{}", text(&socket)),
            Some(port) => format!("redis://127.0.0.1:{port}/"),
        };
        RedisServer::run(url, command, Endpoint::Unix(socket), port, directory)
    }
}

impl RedisServer {
    /// Starts a server on a Unix socket.
    ///
    /// # Errors
    ///
    /// If the server is not installed, or does not get ready.
    pub fn start() -> Result<Self, ServerError> {
        Self::builder().start()
    }

    /// The server that the environment variable `IDEMPOTENT_TEST_REDIS` names by its URL, or else a
    /// new one. For tests that need not kill it, and that use a prefix of their own.
    ///
    /// # Errors
    ///
    /// If there is no such variable, and a server is not installed, or does not get ready.
    pub fn any() -> Result<Self, ServerError> {
        match env::var(VARIABLE) {
            Ok(url) => Ok(Self { url, own: None }),
            Err(_) => Self::start(),
        }
    }

    /// A Sentinel that watches over `master`, which listens on a port, under `name`. It counts a
    /// server as down after half a second.
    ///
    /// # Errors
    ///
    /// If the server is not installed, or does not get ready.
    pub fn sentinel(name: &str, master: &Self) -> Result<Self, ServerError> {
        let (directory, port) = (directory()?, free_port()?);
        let file = directory.path().join("sentinel.conf");
        let watched = master.port().unwrap_or_default();
        let settings = [
            format!("port {port}"),
            "bind 127.0.0.1".to_owned(),
            format!("dir {}", text(directory.path())),
            "logfile log".to_owned(),
            format!("sentinel monitor {name} 127.0.0.1 {watched} 1"),
            format!("sentinel down-after-milliseconds {name} 500"),
            format!("sentinel failover-timeout {name} 2000"),
        ];
        fs::write(&file, settings.join("\n"))?;
        let command = vec![text(&file), "--sentinel".to_owned()];
        let url = format!("redis://127.0.0.1:{port}/");
        let endpoint = Endpoint::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        Self::run(url, command, endpoint, Some(port), directory)
    }

    fn run(
        url: String,
        command: Vec<String>,
        endpoint: Endpoint,
        port: Option<u16>,
        directory: TempDir,
    ) -> Result<Self, ServerError> {
        let process = spawn(&command)?;
        let mut own = Own {
            process,
            command,
            endpoint,
            port,
            directory,
        };
        own.wait_until_ready()?;
        Ok(Self {
            url,
            own: Some(own),
        })
    }

    /// Options for a server.
    #[must_use]
    pub fn builder() -> RedisBuilder {
        RedisBuilder::default()
    }

    /// Where to connect: the port if there is one, else the Unix socket.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The port on the loopback interface, if there is one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.own.as_ref()?.port
    }

    /// Where the server listens, for a [`Proxy`](super::Proxy).
    ///
    /// # Errors
    ///
    /// If the server was not started here.
    pub fn endpoint(&self) -> Result<Endpoint, ServerError> {
        let own = self.own()?;
        Ok(match own.port {
            None => own.endpoint.clone(),
            Some(port) => Endpoint::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        })
    }

    /// Ends the server as a power cut would.
    ///
    /// # Errors
    ///
    /// If the server was not started here.
    pub fn kill(&mut self) -> Result<(), ServerError> {
        Ok(self.own_mut()?.process.kill()?)
    }

    /// Starts the server again, with the same files in the same place. Kills it first if it runs.
    ///
    /// # Errors
    ///
    /// If the server was not started here, or does not get ready.
    pub fn restart(&mut self) -> Result<(), ServerError> {
        let own = self.own_mut()?;
        own.process.kill()?;
        own.process = spawn(&own.command)?;
        own.wait_until_ready()
    }

    /// Stops the server where it stands: it takes connections and answers nothing.
    ///
    /// # Errors
    ///
    /// If the server was not started here.
    pub fn pause(&self) -> Result<(), ServerError> {
        Ok(self.own()?.process.pause()?)
    }

    /// Lets a paused server go on.
    ///
    /// # Errors
    ///
    /// If the server was not started here.
    pub fn resume(&self) -> Result<(), ServerError> {
        Ok(self.own()?.process.resume()?)
    }

    /// Sends one command over a connection of its own, and returns the reply as text: one line for
    /// each element of an array, and nothing for nil.
    ///
    /// # Errors
    ///
    /// If the server was not started here, does not answer, or refuses.
    pub fn ask(&self, command: &[&str]) -> Result<String, ServerError> {
        resp::ask(&self.own()?.endpoint, command)
    }

    /// What each command has cost since [`reset_command_stats`](Self::reset_command_stats), by its
    /// lower-case name. Commands that a script calls are counted too, beside the script's own.
    ///
    /// # Errors
    ///
    /// As for [`ask`](Self::ask).
    pub fn command_stats(&self) -> Result<BTreeMap<String, CommandStats>, ServerError> {
        let text = self.ask(&["INFO", "commandstats"])?;
        Ok(text.lines().filter_map(parse_stats).collect())
    }

    /// Begins to count anew.
    ///
    /// # Errors
    ///
    /// As for [`ask`](Self::ask).
    pub fn reset_command_stats(&self) -> Result<(), ServerError> {
        self.ask(&["CONFIG", "RESETSTAT"]).map(drop)
    }

    fn own(&self) -> Result<&Own, ServerError> {
        self.own
            .as_ref()
            .ok_or(ServerError::External { variable: VARIABLE })
    }

    fn own_mut(&mut self) -> Result<&mut Own, ServerError> {
        self.own
            .as_mut()
            .ok_or(ServerError::External { variable: VARIABLE })
    }
}

impl Own {
    fn wait_until_ready(&mut self) -> Result<(), ServerError> {
        let (process, endpoint) = (&mut self.process, &self.endpoint);
        let is_ready = || match resp::ask(endpoint, &["PING"]) {
            Ok(_) => Ok(true),
            // It is up, and wants a password.
            Err(ServerError::Refused { reply, .. }) => Ok(reply.starts_with("NOAUTH")),
            Err(_) => Ok(false),
        };
        let directory = self.directory.path();
        wait_until_ready(directory, READY_PAUSE, || process.has_ended(), is_ready)
    }
}

fn spawn(command: &[String]) -> Result<Process, ServerError> {
    let mut program = Command::new(PROGRAM);
    program
        .args(command)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Process::start(&mut program, PROGRAM, INSTALL)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Reads a line like `cmdstat_set:calls=3,usec=7,..`.
fn parse_stats(line: &str) -> Option<(String, CommandStats)> {
    let (name, fields) = line.trim_end().strip_prefix("cmdstat_")?.split_once(':')?;
    let field = |name: &str| {
        let mut fields = fields.split(',').filter_map(|field| field.split_once('='));
        fields.find(|(field, _)| *field == name)?.1.parse().ok()
    };
    Some((
        name.to_owned(),
        CommandStats {
            calls: field("calls")?,
            micros: field("usec")?,
        },
    ))
}
