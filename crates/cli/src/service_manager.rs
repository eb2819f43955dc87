//! The protocols of systemd: the sockets that it passes, and notifications to it.
//!
//! `sd_listen_fds(3)`, `sd_notify(3)`, `sd_watchdog_enabled(3)`

use std::ops::Range;
use std::time::Duration;

use symbolon::{Env, Error, SharedClock};
use symbolon_agent::Listener;

use crate::failure;

/// The service manager that started this process, or none.
#[derive(Debug)]
pub(crate) struct ServiceManager {
    socket: Option<NotifySocket>,
    /// The time in which the service manager expects to hear from this process.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Reads the variables by which the service manager can be reached.
    pub(crate) fn new(env: &Env) -> Result<Self, Error> {
        let socket = env.var("NOTIFY_SOCKET").map(|name| NotifySocket::new(&name)).transpose()?;
        let is_own = names_this_process(env, "WATCHDOG_PID")?.unwrap_or(true);
        let interval = number(env, "WATCHDOG_USEC", "the microseconds of the watchdog", 1..u64::MAX)?;
        Ok(Self { socket, watchdog: interval.filter(|_| is_own).map(Duration::from_micros) })
    }

    /// Reports that the server is ready, or again after a reload, with a line about its state.
    pub(crate) async fn ready(&self, status: &str) {
        self.notify(&format!("READY=1\nSTATUS={status}")).await;
    }

    pub(crate) async fn reloading(&self) {
        if self.socket.is_some() {
            self.notify(&format!(
                "RELOADING=1\nMONOTONIC_USEC={}\nSTATUS=reading the routes again",
                monotonic_micros()
            ))
            .await;
        }
    }

    pub(crate) async fn stopping(&self) {
        self.notify("STOPPING=1\nSTATUS=finishing pending requests").await;
    }

    /// Runs a server, and shows the service manager that its event loop runs.
    pub(crate) async fn supervise<T>(&self, server: impl Future<Output = T>) -> T {
        let watchdog = async {
            let Some(interval) = self.watchdog else { return std::future::pending().await };
            loop {
                self.notify("WATCHDOG=1").await;
                SharedClock::system().sleep(interval / 2).await;
            }
        };
        tokio::select! {
            output = server => output,
            never = watchdog => never,
        }
    }

    /// A notification that is lost changes nothing for clients.
    async fn notify(&self, message: &str) {
        if let Some(socket) = &self.socket {
            socket.send(message).await;
        }
    }
}

/// Returns true if a variable of the service manager is the id of this process, false if it is that
/// of another one, and `None` without the variable.
fn names_this_process(env: &Env, name: &str) -> Result<Option<bool>, Error> {
    let id = number(env, name, "the id of a process", 1..u64::from(u32::MAX))?;
    Ok(id.map(|id| id == u64::from(std::process::id())))
}

/// Returns the number in a variable of the service manager, and `None` without the variable.
fn number(env: &Env, name: &str, content: &str, valid: Range<u64>) -> Result<Option<u64>, Error> {
    let Some(text) = env.var(name) else { return Ok(None) };
    let number = text.parse().ok().filter(|number| valid.contains(number));
    number.map(Some).ok_or_else(|| {
        failure::request("invalid_usage", format!("{name}={text} is not {content}"))
            .with_advice("unset it, or set it as systemd does")
    })
}

/// The sockets that the service manager has opened for this process.
#[derive(Debug, Default)]
pub(crate) struct PassedSockets {
    pub(crate) main: Option<Listener>,
    pub(crate) status: Option<Listener>,
}

#[cfg(target_os = "linux")]
pub(crate) use linux::take_sockets;
#[cfg(target_os = "linux")]
use linux::{NotifySocket, monotonic_micros};

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::time::Duration;

    use listenfd::ListenFd;
    use rustix::time::{ClockId, clock_gettime};
    use symbolon::{Env, Error, SharedClock};
    use symbolon_agent::Listener;

    use super::{PassedSockets, names_this_process, number};
    use crate::failure;

    /// Attempts to send a notification while the service manager reads none, and the time between
    /// them.
    const SEND_ATTEMPTS: usize = 20;
    const SEND_INTERVAL: Duration = Duration::from_millis(50);
    /// The name of the socket for operators (`FileDescriptorName=`).
    const STATUS_SOCKET: &str = "status";
    /// The name of a socket with a connection (`Accept=yes`).
    const CONNECTION: &str = "connection";

    /// A socket, and the address of the service manager.
    #[derive(Debug)]
    pub(super) struct NotifySocket(UnixDatagram, SocketAddr);

    impl NotifySocket {
        /// Creates a socket for a path, or for an abstract name that begins with `@`.
        pub(super) fn new(name: &str) -> Result<Self, Error> {
            let connect = || {
                let address = match name.strip_prefix('@') {
                    Some(name) => SocketAddr::from_abstract_name(name)?,
                    None => SocketAddr::from_pathname(name)?,
                };
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                Ok(Self(socket, address))
            };
            connect().map_err(|error: io::Error| {
                failure::local(format!("NOTIFY_SOCKET={name} cannot be used"), error)
                    .with_advice("set it to a path or an abstract name, as systemd does")
            })
        }

        /// Sends a notification. Requests are served while the service manager reads none.
        pub(super) async fn send(&self, message: &str) {
            for _ in 0..SEND_ATTEMPTS {
                match self.0.send_to_addr(message.as_bytes(), &self.1) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        SharedClock::system().sleep(SEND_INTERVAL).await;
                    }
                    _ => return,
                }
            }
        }
    }

    pub(super) fn monotonic_micros() -> i64 {
        let now = clock_gettime(ClockId::Monotonic);
        now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
    }

    /// Takes the sockets that were passed to this process. `server` is its name in errors.
    pub(crate) fn take_sockets(server: &str, env: &Env) -> Result<PassedSockets, Error> {
        let mut sockets = PassedSockets::default();
        if names_this_process(env, "LISTEN_PID")? != Some(true) {
            return Ok(sockets);
        }
        let content = "a number of sockets that can be used, which is 1, or 2 with one for the status";
        let Some(count) = number(env, "LISTEN_FDS", content, 1..3)? else { return Ok(sockets) };
        // `ListenFd` reads this variable too, and ignores a text.
        number(env, "LISTEN_FDS_FIRST_FD", "the number of a descriptor", 3..1 << 20)?;
        let names = env.var("LISTEN_FDNAMES");
        let named = names.iter().flat_map(|names| names.split(':')).count();
        if names.is_some() && u64::try_from(named) != Ok(count) {
            let message = format!("LISTEN_FDNAMES has {named} names, and LISTEN_FDS={count}");
            return Err(failure::request("invalid_usage", message)
                .with_advice("set a name for each socket, as systemd does"));
        }
        let names = names.unwrap_or_default();
        let mut names = names.split(':');
        let mut passed = ListenFd::from_env();
        for index in 0..passed.len() {
            let name = names.next().unwrap_or_default();
            let is_status = name == STATUS_SOCKET;
            let listener = listener(server, &mut passed, index, is_status)?;
            let place = if is_status { &mut sockets.status } else { &mut sockets.main };
            if name == CONNECTION || place.replace(listener).is_some() {
                let message = format!("systemd passed socket {index} ({name}), for which there is no use");
                return Err(failure::request("invalid_usage", message).with_advice(
                    "pass one socket without Accept=yes, and another with FileDescriptorName=status if you need it",
                ));
            }
        }
        Ok(sockets)
    }

    fn listener(
        server: &str,
        passed: &mut ListenFd,
        index: usize,
        is_status: bool,
    ) -> Result<Listener, Error> {
        let unusable = |error| {
            failure::local(format!("socket {index} that systemd passed cannot be used"), error)
                .with_advice("use ListenStream= with an address or a path")
        };
        if let Ok(Some(socket)) = passed.take_unix_listener(index) {
            return Listener::from_unix(server, socket);
        }
        match passed.take_tcp_listener(index).map_err(unusable)? {
            Some(socket) if is_status => Listener::from_tcp_for_all(server, socket),
            Some(socket) => Listener::from_tcp(server, socket),
            None => Err(unusable(io::ErrorKind::NotFound.into())),
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::take_sockets;
#[cfg(not(target_os = "linux"))]
use elsewhere::{NotifySocket, monotonic_micros};

/// Systems without systemd.
#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use symbolon::{Env, Error};

    use super::PassedSockets;

    #[derive(Debug)]
    pub(super) struct NotifySocket;

    impl NotifySocket {
        pub(super) fn new(_name: &str) -> Result<Self, Error> {
            Ok(Self)
        }

        pub(super) async fn send(&self, _message: &str) {}
    }

    pub(super) fn monotonic_micros() -> i64 {
        0
    }

    pub(crate) fn take_sockets(_server: &str, _env: &Env) -> Result<PassedSockets, Error> {
        Ok(PassedSockets::default())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    // A service manager that is busy stops no request.
    #[tokio::test]
    async fn full_queue_of_the_manager_blocks_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let queue = UnixDatagram::bind(&path).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.set_nonblocking(true).unwrap();
        while sender.send_to(b"full", &path).is_ok() {}
        let manager = ServiceManager {
            socket: Some(NotifySocket::new(path.to_str().unwrap()).unwrap()),
            watchdog: None,
        };
        tokio::select! {
            biased;
            () = manager.ready("ready") => panic!("the event loop was blocked"),
            () = tokio::task::yield_now() => {}
        }
        // The notification is sent when the queue has room.
        let mut message = [0; 64];
        while queue.recv(&mut message).is_ok_and(|length| &message[..length] == b"full") {
            queue.set_nonblocking(true).unwrap();
        }
        manager.ready("ready").await;
        let length = queue.recv(&mut message).unwrap();
        assert_eq!(&message[..length], b"READY=1\nSTATUS=ready");
    }
}
