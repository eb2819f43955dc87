//! The transport where none was passed in.

use symbolon_token::{Error, ErrorKind};
use symbolon_transport::SharedTransport;
use symbolon_types::Context;

#[cfg(feature = "hyper")]
pub(crate) fn default_transport(context: &Context) -> Result<SharedTransport, Error> {
    let built = symbolon_hyper::HyperTransport::builder().context(context.clone()).build();
    let transport = built.map_err(|error| {
        Error::new(ErrorKind::Request, "invalid_configuration", "the HTTP transport could not be set up")
            .with_advice("check the variables that configure proxies and trust")
            .with_source(error)
    })?;
    Ok(SharedTransport::new(transport))
}

#[cfg(not(feature = "hyper"))]
pub(crate) fn default_transport(_context: &Context) -> Result<SharedTransport, Error> {
    let error = "there is no HTTP transport";
    Err(Error::new(ErrorKind::Request, "invalid_configuration", error)
        .with_advice("pass one to the builder, or enable the feature `hyper`"))
}
