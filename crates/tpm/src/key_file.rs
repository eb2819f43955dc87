//! Key files for other programs (ASN.1 Specification for TPM 2.0 Key Files, section 3.1).

use pem_rfc7468::LineEnding;

use crate::commands::{OWNER, WrappedKey};

/// `id-loadablekey`, 2.23.133.10.1.3, with its tag and length.
const LOADABLE_KEY: [u8; 8] = [0x06, 6, 0x67, 0x81, 5, 10, 1, 3];
/// `emptyAuth [0] EXPLICIT BOOLEAN`, true: the key has no authorization value.
const EMPTY_AUTH: [u8; 5] = [0xa0, 3, 0x01, 1, 0xff];
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// Encodes a key and the handle of its parent. `None`: the storage key of the owner, which the
/// reader derives from the same template. Returns `None` if a length overflows.
pub(crate) fn encode(key: &WrappedKey, parent: Option<u32>) -> Option<String> {
    let (public, private) = key.sized_parts();
    let fields = [
        LOADABLE_KEY.to_vec(),
        EMPTY_AUTH.to_vec(),
        value(INTEGER, &integer(parent.unwrap_or(OWNER)))?,
        value(OCTET_STRING, &public)?,
        value(OCTET_STRING, &private)?,
    ];
    let der = value(SEQUENCE, &fields.concat())?;
    pem_rfc7468::encode_string("TSS2 PRIVATE KEY", LineEnding::LF, &der).ok()
}

/// Returns the content of a positive integer. A first bit that is set would make it negative.
fn integer(number: u32) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(number.to_be_bytes());
    let needed = |pair: &[u8]| pair[0] != 0 || pair[1] & 0x80 != 0;
    let start = bytes.windows(2).position(needed).unwrap_or(bytes.len() - 1);
    bytes.split_off(start)
}

fn value(tag: u8, content: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(content.len()).ok()?.to_be_bytes();
    let head = match length {
        [0, short] if short < 0x80 => vec![tag, short],
        [0, short] => vec![tag, 0x81, short],
        [high, low] => vec![tag, 0x82, high, low],
    };
    Some([&head, content].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lengths_are_shortest() {
        assert_eq!(integer(0), [0]);
        assert_eq!(integer(0x7f), [0x7f]);
        assert_eq!(integer(0x80), [0, 0x80]);
        assert_eq!(integer(OWNER), [0x40, 0, 0, 1]);
        assert_eq!(integer(0x8100_0001), [0, 0x81, 0, 0, 1]);
        for (length, head) in [
            (0x7f, &[4, 0x7f][..]),
            (0x80, &[4, 0x81, 0x80]),
            (0xff, &[4, 0x81, 0xff]),
            (0x100, &[4, 0x82, 1, 0]),
        ] {
            let encoded = value(OCTET_STRING, &vec![7; length]).unwrap();
            assert_eq!((&encoded[..head.len()], encoded.len()), (head, head.len() + length));
        }
        assert_eq!(value(OCTET_STRING, &vec![7; 0x1_0000]), None);
    }
}
