//! Appending short byte strings.
//!
//! A copy whose length is not known when the program is compiled becomes `memory.copy`, which in a
//! component is a call out of compiled code. Keys, words and numbers are short: copying them by words
//! of fixed size takes a fraction of that.

/// Above this length one bulk copy is quicker.
const SHORT: usize = 48;

/// Appends `bytes`: copies of fixed size that overlap, into room that was made at once.
pub(crate) fn append(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = bytes.len();
    let start = out.len();
    if length > SHORT {
        out.extend_from_slice(bytes);
        return;
    }
    out.extend_from_slice(&[0; SHORT]);
    if let Some(room) = out[start..].first_chunk_mut::<SHORT>() {
        if let (Some(first), Some(last)) = (bytes.first_chunk::<16>(), bytes.last_chunk::<16>()) {
            room[..16].copy_from_slice(first);
            if let Some(middle) = bytes.get(16..32) {
                room[16..32].copy_from_slice(middle);
            }
            room[length - 16..length].copy_from_slice(last);
        } else if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
            room[..8].copy_from_slice(first);
            room[length - 8..length].copy_from_slice(last);
        } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
            room[..4].copy_from_slice(first);
            room[length - 4..length].copy_from_slice(last);
        } else {
            for (to, from) in room.iter_mut().zip(bytes) {
                *to = *from;
            }
        }
    }
    out.truncate(start + length);
}

/// Appends the number in decimal.
#[inline]
pub(crate) fn append_decimal(out: &mut Vec<u8>, number: u64) {
    const EIGHT_DIGITS: u64 = 100_000_000;
    if number < EIGHT_DIGITS {
        return append_short_decimal(out, number);
    }
    append_decimal_of_many(out, number / EIGHT_DIGITS);
    out.extend_from_slice(&digits(number % EIGHT_DIGITS).to_le_bytes());
}

#[cold]
fn append_decimal_of_many(out: &mut Vec<u8>, number: u64) {
    append_decimal(out, number);
}

/// Of a number below 10^8: one store, whatever its length.
#[inline]
fn append_short_decimal(out: &mut Vec<u8>, number: u64) {
    let digits = digits(number);
    // A leading zero is a byte `0x30`; the last digit stays whatever it is.
    let zeros = (digits & 0x0f0f_0f0f_0f0f_0f0f).trailing_zeros().min(56) / 8;
    let end = out.len() + 8 - zeros as usize;
    out.extend_from_slice(&(digits >> (zeros * 8)).to_le_bytes());
    out.truncate(end);
}

/// The eight digits of a number below 10^8, the first in the lowest byte: halves, then pairs, then digits are
/// divided all at once, each in its own lane.
#[inline]
fn digits(number: u64) -> u64 {
    let fours = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    (tens | ((pairs - tens * 10) << 8)) | 0x3030_3030_3030_3030
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

    #[test]
    fn numbers_are_written_as_they_are_printed() {
        let around = (0..20).map(|exponent| 10_u64.pow(exponent));
        let around = around.flat_map(|power| [power - 1, power, power + 1]);
        let many = (0..100_000_000).step_by(9_973);
        for number in around.chain(many).chain([u64::MAX, 10_203_040]) {
            let mut out = b"x".to_vec();
            append_decimal(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), format!("x{number}"));
        }
    }
}
