//! The command, as other programs meet it: run, with its output read.

#![cfg(test)]

mod app_token;
mod call;
mod demo;
mod emulate;
mod inspect;
mod run;
mod token;
mod usage;
