//! The work that an encrypted file may require.

use pkcs8::pkcs5::pbes2::{Kdf, Parameters, Pbkdf2Prf};

use super::LoadError;

/// The most digests of one block that a whole file may require. In 2023, OWASP recommended 600,000
/// iterations for PBKDF2 with SHA-256, which are two digests each.
const MAX_WORK: u64 = 1 << 23;
/// The most bytes of memory that scrypt may require. OpenSSL uses 16 MiB.
const MAX_SCRYPT_MEMORY: u64 = 64 << 20;
/// The most bytes that scrypt may derive before it mixes them. OpenSSL uses 1 KiB.
const MAX_SCRYPT_INPUT: u64 = 1 << 20;

/// The work that is left for a file: one budget for its MAC, its safes and its keys.
#[derive(Debug)]
pub(super) struct WorkBudget {
    left: u64,
}

impl WorkBudget {
    pub(super) fn new() -> Self {
        Self { left: MAX_WORK }
    }

    /// Charges `blocks` derived blocks of `iterations` digests each.
    pub(super) fn charge(&mut self, iterations: u32, blocks: usize) -> Result<(), LoadError> {
        self.take(u64::from(iterations).saturating_mul(blocks as u64))
    }

    /// Charges the derivation of a key for PBES2.
    pub(super) fn charge_pbes2(&mut self, parameters: &Parameters) -> Result<(), LoadError> {
        match &parameters.kdf {
            Kdf::Pbkdf2(kdf) => {
                let digest_length = match kdf.prf {
                    Pbkdf2Prf::HmacWithSha1 => 20,
                    Pbkdf2Prf::HmacWithSha224 => 28,
                    Pbkdf2Prf::HmacWithSha384 => 48,
                    Pbkdf2Prf::HmacWithSha512 => 64,
                    _ => 32,
                };
                let key_length = parameters.encryption.key_size().max(kdf.key_length.unwrap_or(0).into());
                // HMAC is two digests (RFC 2104 §2).
                self.charge(kdf.iteration_count, 2 * key_length.div_ceil(digest_length))
            }
            Kdf::Scrypt(kdf) => {
                let (n, r, p) =
                    (kdf.cost_parameter, u64::from(kdf.block_size), u64::from(kdf.parallelization));
                // RFC 7914 §2: 128 bytes for each of N blocks of size r, and p blocks of input.
                let memory = n.saturating_mul(128 * r);
                if memory > MAX_SCRYPT_MEMORY || 128 * r * p > MAX_SCRYPT_INPUT {
                    return Err(LoadError::ExcessiveWork);
                }
                // RFC 7914 §4 and §5: 2N mixes of 2r Salsa20/8 cores, p times.
                self.take((4 * n * r).saturating_mul(p))
            }
            _ => Err(LoadError::UnsupportedEncryption),
        }
    }

    fn take(&mut self, work: u64) -> Result<(), LoadError> {
        self.left = self.left.checked_sub(work).ok_or(LoadError::ExcessiveWork)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use pkcs8::pkcs5::pbes2::{EncryptionScheme, Pbkdf2Params, Salt, ScryptParams};

    use super::*;

    const AES_256: EncryptionScheme = EncryptionScheme::Aes256Cbc { iv: [0; 16] };

    /// Returns the work that the derivation requires, or `None` if it is refused.
    fn work(kdf: Kdf) -> Option<u64> {
        let mut budget = WorkBudget::new();
        let charged = budget.charge_pbes2(&Parameters { kdf, encryption: AES_256 });
        charged.is_ok().then_some(MAX_WORK - budget.left)
    }

    #[test]
    fn pbkdf2_costs_iterations_of_all_blocks() {
        let pbkdf2 = |iteration_count, prf, key_length| {
            let salt = Salt::new(b"salt").unwrap();
            work(Kdf::Pbkdf2(Pbkdf2Params { salt, iteration_count, key_length, prf }))
        };
        assert_eq!(pbkdf2(2048, Pbkdf2Prf::HmacWithSha256, None), Some(2 * 2048), "OpenSSL");
        assert_eq!(pbkdf2(600_000, Pbkdf2Prf::HmacWithSha256, None), Some(1_200_000), "OWASP");
        assert_eq!(pbkdf2(1_300_000, Pbkdf2Prf::HmacWithSha1, None), Some(5_200_000), "OWASP");
        assert_eq!(pbkdf2(1 << 22, Pbkdf2Prf::HmacWithSha512, None), Some(MAX_WORK));
        assert_eq!(pbkdf2((1 << 22) + 1, Pbkdf2Prf::HmacWithSha512, None), None);
        assert_eq!(pbkdf2((1 << 21) + 1, Pbkdf2Prf::HmacWithSha1, None), None, "two blocks");
        assert_eq!(pbkdf2(u32::MAX, Pbkdf2Prf::HmacWithSha256, Some(u16::MAX)), None);
    }

    #[test]
    fn scrypt_costs_memory_and_passes() {
        let scrypt = |cost_parameter, block_size, parallelization| {
            let salt = Salt::new(b"salt").unwrap();
            work(Kdf::Scrypt(ScryptParams {
                salt,
                cost_parameter,
                block_size,
                parallelization,
                key_length: None,
            }))
        };
        assert_eq!(scrypt(1 << 14, 8, 1), Some(1 << 19), "OpenSSL");
        assert_eq!(scrypt(1 << 16, 8, 4), Some(MAX_WORK));
        assert_eq!(scrypt(1 << 16, 8, 5), None, "N·r·p");
        assert_eq!(scrypt(1 << 17, 8, 1), None, "128 MiB");
        assert_eq!(scrypt(1 << 20, 8, 1), None, "1 GiB");
        assert_eq!(scrypt(2, u16::MAX, u16::MAX), None);
        assert_eq!(scrypt(1 << 63, 8, 1), None, "an overflow");
    }

    #[test]
    fn budget_is_shared() {
        let mut budget = WorkBudget::new();
        for _ in 0..4 {
            budget.charge(1 << 20, 2).unwrap();
        }
        let refused = budget.charge(1, 1);
        assert!(matches!(refused, Err(LoadError::ExcessiveWork)), "{refused:?}");
        assert!(refused.unwrap_err().to_string().contains("8,388,608"));
        assert!(budget.charge(u32::MAX, usize::MAX).is_err());
    }
}
