//! The addresses that servers may listen at, and their URLs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::error::Error;

/// The address of the metadata service on every virtual machine of Azure. It is link-local: routers
/// do not forward packets to it (RFC 3927 §7).
const AZURE: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));
/// The default address of the metadata service (docs/protocol/imdsv2.md#base-address).
pub(crate) const METADATA_SERVICE: SocketAddr = SocketAddr::new(AZURE, 80);
/// The address of the token service for clients that resolve its name to it.
pub(crate) const TOKEN_SERVICE: SocketAddr = SocketAddr::new(AZURE, 443);
/// The address of the resource, with a port that the system chooses.
pub(crate) const RESOURCE: SocketAddr = SocketAddr::new(AZURE, 0);

/// A server of the emulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Server {
    /// The metadata service.
    Imds,
    /// The token service.
    Token,
    /// The resource.
    Resource,
    /// The identity endpoints of App Service, Azure Machine Learning, Cloud Shell and Azure Arc.
    Hosts,
    /// The identity endpoint of Service Fabric.
    ServiceFabric,
}

/// The names of the token service: the mTLS name with the region of the compute metadata, which is
/// the one in its URL, the mTLS name without a region, and the name without mTLS
/// (docs/protocol/routing.md#mtls-hosts).
pub(crate) const TOKEN_SERVICE_NAMES: &[&str] =
    &["emulated.mtlsauth.microsoft.com", "mtlsauth.microsoft.com", "login.microsoftonline.com"];
/// The names in every server certificate.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

impl Server {
    pub(crate) const ALL: [Self; 5] =
        [Self::Imds, Self::Token, Self::Resource, Self::Hosts, Self::ServiceFabric];

    /// Returns the name in fault files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Imds => "imds",
            Self::Token => "token",
            Self::Resource => "resource",
            Self::Hosts => "hosts",
            Self::ServiceFabric => "service-fabric",
        }
    }

    /// Refuses an address that other machines can reach. Three servers may also listen at Azure's.
    pub(crate) fn check(self, address: SocketAddr) -> Result<(), Error> {
        let has_azure_address = matches!(self, Self::Imds | Self::Token | Self::Resource);
        if has_azure_address && address.ip() == AZURE { Ok(()) } else { check_loopback(address) }
    }

    /// Returns the base URL of this server at an address.
    pub(crate) fn url(self, address: SocketAddr) -> String {
        url(if matches!(self, Self::Imds | Self::Hosts) { "http" } else { "https" }, address)
    }
}

/// Refuses an address outside of loopback.
pub(crate) fn check_loopback(address: SocketAddr) -> Result<(), Error> {
    if address.ip().is_loopback() { Ok(()) } else { Err(Error::NotLoopback(address)) }
}

fn url(scheme: &str, address: SocketAddr) -> String {
    match address {
        METADATA_SERVICE => format!("{scheme}://{}", address.ip()),
        TOKEN_SERVICE => format!("{scheme}://{}", TOKEN_SERVICE_NAMES[0]),
        _ => format!("{scheme}://{address}"),
    }
}

/// Returns true if clients use this URL of the metadata service by default.
pub(crate) fn is_default(metadata_service: &str) -> bool {
    metadata_service == url("http", METADATA_SERVICE)
}

/// Returns the names in the server certificate if the token service listens at this address.
pub(crate) fn certificate_names(token_service: SocketAddr) -> Vec<String> {
    let mut names = NAMES.map(str::to_owned).to_vec();
    if token_service == TOKEN_SERVICE {
        names.extend(TOKEN_SERVICE_NAMES.iter().map(ToString::to_string));
        // The resource has no name.
        names.push(AZURE.to_string());
    }
    names
}
