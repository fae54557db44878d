//! Memory of a process, as Linux says it.

use std::fs;

use anyhow::{Context, Result};

/// Resident memory now, in bytes.
pub fn resident_bytes(process: u32) -> Result<u64> {
    field(process, "VmRSS:")
}

/// The most that was resident since the start, in bytes. An error of a process that has ended.
pub fn peak_resident_bytes(process: u32) -> Result<u64> {
    field(process, "VmHWM:")
}

fn field(process: u32, name: &str) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    Ok(kilobytes.with_context(|| format!("no {name} in {path}"))? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_this_process_is_more_than_nothing_and_no_more_than_its_peak() -> Result<()> {
        let now = resident_bytes(std::process::id())?;
        assert!(now > 0 && now <= peak_resident_bytes(std::process::id())?);
        Ok(())
    }
}
