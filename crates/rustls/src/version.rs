//! Versions of TLS.

use std::ops::RangeInclusive;

use rustls::SupportedProtocolVersion;

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

impl TlsVersion {
    /// Returns the versions of a range, newest first.
    pub(crate) fn supported(range: &RangeInclusive<Self>) -> Vec<&'static SupportedProtocolVersion> {
        let newest_first = [(Self::V1_3, &rustls::version::TLS13), (Self::V1_2, &rustls::version::TLS12)];
        let in_range = newest_first.into_iter().filter(|(version, _)| range.contains(version));
        in_range.map(|(_, version)| version).collect()
    }
}
