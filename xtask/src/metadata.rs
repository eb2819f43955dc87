//! The parts of `cargo metadata` that the commands use.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::invocation::Invocation;

#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_root: PathBuf,
    target_directory: PathBuf,
    workspace_members: BTreeSet<String>,
    /// Absent when only the members were asked for.
    resolve: Option<Resolve>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) rust_version: Option<String>,
    /// Absent for a package that comes from a path.
    pub(crate) source: Option<String>,
    /// An empty list is `publish = false`.
    publish: Option<Vec<String>>,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
    pub(crate) features: BTreeMap<String, Vec<String>>,
    /// The tables `[package.metadata.*]`.
    #[serde(default)]
    metadata: serde_json::Value,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    /// The name of the package, also where the manifest renames it.
    pub(crate) name: String,
    /// Absent for a normal dependency.
    kind: Option<String>,
    req: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) src_path: PathBuf,
    kind: Vec<String>,
    #[serde(default, rename = "required-features")]
    pub(crate) required_features: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    features: BTreeSet<String>,
}

impl Metadata {
    /// The members of this workspace, without their dependencies. Needs no network and no lock
    /// file.
    pub(crate) fn of_members() -> Result<Self, String> {
        Self::read(&["--no-deps"])
    }

    /// The whole graph with default features, as `cargo test --workspace` builds it.
    pub(crate) fn of_graph() -> Result<Self, String> {
        Self::read(&[])
    }

    fn read(arguments: &[&str]) -> Result<Self, String> {
        let metadata = Invocation::cargo(["metadata", "--format-version", "1"]);
        let metadata = metadata.args(arguments.iter().copied()).output()?;
        serde_json::from_str(&metadata).map_err(|error| format!("cannot parse `cargo metadata`: {error}"))
    }

    /// The target directory, relative to the root if it is below it.
    pub(crate) fn target_directory(&self) -> &Path {
        self.target_directory.strip_prefix(&self.workspace_root).unwrap_or(&self.target_directory)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// Members that go to the registry.
    pub(crate) fn published(&self) -> impl Iterator<Item = &Package> {
        self.members().filter(|package| package.is_published())
    }

    /// The features of a package that are on in the resolved graph.
    pub(crate) fn active_features(&self, package: &Package) -> BTreeSet<&str> {
        self.resolve
            .iter()
            .flat_map(|resolve| &resolve.nodes)
            .filter(|node| node.id == package.id)
            .flat_map(|node| node.features.iter().map(String::as_str))
            .collect()
    }
}

impl Package {
    pub(crate) fn is_published(&self) -> bool {
        self.publish.as_ref().is_none_or(|registries| !registries.is_empty())
    }

    pub(crate) fn has_library(&self) -> bool {
        self.targets.iter().any(|target| target.is("lib"))
    }

    /// The library and the programs.
    pub(crate) fn code_targets(&self) -> impl Iterator<Item = &Target> {
        self.targets_of("lib").chain(self.targets_of("bin"))
    }

    /// `[package.metadata.layers] modules`: top modules, lowest first.
    pub(crate) fn module_order(&self) -> Vec<String> {
        serde_json::from_value(self.metadata["layers"]["modules"].clone()).unwrap_or_default()
    }

    /// Targets of one kind, in cargo's words: `example`, `bench`, `bin`, `test`.
    pub(crate) fn targets_of(&self, kind: &'static str) -> impl Iterator<Item = &Target> {
        self.targets.iter().filter(move |target| target.is(kind))
    }
}

impl Dependency {
    pub(crate) fn is_dev(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }

    /// Returns true for a dependency of the published manifest. `cargo package` drops
    /// dev-dependencies that have a path and no version.
    pub(crate) fn is_published(&self) -> bool {
        !self.is_dev() || self.req != "*"
    }
}

impl Target {
    fn is(&self, kind: &str) -> bool {
        self.kind.iter().any(|own| own == kind)
    }
}
