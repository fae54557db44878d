//! The async function.

use wasmill_sdk::prelude::*;

use super::check;

#[derive(Default)]
pub(crate) struct Asks;

impl AsyncFunction for Asks {
    type In = str;
    type Out = str;

    fn async_invoke(&mut self, value: &str, ctx: &mut Context<'_, str>) -> Result<()> {
        check(value)?;
        let Some(urls) = value.strip_prefix("ask ") else {
            ctx.emit(value);
            return Ok(());
        };
        for (number, url) in urls.split(' ').enumerate() {
            let number = number.to_string();
            ctx.request(
                HttpRequest::get(url)
                    .header("x-number", number.as_str())
                    .continuation(number),
            );
        }
        Ok(())
    }

    fn on_completion(
        &mut self,
        value: &str,
        answers: &[HttpResponse<'_>],
        ctx: &mut Context<'_, str>,
    ) -> Result<()> {
        let mut retries = false;
        for answer in answers {
            let continuation = String::from_utf8_lossy(answer.continuation());
            let said = match answer.status() {
                Ok(status) => {
                    retries |= answer.body() == b"again";
                    let length = answer.header("content-length").unwrap_or_default();
                    format!("{status} {length} {}", answer.body_str()?)
                }
                Err(error) => error.code.clone(),
            };
            ctx.emit(format!("{} {continuation} {said}", value.len()).as_str());
        }
        match retries {
            true => Err(Error::retry("the service says so")),
            false => Ok(()),
        }
    }

    fn on_timeout(
        &mut self,
        value: &str,
        answers: &[HttpResponse<'_>],
        ctx: &mut Context<'_, str>,
    ) -> Result<()> {
        ctx.emit(format!("{} timeout of {}", value.len(), answers.len()).as_str());
        Ok(())
    }
}
