//! A token from any OAuth server, with each kind of client authentication.
//!
//! ```console
//! $ cargo run -p symbolon-token --example credential_modes -- jwt https://server/token ca.pem CLIENT_ID RESOURCE key.pem
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it did; a test includes this file")]

use std::{env, error::Error, fs};

use symbolon_hyper::{HyperTransport, client_identity_from_pem};
use symbolon_token::{Application, ClientAssertion, ClientCertificate, ClientSecret};
use symbolon_token::{Secret, Token, TokenClient, TokenEndpoint, WorkloadIdentity};

/// Requests a token. `file` contains the secret, the certificate with its key, or the assertion.
pub(crate) async fn token(arguments: [String; 6]) -> Result<Token, Box<dyn Error>> {
    let [mode, endpoint, ca, client_id, resource, file] = arguments;
    let transport = HyperTransport::builder().root_certificates_pem(&fs::read(ca)?).build()?;
    let application = Application::at(TokenEndpoint::parse(&endpoint)?, &client_id)?;
    let secret = || Ok::<_, Box<dyn Error>>(Secret::new(fs::read_to_string(&file)?.trim_end()));
    let identity = || Ok::<_, Box<dyn Error>>(client_identity_from_pem(&fs::read(&file)?)?);
    let client = match mode.as_str() {
        "secret" => TokenClient::builder(ClientSecret::new(application, secret()?)?, transport),
        "jwt" => TokenClient::builder(ClientCertificate::new(application, identity()?)?, transport),
        "mtls" => {
            TokenClient::builder(ClientCertificate::new(application, identity()?)?.over_mtls(), transport)
        }
        "assertion" => {
            TokenClient::builder(ClientAssertion::new(application, WorkloadIdentity::new(file)), transport)
        }
        _ => return Err("the first argument is secret, jwt, mtls or assertion".into()),
    };
    Ok(client.build().token_for_resource(&resource).await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match <[String; 6]>::try_from(env::args().skip(1).collect::<Vec<_>>()) {
        Ok(arguments) => println!("a {} token", token(arguments).await?.token_type()),
        Err(_) => println!("arguments: secret|jwt|mtls|assertion ENDPOINT CA_FILE CLIENT_ID RESOURCE FILE"),
    }
    Ok(())
}
