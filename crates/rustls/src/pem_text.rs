//! The blocks of PEM texts (RFC 7468), as people and programs write them.
//!
//! The reader of `rustls-pki-types` skips encrypted keys silently, leaves copies of the others in
//! memory, and ends at the first malformed block.

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

const DASHES: &[u8] = b"-----";
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
/// The largest text that is read from a file. All roots of a platform take less than 1 MiB.
pub(crate) const MAX_SIZE: u64 = 64 << 20;

/// A block of a PEM text.
pub(crate) struct PemBlock<'a> {
    /// Counted from 1.
    pub(crate) position: usize,
    pub(crate) label: &'a [u8],
    /// The text between the two boundaries.
    pub(crate) body: &'a [u8],
}

impl PemBlock<'_> {
    /// Returns the decoded body, or `None` if it is not base64.
    pub(crate) fn decode(&self) -> Option<Zeroizing<Vec<u8>>> {
        decode_base64(self.body)
    }
}

/// Decodes base64 with line breaks.
pub(crate) fn decode_base64(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    // Allocated in full: growing would leave copies of a key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    bytes.extend(text.iter().filter(|byte| !byte.is_ascii_whitespace()));
    let length = Base64::decode_in_place(&mut bytes).ok()?.len();
    bytes.truncate(length);
    Some(bytes)
}

/// A block whose end is missing, or is that of another label.
#[derive(Debug)]
pub(crate) struct UnfinishedBlock<'a> {
    /// Counted from 1.
    pub(crate) position: usize,
    pub(crate) label: &'a [u8],
}

/// An iterator over the blocks of a text. Line breaks have no significance, and text between blocks
/// is skipped.
pub(crate) struct PemBlocks<'a> {
    rest: &'a [u8],
    position: usize,
}

impl<'a> PemBlocks<'a> {
    pub(crate) fn of(text: &'a [u8]) -> Self {
        Self { rest: text, position: 0 }
    }
}

impl<'a> Iterator for PemBlocks<'a> {
    type Item = Result<PemBlock<'a>, UnfinishedBlock<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let (label, body) = loop {
            let (_, begin) = split_at_boundary(self.rest)?;
            match begin.strip_prefix(BEGIN).and_then(split_label) {
                Some(found) => break found,
                None => self.rest = begin.get(DASHES.len()..)?,
            }
        };
        self.position += 1;
        let position = self.position;
        // The next boundary ends the block, or it begins another one.
        let (body, boundary) = split_at_boundary(body).unwrap_or((body, &[]));
        match boundary.strip_prefix(END).and_then(split_label) {
            Some((ended, rest)) => {
                self.rest = rest;
                if ended == label {
                    return Some(Ok(PemBlock { position, label, body }));
                }
            }
            None => self.rest = boundary,
        }
        Some(Err(UnfinishedBlock { position, label }))
    }
}

/// Splits a text before its first boundary.
fn split_at_boundary(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_boundary = |rest: &[u8]| rest.starts_with(BEGIN) || rest.starts_with(END);
    let dashes = text.windows(DASHES.len()).enumerate().filter(|(_, window)| *window == DASHES);
    let start = dashes.map(|(start, _)| start).find(|start| text.get(*start..).is_some_and(is_boundary));
    text.split_at_checked(start?)
}

/// Splits a text after the label with which it begins, and after the dashes behind it.
fn split_label(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.windows(DASHES.len()).position(|window| window == DASHES || window.contains(&b'\n'))?;
    let (label, rest) = text.split_at_checked(end)?;
    Some((label, rest.strip_prefix(DASHES)?))
}

/// Returns a text in UTF-16 with a byte order mark, which some tools of Windows write, in an
/// encoding that extends ASCII; `None` for any other text.
pub(crate) fn decode_utf16(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let unit = match text {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return None,
    };
    let units = text.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    // Only ASCII has a meaning in PEM.
    decoded.extend(units.map(|unit| u8::try_from(unit).unwrap_or(b'?')));
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the label and the decoded body of each block, or the position of an unfinished one.
    fn blocks(text: &str) -> Vec<Result<(String, Option<String>), usize>> {
        let shown = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let blocks = PemBlocks::of(text.as_bytes());
        blocks
            .enumerate()
            .map(|(index, block)| match block {
                Ok(block) => {
                    assert_eq!(block.position, index + 1);
                    Ok((shown(block.label), block.decode().map(|bytes| shown(&bytes))))
                }
                Err(unfinished) => Err(unfinished.position),
            })
            .collect()
    }

    #[test]
    fn line_breaks_have_no_significance() {
        let one = || Ok(("ONE".to_owned(), Some("1".to_owned())));
        let two = || Ok(("TWO PARTS".to_owned(), Some("22".to_owned())));
        let plain = "-----BEGIN ONE-----\nMQ==\n-----END ONE-----\n-----BEGIN TWO PARTS-----\nMjI=\n-----END TWO PARTS-----\n";
        for text in [
            plain.to_owned(),
            plain.replace('\n', "\r\n"),
            plain.replace('\n', "\r"),
            plain.replace('\n', ""),
            plain.replace('\n', " "),
            plain.replace("ONE-----\n-----BEGIN", "ONE----------BEGIN"),
            plain.replace("\n-----END", "-----END"),
            plain.trim_end().to_owned(),
            format!("\u{feff}{plain}"),
            format!("text\n{plain}"),
            plain.replace("-----\n-----", "-----\ntext -----\n-----"),
        ] {
            assert_eq!(blocks(&text), [one(), two()], "{text:?}");
        }
    }

    #[test]
    fn malformed_block_hides_no_other() {
        let good = "-----BEGIN ONE-----\nMQ==\n-----END ONE-----\n";
        let one = || Ok(("ONE".to_owned(), Some("1".to_owned())));
        for (bad, expected) in [
            ("-----BEGIN ONE-----\nMQ==\n", Err(2)),
            ("-----BEGIN ONE-----\nMQ==\n-----END TWO-----\n", Err(2)),
            ("-----BEGIN ONE-----\nMQ==\n----END ONE-----\n", Err(2)),
            ("-----BEGIN ONE-----\n-----END ONE\n", Err(2)),
            ("-----BEGIN ONE-----\nM*==\n-----END ONE-----\n", Ok(("ONE".to_owned(), None))),
        ] {
            assert_eq!(blocks(&format!("{good}{bad}{good}")), [one(), expected.clone(), one()], "{bad:?}");
            assert_eq!(blocks(&format!("{good}{bad}")), [one(), expected], "{bad:?}");
        }
        for text in [
            "",
            "no PEM",
            "-----",
            "-----BEGIN ",
            "-----BEGIN ONE",
            "-----BEGIN ONE\n-----",
            "-----END ONE-----",
        ] {
            assert!(blocks(text).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn utf_16_is_decoded() {
        let text = "-----BEGIN ONE-----\r\nMQ==\r\n-----END ONE-----\u{fc}";
        let units: Vec<u16> = "\u{feff}".encode_utf16().chain(text.encode_utf16()).collect();
        for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
            let encoded: Vec<u8> = units.iter().flat_map(|unit| bytes(*unit)).collect();
            let decoded = decode_utf16(&encoded).unwrap();
            let [Ok(block)] = &PemBlocks::of(&decoded).collect::<Vec<_>>()[..] else { panic!("utf-16") };
            assert_eq!(block.label, b"ONE");
        }
        assert!(decode_utf16(b"\xef\xbb\xbftext").is_none());
    }
}
