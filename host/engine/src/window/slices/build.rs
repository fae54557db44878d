//! Which windows of a job are made of slices.

use wasmill_model::graph::window::{AssignerSpec, TriggerSpec, WindowClock, WindowFunctionSpec, WindowSpec};

use super::{SliceSettings, SlicedWindows};
use crate::window::native::WindowCount;

/// The output of late elements: behind that of the function.
const LATE_PORT: u16 = 1;

impl SlicedWindows {
    /// Of a job's graph; `None` where its windows are not made of slices.
    pub fn of(spec: &WindowSpec) -> Option<Self> {
        let (size, slide, offset) = match spec.assigner {
            AssignerSpec::Tumbling {
                clock: WindowClock::Event,
                size_ms,
                offset_ms,
            } => (size_ms, size_ms, offset_ms),
            AssignerSpec::Sliding {
                clock: WindowClock::Event,
                size_ms,
                slide_ms,
                offset_ms,
            } => (size_ms, slide_ms, offset_ms),
            _ => return None,
        };
        let is_default = matches!(spec.trigger, None | Some(TriggerSpec::EventTime));
        if !is_default || spec.evictor.is_some() || spec.lateness_ms != 0 {
            return None;
        }
        // What else the host computes keeps fields of the first record: it depends on the order of arrival.
        let function = match spec.function {
            WindowFunctionSpec::Count => Box::new(WindowCount),
            _ => return None,
        };
        let settings = SliceSettings {
            size,
            slide,
            offset,
            late_port: spec.late_output.then_some(LATE_PORT),
            is_keyed: !spec.all,
        };
        Self::new(&settings, function).ok()
    }
}
