//! Conversion of an ECDSA signature from DER, which keys return, to the fixed lengths of a JWS.

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
/// The first length that takes more than one byte (X.690 §8.1.3.4). Signatures are shorter.
const LONG_FORM: u8 = 0x80;

/// Converts an `ECDSA-Sig-Value` (RFC 3279 §2.2.3) to R and S, each in `scalar` bytes, big-endian
/// (RFC 7518 §3.4); `None` if `der` is anything else.
pub(super) fn fixed_from_der(der: &[u8], scalar: usize) -> Option<Vec<u8>> {
    let (content, rest) = element(der, SEQUENCE)?;
    let (r, after_r) = element(content, INTEGER)?;
    let (s, after_s) = element(after_r, INTEGER)?;
    if !rest.is_empty() || !after_s.is_empty() {
        return None;
    }
    let mut fixed = Vec::with_capacity(2 * scalar);
    for integer in [r, s] {
        let magnitude = magnitude(integer)?;
        fixed.resize(fixed.len() + scalar.checked_sub(magnitude.len())?, 0);
        fixed.extend_from_slice(magnitude);
    }
    Some(fixed)
}

/// Returns the content of the first element, and the bytes after it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    if found != tag || length >= LONG_FORM {
        return None;
    }
    rest.split_at_checked(length.into())
}

/// Returns the bytes of an INTEGER without its sign; `None` if it is zero, negative or not minimal
/// (X.690 §8.3).
fn magnitude(integer: &[u8]) -> Option<&[u8]> {
    match integer {
        [0, rest @ ..] => Some(rest).filter(|rest| rest.first().is_some_and(|byte| byte & 0x80 != 0)),
        [first, ..] if first & 0x80 == 0 => Some(integer),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{
        self, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    };
    use proptest::prelude::*;

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    /// Encodes a magnitude as an INTEGER (X.690 §8.3).
    fn integer(scalar: &[u8]) -> Vec<u8> {
        let start = scalar.iter().position(|byte| *byte != 0).unwrap_or(scalar.len() - 1);
        let sign: &[u8] = if scalar[start] & 0x80 == 0 { &[] } else { &[0] };
        let content = [sign, &scalar[start..]].concat();
        [&[INTEGER, content.len().try_into().unwrap()], content.as_slice()].concat()
    }

    fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
        let content = [integer(r), integer(s)].concat();
        [&[SEQUENCE, content.len().try_into().unwrap()], content.as_slice()].concat()
    }

    #[test]
    fn numbers_have_the_length_of_the_curve() {
        for (case, signature, expected) in [
            ("one byte each", "3006 0201 01 0201 02", "00000001 00000002"),
            ("the sign byte goes", "3008 0202 00ff 0202 0080", "000000ff 00000080"),
            ("full length", "300c 0204 01020304 0204 7f000000", "01020304 7f000000"),
            ("full length and a sign byte", "300e 0205 00ffffffff 0205 0080000000", "ffffffff 80000000"),
            ("one short, one long", "300a 0201 7f 0205 00deadbeef", "0000007f deadbeef"),
        ] {
            assert_eq!(fixed_from_der(&bytes(signature), 4), Some(bytes(expected)), "{case}");
        }
    }

    #[test]
    fn malformed_der_is_refused() {
        for (case, signature) in [
            ("nothing", ""),
            ("a tag alone", "30"),
            ("an empty sequence", "3000"),
            ("r alone", "3003 0201 01"),
            ("s cut off", "3006 0201 01 0202 02"),
            ("the sequence cut off", "3007 0201 01 0201 02"),
            ("a byte behind s", "3007 0201 01 0201 02 00"),
            ("a byte behind the sequence", "3006 0201 01 0201 02 00"),
            ("a third number", "3009 0201 01 0201 02 0201 03"),
            ("a set", "3106 0201 01 0201 02"),
            ("a bit string for r", "3006 0301 01 0201 02"),
            ("the length in the long form", "308106 0201 01 0201 02"),
            ("the indefinite length", "3080 0201 01 0201 02 0000"),
            ("an empty r", "3005 0200 0201 02"),
            ("r is zero", "3006 0201 00 0201 02"),
            ("s is zero", "3006 0201 01 0201 00"),
            ("r is negative", "3006 0201 80 0201 02"),
            ("r has a zero too many", "3007 0202 0001 0201 02"),
            ("r is longer than the curve", "300a 0205 0102030405 0201 02"),
            ("s is longer than the curve", "300b 0201 01 0206 00ff02030405"),
            ("the fixed form", "00000001 00000002"),
        ] {
            assert_eq!(fixed_from_der(&bytes(signature), 4), None, "{case}");
        }
    }

    /// A thousand signatures, so that some numbers have a leading zero byte.
    #[test]
    fn converted_signatures_verify() {
        for (signing, verifying, scalar) in [
            (&ECDSA_P256_SHA256_ASN1_SIGNING, &signature::ECDSA_P256_SHA256_FIXED, 32),
            (&ECDSA_P384_SHA384_ASN1_SIGNING, &signature::ECDSA_P384_SHA384_FIXED, 48),
        ] {
            let key = EcdsaKeyPair::generate(signing).unwrap();
            let public = signature::UnparsedPublicKey::new(verifying, key.public_key().as_ref());
            for count in 0_u32..1000 {
                let message = count.to_be_bytes();
                let der = key.sign(&SystemRandom::new(), &message).unwrap();
                let fixed = fixed_from_der(der.as_ref(), scalar).unwrap();
                assert_eq!(fixed.len(), 2 * scalar);
                assert!(public.verify(&message, &fixed).is_ok(), "{scalar} {count}");
            }
        }
    }

    fn scalars() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        prop_oneof![Just(32_usize), Just(48)].prop_flat_map(|length| {
            let scalar =
                (0..length, prop::collection::vec(any::<u8>(), length)).prop_map(|(zeros, mut scalar)| {
                    scalar[..zeros].fill(0);
                    scalar
                });
            let scalar = scalar.prop_filter("not zero", |scalar| scalar.iter().any(|byte| *byte != 0));
            (scalar.clone(), scalar)
        })
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(der in prop::collection::vec(any::<u8>(), 0..140), scalar in 0_usize..70) {
            if let Some(fixed) = fixed_from_der(&der, scalar) {
                prop_assert_eq!(fixed.len(), 2 * scalar);
            }
        }

        #[test]
        fn conversion_keeps_both_numbers((r, s) in scalars()) {
            prop_assert_eq!(fixed_from_der(&der(&r, &s), r.len()), Some([r, s].concat()));
        }

        #[test]
        fn signature_has_one_der_encoding((r, s) in scalars(), at in 0_usize..110, to: u8) {
            let mut der = der(&r, &s);
            let at = at % der.len();
            prop_assume!(der[at] != to);
            der[at] = to;
            prop_assert_ne!(fixed_from_der(&der, r.len()), Some([r, s].concat()));
        }
    }
}
