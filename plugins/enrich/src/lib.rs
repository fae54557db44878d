//! Records enriched by what a service says about them: an async function (G14).

use wasmill_sdk::prelude::*;

/// The service where the operator's `config` names none.
const SERVICE: &str = "http://127.0.0.1:8700";

/// A user's name in, `name,city` out: one request tells the user's number, another one the city of that number.
#[derive(Default)]
pub struct Enrich {
    service: String,
}

impl AsyncFunction for Enrich {
    type In = str;
    type Out = str;

    fn open(&mut self, ctx: &mut OpenContext<'_>) -> Result<()> {
        let service = ctx.config_value()["service"].as_str();
        service.unwrap_or(SERVICE).clone_into(&mut self.service);
        Ok(())
    }

    fn async_invoke(&mut self, user: &str, ctx: &mut Context<'_, str>) -> Result<()> {
        let url = format!("{}/number/{user}", self.service);
        ctx.request(HttpRequest::get(url).continuation("number"));
        Ok(())
    }

    fn on_completion(
        &mut self,
        user: &str,
        answers: &[HttpResponse<'_>],
        ctx: &mut Context<'_, str>,
    ) -> Result<()> {
        let Some(answer) = answers.first() else {
            return Err(Error::failed("a completion without an answer"));
        };
        match (answer.status()?, answer.continuation()) {
            (200, b"number") => {
                let url = format!("{}/city/{}", self.service, answer.body_str()?.trim());
                ctx.request(HttpRequest::get(url));
            }
            (200, _) => ctx.emit((user, ',', answer.body_str()?.trim())),
            (404, _) => ctx.emit((user, ',', "unknown")),
            (status, _) => {
                return Err(Error::failed(format_args!(
                    "the service answers {status} for {user}"
                )));
            }
        }
        Ok(())
    }

    fn on_timeout(&mut self, user: &str, _: &[HttpResponse<'_>], ctx: &mut Context<'_, str>) -> Result<()> {
        ctx.emit((user, ',', "timed out"));
        Ok(())
    }
}

wasmill_sdk::export! { "enrich" => asynchronous Enrich }

#[cfg(test)]
mod tests {
    use super::*;

    fn harness() -> testing::Harness {
        testing::Harness::new(Registration::asynchronous::<Enrich>("enrich"))
    }

    #[test]
    fn a_user_has_a_number_and_the_number_a_city() {
        let mut t = harness();
        t.element("", "anna").unwrap();
        let first = t.take_requests();
        assert_eq!(first[0].url(), "http://127.0.0.1:8700/number/anna");
        t.complete("anna", &[(&first[0], 200, "7\n")]).unwrap();
        let second = t.take_requests();
        assert_eq!(second[0].url(), "http://127.0.0.1:8700/city/7");
        t.complete("anna", &[(&second[0], 200, "Oslo")]).unwrap();
        t.complete("bob", &[(&first[0], 404, "")]).unwrap();
        t.time_out("carl", &first).unwrap();
        assert_eq!(t.take_output(), ["anna,Oslo", "bob,unknown", "carl,timed out"]);
    }

    #[test]
    fn what_the_service_cannot_answer_fails() {
        let mut t = harness();
        t.element("", "anna").unwrap();
        let request = &t.take_requests()[0];
        let error = t.complete("anna", &[(request, 500, "")]).unwrap_err();
        assert_eq!(error.message(), "the service answers 500 for anna");
        let error = t.fail("anna", request, "denied", "not allowed").unwrap_err();
        assert_eq!(error, Error::failed("denied: not allowed"));
    }
}
