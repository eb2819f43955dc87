//! Environment variables.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The environment variables that a component may read: those of this process, or an explicit set.
///
/// Symbolon reads variables through this type only, so that a test or an embedding application
/// controls them.
///
/// ```
/// # use symbolon_types::Env;
/// let env: Env = [("IDENTITY_ENDPOINT", "http://localhost:42356/msi"), ("EMPTY", "")].into_iter().collect();
/// assert_eq!(env.var("IDENTITY_ENDPOINT").as_deref(), Some("http://localhost:42356/msi"));
/// assert_eq!(env.var("EMPTY"), None);
/// ```
#[derive(Clone)]
#[must_use]
pub struct Env(Variables);

#[derive(Clone)]
enum Variables {
    Process,
    Explicit(Arc<BTreeMap<String, String>>),
}

impl Env {
    /// Returns the variables of this process, read at each call of [`var`](Self::var).
    pub fn process() -> Self {
        Self(Variables::Process)
    }

    /// Returns an empty set.
    pub fn empty() -> Self {
        Self(Variables::Explicit(Arc::default()))
    }

    /// Returns the value of a variable. An empty or non-Unicode value counts as unset.
    #[must_use]
    pub fn var(&self, name: &str) -> Option<String> {
        match &self.0 {
            Variables::Process => process_var(name),
            Variables::Explicit(variables) => variables.get(name).cloned(),
        }
        .filter(|value| !value.is_empty())
    }

    /// Returns the variables of an explicit set, to pass to a child process; `None` for the
    /// variables of this process, which a child inherits.
    #[must_use]
    pub fn explicit(&self) -> Option<impl Iterator<Item = (&str, &str)>> {
        match &self.0 {
            Variables::Process => None,
            Variables::Explicit(variables) => {
                Some(variables.iter().map(|(name, value)| (name.as_str(), value.as_str())))
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the process's environment")]
fn process_var(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let variables = pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self(Variables::Explicit(Arc::new(variables)))
    }
}

/// Shows names but never values: some are secrets.
impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Variables::Process => f.write_str("Env(process)"),
            Variables::Explicit(variables) => f.debug_tuple("Env").field(&variables.keys()).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_variables_are_read() {
        assert!(Env::process().var("PATH").is_some());
        assert_eq!(Env::empty().var("PATH"), None);
    }

    #[test]
    fn only_explicit_variables_are_passed_on() {
        let env: Env = [("PATH", "/usr/bin")].into_iter().collect();
        assert_eq!(env.explicit().map(Iterator::collect::<Vec<_>>), Some(vec![("PATH", "/usr/bin")]));
        assert!(Env::process().explicit().is_none());
    }

    #[test]
    fn debug_names_variables_and_hides_values() {
        let env: Env = [("IDENTITY_HEADER", "s3cr3t")].into_iter().collect();
        let shown = format!("{env:?}");
        assert!(shown.contains("IDENTITY_HEADER") && !shown.contains("s3cr3t"), "{shown}");
    }
}
