//! The command, as other programs meet it: run, with its output read.

#![cfg(test)]

mod app_token;
mod call;
mod demo;
mod doctor;
mod emulate;
mod environment;
#[cfg(unix)]
mod exec;
mod failure;
mod global;
mod inspect;
mod manual;
mod origin;
mod progress;
mod run;
#[cfg(unix)]
mod serve;
mod token;
mod token_json;
mod usage;
