//! How commands get to a TPM.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use symbolon_types::{Error, ErrorKind, Strength};

/// Tag, length and code of a response (TPM 2.0 Library, part 1, §18).
const HEADER: usize = 10;
/// The longest response: the command buffer of the PC Client profile.
const LONGEST: usize = 4096;
/// A TPM may look for primes for a minute; who does not answer for two does not answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Where swtpm listens unless it is told otherwise.
const SWTPM_PORT: u16 = 2321;

/// Where the TPM is, as the TCG's tools name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tcti {
    Device(PathBuf),
    Tcp(String, u16),
    Unix(PathBuf),
}

impl Tcti {
    pub(crate) fn connect(&self) -> io::Result<Connection> {
        Ok(match self {
            Self::Device(path) => Connection::Device(OpenOptions::new().read(true).write(true).open(path)?),
            Self::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port))?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                Connection::Tcp(stream)
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Connection::Unix(stream)
            }
        })
    }

    /// A device belongs to the machine, or to the hypervisor below it; swtpm is a process like ours.
    pub(crate) fn strength(&self) -> Strength {
        match self {
            Self::Device(_) => Strength::Hardware,
            Self::Tcp(..) | Self::Unix(_) => Strength::Software,
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
            "swtpm" => swtpm(configuration).ok_or_else(invalid),
            _ => Err(invalid()),
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

fn invalid() -> Error {
    Error::new(ErrorKind::Request, "invalid_configuration", "the address of the TPM cannot be understood")
        .with_advice(
            "write `device:/dev/tpmrm0`, `swtpm:host=localhost,port=2321` or `swtpm:path=/run/swtpm.sock`",
        )
}

/// One at a time goes over it: a command, its response.
#[derive(Debug)]
pub(crate) enum Connection {
    Device(File),
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connection {
    pub(crate) fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Device(file) => {
                file.write_all(command)?;
                // The driver hands out a response whole or not at all.
                let mut response = vec![0; LONGEST];
                let length = file.read(&mut response)?;
                response.truncate(length);
                Ok(response)
            }
            Self::Tcp(stream) => over_stream(stream, command),
            Self::Unix(stream) => over_stream(stream, command),
        }
    }
}

fn over_stream(stream: &mut (impl Read + Write), command: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(command)?;
    let mut response = vec![0; HEADER];
    stream.read_exact(&mut response)?;
    let length = response.get(2..6).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes);
    let length = usize::try_from(length).ok().filter(|length| (HEADER..=LONGEST).contains(length));
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
    fn addresses_are_written_as_for_the_tools_of_the_tcg() {
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
    fn a_response_that_is_too_short_or_too_long_is_refused() {
        struct Scripted(io::Cursor<Vec<u8>>);
        impl Read for Scripted {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                self.0.read(into)
            }
        }
        impl Write for Scripted {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for (length, is_taken) in [(9_u32, false), (10, true), (12, true), (13, false), (4097, false)] {
            let mut response = vec![0x80, 1];
            response.extend(length.to_be_bytes());
            response.extend([0; 6]);
            let answered = over_stream(&mut Scripted(io::Cursor::new(response)), b"");
            assert_eq!(answered.is_ok(), is_taken, "{length}");
        }
    }
}
