//! `watermark-output` of `wit/`: what a watermark generator says.

use wasmill_model::function::FunctionKind;
use wasmill_model::row::{FLAG_NULL, RowHeader};

use super::generated::wasmill::function::watermark_output::Host;
use super::{Data, trap};

type Result<T> = wasmtime::Result<T>;

impl Host for Data {
    fn emit_watermark(&mut self, watermark: i64) -> Result<()> {
        say(self, RowHeader::element(Some(watermark)))
    }

    fn mark_idle(&mut self) -> Result<()> {
        let mut header = RowHeader::element(None);
        header.flags |= FLAG_NULL;
        say(self, header)
    }

    fn mark_active(&mut self) -> Result<()> {
        say(self, RowHeader::element(None))
    }

    fn processing_time(&mut self) -> Result<i64> {
        self.host.count_call().map_err(trap)?;
        Ok(self.host.clocks.processing_time)
    }
}

/// A row that carries the signal, as a component of the frame family would emit it.
fn say(data: &mut Data, header: RowHeader) -> Result<()> {
    let scope = &mut data.host;
    scope.count_call().map_err(trap)?;
    if scope.description().kind != FunctionKind::WatermarkGenerator {
        return Err(trap(
            "watermark-output belongs to watermark generators: this function is none".to_owned(),
        ));
    }
    let key = scope.row;
    scope.emissions.push(0, RowHeader { key, ..header }, b"");
    Ok(())
}
