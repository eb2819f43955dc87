//! Credential chains: scripts in place of the developer tools, the emulator, and a scripted
//! transport.

#![cfg(test)]
#![cfg(unix)]

mod bound;
mod links;
mod named;
mod tool_folder;
mod tools;
