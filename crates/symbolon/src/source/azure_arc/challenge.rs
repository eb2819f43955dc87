//! The challenge of the Azure Arc agent: the path of a file that only a process on the same machine
//! can read. (docs/protocol/sources.md#azure-arc)

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;
use symbolon_token::{Error, ErrorKind};
use symbolon_transport::Response;
use symbolon_types::Secret;

/// Maximum size of a key file.
const MAX_KEY_SIZE: usize = 4096;
const KEY_EXTENSION: &str = "key";

/// Returns the value of `Authorization` for a challenge. The file must be in the agent's directory,
/// so that a server in place of the agent cannot have any other file read and sent to it.
pub(super) fn authorization(challenge: &Response, directory: Option<&Path>) -> Result<HeaderValue, Error> {
    let path = path(challenge)?;
    let directory = directory.ok_or_else(|| {
        error(ErrorKind::Environment, "there is no Azure Arc agent for this platform")
            .with_advice("Azure Arc runs on Linux and Windows")
    })?;
    let key = read_key(&path, directory)?;
    let key = key.expose().trim_end_matches(['\r', '\n']);
    if key.is_empty() || key.chars().any(char::is_control) {
        return Err(rejected("the key file of the Azure Arc agent does not hold a key"));
    }
    let mut value = HeaderValue::try_from(format!("Basic {key}"))
        .map_err(|_| rejected("the key file of the Azure Arc agent does not hold a key"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Returns the path in `WWW-Authenticate: Basic realm=<path>`. The agent does not quote it,
/// although it is not a token (RFC 9110 §5.6.2).
fn path(challenge: &Response) -> Result<PathBuf, Error> {
    let mut is_missing = true;
    for value in challenge.headers().get_all(WWW_AUTHENTICATE) {
        is_missing = false;
        if let Some(path) = value.to_str().ok().and_then(realm) {
            return Ok(path.into());
        }
    }
    let problem = if is_missing {
        "the Azure Arc agent refused the request without a challenge"
    } else {
        "the challenge of the Azure Arc agent is not of the form `Basic realm=<path>`"
    };
    Err(error(ErrorKind::Response, problem)
        .with_advice("check that IDENTITY_ENDPOINT is the endpoint of the Azure Arc agent"))
}

fn realm(challenge: &str) -> Option<&str> {
    let (scheme, parameters) = challenge.trim().split_once(char::is_whitespace)?;
    let (name, value) = parameters.split_once('=')?;
    if !scheme.eq_ignore_ascii_case("Basic") || !name.trim().eq_ignore_ascii_case("realm") {
        return None;
    }
    let value = value.trim();
    let quoted = value.strip_prefix('"').map(|value| value.strip_suffix('"'));
    quoted.unwrap_or(Some(value)).filter(|path| !path.is_empty())
}

/// Returns the content of a key file in the agent's directory.
fn read_key(path: &Path, directory: &Path) -> Result<Secret, Error> {
    let name =
        path.file_name().filter(|_| path.extension().is_some_and(|extension| extension == KEY_EXTENSION));
    // Compared as text, because a `Path` treats `a/./b` and `a//b` as `a/b`.
    let is_direct = |name| directory.join(name).as_os_str() == path.as_os_str();
    let name = name.filter(|name| path.is_absolute() && is_direct(*name));
    let name = name.ok_or_else(|| {
        rejected("the Azure Arc agent named a file that is not one of its keys; the file was not read")
    })?;
    // Checked before opening, which would block on a pipe, and again afterwards.
    let before = fs::symlink_metadata(path).map_err(unreadable)?;
    let canonical = fs::canonicalize(path).map_err(unreadable)?;
    let directory = fs::canonicalize(directory).map_err(unreadable)?;
    if !before.is_file() || canonical != directory.join(name) {
        return Err(rejected("the Azure Arc agent named something other than a file of its own"));
    }
    let file = File::open(path).map_err(unreadable)?;
    let opened = file.metadata().map_err(unreadable)?;
    if !opened.is_file() || !is_same_file(&before, &opened) {
        return Err(rejected("the key file of the Azure Arc agent was replaced while it was read"));
    }
    // With the full capacity, so that growth leaves no copy of the key behind.
    let mut text = Vec::with_capacity(MAX_KEY_SIZE + 1);
    let read = file.take(MAX_KEY_SIZE as u64 + 1).read_to_end(&mut text);
    let text = String::from_utf8(text).map(Secret::new);
    if read.map_err(unreadable)? > MAX_KEY_SIZE {
        return Err(rejected("the key file of the Azure Arc agent is larger than 4096 bytes"));
    }
    text.map_err(|_| rejected("the key file of the Azure Arc agent does not hold a key"))
}

fn unreadable(cause: io::Error) -> Error {
    let advice = match cause.kind() {
        io::ErrorKind::PermissionDenied => "run this process as a member of the group himds",
        _ => "check that the Azure Arc agent runs, and that its files are visible to this process",
    };
    error(ErrorKind::Environment, "the key file of the Azure Arc agent could not be read")
        .with_advice(advice)
        .with_source(cause)
}

#[cfg(unix)]
fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Compares creation times, because the standard library has no file number on this platform.
#[cfg(not(unix))]
fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    one.created().ok() == other.created().ok()
}

fn rejected(problem: &'static str) -> Error {
    error(ErrorKind::Response, problem).with_advice(
        "check that the Azure Arc agent serves IDENTITY_ENDPOINT, and that nothing else writes to its directory",
    )
}

fn error(kind: ErrorKind, problem: &'static str) -> Error {
    Error::new(kind, "managed_identity_request_failed", problem)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn challenged(value: &str) -> Response {
        let headers = [(WWW_AUTHENTICATE, HeaderValue::from_str(value).unwrap())].into_iter().collect();
        Response::new(StatusCode::UNAUTHORIZED, "").with_headers(headers)
    }

    #[test]
    fn realm_is_read_with_and_without_quotes() {
        for (challenge, expected) in [
            ("Basic realm=/t/x.key", Some("/t/x.key")),
            ("Basic Realm=/t/x.key", Some("/t/x.key")),
            ("basic  REALM = \"/t/x.key\" ", Some("/t/x.key")),
            (r"Basic realm=C:\ProgramData\x.key", Some(r"C:\ProgramData\x.key")),
            ("Basic realm=\"/t/x.key", None),
            ("Basic realm=", None),
            ("Basic realm=\"\"", None),
            ("Basic charset=UTF-8", None),
            ("Bearer realm=/t/x.key", None),
            ("Digest realm=/t/x.key", None),
            ("realm=/t/x.key", None),
            ("Basic", None),
            ("", None),
        ] {
            assert_eq!(realm(challenge), expected, "{challenge}");
        }
    }

    #[test]
    fn only_key_files_of_the_agent_are_read() {
        let folder = tempfile::tempdir().unwrap();
        // The directory of temporary files can itself be a link.
        let root = folder.path().canonicalize().unwrap();
        let tokens = root.join("tokens");
        fs::create_dir(&tokens).unwrap();
        fs::create_dir(tokens.join("below")).unwrap();
        fs::create_dir(tokens.join("folder.key")).unwrap();
        for (name, text) in [
            ("good.key", "a2V5".to_owned()),
            ("newline.key", "a2V5\r\n".to_owned()),
            ("with = sign.key", "a2V5".to_owned()),
            ("largest.key", "k".repeat(4096)),
            ("larger.key", "k".repeat(4097)),
            ("two lines.key", "a2V5\na2V5".to_owned()),
            ("empty.key", "\n".to_owned()),
            ("text.txt", "a2V5".to_owned()),
            ("capitals.KEY", "a2V5".to_owned()),
            ("below/deep.key", "a2V5".to_owned()),
        ] {
            fs::write(tokens.join(name), text).unwrap();
        }
        fs::write(root.join("outside.key"), "a2V5").unwrap();
        fs::write(tokens.join("binary.key"), [0xff, 0xfe]).unwrap();
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(root.join("outside.key"), tokens.join("out.key")).unwrap();
            std::os::unix::fs::symlink(tokens.join("good.key"), tokens.join("in.key")).unwrap();
        }
        let at = |name: &str| format!("Basic realm={}/{name}", tokens.display());
        let not_one = "named a file that is not one of its keys";
        let no_key = "does not hold a key";
        let linked = if cfg!(unix) { "something other than a file of its own" } else { "could not be read" };
        for (challenge, expected) in [
            (at("good.key"), Ok("Basic a2V5")),
            (format!("Basic realm=\"{}/good.key\"", tokens.display()), Ok("Basic a2V5")),
            (at("newline.key"), Ok("Basic a2V5")),
            (at("with = sign.key"), Ok("Basic a2V5")),
            (at("larger.key"), Err("is larger than 4096 bytes")),
            (at("two lines.key"), Err(no_key)),
            (at("empty.key"), Err(no_key)),
            (at("binary.key"), Err(no_key)),
            (at("missing.key"), Err("could not be read")),
            (at("out.key"), Err(linked)),
            (at("in.key"), Err(linked)),
            (at("folder.key"), Err("something other than a file of its own")),
            (at("text.txt"), Err(not_one)),
            (at("capitals.KEY"), Err(not_one)),
            (at("below/deep.key"), Err(not_one)),
            (at("below/../good.key"), Err(not_one)),
            (at("../outside.key"), Err(not_one)),
            (at("./good.key"), Err(not_one)),
            (at("/good.key"), Err(not_one)),
            (at(".key"), Err(not_one)),
            (format!("Basic realm={}/outside.key", root.display()), Err(not_one)),
            ("Basic realm=good.key".to_owned(), Err(not_one)),
            ("Basic realm=".to_owned(), Err("is not of the form")),
            ("Bearer realm=x".to_owned(), Err("is not of the form")),
        ] {
            let value = authorization(&challenged(&challenge), Some(&tokens));
            match (value, expected) {
                (Ok(value), Ok(expected)) => {
                    assert!(value.is_sensitive());
                    assert_eq!(value, expected, "{challenge}");
                }
                (Err(error), Err(expected)) => {
                    assert_eq!(error.code(), "managed_identity_request_failed");
                    assert!(error.to_string().contains(expected), "{challenge}: {error}");
                    assert!(!error.to_string().contains("a2V5"));
                }
                (got, _) => panic!("{challenge}: {got:?}"),
            }
        }
        let largest = authorization(&challenged(&at("largest.key")), Some(&tokens)).unwrap();
        assert_eq!(largest.len(), "Basic ".len() + 4096);
        let silent = authorization(&Response::new(StatusCode::UNAUTHORIZED, ""), Some(&tokens)).unwrap_err();
        assert!(silent.to_string().contains("without a challenge"), "{silent}");
        let nowhere = authorization(&challenged(&at("good.key")), None).unwrap_err();
        assert!(nowhere.to_string().contains("for this platform"), "{nowhere}");
        assert_eq!(nowhere.kind(), ErrorKind::Environment);
    }

    #[test]
    fn advice_follows_from_the_cause() {
        for (kind, advice) in [
            (io::ErrorKind::PermissionDenied, "a member of the group himds"),
            (io::ErrorKind::NotFound, "check that the Azure Arc agent runs"),
        ] {
            let error = unreadable(kind.into());
            assert_eq!(
                (error.kind(), error.code()),
                (ErrorKind::Environment, "managed_identity_request_failed")
            );
            assert!(error.to_string().contains(advice), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn directory_of_the_agent_can_be_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real");
        let linked = folder.path().join("linked");
        fs::create_dir(&real).unwrap();
        fs::write(real.join("x.key"), "a2V5").unwrap();
        std::os::unix::fs::symlink(&real, &linked).unwrap();
        let challenge = challenged(&format!("Basic realm={}/x.key", linked.display()));
        assert_eq!(authorization(&challenge, Some(&linked)).unwrap(), "Basic a2V5");
    }
}
