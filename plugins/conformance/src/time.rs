//! Functions beside operators: timestamps, watermarks and partitions.

use wasmill_sdk::prelude::*;

use crate::check;

#[derive(Default)]
pub struct Timestamps;

impl TimestampAssigner for Timestamps {
    type In = str;

    fn extract_timestamp(&mut self, value: &str, record_timestamp: Option<i64>) -> Result<i64> {
        check(value)?;
        match value.strip_prefix('+') {
            Some(more) => Ok(record_timestamp.unwrap_or(0).wrapping_add(more.parse()?)),
            None => Ok(value.parse()?),
        }
    }
}

/// What a generator remembers.
#[derive(Default)]
struct Memory {
    highest: Option<i64>,
}

impl Memory {
    fn on_event(&mut self, value: &str, timestamp: i64, out: &mut WatermarkOutput) -> Result<()> {
        check(value)?;
        self.highest = self.highest.max(Some(timestamp));
        for part in value.split(' ') {
            match part {
                "idle" => out.mark_idle(),
                "active" => out.mark_active(),
                "now" => out.emit_watermark(out.current_processing_time()),
                _ => {
                    if let Ok(watermark) = part.parse() {
                        out.emit_watermark(watermark);
                    }
                }
            }
        }
        Ok(())
    }

    fn on_periodic_emit(&self, out: &mut WatermarkOutput) {
        if let Some(highest) = self.highest {
            out.emit_watermark(highest.saturating_sub(10));
        }
    }
}

#[derive(Default)]
pub struct Watermarks {
    memory: Memory,
}

impl WatermarkGenerator for Watermarks {
    type In = str;

    fn on_event(&mut self, value: &str, timestamp: i64, out: &mut WatermarkOutput) -> Result<()> {
        self.memory.on_event(value, timestamp, out)
    }

    fn on_periodic_emit(&mut self, out: &mut WatermarkOutput) -> Result<()> {
        self.memory.on_periodic_emit(out);
        Ok(())
    }
}

/// The same, which is in checkpoints.
#[derive(Default)]
pub struct WatermarksKept {
    memory: Memory,
}

impl WatermarkGenerator for WatermarksKept {
    type In = str;

    fn declare(&mut self, d: &mut Declare) {
        d.raw_state();
    }

    fn snapshot_state(&mut self, ctx: &mut SnapshotContext) -> Result<()> {
        if let Some(highest) = self.memory.highest {
            ctx.set_raw(highest.to_le_bytes().to_vec());
        }
        Ok(())
    }

    fn restore_state(&mut self, ctx: &mut RestoreContext) -> Result<()> {
        let highest = <[u8; 8]>::try_from(ctx.raw()).ok();
        self.memory.highest = highest.map(i64::from_le_bytes);
        Ok(())
    }

    fn on_event(&mut self, value: &str, timestamp: i64, out: &mut WatermarkOutput) -> Result<()> {
        self.memory.on_event(value, timestamp, out)
    }

    fn on_periodic_emit(&mut self, out: &mut WatermarkOutput) -> Result<()> {
        self.memory.on_periodic_emit(out);
        Ok(())
    }
}

#[derive(Default)]
pub struct Partition;

impl Partitioner for Partition {
    type In = str;

    fn partition(&mut self, value: &str, channels: u32) -> Result<u32> {
        check(value)?;
        match value.strip_prefix('=') {
            Some(channel) => Ok(channel.parse()?),
            None => Ok(value.len() as u32 % channels),
        }
    }
}
