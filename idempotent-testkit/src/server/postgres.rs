mod bouncer;
mod cluster;
mod installation;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use std::{env, fs, io};

use tempfile::TempDir;

pub use self::bouncer::PgBouncer;
use self::cluster::Cluster;
use self::installation::Installation;
use super::start::{directory, free_port, try_ports, wait_until_ready};
use super::{Endpoint, ServerError};

const VARIABLE: &str = "IDEMPOTENT_TEST_POSTGRES";
/// The number in the name of the socket, where there is no port.
const NO_PORT: u16 = 5432;
/// The pause before a new server is asked again whether it is ready.
const READY_PAUSE: Duration = Duration::from_millis(15);

/// A PostgreSQL server of this test's own, in a directory of its own.
///
/// It listens on a Unix socket, lets everybody in as the superuser `postgres`, and does not flush to
/// the disk unless it is [asked to](PostgresBuilder::durable). PostgreSQL refuses to run as root:
/// where the test does, the server runs as the system's user `postgres`.
///
/// The first server of a version on a machine takes two seconds longer: what `initdb` writes is kept
/// in the system's temporary directory, and copied from there.
///
/// # Examples
///
/// ```no_run
/// // It needs an installed PostgreSQL.
/// use idempotent_testkit::server::PostgresServer;
///
/// let server = PostgresServer::start()?;
/// println!("listening on {}", server.url());
/// # Ok::<(), idempotent_testkit::server::ServerError>(())
/// ```
#[derive(Debug)]
pub struct PostgresServer {
    url: String,
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    // Before the directory, so that the processes are gone when their files go.
    cluster: Cluster,
    installation: Installation,
    settings: Vec<String>,
    port: Option<u16>,
    directory: TempDir,
}

/// Options for a [`PostgresServer`].
#[derive(Clone, Debug, Default)]
pub struct PostgresBuilder {
    settings: Vec<String>,
    durable: bool,
    tcp: bool,
}

impl PostgresBuilder {
    /// Sets a parameter of the server, as in `.setting("max_connections", "10")`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push(format!("{name}={value}"));
        self
    }

    /// Flushes to the disk before it answers, as a server does by default.
    #[must_use]
    pub const fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Listens on a free port of the loopback interface, beside the Unix socket.
    #[must_use]
    pub const fn tcp(mut self) -> Self {
        self.tcp = true;
        self
    }

    /// Starts the server, and waits until it answers.
    ///
    /// # Errors
    ///
    /// If the server is not installed, or does not get ready.
    pub fn start(&self) -> Result<PostgresServer, ServerError> {
        try_ports(self.tcp, || self.try_start())
    }

    fn try_start(&self) -> Result<PostgresServer, ServerError> {
        let installation = Installation::find()?;
        let directory = directory()?;
        installation.copy_template(&directory.path().join("data"))?;
        installation.open_to_server(directory.path())?;
        let port = if self.tcp { Some(free_port()?) } else { None };
        let settings = self.all_settings(directory.path(), port);
        let cluster = run(&installation, &settings, directory.path())?;
        let mut own = Own {
            cluster,
            installation,
            settings,
            port,
            directory,
        };
        own.wait_until_ready()?;
        Ok(PostgresServer {
            url: own.url(),
            own: Some(own),
        })
    }

    fn all_settings(&self, directory: &Path, port: Option<u16>) -> Vec<String> {
        let mut settings = vec![
            format!("unix_socket_directories={}", directory.display()),
            format!("port={}", port.unwrap_or(NO_PORT)),
            format!(
                "listen_addresses={}",
                if self.tcp { "127.0.0.1" } else { "" }
            ),
            "shared_buffers=32MB".to_owned(),
            "dynamic_shared_memory_type=mmap".to_owned(),
        ];
        if !self.durable {
            settings.extend(["fsync=off", "full_page_writes=off"].map(str::to_owned));
        }
        settings.extend(self.settings.iter().cloned());
        settings
    }
}

impl PostgresServer {
    /// Starts a server on a Unix socket.
    ///
    /// # Errors
    ///
    /// If the server is not installed, or does not get ready.
    pub fn start() -> Result<Self, ServerError> {
        Self::builder().start()
    }

    /// The server that the environment variable `IDEMPOTENT_TEST_POSTGRES` names by its URL, or else
    /// a new one. For tests that need not kill it, and that use a schema of their own.
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

    /// Options for a server.
    #[must_use]
    pub fn builder() -> PostgresBuilder {
        PostgresBuilder::default()
    }

    /// Where to connect: the port if there is one, else the Unix socket.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where the server listens, for a [`Proxy`](super::Proxy).
    ///
    /// # Errors
    ///
    /// If the server was not started here.
    pub fn endpoint(&self) -> Result<Endpoint, ServerError> {
        let own = self.own()?;
        Ok(match own.port {
            None => Endpoint::Unix(own.socket()),
            Some(port) => Endpoint::Tcp(([127, 0, 0, 1], port).into()),
        })
    }

    /// Ends the server and its sessions as a power cut would. Without
    /// [`durable`](PostgresBuilder::durable), the system still writes what they have handed to it.
    ///
    /// # Errors
    ///
    /// If the server was not started here.
    pub fn kill(&mut self) -> Result<(), ServerError> {
        Ok(self.own_mut()?.cluster.kill()?)
    }

    /// Starts the server again, with the same files in the same place. Kills it first if it runs.
    ///
    /// # Errors
    ///
    /// If the server was not started here, or does not get ready.
    pub fn restart(&mut self) -> Result<(), ServerError> {
        let own = self.own_mut()?;
        own.cluster.kill()?;
        own.cluster = run(&own.installation, &own.settings, own.directory.path())?;
        own.wait_until_ready()
    }

    /// Stops the server and its sessions where they stand: it takes connections and answers nothing.
    ///
    /// # Errors
    ///
    /// If the server was not started here.
    pub fn pause(&self) -> Result<(), ServerError> {
        Ok(self.own()?.cluster.pause()?)
    }

    /// Lets a paused server go on.
    ///
    /// # Errors
    ///
    /// If the server was not started here.
    pub fn resume(&self) -> Result<(), ServerError> {
        Ok(self.own()?.cluster.resume()?)
    }

    /// Runs SQL through `psql`, over a connection of its own, and returns what it prints: a line for
    /// each row, with `|` between the columns.
    ///
    /// # Errors
    ///
    /// If the server was not started here, does not answer, or refuses.
    pub fn ask(&self, sql: &str) -> Result<String, ServerError> {
        self.own()?.ask(sql)
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
    fn url(&self) -> String {
        match self.port {
            None => url_of(self.directory.path(), NO_PORT),
            Some(port) => format!("postgres://postgres@127.0.0.1:{port}/postgres"),
        }
    }

    fn socket(&self) -> PathBuf {
        let number = self.port.unwrap_or(NO_PORT);
        self.directory.path().join(format!(".s.PGSQL.{number}"))
    }

    fn ask(&self, sql: &str) -> Result<String, ServerError> {
        let port = self.port.unwrap_or(NO_PORT);
        self.installation.psql(self.directory.path(), port, sql)
    }

    fn wait_until_ready(&mut self) -> Result<(), ServerError> {
        let (socket, port) = (self.socket(), self.port.unwrap_or(NO_PORT));
        let (cluster, installation) = (&mut self.cluster, &self.installation);
        let directory = self.directory.path();
        // The socket is there long before the server answers, but never after.
        let is_ready =
            || Ok(socket.exists() && installation.psql(directory, port, "SELECT 1").is_ok());
        wait_until_ready(directory, READY_PAUSE, || cluster.has_ended(), is_ready)
    }
}

/// Starts the server on the files in `directory`.
fn run(
    installation: &Installation,
    settings: &[String],
    directory: &Path,
) -> Result<Cluster, ServerError> {
    // One that was killed leaves its socket behind.
    for socket in sockets(directory)? {
        fs::remove_file(socket)?;
    }
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join("log"))?;
    let mut command = installation.server_command("postgres");
    command.arg("-D").arg(directory.join("data"));
    for setting in settings {
        command.args(["-c", setting]);
    }
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    Cluster::start(&mut command)
}

fn sockets(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    let is_socket = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(".s.PGSQL.");
    Ok(entries
        .into_iter()
        .filter(|entry| is_socket(&entry.file_name()))
        .map(|entry| entry.path())
        .collect())
}

/// The URL of a server whose socket is in `directory`.
fn url_of(directory: &Path, port: u16) -> String {
    let directory = directory.to_string_lossy().replace('/', "%2F");
    format!("postgres://postgres@{directory}:{port}/postgres")
}
