//! Who may depend on what: ARCHITECTURE.md as data.
//!
//! `deny.toml` repeats the walls around third-party crates for the whole graph; a change here
//! usually belongs there too.

/// A member of the workspace and the members it may depend on (normal and build dependencies).
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) name: &'static str,
    pub(super) may_depend_on: &'static [&'static str],
}

/// Third-party crates that only some members may name (normal and build dependencies).
#[derive(Debug)]
pub(super) struct Wall {
    pub(super) around: &'static [&'static str],
    pub(super) only_in: &'static [&'static str],
    pub(super) reason: &'static str,
}

/// What must not be reachable from a member with its default features.
#[derive(Debug)]
pub(super) struct Closure {
    pub(super) of: &'static str,
    pub(super) never: &'static [&'static str],
    pub(super) reason: &'static str,
}

/// A crate that must not be reachable from any published member with any feature.
#[derive(Debug)]
pub(super) struct Ban {
    pub(super) name: &'static str,
    pub(super) reason: &'static str,
}

pub(super) const LAYERS: &[Layer] = &[
    Layer { name: "symbolon-types", may_depend_on: &[] },
    Layer { name: "symbolon-transport", may_depend_on: &["symbolon-types"] },
    Layer { name: "symbolon-hyper", may_depend_on: &["symbolon-types", "symbolon-transport"] },
    Layer { name: "symbolon-token", may_depend_on: &["symbolon-types", "symbolon-transport"] },
    Layer { name: "symbolon-binding", may_depend_on: &["symbolon-types", "symbolon-transport"] },
    Layer {
        name: "symbolon",
        may_depend_on: &[
            "symbolon-types",
            "symbolon-transport",
            "symbolon-hyper",
            "symbolon-token",
            "symbolon-binding",
        ],
    },
    Layer { name: "symbolon-pkcs11", may_depend_on: &["symbolon-types", "symbolon-binding"] },
    Layer { name: "symbolon-tpm", may_depend_on: &["symbolon-types", "symbolon-binding"] },
    Layer { name: "symbolon-emulator", may_depend_on: &["symbolon-types"] },
    Layer { name: "symbolon-agent", may_depend_on: &["symbolon"] },
    Layer { name: "symbolon-cli", may_depend_on: &["symbolon", "symbolon-agent", "symbolon-emulator"] },
    Layer {
        name: "symbolon-tests",
        may_depend_on: &[
            "symbolon-types",
            "symbolon-transport",
            "symbolon-hyper",
            "symbolon-token",
            "symbolon-binding",
            "symbolon",
            "symbolon-emulator",
            "symbolon-agent",
            "symbolon-cli",
            "symbolon-pkcs11",
            "symbolon-tpm",
            "symbolon-test-programs",
            "symbolon-test-logs",
        ],
    },
    Layer { name: "symbolon-test-programs", may_depend_on: &["symbolon-types"] },
    Layer { name: "symbolon-test-logs", may_depend_on: &[] },
    Layer { name: "xtask", may_depend_on: &[] },
];

pub(super) const WALLS: &[Wall] = &[
    Wall {
        around: &["hyper", "hyper-util"],
        only_in: &["symbolon-hyper", "symbolon-emulator", "symbolon-agent"],
        reason: "HTTP lives in the default transport, and in the two that serve it: the emulator and the agent; the rest speaks `Transport`",
    },
    Wall {
        around: &["hyper-rustls", "rustls", "tokio-rustls"],
        only_in: &["symbolon-hyper", "symbolon-emulator"],
        reason: "TLS lives in the default transport and in the emulator",
    },
    Wall {
        around: &["x509-cert", "der"],
        only_in: &["symbolon-types", "symbolon-binding"],
        reason: "certificates are read once, in `ClientIdentity`, and written once, in the minter",
    },
    Wall {
        around: &["rcgen", "x509-parser", "jsonwebtoken"],
        only_in: &["symbolon-emulator"],
        reason: "the other side of the wire shares no code with ours, so that a mistake shows",
    },
    Wall {
        around: &["pkcs8", "cbc", "des", "rc2"],
        only_in: &["symbolon-hyper"],
        reason: "encrypted keys are read where identities come from files, with ciphers that are for nothing else",
    },
    Wall {
        around: &["aws-lc-rs"],
        // The tests are key providers too: of keys that do not leave a process, as hardware has them.
        only_in: &["symbolon-binding", "symbolon-hyper", "symbolon-emulator", "symbolon-tests"],
        reason: "a key is a `SigningKey`; only key providers and TLS know who computes",
    },
    Wall {
        around: &["cryptoki"],
        only_in: &["symbolon-pkcs11"],
        reason: "it loads foreign code into the process: for those who ask for it",
    },
    Wall {
        around: &["p256"],
        only_in: &["symbolon-binding"],
        reason: "the pure Rust P-256 key provider is one of the minter's",
    },
];

pub(super) const CLOSURES: &[Closure] = &[
    Closure {
        of: "symbolon",
        never: &["symbolon-pkcs11", "symbolon-tpm", "cryptoki"],
        reason: "who has no device for keys does not build what talks to one",
    },
    Closure {
        of: "symbolon-token",
        never: &[
            "hyper",
            "hyper-util",
            "hyper-rustls",
            "rustls",
            "tokio-rustls",
            "symbolon",
            "symbolon-binding",
            "symbolon-emulator",
            "symbolon-hyper",
        ],
        reason: "the core alone is enough for a confidential client that brings its transport",
    },
    Closure {
        of: "symbolon-transport",
        never: &["hyper", "hyper-util", "hyper-rustls", "rustls", "tokio-rustls"],
        reason: "a transport of another make must not pull in ours",
    },
    Closure {
        of: "symbolon-hyper",
        never: &["pkcs8", "pkcs5", "cbc", "des", "rc2"],
        reason: "who has no encrypted files does not build what opens them",
    },
];

pub(super) const BANS: &[Ban] = &[
    Ban { name: "ring", reason: "one cryptographic library, aws-lc-rs, is enough to build and to audit" },
    Ban { name: "openssl", reason: "no system library decides what our TLS does" },
    Ban { name: "openssl-sys", reason: "no system library decides what our TLS does" },
    Ban { name: "native-tls", reason: "it cannot sign with a key that is not exportable" },
];
