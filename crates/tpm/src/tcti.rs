//! Transmission of commands to a TPM.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use symbolon_types::{Error, ErrorKind, Strength};

/// Length of the header of a response: tag, length and code (TPM 2.0 Library, part 1, §18).
const HEADER: usize = 10;
/// Maximum length of a response: the buffer size of the PC Client profile.
const MAX_RESPONSE: usize = 4096;
/// Timeout of a response. A TPM may search for primes for a minute.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(120);
/// Default port of swtpm.
const SWTPM_PORT: u16 = 2321;

/// Address of a TPM, in the notation of the TCG's tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tcti {
    Device(PathBuf),
    Tcp(String, u16),
    Unix(PathBuf),
}

impl Tcti {
    pub(crate) fn connect(&self) -> io::Result<TpmConnection> {
        Ok(match self {
            Self::Device(path) => {
                TpmConnection::Device(OpenOptions::new().read(true).write(true).open(path)?)
            }
            Self::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port))?;
                stream.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
                stream.set_nodelay(true)?;
                TpmConnection::Tcp(stream)
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
                TpmConnection::Unix(stream)
            }
        })
    }

    /// Returns the strength of keys: a device belongs to the machine or its hypervisor, while swtpm
    /// is an ordinary process.
    pub(crate) fn strength(&self) -> Strength {
        match self {
            Self::Device(_) => Strength::Hardware,
            Self::Tcp(..) | Self::Unix(_) => Strength::Software,
        }
    }
}

impl fmt::Display for Tcti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(path) => write!(f, "device:{}", path.display()),
            Self::Tcp(host, port) => write!(f, "swtpm:host={host},port={port}"),
            Self::Unix(path) => write!(f, "swtpm:path={}", path.display()),
        }
    }
}

impl FromStr for Tcti {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, configuration) = text.split_once(':').unwrap_or((text, ""));
        match name {
            "device" if configuration.is_empty() => Ok(Self::Device("/dev/tpmrm0".into())),
            "device" => Ok(Self::Device(configuration.into())),
            "swtpm" => swtpm(configuration).ok_or_else(|| invalid(text)),
            _ => Err(invalid(text)),
        }
    }
}

fn swtpm(configuration: &str) -> Option<Tcti> {
    let (mut host, mut port, mut path) = ("localhost", SWTPM_PORT, None);
    for setting in configuration.split(',').filter(|setting| !setting.is_empty()) {
        match setting.split_once('=')? {
            ("host", value) if !value.is_empty() => host = value,
            ("port", value) => port = value.parse().ok()?,
            ("path", value) if !value.is_empty() => path = Some(PathBuf::from(value)),
            _ => return None,
        }
    }
    Some(path.map_or_else(|| Tcti::Tcp(host.to_owned(), port), Tcti::Unix))
}

fn invalid(text: &str) -> Error {
    Error::new(ErrorKind::Request, "invalid_configuration", format!("`{text}` is not the address of a TPM"))
        .with_advice(
            "use `device:/dev/tpmrm0`, `swtpm:host=localhost,port=2321` or `swtpm:path=/run/swtpm.sock`",
        )
}

/// Connection that transmits one command at a time.
#[derive(Debug)]
pub(crate) enum TpmConnection {
    Device(File),
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl TpmConnection {
    pub(crate) fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Device(file) => {
                file.write_all(command)?;
                // The driver returns a response as a whole.
                let mut response = vec![0; MAX_RESPONSE];
                let length = file.read(&mut response)?;
                response.truncate(length);
                Ok(response)
            }
            Self::Tcp(stream) => transmit_over_stream(stream, command),
            Self::Unix(stream) => transmit_over_stream(stream, command),
        }
    }
}

fn transmit_over_stream(stream: &mut (impl Read + Write), command: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(command)?;
    let mut response = vec![0; HEADER];
    stream.read_exact(&mut response)?;
    let length = response.get(2..6).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes);
    let length = usize::try_from(length).ok().filter(|length| (HEADER..=MAX_RESPONSE).contains(length));
    let length = length.ok_or(io::ErrorKind::InvalidData)?;
    response.resize(length, 0);
    if let Some(rest) = response.get_mut(HEADER..) {
        stream.read_exact(rest)?;
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed() {
        let tcp = |host: &str, port| Some(Tcti::Tcp(host.into(), port));
        let device = |path: &str| Some(Tcti::Device(path.into()));
        for (text, expected) in [
            ("device", device("/dev/tpmrm0")),
            ("device:/dev/tpm0", device("/dev/tpm0")),
            ("swtpm", tcp("localhost", 2321)),
            ("swtpm:port=39", tcp("localhost", 39)),
            ("swtpm:host=::1,port=39", tcp("::1", 39)),
            ("swtpm:path=/run/x", Some(Tcti::Unix("/run/x".into()))),
            ("swtpm:port=many", None),
            ("swtpm:host=", None),
            ("swtpm:colour=red", None),
            ("swtpm:39", None),
            ("mssim:host=x", None),
            ("tabrmd", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Tcti>().ok(), expected, "{text}");
        }
    }

    #[test]
    fn only_a_device_counts_as_hardware() {
        for (text, strength) in [
            ("device", Strength::Hardware),
            ("swtpm", Strength::Software),
            ("swtpm:path=/x", Strength::Software),
        ] {
            assert_eq!(text.parse::<Tcti>().unwrap().strength(), strength, "{text}");
        }
    }

    #[test]
    fn response_length_is_checked() {
        struct ScriptedStream(io::Cursor<Vec<u8>>);
        impl Read for ScriptedStream {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                self.0.read(into)
            }
        }
        impl Write for ScriptedStream {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for (length, accepted) in [(9_u32, false), (10, true), (12, true), (13, false), (4097, false)] {
            let mut response = vec![0x80, 1];
            response.extend(length.to_be_bytes());
            response.extend([0; 6]);
            let response = transmit_over_stream(&mut ScriptedStream(io::Cursor::new(response)), b"");
            assert_eq!(response.is_ok(), accepted, "{length}");
        }
    }
}
