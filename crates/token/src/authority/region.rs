//! Regions and their configuration (`docs/protocol/routing.md#regions`).

use std::fmt;
use std::sync::Arc;

use symbolon_types::{Env, Error, ErrorKind};

/// Switches regions off, also if they are configured.
const DISABLE_REGION: &str = "MSAL_DISABLE_REGION";
/// The region to use without a configured one.
const FORCE_REGION: &str = "MSAL_FORCE_REGION";
/// MSAL's words for detection, and for no region at all.
const TRY_AUTO_DETECT: &str = "TryAutoDetect";
const DISABLE_FORCED: &str = "DisableMsalForceRegion";
/// The longest DNS label (RFC 1035 §2.3.4).
const LENGTH: usize = 63;

/// The name of an Azure region in lower case. It is one DNS label, because it becomes part of a
/// host name. Clones are cheap.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Region(Arc<str>);

impl Region {
    /// Parses a name of ASCII letters, digits and hyphens, without a hyphen at either end.
    ///
    /// # Errors
    /// `invalid_region` for anything else.
    pub fn parse(name: &str) -> Result<Self, Error> {
        let is_word = |word: &str| name.eq_ignore_ascii_case(word);
        let is_label = (1..=LENGTH).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !name.starts_with('-')
            && !name.ends_with('-');
        if !is_label || is_word(TRY_AUTO_DETECT) || is_word(DISABLE_FORCED) {
            return Err(Error::new(
                ErrorKind::Request,
                "invalid_region",
                "the configured region is not a region name; nothing was sent",
            )
            .with_advice("use the short name, for example westus2"));
        }
        Ok(Self(name.to_ascii_lowercase().into()))
    }

    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// Returns the name in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Region({})", self.0)
    }
}

/// The configured region. `MSAL_DISABLE_REGION` in the environment overrides it with
/// [`Global`](Self::Global).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RegionChoice {
    /// No configuration: the region in `MSAL_FORCE_REGION`, or else the cloud's global host.
    #[default]
    Unset,
    /// The cloud's global host.
    Global,
    /// This region.
    Fixed(Region),
    /// The region of this machine, or the global host if detection fails.
    Detect,
}

impl RegionChoice {
    /// Parses a region name or one of MSAL's words `TryAutoDetect` and `DisableMsalForceRegion`.
    ///
    /// # Errors
    /// As [`Region::parse`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text {
            _ if text.eq_ignore_ascii_case(TRY_AUTO_DETECT) => Ok(Self::Detect),
            _ if text.eq_ignore_ascii_case(DISABLE_FORCED) => Ok(Self::Global),
            _ => Region::parse(text).map(Self::Fixed),
        }
    }

    /// Applies the environment; the result is never [`Unset`](Self::Unset).
    pub(super) fn resolve(&self, env: &Env) -> Result<Self, Error> {
        if *self == Self::Global || env.var(DISABLE_REGION).is_some() {
            return Ok(Self::Global);
        }
        match (self, env.var(FORCE_REGION)) {
            (Self::Unset, None) => Ok(Self::Global),
            (Self::Unset, Some(forced)) => Self::parse(&forced).map_err(|error| {
                error.with_advice("correct or unset the environment variable MSAL_FORCE_REGION")
            }),
            (configured, _) => Ok(configured.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_is_one_dns_label() {
        for name in ["eastus", "eastus2", "EastUs", "us-gov-1", "1", &"a".repeat(63)] {
            assert_eq!(Region::parse(name).unwrap().as_str(), name.to_lowercase(), "{name}");
        }
    }

    #[test]
    fn route_05_malformed_region_is_refused() {
        let long = "a".repeat(64);
        for name in [
            "",
            " ",
            "east us",
            "eastus/",
            "/eastus",
            "eastus?x",
            "eastus#x",
            "eastus.evil.example",
            "eastus.",
            ".eastus",
            "eastus@x",
            "user:p@eastus",
            "eastus\n",
            "eastus\r\n",
            "eastus\0",
            "eastus²",
            "eastus１",
            "-eastus",
            "eastus-",
            "%65astus",
            "TryAutoDetect",
            "disablemsalforceregion",
            &long,
        ] {
            let error = Region::parse(name).expect_err(name);
            assert_eq!((error.kind(), error.code()), (ErrorKind::Request, "invalid_region"), "{name:?}");
        }
    }

    #[test]
    fn environment_overrides_configuration() {
        let fixed = |name: &str| RegionChoice::Fixed(Region::parse(name).unwrap());
        let forced = (FORCE_REGION, "forced");
        for (configured, variables, resolved) in [
            (RegionChoice::Unset, &[][..], Some(RegionChoice::Global)),
            (RegionChoice::Unset, &[forced], Some(fixed("forced"))),
            (RegionChoice::Unset, &[(FORCE_REGION, "TryAutoDetect")], Some(RegionChoice::Detect)),
            (RegionChoice::Unset, &[(FORCE_REGION, "")], Some(RegionChoice::Global)),
            (RegionChoice::Unset, &[(FORCE_REGION, "east us")], None),
            (RegionChoice::Global, &[forced], Some(RegionChoice::Global)),
            (fixed("eastus"), &[forced], Some(fixed("eastus"))),
            (RegionChoice::Detect, &[forced], Some(RegionChoice::Detect)),
            (fixed("eastus"), &[(DISABLE_REGION, "1")], Some(RegionChoice::Global)),
            (RegionChoice::Detect, &[(DISABLE_REGION, "1")], Some(RegionChoice::Global)),
            (
                RegionChoice::Unset,
                &[(DISABLE_REGION, "1"), (FORCE_REGION, "east us")],
                Some(RegionChoice::Global),
            ),
        ] {
            let env = variables.iter().copied().collect();
            assert_eq!(configured.resolve(&env).ok(), resolved, "{configured:?} {variables:?}");
        }
    }

    #[test]
    fn words_of_msal_are_parsed() {
        for (text, choice) in [
            ("TryAutoDetect", RegionChoice::Detect),
            ("DisableMsalForceRegion", RegionChoice::Global),
            ("WestUS2", RegionChoice::Fixed(Region::parse("westus2").unwrap())),
        ] {
            assert_eq!(RegionChoice::parse(text).unwrap(), choice, "{text}");
        }
        assert_eq!(RegionChoice::parse("west us").unwrap_err().code(), "invalid_region");
    }
}
