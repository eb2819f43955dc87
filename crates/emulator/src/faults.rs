//! Scripted faults: their definition, the queue of those still to happen, and their file format.

pub(crate) mod fault;
mod fault_table;
pub(crate) mod file;
mod host_table;
pub(crate) mod queue;
mod value;
