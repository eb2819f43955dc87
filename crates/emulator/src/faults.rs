//! Scripted faults: their definition, the queue of those still to happen, and their file format.

mod fault;
mod fault_table;
pub(crate) mod file;
mod host_table;
mod queue;
mod value;

pub use self::fault::{CertificateFault, Fault};
pub(crate) use self::fault::{FaultEffect, FaultLimit};
pub(crate) use self::queue::{FaultQueue, QueuedFault};
