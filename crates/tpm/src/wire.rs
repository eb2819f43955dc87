//! Encoding of commands and responses (TPM 2.0 Library, part 1, §18; part 2).

use zeroize::Zeroizing;

use crate::error::{ResponseCode, TpmError};
use crate::tcti::TpmConnection;

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
/// `TPM_RS_PW`: a session that contains the authorization value.
const PASSWORD_SESSION: u32 = 0x4000_0009;
/// Maximum number of times that a command is sent.
const MAX_TRIES: u32 = 16;

/// Writer of numbers and of sized buffers.
pub(crate) trait TpmWrite {
    fn u16(&mut self, value: u16);
    fn u32(&mut self, value: u32);
    /// Writes a sized buffer (`TPM2B_…`).
    fn sized(&mut self, bytes: &[u8]);
}

impl TpmWrite for Vec<u8> {
    fn u16(&mut self, value: u16) {
        self.extend(value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.extend(value.to_be_bytes());
    }

    fn sized(&mut self, bytes: &[u8]) {
        // All buffers are much shorter.
        self.u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
        self.extend(bytes);
    }
}

/// Reader of the rest of a response.
pub(crate) struct TpmReader<'b>(pub(crate) &'b [u8]);

impl<'b> TpmReader<'b> {
    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// Reads a sized buffer (`TPM2B_…`).
    pub(crate) fn sized(&mut self) -> Option<&'b [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

/// Command to a TPM.
pub(crate) struct TpmCommand<'a> {
    pub(crate) name: &'static str,
    pub(crate) code: u32,
    pub(crate) handle: Option<u32>,
    /// Authorization value of the handle, if it requires one.
    pub(crate) authorization: Option<&'a str>,
    pub(crate) parameters: Vec<u8>,
    /// True if the response starts with a handle.
    pub(crate) returns_handle: bool,
}

/// Response of a TPM.
pub(crate) struct TpmResponse {
    pub(crate) handle: u32,
    pub(crate) parameters: Vec<u8>,
}

impl TpmCommand<'_> {
    pub(crate) fn send(&self, connection: &mut TpmConnection) -> Result<TpmResponse, TpmError> {
        let command = self.encode();
        let mut tries = 1;
        let response = loop {
            let response = connection.transmit(&command)?;
            match self.code_of(&response)? {
                ResponseCode(0) => break response,
                code if code.should_retry() && tries < MAX_TRIES => tries += 1,
                code => return Err(TpmError::Refused { command: self.name, code }),
            }
        };
        self.decode(&response).ok_or(TpmError::InvalidResponse(self.name))
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut body = Zeroizing::new(Vec::with_capacity(1024));
        if let Some(handle) = self.handle {
            body.u32(handle);
        }
        if let Some(password) = self.authorization {
            let mut session = Zeroizing::new(Vec::with_capacity(128));
            session.u32(PASSWORD_SESSION);
            session.sized(&[]);
            session.push(0);
            session.sized(password.as_bytes());
            body.u32(u32::try_from(session.len()).unwrap_or(u32::MAX));
            body.extend_from_slice(&session);
        }
        body.extend_from_slice(&self.parameters);
        let mut command = Zeroizing::new(Vec::with_capacity(body.len() + 10));
        command.u16(if self.authorization.is_some() { SESSIONS } else { NO_SESSIONS });
        command.u32(u32::try_from(body.len() + 10).unwrap_or(u32::MAX));
        command.u32(self.code);
        command.extend_from_slice(&body);
        command
    }

    fn code_of(&self, response: &[u8]) -> Result<ResponseCode, TpmError> {
        let mut reader = TpmReader(response);
        let header = (reader.u16(), reader.u32(), reader.u32());
        match header {
            (Some(_), Some(length), Some(code)) if usize::try_from(length) == Ok(response.len()) => {
                Ok(ResponseCode(code))
            }
            _ => Err(TpmError::InvalidResponse(self.name)),
        }
    }

    fn decode(&self, response: &[u8]) -> Option<TpmResponse> {
        let mut reader = TpmReader(response.get(10..)?);
        let handle = if self.returns_handle { reader.u32()? } else { 0 };
        // The sessions after the parameters are ignored: a password session contains nothing.
        let parameters = if self.authorization.is_some() {
            let length = reader.u32()?;
            reader.take(usize::try_from(length).ok()?)?
        } else {
            reader.0
        };
        Some(TpmResponse { handle, parameters: parameters.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_is_encoded() {
        let command = TpmCommand {
            name: "a test",
            code: 0x15d,
            handle: Some(0x8000_0001),
            authorization: Some("pw"),
            parameters: vec![0xaa],
            returns_handle: false,
        };
        let expected = [
            &[0x80, 0x02, 0, 0, 0, 30, 0, 0, 0x01, 0x5d][..],
            &[0x80, 0, 0, 1],
            &[0, 0, 0, 11, 0x40, 0, 0, 9, 0, 0, 0, 0, 2, b'p', b'w'],
            &[0xaa],
        ]
        .concat();
        assert_eq!(*command.encode(), expected);
    }

    #[test]
    fn truncated_response_is_refused() {
        let command = TpmCommand {
            name: "a test",
            code: 0,
            handle: None,
            authorization: Some(""),
            parameters: Vec::new(),
            returns_handle: true,
        };
        let whole = [0x80, 2, 0, 0, 0, 21, 0, 0, 0, 0, 0x80, 0, 0, 5, 0, 0, 0, 3, 1, 2, 3];
        let read = command.decode(&whole).unwrap();
        assert_eq!((read.handle, read.parameters), (0x8000_0005, vec![1, 2, 3]));
        for length in 0..whole.len() {
            assert!(command.decode(&whole[..length]).is_none(), "{length}");
            assert!(command.code_of(&whole[..length]).is_err(), "{length}");
        }
    }
}
