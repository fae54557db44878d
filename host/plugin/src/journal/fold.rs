//! The reducers that the host has built in, over 8-byte integers.

use wasmill_model::function::BuiltInReduce;

/// Folds by a built-in reducer over signed 64-bit little-endian integers.
pub fn fold_built_in(reduce: BuiltInReduce, stored: Option<&[u8]>, element: &[u8]) -> Result<i64, String> {
    let integer = |what: &str, bytes: &[u8]| {
        <[u8; 8]>::try_from(bytes).map(i64::from_le_bytes).map_err(|_| {
            format!(
                "{what} of a built-in reducer must have 8 bytes, this one has {}",
                bytes.len()
            )
        })
    };
    let stored = stored
        .map(|bytes| integer("the accumulator", bytes))
        .transpose()?;
    if reduce == BuiltInReduce::Count {
        return Ok(stored.unwrap_or(0).wrapping_add(1));
    }
    let element = integer("an element", element)?;
    Ok(match (reduce, stored) {
        (_, None) => element,
        (BuiltInReduce::Min, Some(stored)) => stored.min(element),
        (BuiltInReduce::Max, Some(stored)) => stored.max(element),
        (_, Some(stored)) => stored.wrapping_add(element),
    })
}
