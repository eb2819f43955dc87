//! Redis: servers, sentinels and clusters.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::program::{find_program, missing};
use crate::service::{Folder, Service};

/// The attempts of a test to see a state of Redis; each starts a process.
const TRIES: usize = 5000;

/// A Redis server on loopback, without persistence, that ends when this is dropped.
#[derive(Debug)]
pub struct Redis {
    program: String,
    cli: String,
    port: u16,
    options: Vec<String>,
    /// Those of `options` for TLS, each a name and a value.
    tls_options: Vec<String>,
    /// Options of the command line client: those of its connection and user.
    client_options: Vec<String>,
    service: Option<Service>,
    folder: Folder,
}

impl Redis {
    /// Starts a server with further options, such as `--maxmemory 2mb`; `--requirepass` first.
    /// Returns `None`, with a line
    /// on standard error, if Redis is missing.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(options: &[&str]) -> Option<Self> {
        let mut redis = Self::prepare()?;
        redis.options.extend(options.iter().map(|&option| option.to_owned()));
        if let ["--requirepass", password, ..] = options {
            redis.client_options.extend(["--no-auth-warning", "-a", password].map(str::to_owned));
        }
        redis.run();
        Some(redis)
    }

    /// Starts a server that requires TLS with a client certificate. The files are PEM.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_with_tls(authority: &str, certificate: &str, key: &str) -> Option<Self> {
        let mut redis = Self::prepare()?;
        redis.require_tls(authority, certificate, key);
        redis.run();
        Some(redis)
    }

    /// Starts a sentinel that watches the primary at `port` under the name `main`.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_sentinel(port: u16) -> Option<Self> {
        Self::prepare()?.into_sentinel(port)
    }

    /// Starts a sentinel that requires TLS with a client certificate, and connects with TLS to the
    /// primary. The files are PEM.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_sentinel_with_tls(port: u16, authority: &str, certificate: &str, key: &str) -> Option<Self> {
        let mut redis = Self::prepare()?;
        redis.require_tls(authority, certificate, key);
        redis.into_sentinel(port)
    }

    fn into_sentinel(mut self, port: u16) -> Option<Self> {
        let config = self.folder.path().join("sentinel.conf");
        let mut lines = vec![
            format!("port {}", self.port),
            "bind 127.0.0.1".to_owned(),
            format!("sentinel monitor main 127.0.0.1 {port} 1"),
            "sentinel down-after-milliseconds main 500".to_owned(),
            "sentinel failover-timeout main 1000".to_owned(),
        ];
        lines.extend(self.tls_options.chunks(2).map(|option| option.join(" ").replace("--", "")));
        fs::write(&config, format!("{}\n", lines.join("\n"))).expect("a file");
        self.options = vec![config.to_string_lossy().into_owned(), "--sentinel".to_owned()];
        self.run();
        Some(self)
    }

    /// Starts a cluster of three primaries.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_cluster() -> Option<[Self; 3]> {
        Self::start_cluster_of(|_| ())
    }

    /// Starts a cluster of three primaries that require TLS with a client certificate, also among
    /// themselves. The files are PEM.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_cluster_with_tls(authority: &str, certificate: &str, key: &str) -> Option<[Self; 3]> {
        Self::start_cluster_of(|redis| redis.require_tls(authority, certificate, key))
    }

    fn start_cluster_of(set_up: impl Fn(&mut Self)) -> Option<[Self; 3]> {
        let node = || {
            let mut redis = Self::prepare()?;
            set_up(&mut redis);
            let bus = free_port().to_string();
            let options =
                ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "1000"];
            redis.options.extend(options.map(str::to_owned));
            redis.run();
            Some((redis, bus))
        };
        let nodes = [node()?, node()?, node()?];
        let slots = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
        for ((redis, _), (first, last)) in nodes.iter().zip(slots) {
            redis.command(&["CLUSTER", "ADDSLOTSRANGE", first, last]);
        }
        for (redis, bus) in &nodes[1..] {
            nodes[0].0.command(&["CLUSTER", "MEET", "127.0.0.1", &redis.port.to_string(), bus]);
        }
        for (redis, _) in &nodes {
            redis.wait_for(&["CLUSTER", "INFO"], |info| {
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            });
        }
        Some(nodes.map(|(redis, _)| redis))
    }

    /// Adds the options of TLS with a client certificate, for all connections.
    fn require_tls(&mut self, authority: &str, certificate: &str, key: &str) {
        let files =
            [("ca.pem", authority), ("cert.pem", certificate), ("key.pem", key)].map(|(name, pem)| {
                let path = self.folder.path().join(name);
                fs::write(&path, pem).expect("a file");
                path.to_string_lossy().into_owned()
            });
        let [ca, cert, key] = &files;
        let port = self.port.to_string();
        let ports = ["--port", "0", "--tls-port", &port, "--tls-auth-clients", "yes"];
        let peers = ["--tls-cluster", "yes", "--tls-replication", "yes"];
        let names = ["--tls-ca-cert-file", ca, "--tls-cert-file", cert, "--tls-key-file", key];
        let options = ports.into_iter().chain(peers).chain(names);
        self.tls_options = options.map(str::to_owned).collect();
        self.options.extend(self.tls_options.iter().cloned());
        let client = ["--tls", "--cacert", ca, "--cert", cert, "--key", key];
        self.client_options.extend(client.map(str::to_owned));
    }

    fn prepare() -> Option<Self> {
        let (Some(program), Some(cli)) = (find_program("redis-server"), find_program("redis-cli")) else {
            missing("Redis (`apt-get install redis-server`)");
            return None;
        };
        let (port, folder) = (free_port(), Folder::new());
        let number = port.to_string();
        let options = ["--port", &number, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let id = folder.path().join("id").to_string_lossy().into_owned();
        let options = options.into_iter().chain(["--enable-debug-command", "local", "--pidfile", &id]);
        let options = options.map(str::to_owned).collect();
        let client_options = vec!["-p".to_owned(), number];
        let tls_options = Vec::new();
        Some(Self { program, cli, port, options, tls_options, client_options, service: None, folder })
    }

    /// Starts the server, on the same port each time.
    ///
    /// # Panics
    /// If it does not start.
    pub fn run(&mut self) {
        let mut command = Command::new(&self.program);
        command.args(&self.options);
        let mut service = Service::start(&command, &self.folder, Stdio::piped());
        let is_ready = |line: &str| {
            let is_sentinel = line.contains("+monitor master");
            (is_sentinel || line.contains("Ready to accept connections")).then_some(())
        };
        service.wait_for(is_ready).expect("Redis starts");
        self.service = Some(service);
    }

    /// Ends the server with all its data.
    pub fn stop(&mut self) {
        if self.service.is_some() {
            // A process that is stopped does not end.
            self.resume();
        }
        self.service = None;
    }

    /// Stops the process of the server: it accepts connections, and does not reply.
    ///
    /// # Panics
    /// If there is no such process.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Continues the process of the server.
    ///
    /// # Panics
    /// If there is no such process.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        // A sentinel has no such file.
        let Ok(id) = fs::read_to_string(self.folder.path().join("id")) else { return };
        Command::new("/bin/kill").args([signal, id.trim()]).status().expect("a program that sends signals");
    }

    /// Sends a command, and returns the reply as text.
    ///
    /// # Panics
    /// If the command line client cannot be started.
    pub fn command(&self, arguments: &[&str]) -> String {
        let output = Command::new(&self.cli).args(&self.client_options).args(arguments).output();
        let output = output.expect("redis-cli");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Sends a command until its reply is as expected.
    ///
    /// # Panics
    /// If that does not happen in some seconds.
    pub fn wait_for(&self, arguments: &[&str], is_expected: impl Fn(&str) -> bool) {
        let mut reply = String::new();
        for _ in 0..TRIES {
            reply = self.command(arguments);
            if is_expected(&reply) {
                return;
            }
        }
        panic!("the reply of {arguments:?} stays {reply}");
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the server.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The URL without TLS and user.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
