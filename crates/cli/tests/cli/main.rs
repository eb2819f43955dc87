//! The command, as other programs meet it: run, with its output read.

#![cfg(test)]

mod app_token;
mod call;
mod demo;
mod emulate;
mod exec;
mod inspect;
mod manual;
mod progress;
mod run;
mod serve;
mod token;
mod usage;
