//! `export`: entries as JSON lines; and what an export may be asked for.

use std::collections::BTreeSet;
use std::io::Write;

use serde_json::{Value, json};

use super::OfflineError;
use super::document::Head;
use super::line::to_line;
use super::read::{Filter, Savepoint};

impl Savepoint {
    /// Writes all of it, or what the filter asks for, as JSON lines. Returns how many entries there were.
    pub fn export(&self, filter: &Filter, out: &mut dyn Write) -> Result<u64, OfflineError> {
        self.check(filter)?;
        let head = self.head_lines(filter, None)?;
        let mut put = |line: &Value| {
            writeln!(out, "{line}")
                .map_err(|error| OfflineError(format!("the export could not be written: {error}")))
        };
        head.iter().try_for_each(&mut put)?;
        let mut entries = 0;
        self.visit(filter, &mut |identity, value| {
            let line = to_line(&self.document, &identity, value).map_err(|error| self.failed(error))?;
            entries += 1;
            put(&Value::Object(line))
        })?;
        Ok(entries)
    }

    /// The lines of the job and of its operators, in an export of so much to such files.
    pub(super) fn head_lines(
        &self,
        filter: &Filter,
        tables: Option<Vec<String>>,
    ) -> Result<Vec<Value>, OfflineError> {
        let head = Head {
            only: (*filter != Filter::default()).then(|| filter.clone()),
            tables,
            ..self.document.head.clone()
        };
        let head = serde_json::to_value(&head).map_err(|error| self.failed(error))?;
        let mut lines = vec![json!({ "savepoint": head })];
        for (uid, operator) in &self.document.operators {
            let mut line = serde_json::Map::new();
            line.insert("operator".to_owned(), Value::from(uid.as_str()));
            let head = serde_json::to_value(operator).map_err(|error| self.failed(error))?;
            line.extend(head.as_object().cloned().unwrap_or_default());
            lines.push(Value::Object(line));
        }
        Ok(lines)
    }

    /// Whether it can be exported so: refuses a filter by what is not there, and records in flight.
    pub fn check(&self, filter: &Filter) -> Result<(), OfflineError> {
        self.names(filter)?;
        self.refuse_in_flight()
    }

    /// Refuses a filter by an operator or a state that is not there.
    pub(super) fn names(&self, filter: &Filter) -> Result<(), OfflineError> {
        let refused = |what: &str, name: &str, known: Vec<&str>| {
            let suggestion = crate::job::error::suggestion(name, &known);
            Err(self.failed(format!("there is no {what} `{name}`{suggestion}")))
        };
        let operators = &self.document.operators;
        if let Some(operator) = &filter.operator
            && !operators.contains_key(operator)
        {
            return refused(
                "operator",
                operator,
                operators.keys().map(String::as_str).collect(),
            );
        }
        let Some(state) = &filter.state else {
            return Ok(());
        };
        let known = self.states_of(filter.operator.as_deref());
        match known.contains(state.as_str()) {
            true => Ok(()),
            false => refused("state", state, known.into_iter().collect()),
        }
    }

    /// Names of the keyed and operator states of an operator, or of all.
    fn states_of(&self, operator: Option<&str>) -> BTreeSet<&str> {
        let wanted = |uid: &str| operator.is_none_or(|operator| operator == uid);
        let declared = self.document.operators.iter().filter(|(uid, _)| wanted(uid));
        let declared = declared.flat_map(|(_, head)| head.states.iter().map(|state| state.name.as_str()));
        let operators = self
            .restored
            .manifest
            .operators
            .iter()
            .filter(|(uid, _)| wanted(&uid.0));
        let parts = operators.flat_map(|(_, operator)| operator.subtasks.values());
        let lists = parts.flat_map(|part| part.lists.iter().map(|list| list.name.as_str()));
        declared.chain(lists).collect()
    }
}
