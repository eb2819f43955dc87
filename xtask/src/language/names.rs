//! The names of types and tests.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{Attribute, Ident, Item, ItemEnum, ItemFn, ItemStruct, ItemTrait, ItemType};

use crate::source::SourceFile;

/// Longest name of a test, without the row it begins with.
pub(super) const LONGEST_TEST: usize = 45;

#[derive(Debug, Default)]
pub(super) struct NameIndex {
    /// The places where each type name is defined, at most one in a file.
    types: BTreeMap<String, BTreeSet<String>>,
    /// Tests with their places.
    tests: Vec<(String, String)>,
}

pub(super) fn all(files: &[SourceFile]) -> Result<NameIndex, String> {
    let mut names = NameIndex::default();
    for file in files.iter().filter(|file| file.is_rust()) {
        let parsed =
            syn::parse_file(&file.text).map_err(|error| format!("cannot parse {}: {error}", file.path))?;
        FileNames { file, names: &mut names }.visit_file(&parsed);
    }
    Ok(names)
}

impl NameIndex {
    /// The number of different type names.
    pub(super) fn types(&self) -> usize {
        self.types.len()
    }

    /// A line for each type name with more than one definition, the most frequent first.
    pub(super) fn ambiguous_types(&self) -> Vec<String> {
        let mut found: Vec<_> = self.types.iter().filter(|(_, places)| places.len() > 1).collect();
        found.sort_by_key(|(_, places)| std::cmp::Reverse(places.len()));
        let places = |places: &BTreeSet<String>| places.iter().cloned().collect::<Vec<_>>().join(" ");
        found.into_iter().map(|(name, found)| format!("{name}: {}", places(found))).collect()
    }

    pub(super) fn long_tests(&self) -> Vec<String> {
        let length = |name: &str| without_row(name).chars().count();
        let mut found: Vec<_> = self.tests.iter().filter(|(name, _)| length(name) > LONGEST_TEST).collect();
        found.sort_by_key(|(name, _)| std::cmp::Reverse(length(name)));
        found.into_iter().map(|(name, place)| format!("{place}: {} in {name}", length(name))).collect()
    }
}

/// A test name without `del_04_` or `bind_04_to_06_`.
fn without_row(name: &str) -> &str {
    let row = |rest: &'_ str| {
        let (number, rest) = rest.split_once('_')?;
        (number.len() == 2 && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(rest.len())
    };
    let Some(mut left) = name.split_once('_').and_then(|(_, rest)| row(rest)) else { return name };
    if let Some(rest) = name[name.len() - left..].strip_prefix("to_") {
        left = row(rest).unwrap_or(left);
    }
    &name[name.len() - left..]
}

struct FileNames<'a> {
    file: &'a SourceFile,
    names: &'a mut NameIndex,
}

impl FileNames<'_> {
    fn type_name(&mut self, ident: &Ident) {
        if self.file.path.contains("/src/") && !self.file.path.starts_with("tests/") {
            let place = self.place(ident);
            let places = self.names.types.entry(ident.to_string()).or_default();
            // Alternatives of one type under different `cfg` stand in one file.
            if !places.iter().any(|place| place.starts_with(&format!("{}:", self.file.path))) {
                places.insert(place);
            }
        }
    }

    fn place(&self, ident: &Ident) -> String {
        format!("{}:{}", self.file.path, ident.span().start().line)
    }
}

impl<'ast> Visit<'ast> for FileNames<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Struct(ItemStruct { ident, .. })
            | Item::Enum(ItemEnum { ident, .. })
            | Item::Trait(ItemTrait { ident, .. })
            | Item::Type(ItemType { ident, .. }) => self.type_name(ident),
            Item::Fn(ItemFn { attrs, sig, .. }) => {
                let is_test = |attribute: &Attribute| {
                    attribute.path().segments.last().is_some_and(|segment| segment.ident == "test")
                };
                if attrs.iter().any(is_test) {
                    self.names.tests.push((sig.ident.to_string(), self.place(&sig.ident)));
                }
            }
            _ => {}
        }
        visit::visit_item(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_prefix_does_not_count() {
        for (name, rest) in [
            ("del_04_invalid_client", "invalid_client"),
            ("bind_04_to_06_refused", "refused"),
            ("life_01_10_minutes", "10_minutes"),
            ("expired_token_is_renewed", "expired_token_is_renewed"),
            ("a_100_callers", "a_100_callers"),
        ] {
            assert_eq!(without_row(name), rest);
        }
    }

    #[test]
    fn types_and_tests_are_collected() {
        let text = "struct A; enum B {} mod m { struct A; }\n#[tokio::test(flavor = \"x\")]\nasync fn t() { struct C; }\nfn u() {}";
        let file = |path: &str| SourceFile { path: path.to_owned(), text: text.to_owned() };
        let one = all(&[file("crates/a/src/lib.rs"), file("tests/src/lib.rs")]).expect("sources that parse");
        assert_eq!((one.types(), one.tests.len()), (3, 2));
        assert!(one.ambiguous_types().is_empty());
        let two =
            all(&[file("crates/a/src/lib.rs"), file("crates/b/src/lib.rs")]).expect("sources that parse");
        assert_eq!(two.ambiguous_types()[0], "A: crates/a/src/lib.rs:1 crates/b/src/lib.rs:1");
    }
}
