//! Where a server may listen, and the URL by which clients know it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::error::Error;

/// The address of the metadata service on every virtual machine of Azure. It is link-local: no router forwards
/// what is sent to it (RFC 3927 §7).
const OF_AZURE: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));
/// Where clients look for the metadata service when no variable says otherwise.
pub(crate) const METADATA_SERVICE: SocketAddr = SocketAddr::new(OF_AZURE, 80);
/// Where the token service is for a client that finds its name there.
pub(crate) const TOKEN_SERVICE: SocketAddr = SocketAddr::new(OF_AZURE, 443);
/// For a resource: the port is the system's choice.
pub(crate) const RESOURCE: SocketAddr = SocketAddr::new(OF_AZURE, 0);

/// The names by which clients look for the token service: that of the region that compute metadata tells, which is
/// the one it names itself, those without a region, over mTLS and not.
pub(crate) const TOKEN_SERVICE_NAMES: &[&str] =
    &["emulated.mtlsauth.microsoft.com", "mtlsauth.microsoft.com", "login.microsoftonline.com"];
/// What the servers' certificate is for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Whether a server that clients know by its address on this machine may listen there.
pub(crate) fn check_loopback(address: SocketAddr) -> Result<(), Error> {
    if address.ip().is_loopback() { Ok(()) } else { Err(Error::NotLoopback(address)) }
}

/// Whether a server may listen there that a virtual machine has at the address of Azure.
pub(crate) fn check(address: SocketAddr) -> Result<(), Error> {
    if address.ip() == OF_AZURE { Ok(()) } else { check_loopback(address) }
}

/// The base URL of a server that listens there.
pub(crate) fn url(scheme: &str, address: SocketAddr) -> String {
    match address {
        METADATA_SERVICE => format!("{scheme}://{}", address.ip()),
        TOKEN_SERVICE => format!("{scheme}://{}", TOKEN_SERVICE_NAMES[0]),
        _ => format!("{scheme}://{address}"),
    }
}

/// Whether clients look for the metadata service there without being told.
pub(crate) fn is_default(metadata_service: &str) -> bool {
    metadata_service == url("http", METADATA_SERVICE)
}

/// What the servers' certificate is for when the token service listens there.
pub(crate) fn names(token_service: SocketAddr) -> Vec<String> {
    let mut names = NAMES.map(str::to_owned).to_vec();
    if token_service == TOKEN_SERVICE {
        names.extend(TOKEN_SERVICE_NAMES.iter().map(ToString::to_string));
        // That of the resource.
        names.push(OF_AZURE.to_string());
    }
    names
}
