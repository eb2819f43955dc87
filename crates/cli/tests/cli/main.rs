//! The command, as other programs meet it: run, with its output read.

#![cfg(test)]

mod app_token;
mod call;
mod demo;
mod doctor;
mod emulate;
#[cfg(unix)]
mod exec;
mod inspect;
mod manual;
mod progress;
mod run;
#[cfg(unix)]
mod serve;
mod token;
mod usage;
