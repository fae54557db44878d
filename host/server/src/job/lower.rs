//! From a job file to the validated logical graph.
//!
//! Invariant: every refusal points at the value that is to be changed. What the graph's own validation
//! refuses is mapped back to the operator's place.

mod asynchronous;
mod join;
mod kind;
mod operator;
mod settings;
mod state_ttl;
mod watermarks;
mod window;

use wasmill_engine::registry::Registry;
use wasmill_model::function::Description;
use wasmill_model::graph::{LogicalGraph, OperatorKind};
use wasmill_model::id::OperatorUid;
use wasmill_model::key::MaxParallelism;

use super::ParsedJob;
use super::error::{JobFileError, suggestion};
use super::file::{Operator, StateBackend};
use super::span::Step;
use operator::Plugins;

/// What a job's names may mean.
pub trait PluginLookup {
    /// The component that a reference of `plugins` names: a path, a registered name or `sha256:<digest>`.
    /// The error says what to do.
    fn plugin(&self, reference: &str) -> Result<ResolvedPlugin, String>;
}

/// A component that a job refers to.
#[derive(Clone, Debug)]
pub struct ResolvedPlugin {
    /// `sha256:<hex>`.
    pub digest: String,
    /// What it says of itself.
    pub description: Description,
}

/// What the host adds to a job.
#[derive(Clone, Copy, Debug)]
pub struct LowerOptions {
    /// Parallelism where the job says none.
    pub default_parallelism: u32,
    /// Given at submit: goes over the host's default; the job's own goes over it.
    pub parallelism: Option<u32>,
    /// Where jobs that say none hold keyed state.
    pub state_backend: StateBackend,
    /// Slots of the host: a job that needs more is refused.
    pub slots: u32,
}

/// A job that may be started.
#[derive(Debug)]
pub struct LoweredJob {
    /// Validated, plugins pinned to their digests, secrets still references.
    pub graph: LogicalGraph,
    /// What is allowed but unwise, as `file:line:column: …`.
    pub warnings: Vec<String>,
}

/// Lowers a job file. `registry` says which connectors there are and checks their settings.
pub fn lower(
    job: &ParsedJob,
    registry: &Registry,
    plugins: &dyn PluginLookup,
    options: LowerOptions,
) -> Result<LoweredJob, JobFileError> {
    let file = &job.file;
    check_name(job)?;
    let uids = uids(job)?;
    let plugins = Plugins::resolve(job, plugins)?;
    let mut operators = Vec::new();
    let mut places = Vec::new();
    for (index, operator) in file.operators.iter().enumerate() {
        let lowering = operator::Lowering {
            job,
            index,
            operator,
            uids: &uids,
            plugins: &plugins,
            registry,
        };
        for lowered in lowering.lower()? {
            places.push((lowered.uid.clone(), index));
            operators.push(lowered);
        }
    }
    let mut graph = LogicalGraph {
        name: file.name.clone(),
        operators,
        max_parallelism: max_parallelism(job)?,
        settings: settings::settings(job, options)?,
    };
    let place = |uid: &OperatorUid| places.iter().find(|(u, _)| u == uid).map(|(_, index)| *index);
    let warnings = graph.validate().map_err(|e| match place(&e.operator) {
        Some(index) => job
            .spans
            .error(&["operators".into(), index.into()], e.to_string()),
        None => job.spans.error(&["operators".into()], e.message),
    })?;
    let warnings = warnings.into_iter().map(|w| {
        let path: Vec<Step<'_>> = match place(&w.operator) {
            Some(index) => vec!["operators".into(), index.into()],
            None => vec!["operators".into()],
        };
        job.spans
            .error(&path, format!("operator `{}`: {}", w.operator, w.message))
            .to_string()
    });
    let warnings = warnings.chain(useless_parallelism(job, options)).collect();
    check_parallelism(job, &graph, options, &place)?;
    Ok(LoweredJob { graph, warnings })
}

fn check_name(job: &ParsedJob) -> Result<(), JobFileError> {
    let length = job.file.name.chars().count();
    if length == 0 || length > 200 {
        return Err(job
            .spans
            .error(&["name".into()], "the job's name must have 1 to 200 characters"));
    }
    if job.file.operators.is_empty() {
        return Err(job.spans.error(
            &["operators".into()],
            "the job has no operators: a source and a sink are the least",
        ));
    }
    Ok(())
}

/// The uid of each operator and whether it was given.
fn uids(job: &ParsedJob) -> Result<Vec<(String, bool)>, JobFileError> {
    let given: Vec<_> = job
        .file
        .operators
        .iter()
        .filter_map(|o| o.uid.as_deref())
        .collect();
    let mut uids: Vec<(String, bool)> = Vec::new();
    for (index, operator) in job.file.operators.iter().enumerate() {
        let uid = match &operator.uid {
            Some(uid) => {
                let path = ["operators".into(), index.into(), "uid".into()];
                if !is_uid(uid) {
                    let shown: String = uid.chars().take(64).flat_map(char::escape_debug).collect();
                    return Err(job.spans.error(
                        &path,
                        format!("`{shown}` is no uid: letters, digits, `-` and `_`, 1 to 64 of them"),
                    ));
                }
                if uids.iter().any(|(other, _)| other == uid) {
                    return Err(job.spans.error(
                        &path,
                        format!("the uid `{uid}` is used twice: uids must be distinct within a job"),
                    ));
                }
                (uid.clone(), true)
            }
            None => (derived_uid(operator, &given, &uids), false),
        };
        uids.push(uid);
    }
    Ok(uids)
}

fn is_uid(uid: &str) -> bool {
    (1..=64).contains(&uid.len())
        && uid
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// What the operator does, and a number where others do the same.
fn derived_uid(operator: &Operator, given: &[&str], before: &[(String, bool)]) -> String {
    let what = kind::kind_of(operator).unwrap_or("operator");
    let asynchronous = operator
        .asynchronous
        .as_ref()
        .map(|asynchronous| &asynchronous.function);
    let named = [&operator.source, &operator.sink, &operator.function];
    let detail = named.into_iter().flatten().chain(asynchronous).next();
    let mut base = what.to_owned();
    if let Some(detail) = detail {
        base.push('-');
        base.extend(
            detail
                .chars()
                .take(40)
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }),
        );
    }
    let mut uid = base.clone();
    let mut number = 1;
    while given.contains(&uid.as_str()) || before.iter().any(|(other, _)| *other == uid) {
        number += 1;
        uid = format!("{base}-{number}");
    }
    uid
}

fn max_parallelism(job: &ParsedJob) -> Result<Option<MaxParallelism>, JobFileError> {
    let Some(given) = job.file.max_parallelism else {
        return Ok(None);
    };
    match u16::try_from(given) {
        Ok(groups) if (1..=MaxParallelism::MAX).contains(&groups) => Ok(Some(MaxParallelism(groups))),
        _ => {
            let message = format!(
                "max-parallelism is {given}: it must be 1 to {}",
                MaxParallelism::MAX
            );
            Err(job.spans.error(&["max-parallelism".into()], message))
        }
    }
}

/// The warning that a parallelism given at submit changes nothing: the job file says another.
fn useless_parallelism(job: &ParsedJob, options: LowerOptions) -> Option<String> {
    let (given, own) = (options.parallelism?, job.file.parallelism?);
    (given != own).then(|| {
        let message = format!(
            "the parallelism {given} of the submission has no effect, for the job file says {own}: remove it here to \
             let the submission decide"
        );
        job.spans.error(&["parallelism".into()], message).to_string()
    })
}

/// Parallelism within key groups and free slots (G1, G3): a slot sharing group needs as many slots as its highest
/// parallelism.
fn check_parallelism(
    job: &ParsedJob,
    graph: &LogicalGraph,
    options: LowerOptions,
    place: &dyn Fn(&OperatorUid) -> Option<usize>,
) -> Result<(), JobFileError> {
    let groups = u32::from(graph.max_parallelism.unwrap_or(MaxParallelism::DEFAULT).0);
    let mut needed = std::collections::BTreeMap::<&str, u32>::new();
    for operator in &graph.operators {
        let parallelism = operator.parallelism.unwrap_or(graph.settings.parallelism);
        if parallelism > groups && !matches!(operator.kind, OperatorKind::Union) {
            let index = place(&operator.uid).unwrap_or_default();
            let path: [Step<'_>; 3] = ["operators".into(), index.into(), "parallelism".into()];
            let message = format!(
                "operator `{}`: parallelism {parallelism} is more than the job's max-parallelism {groups}: lower it, or \
                 raise max-parallelism",
                operator.uid
            );
            return Err(job.spans.error(&path, message));
        }
        let group = needed.entry(&operator.slot_sharing_group).or_default();
        *group = parallelism.max(*group);
    }
    // Of a union the parallelism is not bounded by the key groups, so the sum of some is more than fits.
    let total: u64 = needed.values().map(|slots| u64::from(*slots)).sum();
    if total > u64::from(options.slots) {
        let message = format!(
            "the job needs {total} slots and the host has {}: lower `parallelism`, or start the host with more `slots`",
            options.slots
        );
        return Err(job.spans.error(&["parallelism".into()], message));
    }
    Ok(())
}

/// `unknown …` with what was probably meant.
fn unknown<S: AsRef<str>>(what: &str, given: &str, known: &[S]) -> String {
    let shown: String = given.chars().take(64).flat_map(char::escape_debug).collect();
    format!("{what} `{shown}`{}", suggestion(given, known))
}
