//! What is asked of a TPM (TPM 2.0 Library, part 3).

use crate::failure::{Failure, Outcome};
use crate::public::{NULL, coordinate};
use crate::tcti::Connection;
use crate::wire::{Command, Reader, Response, Write};

/// `TPM_RH_OWNER`.
const OWNER: u32 = 0x4000_0001;
/// `TPM_RH_NULL`.
const NO_HIERARCHY: u32 = 0x4000_0007;
/// `TPM_ST_HASHCHECK`.
const HASH_CHECK: u16 = 0x8024;

/// A key as it is kept outside of the TPM: its public area, and its private area encrypted by the TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) public: Vec<u8>,
    pub(crate) private: Vec<u8>,
}

impl Blob {
    /// `TPM2B_PUBLIC`, then `TPM2B_PRIVATE`.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.sized(&self.public);
        bytes.sized(&self.private);
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let (public, private) = (reader.sized()?.to_vec(), reader.sized()?.to_vec());
        reader.0.is_empty().then_some(Self { public, private })
    }
}

/// `TPM2_CreatePrimary` in the owner hierarchy: the handle of a storage key.
pub(crate) fn create_primary(connection: &mut Connection, template: &[u8], owner: &str) -> Outcome<u32> {
    let command = Command {
        name: "TPM2_CreatePrimary",
        code: 0x131,
        handle: Some(OWNER),
        authorization: Some(owner),
        parameters: creation(template),
        returns_handle: true,
    };
    Ok(command.send(connection)?.handle)
}

/// `TPM2_Create`: a new key under a storage key.
pub(crate) fn create(connection: &mut Connection, parent: u32, template: &[u8]) -> Outcome<Blob> {
    let name = "TPM2_Create";
    let parameters = creation(template);
    let response = with_key(name, 0x153, parent, parameters).send(connection)?;
    let mut reader = Reader(&response.parameters);
    let (Some(private), Some(public)) = (reader.sized(), reader.sized()) else {
        return Err(Failure::Nonsense(name));
    };
    Ok(Blob { public: public.to_vec(), private: private.to_vec() })
}

/// `TPM2_Load`: the handle of a key that is kept outside.
pub(crate) fn load(connection: &mut Connection, parent: u32, blob: &Blob) -> Outcome<u32> {
    let mut parameters = Vec::new();
    parameters.sized(&blob.private);
    parameters.sized(&blob.public);
    let command = Command { returns_handle: true, ..with_key("TPM2_Load", 0x157, parent, parameters) };
    Ok(command.send(connection)?.handle)
}

/// `TPM2_ReadPublic`.
pub(crate) fn read_public(connection: &mut Connection, key: u32) -> Outcome<Vec<u8>> {
    let name = "TPM2_ReadPublic";
    let response = without_authorization(name, 0x173, key, Vec::new()).send(connection)?;
    Reader(&response.parameters).sized().map(<[u8]>::to_vec).ok_or(Failure::Nonsense(name))
}

/// `TPM2_Sign` with the key's own scheme, which is ECDSA: both numbers, of 32 bytes each.
pub(crate) fn sign_ecdsa(connection: &mut Connection, key: u32, digest: &[u8]) -> Outcome<Vec<u8>> {
    let name = "TPM2_Sign";
    let mut parameters = Vec::new();
    parameters.sized(digest);
    parameters.u16(NULL);
    // The digest was made elsewhere.
    parameters.u16(HASH_CHECK);
    parameters.u32(NO_HIERARCHY);
    parameters.sized(&[]);
    let response = with_key(name, 0x15d, key, parameters).send(connection)?;
    let read = |Response { parameters, .. }: Response| {
        let mut reader = Reader(&parameters);
        let _scheme = (reader.u16()?, reader.u16()?);
        Some([coordinate(reader.sized()?)?, coordinate(reader.sized()?)?].concat())
    };
    read(response).ok_or(Failure::Nonsense(name))
}

/// `TPM2_RSA_Decrypt` without a scheme: the number raised to the private exponent.
pub(crate) fn raise_rsa(connection: &mut Connection, key: u32, number: &[u8]) -> Outcome<Vec<u8>> {
    let name = "TPM2_RSA_Decrypt";
    let mut parameters = Vec::new();
    parameters.sized(number);
    parameters.u16(NULL);
    parameters.sized(&[]);
    let response = with_key(name, 0x159, key, parameters).send(connection)?;
    let raised = Reader(&response.parameters).sized().ok_or(Failure::Nonsense(name))?;
    // As long as the modulus; a TPM may leave out leading zeros.
    let missing = number.len().checked_sub(raised.len()).ok_or(Failure::Nonsense(name))?;
    Ok([&vec![0; missing], raised].concat())
}

/// `TPM2_FlushContext`.
pub(crate) fn flush(connection: &mut Connection, handle: u32) -> Outcome<()> {
    let mut parameters = Vec::new();
    parameters.u32(handle);
    let command =
        Command { handle: None, ..without_authorization("TPM2_FlushContext", 0x165, 0, parameters) };
    command.send(connection).map(drop)
}

/// No authorization value and no data; the public area; nothing outside, no PCRs.
fn creation(template: &[u8]) -> Vec<u8> {
    let mut parameters = Vec::new();
    parameters.sized(&[0; 4]);
    parameters.sized(template);
    parameters.sized(&[]);
    parameters.u32(0);
    parameters
}

fn with_key(name: &'static str, code: u32, key: u32, parameters: Vec<u8>) -> Command<'static> {
    Command { authorization: Some(""), ..without_authorization(name, code, key, parameters) }
}

fn without_authorization(
    name: &'static str,
    code: u32,
    handle: u32,
    parameters: Vec<u8>,
) -> Command<'static> {
    Command { name, code, handle: Some(handle), authorization: None, parameters, returns_handle: false }
}
