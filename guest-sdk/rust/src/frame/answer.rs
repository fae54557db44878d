//! An answer in the making: OUTPUT is written in place, the other sections are appended to it.

/// Sections that an answer of this SDK can have: one with requests has no state.
const SECTIONS_MAX: usize = 6;
const HEADER: usize = 16;
/// Where OUTPUT starts: behind the longest directory.
const OUTPUT_START: usize = HEADER + SECTIONS_MAX * 12;

const VERSION: u8 = 1;
const TAG_OUTPUT: u32 = 16;
const TAG_ERROR: u32 = 21;

/// A section beside OUTPUT.
pub(crate) struct Section<'a> {
    /// Its tag.
    pub(crate) tag: u32,
    /// Its content.
    pub(crate) bytes: &'a [u8],
}

/// A buffer that one huge record has grown beyond this is given back.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// Empties the buffer down to the room for the directory.
pub(crate) fn start_answer(answer: &mut Vec<u8>) {
    answer.clear();
    answer.shrink_to(KEPT_BYTES_MAX);
    answer.resize(OUTPUT_START, 0);
}

/// Bytes of output that are in the answer.
pub(crate) fn output_len(answer: &[u8]) -> usize {
    answer.len().saturating_sub(OUTPUT_START)
}

/// Takes the output out of the answer, to be sent ahead of it.
pub(crate) fn take_output(answer: &mut Vec<u8>, into: &mut Vec<u8>) {
    into.extend_from_slice(&answer[OUTPUT_START..]);
    answer.truncate(OUTPUT_START);
}

/// Appends the sections that are not empty and writes header and directory.
pub(crate) fn finish_answer(answer: &mut Vec<u8>, consumed: u32, sections: &[Section<'_>]) {
    let mut count = 0;
    let output = output_len(answer);
    if output > 0 {
        entry(answer, &mut count, TAG_OUTPUT, OUTPUT_START, output);
    }
    for section in sections.iter().filter(|section| !section.bytes.is_empty()) {
        let start = answer.len();
        answer.extend_from_slice(section.bytes);
        entry(answer, &mut count, section.tag, start, section.bytes.len());
    }
    header(answer, consumed, count);
}

/// Replaces the answer by one that holds nothing but an error.
pub(crate) fn write_error_answer(answer: &mut Vec<u8>, row: u32, kind: u32, message: &str) {
    start_answer(answer);
    answer.extend_from_slice(&row.to_le_bytes());
    answer.extend_from_slice(&kind.to_le_bytes());
    answer.extend_from_slice(message.as_bytes());
    let (mut count, length) = (0, output_len(answer));
    entry(answer, &mut count, TAG_ERROR, OUTPUT_START, length);
    header(answer, row, count);
}

fn entry(answer: &mut [u8], count: &mut usize, tag: u32, offset: usize, length: usize) {
    let at = HEADER + *count * 12;
    answer[at..at + 4].copy_from_slice(&tag.to_le_bytes());
    answer[at + 4..at + 8].copy_from_slice(&(offset as u32).to_le_bytes());
    answer[at + 8..at + 12].copy_from_slice(&(length as u32).to_le_bytes());
    *count += 1;
}

fn header(answer: &mut [u8], consumed: u32, count: usize) {
    answer[0] = VERSION;
    answer[1] = 0;
    answer[2..4].copy_from_slice(&(HEADER as u16).to_le_bytes());
    answer[4..8].copy_from_slice(&consumed.to_le_bytes());
    answer[8..12].copy_from_slice(&(count as u32).to_le_bytes());
    answer[12..16].fill(0);
}
