//! nginx.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use crate::service::{Folder, Service};

/// Starts nginx in a folder with this configuration, which listens on 127.0.0.1 at `{listen}`, and
/// returns its port. It inherits a listening socket, as in its binary upgrade, so that no other
/// program can take the port.
///
/// # Panics
/// If the file system is full.
pub fn start_nginx(program: &str, folder: &Folder, conf: &str) -> (Service, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    let file = folder.path().join("nginx.conf");
    fs::write(&file, conf.replace("{listen}", &port.to_string())).expect("a file");
    let mut nginx = Command::new(program);
    nginx.arg("-p").arg(folder.path()).arg("-c").arg(file).env("NGINX", "1;");
    (Service::start(&nginx, folder, Stdio::from(OwnedFd::from(listener))), port)
}
