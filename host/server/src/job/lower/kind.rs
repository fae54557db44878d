//! Which one thing an operator of a job file says that it does.

use crate::job::file::Operator;

/// What an operator does, where exactly one thing is said.
pub(super) fn kind_of(operator: &Operator) -> Result<&'static str, String> {
    let said = [
        ("source", operator.source.is_some()),
        ("sink", operator.sink.is_some()),
        ("function", operator.function.is_some()),
        ("async", operator.asynchronous.is_some()),
        ("key-by", operator.key_by.is_some()),
        ("partition", operator.partition.is_some()),
        ("partition-custom", operator.partition_custom.is_some()),
        ("rolling", operator.rolling.is_some()),
        ("window", operator.window.is_some()),
        ("interval-join", operator.interval_join.is_some()),
        ("window-join", operator.window_join.is_some()),
        ("co-group", operator.co_group.is_some()),
        ("union", operator.union.is_some()),
        ("assign-timestamps", operator.assign_timestamps.is_some()),
    ];
    let mut said = said.iter().filter(|(_, set)| *set);
    match (said.next(), said.next()) {
        (Some((one, _)), None) => Ok(one),
        (Some((one, _)), Some((two, _))) => Err(format!(
            "it says both `{one}` and `{two}`: an operator does one thing"
        )),
        (None, _) => Err(
            "it does not say what it does: add one of `source`, `sink`, `function`, `async`, `key-by`, `partition`, \
                          `partition-custom`, `rolling`, `window`, `interval-join`, `window-join`, `co-group`, `union`, \
                          `assign-timestamps`"
                .to_owned(),
        ),
    }
}
