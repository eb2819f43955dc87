//! Commands (TPM 2.0 Library, part 3).

use crate::error::TpmError;
use crate::public::{NULL, coordinate};
use crate::tcti::TpmConnection;
use crate::wire::{TpmCommand, TpmReader, TpmResponse, TpmWrite};

/// `TPM_RH_OWNER`.
pub(crate) const OWNER: u32 = 0x4000_0001;
/// `TPM_RH_NULL`.
const NO_HIERARCHY: u32 = 0x4000_0007;
/// `TPM_ST_HASHCHECK`.
const HASH_CHECK: u16 = 0x8024;

/// Key outside of the TPM: its public area, and its private area, encrypted by the TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WrappedKey {
    pub(crate) public: Vec<u8>,
    pub(crate) private: Vec<u8>,
}

impl WrappedKey {
    /// Returns `TPM2B_PUBLIC` followed by `TPM2B_PRIVATE`.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let (public, private) = self.sized_parts();
        [public, private].concat()
    }

    /// Returns `TPM2B_PUBLIC` and `TPM2B_PRIVATE`.
    pub(crate) fn sized_parts(&self) -> (Vec<u8>, Vec<u8>) {
        let sized = |part: &[u8]| {
            let mut bytes = Vec::with_capacity(part.len() + 2);
            bytes.sized(part);
            bytes
        };
        (sized(&self.public), sized(&self.private))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = TpmReader(bytes);
        let (public, private) = (reader.sized()?.to_vec(), reader.sized()?.to_vec());
        reader.0.is_empty().then_some(Self { public, private })
    }
}

/// Runs `TPM2_CreatePrimary` in the owner hierarchy; returns the handle of a storage key.
pub(crate) fn create_primary(
    connection: &mut TpmConnection,
    template: &[u8],
    owner: &str,
) -> Result<u32, TpmError> {
    let command = TpmCommand {
        name: "TPM2_CreatePrimary",
        code: 0x131,
        handle: Some(OWNER),
        authorization: Some(owner),
        parameters: creation(template),
        returns_handle: true,
    };
    Ok(command.send(connection)?.handle)
}

/// Runs `TPM2_Create`; returns a new key under a storage key.
pub(crate) fn create(
    connection: &mut TpmConnection,
    parent: u32,
    template: &[u8],
) -> Result<WrappedKey, TpmError> {
    let name = "TPM2_Create";
    let parameters = creation(template);
    let response = with_key(name, 0x153, parent, parameters).send(connection)?;
    let mut reader = TpmReader(&response.parameters);
    let (Some(private), Some(public)) = (reader.sized(), reader.sized()) else {
        return Err(TpmError::InvalidResponse(name));
    };
    Ok(WrappedKey { public: public.to_vec(), private: private.to_vec() })
}

/// Runs `TPM2_Load`; returns the handle of the loaded key.
pub(crate) fn load(connection: &mut TpmConnection, parent: u32, blob: &WrappedKey) -> Result<u32, TpmError> {
    let mut parameters = Vec::new();
    parameters.sized(&blob.private);
    parameters.sized(&blob.public);
    let command = TpmCommand { returns_handle: true, ..with_key("TPM2_Load", 0x157, parent, parameters) };
    Ok(command.send(connection)?.handle)
}

/// Runs `TPM2_ReadPublic`.
pub(crate) fn read_public(connection: &mut TpmConnection, key: u32) -> Result<Vec<u8>, TpmError> {
    let name = "TPM2_ReadPublic";
    let response = without_authorization(name, 0x173, key, Vec::new()).send(connection)?;
    TpmReader(&response.parameters).sized().map(<[u8]>::to_vec).ok_or(TpmError::InvalidResponse(name))
}

/// Runs `TPM2_Sign` with the scheme of the key, ECDSA; returns `r || s` of 32 bytes each.
pub(crate) fn sign_ecdsa(
    connection: &mut TpmConnection,
    key: u32,
    digest: &[u8],
) -> Result<Vec<u8>, TpmError> {
    let name = "TPM2_Sign";
    let mut parameters = Vec::new();
    parameters.sized(digest);
    parameters.u16(NULL);
    // An empty ticket: the TPM did not compute the digest.
    parameters.u16(HASH_CHECK);
    parameters.u32(NO_HIERARCHY);
    parameters.sized(&[]);
    let response = with_key(name, 0x15d, key, parameters).send(connection)?;
    let read = |TpmResponse { parameters, .. }: TpmResponse| {
        let mut reader = TpmReader(&parameters);
        let _scheme = (reader.u16()?, reader.u16()?);
        Some([coordinate(reader.sized()?)?, coordinate(reader.sized()?)?].concat())
    };
    read(response).ok_or(TpmError::InvalidResponse(name))
}

/// Runs `TPM2_RSA_Decrypt` without a scheme: raises the number to the private exponent.
pub(crate) fn exponentiate_rsa(
    connection: &mut TpmConnection,
    key: u32,
    number: &[u8],
) -> Result<Vec<u8>, TpmError> {
    let name = "TPM2_RSA_Decrypt";
    let mut parameters = Vec::new();
    parameters.sized(number);
    parameters.u16(NULL);
    parameters.sized(&[]);
    let response = with_key(name, 0x159, key, parameters).send(connection)?;
    let raised = TpmReader(&response.parameters).sized().ok_or(TpmError::InvalidResponse(name))?;
    // A TPM may omit leading zeros.
    let missing = number.len().checked_sub(raised.len()).ok_or(TpmError::InvalidResponse(name))?;
    Ok([&vec![0; missing], raised].concat())
}

/// Runs `TPM2_FlushContext`.
pub(crate) fn flush(connection: &mut TpmConnection, handle: u32) -> Result<(), TpmError> {
    let mut parameters = Vec::new();
    parameters.u32(handle);
    let command =
        TpmCommand { handle: None, ..without_authorization("TPM2_FlushContext", 0x165, 0, parameters) };
    command.send(connection).map(drop)
}

/// Encodes the parameters of a creation: no authorization value and no data, the public area, no
/// outside information, no PCRs.
fn creation(template: &[u8]) -> Vec<u8> {
    let mut parameters = Vec::new();
    parameters.sized(&[0; 4]);
    parameters.sized(template);
    parameters.sized(&[]);
    parameters.u32(0);
    parameters
}

fn with_key(name: &'static str, code: u32, key: u32, parameters: Vec<u8>) -> TpmCommand<'static> {
    TpmCommand { authorization: Some(""), ..without_authorization(name, code, key, parameters) }
}

fn without_authorization(
    name: &'static str,
    code: u32,
    handle: u32,
    parameters: Vec<u8>,
) -> TpmCommand<'static> {
    TpmCommand { name, code, handle: Some(handle), authorization: None, parameters, returns_handle: false }
}
