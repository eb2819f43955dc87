//! The direction of modules inside each crate.
//!
//! A file depends on the files that define the names it uses: imports and inline paths are resolved
//! through re-exports to the definition. A `pub use` alone is no dependency, so a parent may
//! declare and re-export its children. Test modules are left out.

mod graph;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;
use std::path::Path;

use crate::metadata::Metadata;
use crate::report::Checklist;
use graph::FileGraph;
use tree::ModuleTree;

/// Prints each circle of files and each import against the declared order of modules.
pub(crate) fn run(metadata: &Metadata) -> Result<(), String> {
    let mut report = Checklist::new(usize::MAX);
    for package in metadata.members() {
        let order = package.module_order();
        let mut found = Vec::new();
        for target in package.code_targets() {
            // Relative to the root, where every command runs.
            let root = target.src_path.strip_prefix(&metadata.workspace_root);
            found.extend(violations_of(root.unwrap_or(&target.src_path), &order)?);
        }
        report.checked(format!("modules of {} without a circle, imports downwards", package.name), &found);
    }
    report.verdict()
}

/// Circles of files, and imports from a lower into a higher module of `order` (lowest first).
fn violations_of(root: &Path, order: &[String]) -> Result<Vec<String>, String> {
    let tree = ModuleTree::load(root)?;
    let graph = FileGraph::of(&tree);
    let ranks: BTreeMap<&str, usize> =
        order.iter().enumerate().map(|(rank, module)| (module.as_str(), rank)).collect();
    let unknown = order.iter().filter(|module| !tree.has_top_module(module));
    let unknown = unknown
        .map(|module| format!("{}: `{module}` of [package.metadata.layers] is no module", root.display()));
    let upwards = graph.edges().filter_map(|edge| {
        let (from, to) = (ranks.get(edge.from_module)?, ranks.get(edge.to_module)?);
        (from < to).then(|| format!("{edge}: module `{}` is above `{}`", edge.to_module, edge.from_module))
    });
    Ok(graph.circles().into_iter().chain(unknown).chain(upwards).collect())
}
