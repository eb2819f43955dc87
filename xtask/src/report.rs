//! The results of a list of checks, printed as they come.

use std::fmt::Display;

/// Counts violations and prints each check with the first of them.
#[derive(Debug)]
pub(crate) struct Checklist<'a> {
    /// Violations printed for each check.
    limit: usize,
    /// Text that a violation must contain to be printed.
    naming: &'a str,
    violations: usize,
}

impl<'a> Checklist<'a> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, naming: "", violations: 0 }
    }

    /// Prints only violations that contain `text`.
    pub(crate) fn naming(self, text: Option<&'a str>) -> Self {
        Self { naming: text.unwrap_or_default(), ..self }
    }

    /// A check that fails on any violation.
    pub(crate) fn checked<V: Display>(&mut self, subject: impl Display, violations: &[V]) {
        self.tolerating(subject, 0, violations);
    }

    /// A check that fails on more than `tolerated` violations.
    pub(crate) fn tolerating<V: Display>(&mut self, subject: impl Display, tolerated: usize, found: &[V]) {
        let failed = found.len() > tolerated;
        println!("{:<6} {subject}", if failed { "FAILED" } else { "ok" });
        if failed {
            self.violations += found.len();
            let lines = found.iter().map(ToString::to_string);
            let lines: Vec<String> = lines.filter(|line| line.contains(self.naming)).collect();
            lines.iter().take(self.limit).for_each(|line| println!("       {line}"));
            if lines.len() > self.limit {
                println!("       and {} more", lines.len() - self.limit);
            }
        }
    }

    pub(crate) fn verdict(&self) -> Result<(), String> {
        match self.violations {
            0 => Ok(()),
            1 => Err("1 violation".to_owned()),
            n => Err(format!("{n} violations")),
        }
    }
}
