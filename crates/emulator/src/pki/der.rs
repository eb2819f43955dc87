//! Reading and writing DER, as far as comparing encodings requires it. No library is used, so that
//! the expected encoding does not come from the encoder of the client under test.

/// The tags of a certificate request (X.680 §8.4).
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const PRINTABLE_STRING: u8 = 0x13;
pub(crate) const IA5_STRING: u8 = 0x16;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
pub(crate) const CONTEXT_0: u8 = 0xa0;

/// A DER element: its complete encoding, its tag and its contents.
#[derive(Clone, Copy)]
pub(crate) struct DerElement<'a> {
    pub(crate) raw: &'a [u8],
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
}

/// A reader of consecutive elements.
pub(crate) struct DerReader<'a>(&'a [u8]);

impl<'a> DerReader<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the next element if it has this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Option<DerElement<'a>> {
        self.next().filter(|element| element.tag == tag)
    }

    /// Returns the next element, or `None` at the end and for lengths that DER forbids
    /// (X.690 §10.1).
    pub(crate) fn next(&mut self) -> Option<DerElement<'a>> {
        let input = self.0;
        let (&tag, after_tag) = input.split_first()?;
        let (&first, after_length) = after_tag.split_first()?;
        let (length, after_length) = match first {
            0..=0x7f => (usize::from(first), after_length),
            0x81..=0x83 => {
                let (octets, rest) = after_length.split_at_checked(usize::from(first & 0x7f))?;
                let length = octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
                let shortest = length > 0x7f && octets[0] != 0;
                (shortest.then_some(length)?, rest)
            }
            _ => return None,
        };
        let (content, rest) = after_length.split_at_checked(length)?;
        self.0 = rest;
        Some(DerElement { raw: &input[..input.len() - rest.len()], tag, content })
    }
}

/// Encodes an element with the concatenation of these parts.
pub(crate) fn encode(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let octets = length.to_be_bytes();
    let significant = &octets[octets.iter().take_while(|octet| **octet == 0).count()..];
    let mut encoded = vec![tag];
    match length {
        0 => encoded.push(0),
        1..=0x7f => encoded.extend(significant),
        _ => {
            encoded.push(0x80 | significant.len() as u8);
            encoded.extend(significant);
        }
    }
    for part in parts {
        encoded.extend_from_slice(part);
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_element_is_read_back() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let content = vec![7; length];
            let encoded = encode(SEQUENCE, &[&content]);
            let mut reader = DerReader::new(&encoded);
            let read = reader.next().unwrap();
            assert!(read.raw == encoded && read.tag == SEQUENCE && read.content == content, "{length}");
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn invalid_der_length_is_refused() {
        for encoding in
            [&[0x30][..], &[0x30, 1], &[0x30, 0x80, 0, 0], &[0x30, 0x81, 1, 0], &[0x30, 0x82, 0, 1, 0]]
        {
            assert!(DerReader::new(encoding).next().is_none(), "{encoding:?}");
        }
    }
}
