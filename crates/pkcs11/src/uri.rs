//! The URI scheme `pkcs11` (RFC 7512).

use std::fmt::Write as _;
use std::path::Path;

use symbolon_types::{Error, ErrorKind, Secret};

/// Maximum size of a file with a PIN.
const MAX_PIN_SIZE: u64 = 4096;
pub(crate) type UriAttributes<'a> = Vec<(&'a str, Vec<u8>)>;

/// Splits a URI into the attributes of its path and of its query, with decoded values.
pub(crate) fn attributes(uri: &str) -> Result<(UriAttributes<'_>, UriAttributes<'_>), Error> {
    let (_, rest) = uri
        .split_once(':')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("pkcs11"))
        .ok_or_else(|| invalid("does not begin with `pkcs11:`"))?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let split = |text, separator| -> Result<UriAttributes<'_>, Error> {
        let mut found = UriAttributes::new();
        for attribute in str::split(text, separator).filter(|_| !text.is_empty()) {
            let Some((name, value)) = attribute.split_once('=') else {
                return Err(invalid("has an attribute without `=`"));
            };
            if found.iter().any(|(other, _)| *other == name) {
                return Err(invalid("has an attribute twice"));
            }
            let value = decode(value).ok_or_else(|| invalid("is not percent-encoded correctly"))?;
            found.push((name, value));
        }
        Ok(found)
    };
    Ok((split(path, ';')?, split(query, '&')?))
}

/// Decodes a percent-encoded value. Returns `None` if it has characters that must be encoded.
fn decode(value: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            if !first.is_ascii_graphic() || *first == b'#' {
                return None;
            }
            decoded.push(*first);
            continue;
        }
        let (hex, after) = rest.split_at_checked(2)?;
        // A sign is no digit.
        let hex = str::from_utf8(hex).ok().filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        decoded.push(u8::from_str_radix(hex, 16).ok()?);
        rest = after;
    }
    Some(decoded)
}

/// Returns the URI of a key.
pub(crate) fn key_uri(token: &str, serial: &str, id: &[u8], module: &Path) -> String {
    let (token, serial) = (encode(token.as_bytes()), encode(serial.as_bytes()));
    let id: String = id.iter().fold(String::new(), |mut id, byte| {
        let _written = write!(id, "%{byte:02X}");
        id
    });
    let module = encode(module.as_os_str().as_encoded_bytes());
    format!("pkcs11:token={token};serial={serial};id={id};type=private?module-path={module}")
}

/// Encodes everything but unreserved characters (RFC 3986 §2.3) and the slashes of paths.
fn encode(value: &[u8]) -> String {
    value.iter().fold(String::new(), |mut text, byte| {
        match byte {
            b'-' | b'.' | b'_' | b'~' | b'/' => text.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => text.push(char::from(*byte)),
            byte => {
                let _written = write!(text, "%{byte:02X}");
            }
        }
        text
    })
}

pub(crate) fn text(name: &str, value: &[u8]) -> Result<String, Error> {
    let text = str::from_utf8(value).ok().filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or_else(|| invalid(format_args!("has no text for the attribute `{name}`")))
}

/// Reads a PIN from the file of `pin-source`. A final line break is not part of it.
pub(crate) fn pin(source: &str) -> Result<Secret, Error> {
    let path = source.strip_prefix("file:").unwrap_or(source);
    let path = Path::new(path.strip_prefix("//").unwrap_or(path));
    if !path.is_absolute() {
        return Err(invalid("has a `pin-source` that is not an absolute path"));
    }
    let unreadable = |cause: Option<std::io::Error>| {
        let error =
            invalid(format_args!("names the file {} for the PIN, which cannot be used", path.display()));
        match cause {
            Some(cause) => error.with_source(cause),
            None => error.with_advice("write the PIN into it, as text of one line"),
        }
    };
    let size = std::fs::metadata(path).map_err(|error| unreadable(Some(error)))?.len();
    if size > MAX_PIN_SIZE {
        return Err(unreadable(None));
    }
    let content = Secret::new(std::fs::read_to_string(path).map_err(|error| unreadable(Some(error)))?);
    let pin = content.expose();
    let pin = pin.strip_suffix('\n').map_or(pin, |line| line.strip_suffix('\r').unwrap_or(line));
    if pin.is_empty() || pin.contains('\n') {
        return Err(unreadable(None));
    }
    Ok(Secret::new(pin))
}

pub(crate) fn invalid(problem: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Request, "invalid_configuration", format!("the URI of the key {problem}"))
        .with_advice("use the form pkcs11:token=LABEL;object=LABEL?module-path=/path/of/the/module.so")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pin_is_the_line_of_the_file() {
        let folder = std::env::temp_dir().join(format!("symbolon-pin-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("pin");
        for (content, expected) in [
            ("1234", Some("1234")),
            ("1234\n", Some("1234")),
            ("1234\r\n", Some("1234")),
            (" 1 2 \n", Some(" 1 2 ")),
            ("", None),
            ("\n", None),
            ("1\n2\n", None),
        ] {
            std::fs::write(&file, content).unwrap();
            for source in ["", "file:", "file://"] {
                let read = pin(&format!("{source}{}", file.display())).ok();
                assert_eq!(read.as_ref().map(Secret::expose), expected, "{content:?} {source}");
            }
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn uri_of_a_key_selects_it() {
        let module = Path::new("/usr/lib/my module.so");
        let uri = key_uri("a %;?&=é#", "00ff", &[0, 0xff, b'a'], module);
        let (path, query) = attributes(&uri).unwrap();
        assert_eq!(path[0], ("token", "a %;?&=é#".as_bytes().to_vec()));
        assert_eq!(path[2], ("id", vec![0, 0xff, b'a']));
        assert_eq!(query[0], ("module-path", b"/usr/lib/my module.so".to_vec()));
    }
}
