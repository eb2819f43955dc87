//! The result of determining a region.

use symbolon_types::RegionUse;

use super::region::Region;

/// The result of determining the region of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum RegionOutcome {
    /// No region was considered.
    #[default]
    None,
    /// The region of the configuration or of `MSAL_FORCE_REGION`.
    Configured(Region),
    /// The detected region of this machine.
    Detected(Region, DetectedBy),
    /// Detection failed, so that the global host serves.
    Unknown,
}

/// The origin of a detected region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DetectedBy {
    /// Detected for an earlier request.
    Memory,
    /// `REGION_NAME` in the environment.
    Environment,
    /// The instance metadata service.
    Metadata,
}

impl RegionOutcome {
    pub(crate) fn region(&self) -> Option<&Region> {
        match self {
            Self::Configured(region) | Self::Detected(region, _) => Some(region),
            Self::None | Self::Unknown => None,
        }
    }

    /// Returns the result for the metadata of a request.
    pub(crate) fn to_use(&self) -> RegionUse {
        match self {
            Self::None => RegionUse::None,
            Self::Configured(region) => RegionUse::Configured(region.shared()),
            Self::Detected(region, _) => RegionUse::Detected(region.shared()),
            Self::Unknown => RegionUse::Undetected,
        }
    }

    /// Returns the result for later requests.
    pub(crate) fn remembered(self) -> Self {
        match self {
            Self::Detected(region, _) => Self::Detected(region, DetectedBy::Memory),
            other => other,
        }
    }

    /// Returns the fields region, source and outcome of the telemetry header
    /// (`docs/protocol/token-request.md#telemetry-header`).
    pub(crate) fn telemetry_fields(&self) -> String {
        let (region, source, outcome) = match self {
            Self::None => return ",,".to_owned(),
            Self::Configured(region) => (region.as_str(), 0, 6),
            Self::Unknown => ("", 1, 5),
            Self::Detected(region, DetectedBy::Memory) => (region.as_str(), 2, 4),
            Self::Detected(region, DetectedBy::Environment) => (region.as_str(), 3, 4),
            Self::Detected(region, DetectedBy::Metadata) => (region.as_str(), 4, 4),
        };
        format!("{region},{source},{outcome}")
    }
}
