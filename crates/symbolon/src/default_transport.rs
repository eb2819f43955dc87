//! The HTTP transport of a builder that was given none.

use symbolon_token::{Error, ErrorKind};
use symbolon_transport::SharedTransport;
use symbolon_types::Context;

#[cfg(feature = "hyper")]
pub(crate) fn default_transport(context: &Context) -> Result<SharedTransport, Error> {
    let transport = symbolon_hyper::HyperTransport::builder().context(context.clone()).build();
    let transport = transport.map_err(|error| {
        Error::new(ErrorKind::Request, "invalid_configuration", "the HTTP transport could not be built")
            .with_advice("check the environment variables for proxies and root certificates")
            .with_source(error)
    })?;
    Ok(SharedTransport::new(transport))
}

#[cfg(not(feature = "hyper"))]
pub(crate) fn default_transport(_context: &Context) -> Result<SharedTransport, Error> {
    let error = "no HTTP transport is configured";
    Err(Error::new(ErrorKind::Request, "invalid_configuration", error)
        .with_advice("pass a transport to the builder, or enable the feature `hyper`"))
}
