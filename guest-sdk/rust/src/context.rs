//! What a function sees beside the record: key, time, timers and outputs.

use std::marker::PhantomData;

use crate::call::{Call, TimeDomain};
use crate::declare::SideOutput;
use crate::error::{Error, Result};
use crate::frame::FLAG_NULL;
use crate::http::HttpRequest;
use crate::record::{Emit, Writer};

const REGISTER: u8 = 1;
const DELETE: u8 = 2;

/// What a function sees beside the record at hand; `O` is the type of what it emits.
///
/// Effects take place when the whole call has succeeded. An emission that fails (a value that cannot
/// be JSON) fails the record once the function has returned.
pub struct Context<'f, O: ?Sized> {
    pub(crate) call: Call<'f>,
    output: PhantomData<fn(&O)>,
}

impl<'f, O: ?Sized> Context<'f, O> {
    pub(crate) fn new(call: Call<'f>) -> Self {
        Self {
            call,
            output: PhantomData,
        }
    }

    /// Emits with the timestamp of the record or of the event-time timer at hand. What a
    /// processing-time timer emits has none.
    #[inline]
    pub fn emit(&mut self, value: impl Emit<O>) {
        let timestamp = self.call.emit_timestamp();
        self.call.emit(0, timestamp, false, |out| value.write_to(out));
    }

    /// Emits with a timestamp of its own, in milliseconds since the epoch.
    #[inline]
    pub fn emit_at(&mut self, value: impl Emit<O>, timestamp: i64) {
        self.call
            .emit(0, Some(timestamp), false, |out| value.write_to(out));
    }

    /// Emits what the closure writes: no intermediate value is made.
    #[inline]
    pub fn emit_with(&mut self, write: impl FnOnce(&mut Writer<'_>)) {
        let timestamp = self.call.emit_timestamp();
        self.call.emit(0, timestamp, false, |out| {
            write(out);
            Ok(())
        });
    }

    /// Emits a null value: a tombstone.
    pub fn emit_null(&mut self) {
        let timestamp = self.call.emit_timestamp();
        self.call.emit(0, timestamp, true, |_| Ok(()));
    }

    /// Emits to a side output with the timestamp of the record or event-time timer at hand.
    pub fn emit_to<R: ?Sized>(&mut self, output: SideOutput<R>, value: impl Emit<R>) {
        let timestamp = self.call.emit_timestamp();
        self.call.emit(output.port, timestamp, false, |out| {
            if output.port == 0 {
                return Err(Error::failed(
                    "a side output was used that `declare` did not register",
                ));
            }
            value.write_to(out)
        });
    }

    /// Makes a request, for async functions alone: [`AsyncFunction::on_completion`](crate::AsyncFunction::on_completion)
    /// gets the answer.
    pub fn request(&mut self, request: HttpRequest) {
        self.call.request(&request);
    }

    /// The key of the record or timer at hand; empty on a stream that is not keyed.
    #[inline]
    pub fn key(&self) -> &'f [u8] {
        self.call.key().unwrap_or_default()
    }

    /// The key as text; a bad record where it is none.
    #[inline]
    pub fn key_str(&self) -> Result<&'f str> {
        Ok(std::str::from_utf8(self.key())?)
    }

    /// Event time of the record in milliseconds since the epoch, or the time of the timer; none where
    /// no strategy assigned one.
    #[inline]
    pub fn timestamp(&self) -> Option<i64> {
        self.call.emit_timestamp()
    }

    /// Whether the record has a null value (a Kafka tombstone) rather than an empty one.
    pub fn value_is_null(&self) -> bool {
        self.call.row.flags & FLAG_NULL != 0
    }

    /// A header of the record by name.
    pub fn header(&self, name: &str) -> Option<&'f [u8]> {
        self.call.row.header(name)
    }

    /// The operator's event-time clock in milliseconds: [`i64::MIN`] before the first watermark,
    /// [`i64::MAX`] at the end of input.
    pub fn current_watermark(&self) -> i64 {
        self.call.frame.watermark
    }

    /// The operator's processing-time clock in milliseconds since the epoch. It stands still within a
    /// call and never goes back.
    pub fn current_processing_time(&self) -> i64 {
        self.call.frame.processing_time
    }

    /// Fires `on_timer` for the current key once the watermark reaches `at`. Registering a timer again
    /// changes nothing.
    pub fn register_event_timer(&mut self, at: i64) {
        self.call.timer(REGISTER, TimeDomain::EventTime, at);
    }

    /// Removes a timer of the current key; does nothing where there is none.
    pub fn delete_event_timer(&mut self, at: i64) {
        self.call.timer(DELETE, TimeDomain::EventTime, at);
    }

    /// Fires `on_timer` for the current key once the clock reaches `at`. Lost at the end of bounded input.
    pub fn register_processing_timer(&mut self, at: i64) {
        self.call.timer(REGISTER, TimeDomain::ProcessingTime, at);
    }

    /// In [`Trigger::on_merge`](crate::Trigger::on_merge): calls `each` for every window that was merged away; states
    /// are that window's meanwhile.
    pub fn for_each_merged(&mut self, mut each: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        let row = self.call.row;
        for namespace in crate::function::merged(&row) {
            self.call.use_window(namespace);
            each(self)?;
        }
        self.call.use_window(row.namespace);
        Ok(())
    }

    /// Removes a timer of the current key; does nothing where there is none.
    pub fn delete_processing_timer(&mut self, at: i64) {
        self.call.timer(DELETE, TimeDomain::ProcessingTime, at);
    }
}
