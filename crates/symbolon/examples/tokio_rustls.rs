//! A bound call with tokio-rustls: the TLS configuration follows the certificate of the identity.
//!
//! The example runs against the emulator. On Azure, remove the lines with its name and the
//! contexts.

#![expect(clippy::print_stdout, reason = "an example prints its result")]

use symbolon::ManagedIdentity;
use symbolon_emulator::Emulator;
use symbolon_rustls::ClientConfigs;
use symbolon_rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let emulator = Emulator::start().await?;
    let address = emulator.resource_url().trim_start_matches("https://").trim_end_matches('/').to_owned();

    let identity = ManagedIdentity::builder().context(emulator.context()).build()?;
    let configs = ClientConfigs::builder().context(emulator.context()).build()?;
    let rotating = configs.rotating(identity.watch_binding()).await?;

    let token = identity.token("https://vault.example").proof_of_possession().await?;
    let config = rotating.current().ok_or("the certificate was refused")?;
    let (host, _port) = address.rsplit_once(':').ok_or("no port")?;
    let server = ServerName::try_from(host.to_owned())?;
    let mut stream = TlsConnector::from(config).connect(server, TcpStream::connect(&address).await?).await?;

    let authorization = format!("{} {}", token.token_type(), token.secret().expose());
    let head = format!("GET / HTTP/1.1\r\nhost: {address}\r\nauthorization: {authorization}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut status = [0; "HTTP/1.1 200".len()];
    stream.read_exact(&mut status).await?;
    println!("{} token, response {}", token.token_type(), String::from_utf8_lossy(&status));
    assert!(status.ends_with(b"200"));
    Ok(())
}
