//! The graph of files: an edge from each file to the files that define what it uses.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use super::tree::{Definition, ModuleTree, attributes, flatten, is_re_export, is_test};

pub(super) struct FileGraph<'tree> {
    files: BTreeSet<&'tree Path>,
    edges: BTreeMap<(&'tree Path, &'tree Path), Edge<'tree>>,
}

/// A dependency between two files, with the first name that makes it.
#[derive(Debug)]
pub(super) struct Edge<'tree> {
    from: &'tree Path,
    to: &'tree Path,
    pub(super) from_module: &'tree str,
    pub(super) to_module: &'tree str,
    name: String,
    line: usize,
}

impl fmt::Display for Edge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, name, line, .. } = self;
        write!(f, "{}:{line} -> {} (`{name}`)", from.display(), to.display())
    }
}

impl<'tree> FileGraph<'tree> {
    pub(super) fn of(tree: &'tree ModuleTree) -> Self {
        let files = tree.modules.iter().map(|module| module.file.as_path()).collect();
        let mut graph = Self { files, edges: BTreeMap::new() };
        for (index, module) in tree.modules.iter().enumerate() {
            let mut uses = UsedNames { tree, module: index, graph: &mut graph };
            module.items.iter().for_each(|item| uses.visit_item(item));
        }
        graph
    }

    pub(super) fn edges(&self) -> impl Iterator<Item = &Edge<'tree>> {
        self.edges.values()
    }

    /// A line for each circle: the shortest through a file that no earlier line has.
    pub(super) fn circles(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut done: BTreeSet<&Path> = BTreeSet::new();
        for file in &self.files {
            if !done.contains(file)
                && let Some(circle) = self.circle_through(file)
            {
                done.extend(circle.iter().map(|edge| edge.from));
                let steps: Vec<String> = circle.iter().map(ToString::to_string).collect();
                found.push(format!("circle of {} files: {}", circle.len(), steps.join(", ")));
            }
        }
        found
    }

    /// The shortest way from a file back to itself.
    fn circle_through(&self, start: &'tree Path) -> Option<Vec<&Edge<'tree>>> {
        let mut seen = BTreeSet::new();
        let mut open = VecDeque::from([(start, Vec::new())]);
        while let Some((file, way)) = open.pop_front() {
            for edge in self.edges().filter(|edge| edge.from == file) {
                let mut way = way.clone();
                way.push(edge);
                if edge.to == start {
                    return Some(way);
                }
                if seen.insert(edge.to) {
                    open.push_back((edge.to, way));
                }
            }
        }
        None
    }
}

/// Collects the names that the items of one module use.
struct UsedNames<'tree, 'graph> {
    tree: &'tree ModuleTree,
    module: usize,
    graph: &'graph mut FileGraph<'tree>,
}

impl UsedNames<'_, '_> {
    fn add(&mut self, path: &[String], line: usize) {
        let Some(Definition::ItemOf(module)) = self.tree.resolve(self.module, path) else { return };
        let (from, to) = (&self.tree.modules[self.module], &self.tree.modules[module]);
        if from.file != to.file {
            self.graph.edges.entry((&from.file, &to.file)).or_insert_with(|| Edge {
                from: &from.file,
                to: &to.file,
                from_module: &from.top,
                to_module: &to.top,
                name: path.join("::"),
                line,
            });
        }
    }

    /// Paths in the arguments of a macro, which are tokens only.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.add_token_path(&path, line);
                        path.clear();
                    }
                    line = ident.span().start().line;
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.add_tokens(group.stream());
                    colons = 0;
                }
                _ => colons = 0,
            }
        }
        self.add_token_path(&path, line);
    }

    /// A single lowercase word is more likely a variable than a function.
    fn add_token_path(&mut self, path: &[String], line: usize) {
        if path.len() > 1 || path.first().is_some_and(|name| name.starts_with(char::is_uppercase)) {
            self.add(path, line);
        }
    }
}

impl<'ast> Visit<'ast> for UsedNames<'_, '_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_test(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_use(&mut self, import: &'ast syn::ItemUse) {
        if !is_re_export(import) && import.leading_colon.is_none() {
            for (path, _) in flatten(&import.tree) {
                self.add(&path, import.use_token.span.start().line);
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            let line = path.segments.first().map_or(0, |segment| segment.ident.span().start().line);
            self.add(&names, line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        visit::visit_macro(self, call);
        self.add_tokens(call.tokens.clone());
    }
}
