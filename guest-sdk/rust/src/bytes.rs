//! Appending short byte strings.
//!
//! A copy whose length is not known when the program is compiled becomes `memory.copy`, which in a
//! component is a call out of compiled code. Keys, words and numbers are short: copying them by words
//! of fixed size takes a fraction of that.

/// Above this length one bulk copy is quicker.
const SHORT: usize = 48;

/// Appends `bytes`.
#[inline]
pub(crate) fn append(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() > SHORT {
        out.extend_from_slice(bytes);
        return;
    }
    out.reserve(SHORT);
    let (words, mut rest) = bytes.as_chunks::<8>();
    for word in words {
        out.extend_from_slice(word);
    }
    if let Some((half, tail)) = rest.split_first_chunk::<4>() {
        out.extend_from_slice(half);
        rest = tail;
    }
    if let Some((pair, tail)) = rest.split_first_chunk::<2>() {
        out.extend_from_slice(pair);
        rest = tail;
    }
    if let [last] = rest {
        out.push(*last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_appended_whole() {
        let bytes: Vec<u8> = (0..100).collect();
        for length in 0..bytes.len() {
            let mut out = vec![255];
            append(&mut out, &bytes[..length]);
            assert_eq!(out[1..], bytes[..length]);
        }
    }
}
