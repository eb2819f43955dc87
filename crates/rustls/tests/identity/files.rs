//! Files of any format.

use symbolon_rustls::{ClientIdentityLoader, client_identity_from_pem};
use symbolon_types::Secret;

use crate::openssl::{KINDS, OpenSsl};
use crate::refusal;

fn loader() -> ClientIdentityLoader {
    ClientIdentityLoader::new().passphrase(Secret::new("s3cr3t"))
}

#[test]
fn every_format_loads() {
    let Some(openssl) = OpenSsl::new() else { return };
    let [rsa, p256, _] = KINDS.map(|(generate, _)| generate);
    for generate in [rsa, p256] {
        let client = openssl.client(generate);
        let pem = [client.certificate.clone(), client.key].concat();
        let expected = client_identity_from_pem(&pem).unwrap();
        let certificate = openssl.der(&client.certificate);
        let der = |command: &str| openssl.run(command);
        let pfx = der("pkcs12 -export -inkey client.key -in client.pem -passout pass:s3cr3t");
        openssl.write("client.pfx", &pfx);
        let plain_pfx =
            "pkcs12 -export -inkey client.key -in client.pem -passout pass: -certpbe NONE -keypbe NONE";
        openssl.write("plain.pfx", &der(plain_pfx));
        let pkcs8 = der("pkcs8 -topk8 -nocrypt -in client.key -outform DER");
        let encrypted = der("pkcs8 -topk8 -in client.key -outform DER -passout pass:s3cr3t");
        let traditional = der("pkey -in client.key -traditional -outform DER");
        for (case, file) in [
            ("PEM", pem.clone()),
            ("PEM with a mark", ["\u{feff}".as_bytes(), &pem].concat()),
            ("PKCS#12", pfx),
            ("PKCS#12 in base64", der("base64 -in client.pfx")),
            ("PKCS#12 in base64 on one line", der("base64 -A -in client.pfx")),
            ("PKCS#8", [&certificate[..], &pkcs8].concat()),
            ("the key first", [&pkcs8[..], &certificate].concat()),
            ("encrypted PKCS#8", [&certificate[..], &encrypted].concat()),
            ("PKCS#1 or SEC1", [&certificate[..], &traditional].concat()),
        ] {
            let loaded = loader().load(&file).unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(loaded, expected, "{case}");
        }
        let without_passphrase = ClientIdentityLoader::new();
        assert_eq!(without_passphrase.load(&openssl.read("plain.pfx")).unwrap(), expected);
        assert_eq!(refusal(without_passphrase.load(&openssl.read("client.pfx"))), "WrongPassphrase");
        let encrypted = [&certificate[..], &encrypted].concat();
        assert_eq!(refusal(without_passphrase.load(&encrypted)), "PassphraseRequired");
        assert_eq!(refusal(loader().load(&certificate)), "NoPrivateKey");
        assert_eq!(refusal(loader().load(&pkcs8)), "NoCertificate");
        assert_eq!(
            refusal(loader().load(&[&certificate[..], &pkcs8, &pkcs8].concat())),
            "SeveralPrivateKeys"
        );
        assert_eq!(refusal(loader().load(&[&certificate[..], &pkcs8[1..]].concat())), "UnknownFormat");
    }
}

#[test]
fn other_files_are_refused() {
    for (file, expected) in [
        (&b""[..], "NoCertificate"),
        (b"not a certificate", "UnknownFormat"),
        (b"MIIC", "UnknownFormat"),
        (b"0", "UnknownFormat"),
        (b"\x30\x00", "UnknownFormat"),
        (b"\x30\x80\x02\x01\x03", "UnknownFormat"),
        (b"\x30\x03\x02\x01\x03", "MalformedPkcs12"),
        (b"\x30\x84\xff\xff\xff\xff", "UnknownFormat"),
        (b"\xff\xfe-\0-\0", "UnknownFormat"),
    ] {
        assert_eq!(refusal(loader().load(file)), expected, "{file:x?}");
    }
}

#[test]
fn explicit_curve_is_named() {
    let Some(openssl) = OpenSsl::new() else { return };
    let client = openssl.client(KINDS[1].0);
    for command in
        ["pkcs8 -topk8 -nocrypt -in explicit.key", "ec -in explicit.key", "ec -in explicit.key -outform DER"]
    {
        let explicit = openssl.run("ec -in client.key -param_enc explicit");
        openssl.write("explicit.key", &explicit);
        let key = openssl.run(command);
        let certificate = match key.first() {
            Some(b'-') => client.certificate.clone(),
            _ => openssl.der(&client.certificate),
        };
        assert_eq!(refusal(loader().load(&[certificate, key].concat())), "ExplicitCurve", "{command}");
    }
}
