//! As much of frames and answers as lying about them takes.

/// Bytes of an answer before its directory.
pub const ANSWER_HEADER: usize = 16;

/// The integer at an offset; 0 past the end.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map_or(0, u32::from_le_bytes)
}

/// Integers one after the other.
pub fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The values of a frame's rows.
pub fn rows(frame: &[u8]) -> Vec<&[u8]> {
    let (count, sections) = (u32_at(frame, 4), u32_at(frame, 28) as usize);
    let directory = (0..sections).map(|index| 40 + 12 * index);
    let mut at = directory
        .filter(|entry| u32_at(frame, *entry) == 1)
        .map(|entry| u32_at(frame, entry + 4) as usize)
        .next()
        .unwrap_or(frame.len());
    let mut values = Vec::new();
    for _ in 0..count {
        let start = at + 32 + u32_at(frame, at + 24) as usize;
        let end = start + u32_at(frame, at + 28) as usize;
        values.push(frame.get(start..end).unwrap_or_default());
        at += u32_at(frame, at) as usize;
    }
    values
}

/// Appends a row of OUTPUT or SIDE.
pub fn push_row(out: &mut Vec<u8>, port: u16, cause: u32, value: &[u8]) {
    out.extend_from_slice(&words(&[
        32 + value.len() as u32,
        1 | u32::from(port) << 16,
        cause,
        0,
        0,
        0,
        0,
    ]));
    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    out.extend_from_slice(value);
}

/// An answer, true or not.
#[derive(Default)]
pub struct Answer {
    output: Vec<u8>,
    side: Vec<u8>,
    sections: Vec<(u32, Vec<u8>)>,
}

impl Answer {
    pub fn row(&mut self, port: u16, cause: u32, value: &[u8]) {
        push_row(&mut self.output, port, cause, value);
    }

    pub fn side_row(&mut self, port: u16, cause: u32, value: &[u8]) {
        push_row(&mut self.side, port, cause, value);
    }

    pub fn section(&mut self, tag: u32, bytes: &[u8]) {
        self.sections.push((tag, bytes.to_vec()));
    }

    pub fn error(&mut self, row: u32, kind: u32, message: &[u8]) {
        self.section(21, &[&words(&[row, kind]), message].concat());
    }

    pub fn finish(self, consumed: u32) -> Vec<u8> {
        let own = [(16, self.output), (17, self.side)]
            .into_iter()
            .filter(|(_, bytes)| !bytes.is_empty());
        let sections: Vec<(u32, Vec<u8>)> = own.chain(self.sections).collect();
        let mut out = vec![1, 0, ANSWER_HEADER as u8, 0];
        out.extend_from_slice(&words(&[consumed, sections.len() as u32, 0]));
        let mut offset = ANSWER_HEADER + 12 * sections.len();
        for (tag, bytes) in &sections {
            out.extend_from_slice(&words(&[*tag, offset as u32, bytes.len() as u32]));
            offset += bytes.len();
        }
        out.extend(sections.into_iter().flat_map(|(_, bytes)| bytes));
        out
    }
}

/// What follows `"name":` in JSON.
fn field<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let quoted = format!("\"{name}\"");
    let start = json.find(&quoted)? + quoted.len();
    json.get(start..)?
        .trim_start()
        .strip_prefix(':')
        .map(str::trim_start)
}

/// A field that is a text without escapes.
pub fn text_field<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    field(json, name)?.strip_prefix('"')?.split('"').next()
}

/// A field that is a number.
pub fn number_field(json: &str, name: &str) -> Option<u64> {
    let text = field(json, name)?;
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}
