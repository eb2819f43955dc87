//! The corpus: no input makes its target panic, and at least one is accepted, so that fuzzing
//! starts behind the first check.

use std::fs;
use std::path::Path;

use symbolon_fuzz::TARGETS;

#[test]
fn corpus_reaches_behind_the_first_check() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut unreached = Vec::new();
    for target in TARGETS {
        let corpus = folder.join("corpus").join(target.name);
        let mut is_accepted = false;
        for file in fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display())) {
            is_accepted |= (target.run)(&fs::read(file.unwrap().path()).unwrap());
        }
        unreached.extend((!is_accepted).then_some(target.name));
        let dictionary = folder.join("dictionaries").join(target.name).with_extension("dict");
        assert!(dictionary.is_file(), "{} is missing", dictionary.display());
    }
    assert!(unreached.is_empty(), "no input of {unreached:?} is accepted");
}

#[test]
fn each_target_has_a_binary() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    let mut binaries: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    binaries.sort();
    let names: Vec<_> = binaries.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, TARGETS.map(|target| target.name));
    for (path, target) in binaries.iter().zip(&TARGETS) {
        assert!(fs::read_to_string(path).unwrap().contains(&format!("run(\"{}\", input)", target.name)));
    }
}
