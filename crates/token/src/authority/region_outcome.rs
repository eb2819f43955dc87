//! What came of the region of a request.

use super::region::Region;

/// What came of the region of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum RegionOutcome {
    /// No region was considered.
    #[default]
    None,
    /// The configuration or the environment says which.
    Configured(Region),
    /// It was detected.
    Detected(Region, DetectedBy),
    /// It could not be told, so the global host serves.
    Unknown,
}

/// Where a detected region was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DetectedBy {
    /// Found by an earlier request.
    Memory,
    /// The environment.
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

    /// What the next request is told.
    pub(crate) fn remembered(self) -> Self {
        match self {
            Self::Detected(region, _) => Self::Detected(region, DetectedBy::Memory),
            other => other,
        }
    }

    /// Returns region, source and outcome as the telemetry header has them
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
