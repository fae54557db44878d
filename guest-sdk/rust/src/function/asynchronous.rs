//! AsyncFunction.

use super::{Runner, drive, lifecycle, runner_lifecycle, unknown_kind};
use crate::Context;
use crate::call::Call;
use crate::declare::Declare;
use crate::error::{Error, Result};
use crate::frame::{KIND_COMPLETION, KIND_ELEMENT, KIND_TIMEOUT};
use crate::http::HttpResponse;
use crate::record::{Input, Record};

/// Asks something outside about each record: the host performs the requests, for many records at once, and calls the
/// function again when they are answered. The function itself never waits.
///
/// It keeps no state; what it has to remember of a record goes with the request as its continuation. Results of a record
/// are emitted once it is done, in the order of the records or not, as the job says.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// /// Appends what a service says about a user.
/// #[derive(Default)]
/// struct Enrich;
///
/// impl AsyncFunction for Enrich {
///     type In = str;
///     type Out = str;
///
///     fn async_invoke(&mut self, user: &str, ctx: &mut Context<str>) -> Result<()> {
///         ctx.request(HttpRequest::get(format!("https://api.example.org/users/{user}")));
///         Ok(())
///     }
///
///     fn on_completion(&mut self, user: &str, answers: &[HttpResponse], ctx: &mut Context<str>) -> Result<()> {
///         match answers[0].status()? {
///             200 => ctx.emit((user, ',', answers[0].body_str()?)),
///             404 => {}
///             status => return Err(Error::retry(format_args!("status {status}"))),
///         }
///         Ok(())
///     }
/// }
/// # let mut t = testing::Harness::new(Registration::asynchronous::<Enrich>("enrich"));
/// # t.element("", "anna").unwrap();
/// # let requests = t.take_requests();
/// # assert_eq!(requests[0].url(), "https://api.example.org/users/anna");
/// # assert!(t.complete("anna", &[(&requests[0], 503, "")]).is_err());
/// # t.complete("anna", &[(&requests[0], 200, "42")]).unwrap();
/// # assert_eq!(t.take_output(), ["anna,42"]);
/// # assert!(t.time_out("anna", &requests).is_err());
/// ```
pub trait AsyncFunction: Default + 'static {
    /// The records that it reads.
    type In: Input + ?Sized;
    /// The records that it emits.
    type Out: Record + ?Sized;

    lifecycle!();

    /// Called with each record: makes requests by [`Context::request`], or emits results and is done with the record.
    fn async_invoke(&mut self, value: &Self::In, ctx: &mut Context<'_, Self::Out>) -> Result<()>;

    /// All requests of the record are answered, `answers` in their order. It emits results or makes further requests;
    /// [`Error::Retry`] repeats the requests as far as the job's `retry` goes.
    fn on_completion(
        &mut self,
        value: &Self::In,
        answers: &[HttpResponse<'_>],
        ctx: &mut Context<'_, Self::Out>,
    ) -> Result<()>;

    /// The record's time is over; requests under way are given up and have the error `timeout` in `answers`. Results that
    /// it emits are those of the record; it makes no requests. Without it the job fails, as in Flink.
    fn on_timeout(
        &mut self,
        _value: &Self::In,
        _answers: &[HttpResponse<'_>],
        _ctx: &mut Context<'_, Self::Out>,
    ) -> Result<()> {
        Err(Error::failed(
            "the record's time was over before its requests were answered: raise `timeout` of the operator, or write `on_timeout`",
        ))
    }
}

/// Runs an [`AsyncFunction`].
#[derive(Default)]
pub(crate) struct AsyncRunner<F> {
    function: F,
}

impl<F: AsyncFunction> Runner for AsyncRunner<F> {
    fn declare(&mut self) -> Declare {
        let mut d = Declare::new("async", F::In::FORMAT, F::Out::FORMAT);
        d.grant("http");
        self.function.declare(&mut d);
        d
    }

    fn call(&mut self, call: Call<'_>) -> Result<(), String> {
        let mut wrong = None;
        drive(call, |ctx, row| {
            if !matches!(row.kind, KIND_ELEMENT | KIND_COMPLETION | KIND_TIMEOUT) {
                wrong.get_or_insert(unknown_kind(row.kind));
                return Ok(());
            }
            F::In::with(row.value, |value| {
                if row.kind == KIND_ELEMENT {
                    return self.function.async_invoke(value, ctx);
                }
                let answers = match HttpResponse::of_row(row.extension()) {
                    Ok(answers) => answers,
                    Err(error) => {
                        wrong.get_or_insert(error);
                        return Ok(());
                    }
                };
                match row.kind {
                    KIND_COMPLETION => self.function.on_completion(value, &answers, ctx),
                    _ => self.function.on_timeout(value, &answers, ctx),
                }
            })
        })?;
        match wrong {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }

    runner_lifecycle!(AsyncFunction);
}
