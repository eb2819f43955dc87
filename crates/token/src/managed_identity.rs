//! Which managed identity a client is.

/// Which kind of managed identity asks for a token. It decides what is told to Entra, and nothing
/// else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ManagedIdentityKind {
    /// That of the resource itself.
    SystemAssigned,
    /// One that was assigned to the resource.
    UserAssigned,
}
