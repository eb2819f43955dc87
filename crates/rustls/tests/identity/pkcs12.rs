//! PKCS#12 files.

use symbolon_rustls::{client_identity_from_pem, client_identity_from_pkcs12};
use symbolon_types::Secret;

use crate::openssl::{KINDS, OpenSsl};
use crate::refusal;

const EXPORT: &str = "pkcs12 -export -inkey client.key -in client.pem -certfile authorities.pem";

/// The encryption of a file.
const WAYS: [&str; 10] = [
    "",
    "-legacy",
    "-legacy -descert",
    "-certpbe aes-128-cbc -keypbe aes-192-cbc -macalg sha384",
    "-macalg sha512",
    "-certpbe NONE",
    "-certpbe NONE -keypbe NONE",
    // With -nomac alone, certificates stay unencrypted.
    "-nomac",
    "-nomac -certpbe aes-256-cbc",
    "-nomac -legacy -certpbe PBE-SHA1-RC2-40",
];

#[test]
fn every_file_encryption_loads() {
    let Some(openssl) = OpenSsl::new() else { return };
    openssl.write("authorities.pem", &openssl.authorities().concat());
    let [rsa, p256, p384] = KINDS.map(|(generate, _)| generate);
    let passphrases = ["s3cr3t", "", "s3cr3t-é🔑"];
    for (generate, passphrases) in [(rsa, &passphrases[..1]), (p256, &passphrases), (p384, &passphrases[..1])]
    {
        let client = openssl.client(generate);
        let pem = [client.certificate, openssl.authorities().concat(), client.key].concat();
        let expected = client_identity_from_pem(&pem).unwrap();
        for way in WAYS {
            for &passphrase in passphrases {
                let mut command = openssl.command(&format!("{EXPORT} -passout pass:{passphrase}"));
                let output = command.args(way.split_whitespace()).output().unwrap();
                assert!(output.status.success(), "{way}: {}", String::from_utf8_lossy(&output.stderr));
                let loaded = client_identity_from_pkcs12(&output.stdout, &Secret::new(passphrase));
                let loaded = loaded.unwrap_or_else(|error| panic!("{way} {passphrase}: {error}"));
                assert_eq!(loaded, expected, "{way}");
                assert_eq!(loaded.chain(), expected.chain(), "{way}");

                for wrong in ["S3cr3t", "s3cr3t ", "-"] {
                    let loaded = client_identity_from_pkcs12(&output.stdout, &Secret::new(wrong));
                    assert_eq!(refusal(loaded), "WrongPassphrase", "{way} {passphrase} {wrong}");
                }
            }
        }
    }
}

#[test]
fn wrong_passphrase_without_mac_is_detected() {
    let Some(openssl) = OpenSsl::new() else { return };
    openssl.write("authorities.pem", &openssl.authorities().concat());
    openssl.client(KINDS[1].0);
    for way in ["-certpbe NONE", "-certpbe aes-256-cbc", "-certpbe PBE-SHA1-RC2-40 -legacy"] {
        let file = openssl.run(&format!("{EXPORT} -passout pass:s3cr3t -iter 1 -nomac {way}"));
        // The padding of garbage is well-formed once in 256 times.
        for number in 0..2000 {
            let loaded = client_identity_from_pkcs12(&file, &Secret::new(number.to_string()));
            assert_eq!(refusal(loaded), "WrongPassphrase", "{way} {number}");
        }
    }
}

/// Azure Key Vault computes the MAC with a passphrase of no bytes, OpenSSL with two zero bytes.
/// This test recomputes the MAC of an OpenSSL file.
#[test]
fn both_empty_passphrases_are_accepted() {
    let Some(openssl) = OpenSsl::new() else { return };
    openssl.write("authorities.pem", &openssl.authorities().concat());
    let client = openssl.client(KINDS[1].0);
    let expected = client_identity_from_pem(&[client.certificate, client.key].concat()).unwrap();
    let mut file = openssl.run(&format!("{EXPORT} -passout pass: -certpbe NONE -keypbe NONE"));

    // The file ends with an OCTET STRING of 32 bytes, the MAC, one of 8 bytes, the salt, and
    // INTEGER 2048.
    let tail = file.len() - (34 + 10 + 4);
    assert_eq!((&file[tail..tail + 2], &file[tail + 34..tail + 36]), (&[4, 32][..], &[4, 8][..]));
    assert_eq!(file[tail + 44..], [2, 2, 8, 0]);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let salt = hex(&file[tail + 36..tail + 44]);
    openssl.write("authenticated-safe", authenticated_safe(&file));
    let mac = |passphrase: &str| {
        let kdf = format!("kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt hexpass:{passphrase}");
        let key =
            openssl.run(&format!("{kdf} -kdfopt hexsalt:{salt} -kdfopt iter:2048 -kdfopt id:3 PKCS12KDF"));
        let key = String::from_utf8(key).unwrap().trim().replace(':', "");
        openssl.run(&format!("mac -digest SHA256 -macopt hexkey:{key} -in authenticated-safe -binary HMAC"))
    };
    assert_eq!(file[tail + 2..tail + 34], mac("0000"));
    file[tail + 2..tail + 34].copy_from_slice(&mac(""));

    openssl.write("file", &file);
    openssl.run("pkcs12 -in file -passin pass: -noout");
    assert_eq!(client_identity_from_pkcs12(&file, &Secret::new("")).unwrap(), expected);
    assert_eq!(refusal(client_identity_from_pkcs12(&file, &Secret::new("s3cr3t"))), "WrongPassphrase");
}

/// Returns the content that the MAC covers. It is preceded by the headers of the file, of a
/// ContentInfo after the version, of `[0]` after its type, and of an OCTET STRING.
fn authenticated_safe(file: &[u8]) -> &[u8] {
    let mut at = header(file);
    at += 3; // INTEGER, 3
    at += header(&file[at..]);
    at += 2 + usize::from(file[at + 1]); // OBJECT IDENTIFIER
    at += header(&file[at..]);
    let octets = &file[at..];
    let length = octets[2..header(octets)].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    &octets[header(octets)..][..length]
}

/// Returns the length of the header and of the value.
fn header(der: &[u8]) -> usize {
    if der[1] < 0x80 { 2 } else { 2 + usize::from(der[1] & 0x7f) }
}

#[test]
fn unusable_input_is_reported() {
    let Some(openssl) = OpenSsl::new() else { return };
    openssl.write("authorities.pem", &openssl.authorities().concat());
    openssl.issue(KINDS[1].0, "other", "client", "intermediate");
    openssl.client(KINDS[1].0);
    let export = |what: &str| openssl.run(&format!("pkcs12 -export -passout pass:s3cr3t {what}"));
    let whole = openssl.run(&format!("{EXPORT} -passout pass:s3cr3t"));
    let mut tampered = whole.clone();
    // Inside the encrypted certificates.
    tampered[200] ^= 1;
    let truncated = whole[..whole.len() - 1].to_vec();
    let mut version_1 = whole.clone();
    assert_eq!(version_1[4..7], [2, 1, 3]);
    version_1[6] = 1;
    let followed = [whole.as_slice(), b"\0"].concat();

    for (what, file, expected) in [
        ("no certificate", export("-inkey client.key -nocerts"), "NoCertificate"),
        ("no key", export("-in client.pem -nokeys"), "NoPrivateKey"),
        ("two keys", twice(&export("-inkey client.key -in client.pem")), "SeveralPrivateKeys"),
        (
            "RC4",
            export("-inkey client.key -in client.pem -legacy -keypbe PBE-SHA1-RC4-128"),
            "UnsupportedEncryption",
        ),
        ("one bit", tampered, "WrongPassphrase"),
        ("truncated", truncated, "MalformedPkcs12"),
        ("version 1", version_1, "MalformedPkcs12"),
        ("followed", followed, "MalformedPkcs12"),
        ("PEM", openssl.read("client.pem"), "MalformedPkcs12"),
        ("a certificate", openssl.der(&openssl.read("client.pem")), "MalformedPkcs12"),
        ("nothing", Vec::new(), "MalformedPkcs12"),
    ] {
        let loaded = client_identity_from_pkcs12(&file, &Secret::new("s3cr3t"));
        assert_eq!(refusal(loaded), expected, "{what}");
    }
}

/// The budget is one for the whole file: its MAC and all of its safes.
#[test]
fn excessive_work_is_refused() {
    let Some(openssl) = OpenSsl::new() else { return };
    openssl.write("authorities.pem", &openssl.authorities().concat());
    openssl.client(KINDS[1].0);
    let export = |passphrase: &str, options: &str| {
        openssl.run(&format!("{EXPORT} -passout pass:{passphrase} {options}"))
    };
    let mac = |iterations: u32| {
        let mut file = export("s3cr3t", "-certpbe NONE -keypbe NONE");
        // The file ends with the iterations, INTEGER 2048.
        let [.., 2, 2, 8, 0] = file[..] else { panic!("another MAC") };
        file.truncate(file.len() - 4);
        file.extend([2, 4]);
        file.extend(iterations.to_be_bytes());
        grow(&mut file, 2);
        file
    };
    let small = export("s3cr3t", "-nomac -certpbe aes-256-cbc -iter 2048");
    // Alone, the key costs two digests less than the budget.
    let large = export("s3cr3t", "-nomac -certpbe NONE -iter 4194303");
    for (what, file, expected) in [
        ("MAC", mac(1 << 24), "ExcessiveWork"),
        ("one safe", export("s3cr3t", "-nomac -iter 4200000"), "ExcessiveWork"),
        ("safes together", joined(&[&small, &large]), "ExcessiveWork"),
        ("eight safes", joined(&[small.as_slice(); 4]), "SeveralPrivateKeys"),
        ("ten safes", joined(&[small.as_slice(); 5]), "TooManySafes"),
    ] {
        let loaded = client_identity_from_pkcs12(&file, &Secret::new("s3cr3t"));
        assert_eq!(refusal(loaded), expected, "{what}");
    }
}

/// Adds to the lengths of a file and of its MacData, of which the last value has grown.
fn grow(file: &mut [u8], by: u8) {
    let pfx = u16::from_be_bytes([file[2], file[3]]) + u16::from(by);
    file[2..4].copy_from_slice(&pfx.to_be_bytes());
    let mac = header(file) + 3;
    let mac = mac + header(&file[mac..]) + usize::from(u16::from_be_bytes([file[mac + 2], file[mac + 3]]));
    assert_eq!(file[mac], 0x30);
    file[mac + 1] += by;
}

fn twice(file: &[u8]) -> Vec<u8> {
    joined(&[file, file])
}

/// Returns a file with the safes of all files, without a MAC.
fn joined(files: &[&[u8]]) -> Vec<u8> {
    let value = |tag: u8, content: &[u8]| {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], length.as_slice(), content].concat()
    };
    let safes = files.iter().flat_map(|file| {
        let safes = authenticated_safe(file);
        safes[header(safes)..].to_vec()
    });
    let safes = value(0x04, &value(0x30, &safes.collect::<Vec<_>>()));
    // id-data
    let kind = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
    let info = value(0x30, &[&kind, value(0xa0, &safes).as_slice()].concat());
    value(0x30, &[&[2, 1, 3], info.as_slice()].concat())
}
