//! The text in the place of a bound token.

/// No token service issues a token that begins with this text.
const PREFIX: &str = "symbolon-placeholder-not-a-token:";

/// Returns the placeholder for a scope.
pub(crate) fn of_scope(scope: &str) -> String {
    format!("{PREFIX}{scope}")
}

/// Returns the scope of the placeholder in an `Authorization` header.
pub(crate) fn scope_of(authorization: &str) -> Option<&str> {
    authorization.strip_prefix("Bearer ")?.strip_prefix(PREFIX).filter(|scope| !scope.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_placeholders_have_a_scope() {
        let scope = "https://vault.azure.net/.default";
        assert_eq!(scope_of(&format!("Bearer {}", of_scope(scope))), Some(scope));
        for header in
            ["", "Bearer ", "Bearer eyJ0", PREFIX, &format!("Bearer {PREFIX}"), &format!("Basic {PREFIX}x")]
        {
            assert_eq!(scope_of(header), None, "{header}");
        }
    }
}
