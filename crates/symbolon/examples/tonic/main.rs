//! A gRPC call with tonic that presents the certificate of the identity.
//!
//! The example runs against the emulator and a gRPC server of its own. On Azure, remove the lines
//! with their names and the context.

#![expect(clippy::print_stdout, reason = "an example prints its result")]

mod codec;
mod server;

use bytes::Bytes;
use http::uri::PathAndQuery;
use hyper_rustls::HttpsConnectorBuilder;
use symbolon::ManagedIdentity;
use symbolon_emulator::Emulator;
use symbolon_rustls::ClientConfigs;
use tonic::transport::Endpoint;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let emulator = Emulator::start().await?;
    let server = server::GrpcServer::start(emulator.ca_der().to_vec()).await?;

    let identity = ManagedIdentity::builder().context(emulator.context()).build()?;
    let configs = ClientConfigs::builder().root_certificates_pem(server.root_pem.as_bytes()).build()?;
    let rotating = configs.rotating(identity.watch_binding()).await?;

    let token = identity.token("https://vault.example").proof_of_possession().await?;
    // After `rotating.changed()`, make another channel: it presents the new certificate.
    let config = rotating.current().ok_or("the certificate was refused")?;
    let connector = HttpsConnectorBuilder::new().with_tls_config((*config).clone()).https_only();
    let endpoint = Endpoint::from_shared(server.url)?;
    let channel = endpoint.connect_with_connector(connector.enable_http2().build()).await?;

    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await?;
    let mut request = tonic::Request::new(Bytes::new());
    let authorization = format!("{} {}", token.token_type(), token.secret().expose());
    request.metadata_mut().insert("authorization", authorization.parse()?);
    // With generated code: `ExampleClient::new(channel).who_am_i(request)`.
    let method = PathAndQuery::from_static("/symbolon.Example/WhoAmI");
    let response = client.unary(request, method, codec::BytesCodec).await?;

    let thumbprint = token.bound_to().map(|identity| identity.thumbprint().to_string());
    println!("the server saw certificate {}", String::from_utf8_lossy(response.get_ref()));
    assert_eq!(thumbprint.as_deref().map(str::as_bytes), Some(response.get_ref().as_ref()));
    Ok(())
}
