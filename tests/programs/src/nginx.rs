//! nginx.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use crate::service::{Folder, Service};

/// The configuration; `{http}` is the rest of its block `http`.
const CONF: &str = "
daemon off;
pid nginx.pid;
error_log error.log warn;
events { worker_connections 32768; }
http {
    access_log off;
    # Below the prefix instead of the compiled-in paths, which need root.
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {http}
}
";

/// Starts nginx in a folder, with one worker. `http` is the rest of the block of that name in its
/// configuration, which listens on 127.0.0.1 at `{listen}`, the port of `listener`.
///
/// # Panics
/// If the file system is full.
pub fn start_nginx(program: &str, folder: &Folder, listener: TcpListener, http: &str) -> Service {
    let port = listener.local_addr().expect("its address").port();
    let file = folder.path().join("nginx.conf");
    let conf = CONF.replace("{http}", http).replace("{listen}", &port.to_string());
    fs::write(&file, conf).expect("a file");
    let mut nginx = Command::new(program);
    nginx.arg("-p").arg(folder.path()).arg("-c").arg(file);
    // nginx does not support port 0, and a free port may be taken before it listens. It inherits a
    // listening socket instead, as in its binary upgrade: this variable names the descriptor.
    // Besides 0 and 2 the only descriptor that a child inherits is standard output.
    nginx.env("NGINX", "1;");
    Service::start(&nginx, folder, Stdio::from(OwnedFd::from(listener)))
}
