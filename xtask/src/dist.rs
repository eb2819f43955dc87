//! Packages of the command: a Debian package, and the folder of a container image.
//!
//! Both are made from a command that is compiled already, so that continuous integration packages
//! the one that its tests have built. Their files are in `crates/cli/packaging`.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use clap::{Args, Subcommand};

use crate::invocation::Invocation;
use crate::metadata::Metadata;

const PACKAGING: &str = "crates/cli/packaging";
const COMMAND: &str = "usr/bin/symbolon";
const DOCUMENTATION: &str = "usr/share/doc/symbolon";
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Files and folders of the repository, and their places in the Debian package.
const FILES: [(&str, &str); 10] = [
    ("crates/cli/packaging/systemd/symbolon-agent.service", "usr/lib/systemd/system/symbolon-agent.service"),
    ("crates/cli/packaging/systemd/symbolon-agent.socket", "usr/lib/systemd/system/symbolon-agent.socket"),
    (
        "crates/cli/packaging/systemd/symbolon-proxy@.service",
        "usr/lib/systemd/system/symbolon-proxy@.service",
    ),
    ("crates/cli/packaging/systemd/symbolon-proxy@.socket", "usr/lib/systemd/system/symbolon-proxy@.socket"),
    ("crates/cli/packaging/systemd/sysusers.conf", "usr/lib/sysusers.d/symbolon.conf"),
    ("crates/cli/packaging/systemd/tmpfiles.conf", "usr/lib/tmpfiles.d/symbolon.conf"),
    ("crates/cli/packaging/etc/agent.conf", "etc/symbolon/agent.conf"),
    ("crates/cli/packaging/etc/proxy.toml", "usr/share/doc/symbolon/examples/proxy.toml"),
    ("crates/cli/packaging/kubernetes", "usr/share/doc/symbolon/examples/kubernetes"),
    ("crates/cli/packaging/debian/copyright", "usr/share/doc/symbolon/copyright"),
];
/// Pages of the repository, and their places in the folder of the documentation.
const PAGES: [(&str, &str); 4] = [
    ("docs/operator", "operator"),
    ("docs/guide/handover.md", "guide/handover.md"),
    ("crates/cli/README.md", "README.md"),
    ("TROUBLESHOOTING.md", "TROUBLESHOOTING.md"),
];
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];
/// Shells, and the places of their completions.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/symbolon"),
    ("zsh", "usr/share/zsh/vendor-completions/_symbolon"),
    ("fish", "usr/share/fish/vendor_completions.d/symbolon.fish"),
];

/// Package a compiled command
#[derive(Debug, Args)]
pub(crate) struct DistArgs {
    #[command(subcommand)]
    kind: DistKind,
}

#[derive(Debug, Subcommand)]
enum DistKind {
    /// A Debian package for this architecture; prints its path
    Deb {
        #[command(flatten)]
        places: Places,
        /// Level of xz, 0 to 9
        #[arg(long, default_value_t = 6)]
        level: u8,
    },
    /// A folder to build a container image from, for this architecture
    Image(Places),
}

#[derive(Debug, Args)]
struct Places {
    /// The compiled command, for example target/release/symbolon
    #[arg(long, value_name = "FILE")]
    binary: PathBuf,
    /// Folder for the package, replaced if it exists
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(crate) fn run(arguments: &DistArgs, metadata: &Metadata) -> Result<(), String> {
    let places = match &arguments.kind {
        DistKind::Deb { places, .. } | DistKind::Image(places) => places,
    };
    let failed = |error: io::Error| format!("cannot write to {}: {error}", places.out.display());
    match fs::remove_dir_all(&places.out) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => fs::create_dir_all(&places.out).map_err(failed)?,
    }
    match &arguments.kind {
        DistKind::Deb { places, level } => Deb::new(places, metadata)?.build(*level),
        DistKind::Image(places) => image(places),
    }
}

/// A Debian package and the folder that its files are collected in.
struct Deb<'a> {
    out: &'a Path,
    tree: PathBuf,
    version: String,
    architecture: String,
    /// The time of the last entry of the changelog: the time of all files.
    epoch: String,
}

impl<'a> Deb<'a> {
    fn new(places: &'a Places, metadata: &Metadata) -> Result<Self, String> {
        let version = metadata.members().find(|package| package.name == "symbolon-cli");
        let version = version.map(|package| package.version.clone()).ok_or("no package symbolon-cli")?;
        let changelog = format!("{PACKAGING}/debian/changelog");
        let text = read(&changelog)?;
        if !text.starts_with(&format!("symbolon ({version}) ")) {
            return Err(format!("{changelog} does not begin with version {version}"));
        }
        let date = text.lines().find_map(|line| line.strip_prefix(" -- ")?.split_once(">  "));
        let (_, date) = date.ok_or_else(|| format!("{changelog} has no date"))?;
        let deb = Self {
            out: &places.out,
            tree: places.out.join("tree"),
            version,
            architecture: line_of("dpkg", ["--print-architecture"])?,
            epoch: line_of("date", ["--utc", "+%s", "--date", date])?,
        };
        deb.collect(&places.binary)?;
        Ok(deb)
    }

    /// Collects all files that are installed.
    fn collect(&self, binary: &Path) -> Result<(), String> {
        install_command(binary, &self.tree)?;
        for (source, target) in FILES {
            copy(Path::new(source), &self.tree.join(target))?;
        }
        let binary = text_of(binary);
        let pages = self.tree.join("usr/share/man/man1");
        Invocation::new("env", [binary.as_str(), "man", "--out", &text_of(&pages)]).run()?;
        for (shell, target) in COMPLETIONS {
            let script = Invocation::new("env", [binary.as_str(), "completions", shell]).output()?;
            write(&self.tree.join(target), &script)?;
        }
        let changelog = self.tree.join(DOCUMENTATION).join("changelog");
        copy(Path::new(&format!("{PACKAGING}/debian/changelog")), &changelog)?;
        install_pages(&self.tree.join(DOCUMENTATION))?;
        let pages = files_below(&pages)?;
        let compressed = pages.iter().chain([&changelog]).map(|file| text_of(file));
        Invocation::new("gzip", ["-9n"]).args(compressed).run()
    }

    fn build(&self, level: u8) -> Result<(), String> {
        let files = files_below(&self.tree)?;
        let size = files.iter().map(|file| file.metadata().map_or(0, |found| found.len())).sum::<u64>();
        let tree = text_of(&self.tree);
        let relative = files.iter().filter_map(|file| Some(text_of(file.strip_prefix(&self.tree).ok()?)));
        let relative = relative.collect::<Vec<_>>();
        let sums = Invocation::new("env", ["-C", &tree, "md5sum"]).args(relative.clone()).output()?;
        let configuration = relative.iter().filter(|file| file.starts_with("etc/"));
        let configuration = configuration.map(|file| format!("/{file}\n")).collect::<String>();
        let control = read(&format!("{PACKAGING}/debian/control"))?
            .replace("@VERSION@", &self.version)
            .replace("@ARCHITECTURE@", &self.architecture)
            .replace("@SIZE@", &size.div_ceil(1024).to_string())
            .replace("@DEPENDS@", &self.dependencies()?);
        let meta = self.tree.join("DEBIAN");
        for (name, content) in [("control", control), ("conffiles", configuration), ("md5sums", sums)] {
            write(&meta.join(name), &content)?;
        }
        for script in SCRIPTS {
            write(&meta.join(script), &read(&format!("{PACKAGING}/debian/{script}"))?)?;
            set_mode(&meta.join(script), 0o755)?;
        }
        let package = format!("symbolon_{}_{}.deb", self.version, self.architecture);
        let package = text_of(&self.out.join(package));
        Invocation::new("env", [&format!("SOURCE_DATE_EPOCH={}", self.epoch), "dpkg-deb"])
            .args(["--root-owner-group", "-Zxz", &format!("-z{level}"), "--build", &tree, &package])
            .run()
    }

    /// Returns the packages with the libraries that the command links.
    fn dependencies(&self) -> Result<String, String> {
        // `dpkg-shlibdeps` reads the name of the package.
        let source = "Source: symbolon\n\nPackage: symbolon\nArchitecture: any\n";
        write(&self.out.join("debian/control"), source)?;
        let scan = ["-C", &text_of(self.out), "dpkg-shlibdeps", "-O", &format!("tree/{COMMAND}")];
        let printed = Invocation::new("env", scan).output()?;
        let dependencies = printed.lines().find_map(|line| line.strip_prefix("shlibs:Depends="));
        dependencies.map(str::to_owned).ok_or_else(|| format!("no dependencies in `{printed}`"))
    }
}

/// Prepares the folder of an image: the command, its libraries and root certificates.
fn image(places: &Places) -> Result<(), String> {
    let root = places.out.join("root");
    install_command(&places.binary, &root)?;
    let linked = Invocation::new("ldd", [text_of(&places.binary)]).output()?;
    for library in libraries(&linked)? {
        let target = root.join(library.trim_start_matches('/'));
        copy(Path::new(library), &target)?;
        set_mode(&target, 0o755)?;
    }
    copy(Path::new(ROOTS), &root.join(ROOTS.trim_start_matches('/')))?;
    // A place for a volume.
    create_parent(&root.join("tmp/file"))?;
    set_mode(&root.join("tmp"), 0o1777)?;
    write(&root.join("etc/passwd"), "nonroot:x:65532:65532::/:/sbin/nologin\n")?;
    write(&root.join("etc/group"), "nonroot:x:65532:\n")?;
    let copyright = Path::new("usr/share/doc/symbolon/copyright");
    copy(Path::new(&format!("{PACKAGING}/debian/copyright")), &root.join(copyright))?;
    for library in ["libc6", "libgcc-s1"] {
        let copyright = format!("usr/share/doc/{library}/copyright");
        copy(&Path::new("/").join(&copyright), &root.join(&copyright))?;
    }
    copy(Path::new(&format!("{PACKAGING}/container/Containerfile")), &places.out.join("Containerfile"))
}

/// The paths in the output of `ldd`.
fn libraries(linked: &str) -> Result<Vec<&str>, String> {
    let mut paths = Vec::new();
    for line in linked.lines().map(str::trim) {
        let name = line.rsplit_once(" (").map_or(line, |(name, _)| name);
        let path = name.rsplit_once("=> ").map_or(name, |(_, path)| path);
        if path.starts_with('/') {
            paths.push(path);
        } else if line.contains("not found") {
            return Err(format!("a library is missing: {line}"));
        }
    }
    Ok(paths)
}

fn install_command(binary: &Path, root: &Path) -> Result<(), String> {
    let target = root.join(COMMAND);
    create_parent(&target)?;
    Invocation::new("strip", ["--strip-unneeded", "-o", &text_of(&target), &text_of(binary)]).run()?;
    set_mode(&target, 0o755)
}

/// Installs the pages, with links to the places of the others. A link to a page that is not
/// installed becomes its text.
fn install_pages(folder: &Path) -> Result<(), String> {
    let mut places = Vec::new();
    for (source, target) in PAGES {
        let (source, target) = (Path::new(source), Path::new(target));
        match source.is_dir() {
            false => places.push((source.to_owned(), target.to_owned())),
            true => places.extend(files_below(source)?.into_iter().map(|page| {
                let target = target.join(page.file_name().unwrap_or_default());
                (page, target)
            })),
        }
    }
    for (source, target) in &places {
        let link = |link: &str| {
            if link.contains("://") || link.starts_with('#') {
                return Some(link.to_owned());
            }
            let (path, heading) = link.find('#').map_or((link, ""), |at| link.split_at(at));
            let linked = resolved(&source.parent()?.join(path));
            let (_, place) = places.iter().find(|(source, _)| *source == linked)?;
            let up = "../".repeat(target.components().count() - 1);
            Some(format!("{up}{}{heading}", place.display()))
        };
        write(&folder.join(target), &with_links(&read(&text_of(source))?, link))?;
    }
    Ok(())
}

/// Returns a path without `.` and `..`.
fn resolved(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                resolved.pop();
            }
            Component::CurDir => {}
            other => resolved.push(other),
        }
    }
    resolved
}

/// Replaces the links of a page. `None`: the text of the link takes its place.
fn with_links(page: &str, link: impl Fn(&str) -> Option<String>) -> String {
    let mut replaced = String::with_capacity(page.len());
    let mut rest = page;
    while let Some((before, (target, after))) =
        rest.split_once("](").and_then(|(before, after)| Some((before, after.split_once(')')?)))
    {
        match (link(target), before.rsplit_once('[')) {
            (None, Some((before, text))) => replaced.extend([before, text]),
            (target_or_none, _) => {
                let target = target_or_none.as_deref().unwrap_or(target);
                replaced.extend([before, "](", target, ")"]);
            }
        }
        rest = after;
    }
    replaced + rest
}

/// Copies a file, or the files of a folder, for all users to read.
fn copy(source: &Path, target: &Path) -> Result<(), String> {
    let failed = |error| format!("cannot copy {} to {}: {error}", source.display(), target.display());
    if source.is_dir() {
        return fs::read_dir(source).map_err(failed)?.try_for_each(|entry| {
            let name = entry.map_err(failed)?.file_name();
            copy(&source.join(&name), &target.join(&name))
        });
    }
    create_parent(target)?;
    fs::copy(source, target).map_err(failed)?;
    set_mode(target, 0o644)
}

fn write(target: &Path, content: &str) -> Result<(), String> {
    create_parent(target)?;
    fs::write(target, content).map_err(|error| format!("cannot write {}: {error}", target.display()))?;
    set_mode(target, 0o644)
}

/// Creates the folders above a file, for all users to read.
fn create_parent(target: &Path) -> Result<(), String> {
    let folder = target.parent().unwrap_or(target);
    let missing = folder.ancestors().take_while(|folder| !folder.exists()).collect::<Vec<_>>();
    fs::create_dir_all(folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    missing.into_iter().try_for_each(|folder| set_mode(folder, 0o755))
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;

    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|error| format!("cannot set the mode of {}: {error}", path.display()))
}

/// Elsewhere, there are no packages.
#[cfg(not(unix))]
fn set_mode(_path: &Path, _mode: u32) -> Result<(), String> {
    Ok(())
}

/// The files below a folder, in the order of their paths.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error| format!("cannot read {}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        match path.is_dir() {
            true => files.extend(files_below(&path)?),
            false => files.push(path),
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))
}

fn line_of<'a>(
    program: &'static str,
    arguments: impl IntoIterator<Item = &'a str>,
) -> Result<String, String> {
    Ok(Invocation::new(program, arguments).output()?.trim().to_owned())
}

fn text_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_replaced() {
        let page = "[a](x.md#h) and [b](y.md), ![`c`](z.png)\n[d]: e";
        let link = |target: &str| target.starts_with('x').then(|| target.replace('x', "../w"));
        assert_eq!(with_links(page, link), "[a](../w.md#h) and b, !`c`\n[d]: e");
        assert_eq!(resolved(Path::new("docs/operator/../../crates/./cli")), Path::new("crates/cli"));
    }

    #[test]
    fn paths_are_read_from_ldd() {
        let linked = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(libraries(linked).as_deref(), Ok(&expected[..]));
        assert_eq!(libraries("\tstatically linked\n").as_deref(), Ok(&[][..]));
        let error = libraries("\tlibx.so.1 => not found\n");
        assert_eq!(error, Err("a library is missing: libx.so.1 => not found".to_owned()));
    }
}
