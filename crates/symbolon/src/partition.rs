//! The partitions of the token cache: one for each identity in each environment.

use std::sync::{PoisonError, RwLock};

use sha2::{Digest, Sha256};
use symbolon_binding::ManagedIdentityId;
use symbolon_token::Partition;
use symbolon_types::Env;

/// Separates the digests of this module from all other uses of SHA-256.
const DOMAIN: &str = "symbolon cache environment 1";

/// The partition of the environment that was read for the last fetch. A cache hit only clones it.
#[derive(Debug, Default)]
pub(crate) struct CurrentPartition(RwLock<Option<Partition>>);

impl CurrentPartition {
    /// Returns the partition, or `None` before the environment was read.
    pub(crate) fn get(&self) -> Option<Partition> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, partition: &Partition) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(partition.clone());
    }
}

/// Returns the partition of one identity's tokens in an environment, which is an explicit set of
/// variables: two environments with a source of the same kind are two identities. Ids compare
/// without case, as Azure compares them. The kind of id is part of the partition, because only the
/// source can tell that two ids name the same identity.
pub(crate) fn of_managed_identity(id: &ManagedIdentityId, scheme: &str, environment: &Env) -> Partition {
    let value = id.value().unwrap_or_default().to_ascii_lowercase();
    let variables = environment.explicit().into_iter().flatten();
    let digest = digest(variables.flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]));
    Partition::machine_bound(format!("mi\0{}\0{value}\0{scheme}\0{digest}", id.kind()))
}

/// Returns a digest of texts of which some are secrets, as hexadecimal digits.
pub(crate) fn digest(parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> String {
    let mut hasher = Sha256::new_with_prefix(DOMAIN);
    for part in parts {
        let part = part.as_ref();
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hexadecimal(&hasher.finalize())
}

/// Writes bytes as lower-case hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_makes_another_partition() {
        let id = ManagedIdentityId::system_assigned();
        let of = |variables: &[(&str, &str)]| {
            of_managed_identity(&id, "bearer", &variables.iter().copied().collect())
        };
        let environments: [&[(&str, &str)]; 5] =
            [&[], &[("A", "b")], &[("A", "c")], &[("Ab", "")], &[("A", "b"), ("C", "d")]];
        for (i, one) in environments.iter().enumerate() {
            for (j, other) in environments.iter().enumerate() {
                assert_eq!(of(one) == of(other), i == j, "{one:?} {other:?}");
            }
        }
    }
}
