//! The environment, passed in.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The environment variables a component may read: those of this process, or a given set.
///
/// Everything in Symbolon that looks at a variable is handed one of these, so that a test or an
/// embedding application decides what is seen.
///
/// ```
/// # use symbolon_types::Env;
/// let env: Env = [("IDENTITY_ENDPOINT", "http://localhost:42356/msi"), ("EMPTY", "")].into_iter().collect();
/// assert_eq!(env.var("IDENTITY_ENDPOINT").as_deref(), Some("http://localhost:42356/msi"));
/// assert_eq!(env.var("EMPTY"), None);
/// ```
#[derive(Clone)]
pub struct Env(Source);

#[derive(Clone)]
enum Source {
    Process,
    Given(Arc<BTreeMap<String, String>>),
}

impl Env {
    /// The variables of this process, read at the time of asking.
    #[must_use]
    pub fn process() -> Self {
        Self(Source::Process)
    }

    /// No variables at all.
    #[must_use]
    pub fn empty() -> Self {
        Self(Source::Given(Arc::default()))
    }

    /// The value of a variable. A variable that is empty or not Unicode counts as unset.
    #[must_use]
    pub fn var(&self, name: &str) -> Option<String> {
        match &self.0 {
            Source::Process => process_var(name),
            Source::Given(variables) => variables.get(name).cloned(),
        }
        .filter(|value| !value.is_empty())
    }

    /// The variables of a given set, for a process that is to have them; none for those of this process,
    /// which it inherits.
    #[must_use]
    pub fn given(&self) -> Option<impl Iterator<Item = (&str, &str)>> {
        match &self.0 {
            Source::Process => None,
            Source::Given(variables) => {
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
        Self(Source::Given(Arc::new(variables)))
    }
}

/// Shows where the variables come from, never their values: some are secrets.
impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Process => f.write_str("Env(process)"),
            Source::Given(variables) => f.debug_tuple("Env").field(&variables.keys()).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_environment_is_read_when_asked() {
        assert!(Env::process().var("PATH").is_some());
        assert_eq!(Env::empty().var("PATH"), None);
    }

    #[test]
    fn a_given_set_can_be_handed_on_and_that_of_the_process_is_inherited() {
        let env: Env = [("PATH", "/usr/bin")].into_iter().collect();
        assert_eq!(env.given().map(Iterator::collect::<Vec<_>>), Some(vec![("PATH", "/usr/bin")]));
        assert!(Env::process().given().is_none());
    }

    #[test]
    fn debug_names_variables_and_hides_values() {
        let env: Env = [("IDENTITY_HEADER", "s3cr3t")].into_iter().collect();
        let shown = format!("{env:?}");
        assert!(shown.contains("IDENTITY_HEADER") && !shown.contains("s3cr3t"), "{shown}");
    }
}
