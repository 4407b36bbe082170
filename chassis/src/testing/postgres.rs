//! A PostgreSQL server of one's own, to be stopped, killed and started again.
//!
//! For tests that break the database: the one that `DATABASE_URL` names is everybody's. The server
//! runs from a directory of its own on a free port of the loopback address, writes nothing to disk
//! safely unless it is asked to, and goes with the value. Needs the programs of a PostgreSQL, as `ops/dev/services.sh`
//! installs them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use uuid::Uuid;

use super::free_port;

/// Where Debian keeps the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// The user that runs the server when this process is root, which it refuses to be.
const USER: &str = "postgres";

/// How a database is made: its user is `veza`, and needs no password.
const INITDB: [&str; 9] =
    ["--no-sync", "-U", "veza", "-A", "trust", "-E", "UTF8", "--locale=C", "-D"];

/// Nothing here outlives a test.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
shared_buffers = 16MB
max_connections = 40
";

/// A server.
#[derive(Debug)]
pub struct Postgres {
    /// Where its programs are.
    programs: PathBuf,
    /// Where its data and its log are.
    folder: PathBuf,
    port: u16,
}

impl Postgres {
    /// Makes one and starts it.
    ///
    /// # Panics
    /// When there are no programs, or they refuse.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// The same with settings of `postgresql.conf`, each as `name = value`, over those of the tests.
    ///
    /// # Panics
    /// As for [`Postgres::start`].
    pub async fn with(settings: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("veza-test-{}", Uuid::new_v4()));
        let server = Self { programs: programs(), folder, port: free_port() };
        let mut make = Command::new("install");
        make.args(["-d", "-m", "700"]);
        if is_root() {
            make.args(["-o", USER]);
        }
        make.arg(&server.folder);
        run(make).await;
        let mut initdb = server.command("initdb");
        initdb.args(INITDB).arg(server.data());
        run(initdb).await;
        let path = server.data().join("postgresql.conf");
        let given = fs::read_to_string(&path).expect("initdb wrote the settings");
        let given = format!("{given}{SETTINGS}port = {}\n{}\n", server.port, settings.join("\n"));
        fs::write(&path, given).expect("the settings can be written");
        server.restart().await;
        server
    }

    /// Its one database, for who may do everything there.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(self.address())
    }

    /// The same behind another address, that of a proxy.
    #[must_use]
    pub fn url_at(&self, address: SocketAddr) -> String {
        format!("postgres://veza@{address}/postgres")
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The process that all others of it are children of, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        file.lines().next()?.trim().parse().ok()
    }

    /// Ends it in order: who is connected is told.
    pub async fn stop(&self) {
        run(self.control(&["-m", "fast", "stop"])).await;
    }

    /// Ends it as a crash does: nobody is told, nothing is finished.
    pub async fn kill(&self) {
        run(self.control(&["-m", "immediate", "stop"])).await;
    }

    /// Starts it again after [`Postgres::stop`] or [`Postgres::kill`], at the same address.
    pub async fn restart(&self) {
        run(self.control(&["start"])).await;
    }

    /// `pg_ctl`, which comes back when it is done.
    fn control(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("pg_ctl");
        command.args(["-s", "-w", "-D"]).arg(self.data());
        command.arg("-l").arg(self.folder.join("log")).args(arguments);
        command
    }

    fn command(&self, program: &str) -> Command {
        let path = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", USER, "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        // The user of the server may not be let into the folder of the tests.
        command.current_dir("/");
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // One that was stopped before cannot be stopped, and that is fine.
        drop(self.control(&["-m", "immediate", "stop"]).output());
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// Runs a program to its end, beside the runtime.
async fn run(mut command: Command) {
    let shown = format!("{command:?}");
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    match output.expect("a thread for a program") {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!("{shown}: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => panic!("{shown}: {error}"),
    }
}

/// The programs of the newest version.
fn programs() -> PathBuf {
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let programs = versions.map(|version| version.path().join("bin"));
    let mut programs: Vec<PathBuf> = programs.filter(|path| path.join("initdb").exists()).collect();
    programs.sort_by_key(|path| version(path));
    programs.pop().unwrap_or_else(|| panic!("no PostgreSQL in {VERSIONS}: run ops/dev/services.sh"))
}

fn version(programs: &Path) -> u32 {
    let folder = programs.parent().and_then(Path::file_name);
    folder.and_then(|name| name.to_str()?.parse().ok()).unwrap_or(0)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use sqlx::Connection as _;
    use sqlx::postgres::PgConnection;

    use super::*;
    use crate::testing::deadline;

    #[tokio::test]
    async fn a_server_goes_and_comes_again_at_the_same_address() {
        let server = Postgres::with(&["fsync = on"]).await;
        let url = server.url();
        let mut connection = deadline(PgConnection::connect(&url)).await.unwrap();
        let fsync: String =
            sqlx::query_scalar("SHOW fsync").fetch_one(&mut connection).await.unwrap();
        assert_eq!(fsync, "on", "the last setting of a name is the one that holds");
        assert!(Path::new("/proc").join(server.id().unwrap().to_string()).exists());
        server.kill().await;
        assert!(deadline(connection.ping()).await.is_err());
        assert!(deadline(PgConnection::connect(&url)).await.is_err());
        server.restart().await;
        deadline(PgConnection::connect(&url)).await.unwrap().ping().await.unwrap();
        let folder = server.folder.clone();
        drop(server);
        assert!(deadline(PgConnection::connect(&url)).await.is_err());
        assert!(!folder.exists());
    }
}
