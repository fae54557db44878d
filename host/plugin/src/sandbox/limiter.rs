//! Counts what an instance allocates, and remembers which limit it ran into.
//!
//! Invariant: memory and table elements are counted over the whole instance, not for each memory, so a
//! component of many small modules has no more than one of a single module.

use wasmtime::{ResourceLimiter, bail};

use super::limits::Limits;

/// A limit that was reached: its name in the job file and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitHit {
    /// As in the job file.
    pub name: &'static str,
    /// In the unit of its name.
    pub value: u64,
}

impl std::fmt::Display for LimitHit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} = {}", self.name, self.value)
    }
}

/// The limiter of one store.
pub struct StoreLimiter {
    memory_bytes: u64,
    memory_bytes_max: u64,
    memory_growth: u64,
    table_elements: u64,
    table_elements_max: u64,
    table_growth: u64,
    instances_max: usize,
    memories_max: usize,
    tables_max: usize,
    hit: Option<LimitHit>,
}

impl StoreLimiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        let count = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        Self {
            memory_bytes: 0,
            memory_bytes_max: limits.memory_bytes_max,
            memory_growth: 0,
            table_elements: 0,
            table_elements_max: limits.table_elements_max,
            table_growth: 0,
            instances_max: count(limits.instances_max),
            memories_max: count(limits.memories_max),
            tables_max: count(limits.tables_max),
            hit: None,
        }
    }

    /// Bytes of linear memory that the instance holds.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// The limit that the guest ran into, if it did.
    pub fn hit(&self) -> Option<LimitHit> {
        self.hit
    }
}

impl ResourceLimiter for StoreLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            // The module's own maximum: `memory.grow` answers −1, as it must.
            self.memory_growth = 0;
            return Ok(false);
        }
        let growth = desired.saturating_sub(current) as u64;
        let total = self.memory_bytes.saturating_add(growth);
        if total > self.memory_bytes_max {
            self.hit = Some(LimitHit {
                name: "memory-bytes-max",
                value: self.memory_bytes_max,
            });
            // NOTE: a trap here rather than −1 gives the place that asked for so much; hardly any
            // guest goes on after −1, most abort with a message that says less.
            bail!("linear memory would grow to {total} bytes");
        }
        self.memory_bytes = total;
        self.memory_growth = growth;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        // NOTE: also called after `Ok(false)`, when nothing was counted.
        self.memory_bytes -= std::mem::take(&mut self.memory_growth);
        tracing::debug!("growing a guest's memory failed: {error:#}");
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            self.table_growth = 0;
            return Ok(false);
        }
        let growth = desired.saturating_sub(current) as u64;
        let total = self.table_elements.saturating_add(growth);
        if total > self.table_elements_max {
            self.hit = Some(LimitHit {
                name: "table-elements-max",
                value: self.table_elements_max,
            });
            bail!("tables would grow to {total} elements");
        }
        self.table_elements = total;
        self.table_growth = growth;
        Ok(true)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.table_elements -= std::mem::take(&mut self.table_growth);
        tracing::debug!("growing a guest's table failed: {error:#}");
        Ok(())
    }

    fn instances(&self) -> usize {
        self.instances_max
    }

    fn tables(&self) -> usize {
        self.tables_max
    }

    fn memories(&self) -> usize {
        self.memories_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 65_536;

    fn limiter(pages: usize) -> StoreLimiter {
        StoreLimiter::new(&Limits {
            memory_bytes_max: (pages * PAGE) as u64,
            ..Limits::default()
        })
    }

    #[test]
    fn memories_of_an_instance_are_counted_together() {
        let mut limiter = limiter(4);
        assert!(limiter.memory_growing(0, 2 * PAGE, None).unwrap());
        assert!(limiter.memory_growing(0, 2 * PAGE, None).unwrap());
        let error = limiter.memory_growing(2 * PAGE, 3 * PAGE, None).unwrap_err();
        assert_eq!(error.to_string(), "linear memory would grow to 327680 bytes");
        assert_eq!(limiter.hit().unwrap().to_string(), "memory-bytes-max = 262144");
    }

    #[test]
    fn growth_beyond_the_modules_own_maximum_is_no_hit() {
        let mut limiter = limiter(4);
        assert!(!limiter.memory_growing(0, 2 * PAGE, Some(PAGE)).unwrap());
        assert_eq!(limiter.hit(), None);
        assert_eq!(limiter.memory_bytes(), 0);
    }

    #[test]
    fn growth_that_failed_is_not_counted() {
        let mut limiter = limiter(4);
        assert!(limiter.memory_growing(0, 2 * PAGE, None).unwrap());
        assert!(limiter.memory_growing(2 * PAGE, 3 * PAGE, None).unwrap());
        limiter
            .memory_grow_failed(wasmtime::Error::msg("no memory"))
            .unwrap();
        assert_eq!(limiter.memory_bytes(), 2 * PAGE as u64);
        assert!(limiter.memory_growing(2 * PAGE, 3 * PAGE, None).unwrap());
        assert!(!limiter.memory_growing(0, 9 * PAGE, Some(PAGE)).unwrap());
        limiter
            .memory_grow_failed(wasmtime::Error::msg("maximum"))
            .unwrap();
        assert_eq!(limiter.memory_bytes(), 3 * PAGE as u64);
    }
}
