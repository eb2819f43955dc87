//! The modules of one target, parsed, and the resolution of paths between them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use syn::{Attribute, Item, UseTree, Visibility};

/// Imports and globs that refer to each other end here.
const MAX_DEPTH: usize = 16;

/// All modules of a target; the first is the root.
pub(super) struct ModuleTree {
    pub(super) modules: Vec<Module>,
}

pub(super) struct Module {
    pub(super) file: PathBuf,
    /// The child of the root that contains this module; empty for the root.
    pub(super) top: String,
    pub(super) items: Vec<Item>,
    parent: usize,
    names: BTreeMap<String, Vec<Meaning>>,
    globs: Vec<Vec<String>>,
}

/// The meanings of a name in its module.
#[derive(Debug)]
enum Meaning {
    Module(usize),
    Item,
    Import(Vec<String>),
}

/// The end of a resolved path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Definition {
    Module(usize),
    /// An item defined in this module.
    ItemOf(usize),
}

impl ModuleTree {
    pub(super) fn load(root: &Path) -> Result<Self, String> {
        let mut tree = Self { modules: Vec::new() };
        let directory = root.parent().unwrap_or(Path::new("")).to_owned();
        tree.add(root.to_owned(), directory, parse(root)?, 0, String::new())?;
        Ok(tree)
    }

    pub(super) fn has_top_module(&self, name: &str) -> bool {
        self.modules.iter().any(|module| module.top == name)
    }

    /// Adds a module and its children, and returns its index.
    fn add(
        &mut self,
        file: PathBuf,
        directory: PathBuf,
        items: Vec<Item>,
        parent: usize,
        top: String,
    ) -> Result<usize, String> {
        let index = self.modules.len();
        let (names, globs) = (BTreeMap::new(), Vec::new());
        self.modules.push(Module { file: file.clone(), top, items: Vec::new(), parent, names, globs });
        for item in items.into_iter().filter(|item| !is_test(attributes(item))) {
            match item {
                Item::Mod(child) => {
                    let name = child.ident.to_string();
                    let top = match self.modules[index].top.as_str() {
                        "" => name.clone(),
                        top => top.to_owned(),
                    };
                    let (file, items) = match child.content {
                        Some((_, items)) => (file.clone(), items),
                        None => {
                            let file = child_file(&directory, &name);
                            let items = parse(&file)?;
                            (file, items)
                        }
                    };
                    let child = self.add(file, directory.join(&name), items, index, top)?;
                    self.modules[index].name(name, Meaning::Module(child));
                }
                Item::Use(import) => {
                    for (path, name) in flatten(&import.tree) {
                        match name {
                            Some(name) => self.modules[index].name(name, Meaning::Import(path)),
                            None => self.modules[index].globs.push(path),
                        }
                    }
                    self.modules[index].items.push(Item::Use(import));
                }
                item => {
                    if let Some(name) = item_name(&item) {
                        self.modules[index].name(name, Meaning::Item);
                    }
                    self.modules[index].items.push(item);
                }
            }
        }
        Ok(index)
    }

    /// The definition a path leads to, seen from a module; none for a path into another crate.
    pub(super) fn resolve(&self, from: usize, path: &[String]) -> Option<Definition> {
        self.resolve_within(from, path, 0)
    }

    fn resolve_within(&self, from: usize, path: &[String], depth: usize) -> Option<Definition> {
        let mut found = Definition::Module(from);
        let mut rest = path;
        while let (Definition::Module(module), Some((name, tail))) = (found, rest.split_first()) {
            found = match name.as_str() {
                "crate" => Definition::Module(0),
                "self" => found,
                "super" => Definition::Module(self.modules[module].parent),
                name => self.look_up(module, name, !tail.is_empty(), depth + 1)?,
            };
            rest = tail;
        }
        Some(found)
    }

    /// A name in a module. Modules share names with functions; the one that fits the path is taken.
    fn look_up(&self, module: usize, name: &str, as_module: bool, depth: usize) -> Option<Definition> {
        if depth > MAX_DEPTH {
            return None;
        }
        let this = &self.modules[module];
        let own = this.names.get(name).into_iter().flatten();
        let mut found: Vec<Definition> = own
            .filter_map(|name| match name {
                Meaning::Module(child) => Some(Definition::Module(*child)),
                Meaning::Item => Some(Definition::ItemOf(module)),
                Meaning::Import(path) => self.resolve_within(module, path, depth + 1),
            })
            .collect();
        found.sort_by_key(|found| matches!(found, Definition::Module(_)) != as_module);
        found.first().copied().or_else(|| {
            this.globs.iter().find_map(|glob| match self.resolve_within(module, glob, depth + 1)? {
                Definition::Module(other) if other != module => {
                    self.look_up(other, name, as_module, depth + 1)
                }
                _ => None,
            })
        })
    }
}

impl Module {
    fn name(&mut self, name: String, meaning: Meaning) {
        self.names.entry(name).or_default().push(meaning);
    }
}

/// The paths of a `use`, each with the name it introduces; none for a glob.
pub(super) fn flatten(tree: &UseTree) -> Vec<(Vec<String>, Option<String>)> {
    match tree {
        UseTree::Path(path) => {
            let module = path.ident.to_string();
            let mut paths = flatten(&path.tree);
            for (tail, name) in &mut paths {
                if tail == &["self"] && name.as_deref() == Some("self") {
                    *name = Some(module.clone());
                }
                tail.insert(0, module.clone());
            }
            paths
        }
        UseTree::Name(name) => vec![(vec![name.ident.to_string()], Some(name.ident.to_string()))],
        UseTree::Rename(name) => vec![(vec![name.ident.to_string()], Some(name.rename.to_string()))],
        UseTree::Glob(_) => vec![(Vec::new(), None)],
        UseTree::Group(group) => group.items.iter().flat_map(flatten).collect(),
    }
}

/// An attribute list with `#[cfg(test)]`.
pub(super) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

/// The attributes of an item that may be part of the tests.
pub(super) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// A `use` that hands names on, to the crate or beyond it.
pub(super) fn is_re_export(import: &syn::ItemUse) -> bool {
    !matches!(import.vis, Visibility::Inherited)
}

fn item_name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

/// The file of `mod name;`. `#[path]` is not supported.
fn child_file(directory: &Path, name: &str) -> PathBuf {
    let mod_file = directory.join(name).join("mod.rs");
    if mod_file.is_file() { mod_file } else { directory.join(format!("{name}.rs")) }
}

fn parse(file: &Path) -> Result<Vec<Item>, String> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let parsed =
        syn::parse_file(&text).map_err(|error| format!("cannot parse {}: {error}", file.display()))?;
    Ok(parsed.items)
}
