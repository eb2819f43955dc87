//! A chain of credentials: real child processes that stand for the tools of developers, the emulator, and a
//! scripted transport for hosts that are not there.

#![cfg(test)]
#![cfg(unix)]

mod bound;
mod lab;
mod links;
mod named;
mod tools;
