//! Name resolution for requests that may be sent without TLS.

use std::io;
use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use symbolon_transport::is_local_address;
use symbolon_types::catch_panic_of;
use tokio::net::lookup_host;

/// A name has addresses outside of this machine and its private networks only.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the name has no local address")]
pub(crate) struct NoLocalAddress;

/// A resolver that returns the local addresses of a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalAddresses;

impl Resolve for LocalAddresses {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // Port 0 stands for that of the URL. Tokio panics if it cannot start a thread.
            let found = catch_panic_of("name resolution", || lookup_host((name.as_str(), 0))).await;
            let found = found.unwrap_or_else(|error| Err(io::Error::other(error)))?;
            let found: Vec<SocketAddr> = found.collect();
            Ok(Box::new(local(found)?.into_iter()) as Addrs)
        })
    }
}

fn local(mut addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, NoLocalAddress> {
    let is_resolved = !addresses.is_empty();
    addresses.retain(|address| is_local_address(address.ip()));
    if is_resolved && addresses.is_empty() { Err(NoLocalAddress) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_are_left_out() {
        let addresses = ["203.0.113.7:0", "10.0.0.4:0", "[2001:db8::1]:0", "[fd00::4]:0"];
        let addresses: [SocketAddr; 4] = addresses.map(|address| address.parse().unwrap());
        assert_eq!(local(addresses.to_vec()).unwrap(), [addresses[1], addresses[3]]);
        assert!(local(vec![addresses[0], addresses[2]]).is_err());
        assert!(local(Vec::new()).unwrap().is_empty());
    }
}
