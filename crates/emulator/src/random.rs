//! Random octets and GUIDs.

use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};

/// Returns random octets, or zeros if the operating system provides none. They name objects and are
/// not used as secrets.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        bytes.fill(0);
    }
    bytes
}

/// Returns a random GUID (RFC 9562 §5.4) in lower case with hyphens, as Azure formats ids.
pub(crate) fn guid() -> String {
    format_guid(bytes(), 4)
}

/// Returns a GUID derived from a name (RFC 9562 §5.8).
pub(crate) fn guid_of(name: &str) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest(&SHA256, name.as_bytes()).as_ref()[..16]);
    format_guid(bytes, 8)
}

fn format_guid(mut bytes: [u8; 16], version: u8) -> String {
    bytes[6] = bytes[6] & 0x0f | version << 4;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut guid = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            guid.push('-');
        }
        // Writing to a String cannot fail.
        let _infallible = write!(guid, "{byte:02x}");
    }
    guid
}

#[cfg(test)]
mod tests {
    #[test]
    fn random_guid_has_version_4() {
        let guid = super::guid();
        assert_eq!(guid.len(), 36);
        assert_eq!(guid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_eq!(&guid[14..15], "4");
        assert!(matches!(&guid[19..20], "8" | "9" | "a" | "b"), "{guid}");
        assert_ne!(guid, super::guid());
    }

    #[test]
    fn derived_guid_depends_on_the_name_only() {
        let guid = super::guid_of("adele");
        assert_eq!((guid.len(), &guid[14..15], guid.as_str()), (36, "8", super::guid_of("adele").as_str()));
        assert_ne!(guid, super::guid_of("adela"));
    }
}
