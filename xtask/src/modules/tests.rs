//! Small crates on disk, each with the violations that it must show.

use std::fs;

use super::violations_of;

/// Violations of a crate made of these files, with its directory left out.
fn violations(files: &[(&str, &str)], order: &[&str]) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }
    let order: Vec<String> = order.iter().map(ToString::to_string).collect();
    let found = violations_of(&directory.path().join("lib.rs"), &order).expect("sources that parse");
    let prefix = format!("{}/", directory.path().display());
    found.into_iter().map(|line| line.replace(&prefix, "")).collect()
}

const A_AND_B: (&str, &str) = ("lib.rs", "mod a; mod b; pub use a::A; pub(crate) use b::B;");
const CIRCLE: &str = "circle of 2 files: a.rs:1 -> b.rs";

#[test]
fn circle_is_found_however_it_is_written() {
    let users = [
        ("pub struct A(crate::b::B);", "crate::b::B"),
        ("pub struct A(crate::B);", "crate::B"),
        ("use super::b; pub struct A(b::B);", "b::B"),
        ("use super::*; pub struct A(B);", "B"),
        ("pub struct A; impl A { fn f() { println!(\"{}\", crate::b::f()) } }", "crate::b::f"),
        ("pub struct A; mod inner { use super::super::b::B as C; }", "super::super::b::B"),
    ];
    let b = ("b.rs", "pub struct B; pub fn f() -> u8 { let _: crate::A; 0 }");
    for (a, name) in users {
        let expected = format!("{CIRCLE} (`{name}`), b.rs:1 -> a.rs (`crate::A`)");
        assert_eq!(violations(&[A_AND_B, ("a.rs", a), b], &[]), [expected], "{a}");
    }
}

#[test]
fn no_circle_without_a_use_of_both() {
    let a = "pub struct A(crate::B);";
    for b in [
        "pub struct B;",
        "pub struct B; pub use crate::A;",
        "pub struct B; use crate::a;",
        "pub struct B; #[cfg(test)] mod tests { use crate::A; }",
        "pub struct B; use other::A;",
    ] {
        assert_eq!(violations(&[A_AND_B, ("a.rs", a), ("b.rs", b)], &[]), [""; 0], "{b}");
    }
}

#[test]
fn parent_and_child_make_a_circle() {
    let lib = "mod child; pub use child::Child; pub struct Shared; pub struct Parent(Child);";
    let child = ("child/mod.rs", "pub struct Child(super::Shared);");
    assert_eq!(
        violations(&[("lib.rs", lib), child], &[]),
        ["circle of 2 files: child/mod.rs:1 -> lib.rs (`super::Shared`), lib.rs:1 -> child/mod.rs (`Child`)"]
    );
}

#[test]
fn import_into_a_higher_module_is_found() {
    let files = [A_AND_B, ("a.rs", "pub struct A(crate::B);"), ("b.rs", "pub struct B;")];
    assert_eq!(violations(&files, &["b", "a"]), [""; 0]);
    assert_eq!(
        violations(&files, &["a", "b", "c"]),
        [
            "lib.rs: `c` of [package.metadata.layers] is no module",
            "a.rs:1 -> b.rs (`crate::B`): module `b` is above `a`",
        ]
    );
}
