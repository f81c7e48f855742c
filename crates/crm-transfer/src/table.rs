//! The records of a table of text, one by one in a room of limited size, whatever stands in the file.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};

use crm_core::Result;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use crate::source::{refused, unreadable};

/// As many as Excel has columns; what it writes at most.
const MAX_CELLS: usize = 16_384;

/// The text of one record.
const MAX_RECORD_BYTES: usize = 4 * 1024 * 1024;

/// The first room for it.
const SOME_BYTES: usize = 4 * 1024;

/// A table under way.
pub(crate) struct Table {
    input: BufReader<File>,
    begin: u64,
    parser: Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
    /// How many of the ends are those of the record.
    count: usize,
    /// Whether the last line ended with a carriage return, to which a line feed may belong.
    after_return: bool,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("begin", &self.begin).finish_non_exhaustive()
    }
}

impl Table {
    /// The table that begins at a place of a file in UTF-8.
    pub(crate) fn new(file: File, begin: u64, delimiter: u8) -> Self {
        Self {
            input: BufReader::new(file),
            begin,
            parser: ReaderBuilder::new().delimiter(delimiter).build(),
            text: vec![0; SOME_BYTES],
            ends: vec![0; MAX_CELLS],
            count: 0,
            after_return: false,
        }
    }

    /// Goes back to its beginning.
    pub(crate) fn rewind(&mut self) -> Result<()> {
        self.input.seek(SeekFrom::Start(self.begin)).map_err(unreadable)?;
        self.parser.reset();
        (self.count, self.after_return) = (0, false);
        Ok(())
    }

    /// Reads the next record, and answers how many blank lines stand before it.
    ///
    /// # Errors
    /// 422 naming `file` for a record that no program writes.
    pub(crate) fn next(&mut self) -> Result<Option<u32>> {
        let blank_lines = self.skip_blank_lines()?;
        let mut written = 0;
        self.count = 0;
        loop {
            let input = self.input.fill_buf().map_err(unreadable)?;
            let (text, ends) = (self.text.get_mut(written..), self.ends.get_mut(self.count..));
            let (result, read, more, ended) =
                self.parser.read_record(input, text.unwrap_or_default(), ends.unwrap_or_default());
            if let Some(last) = read.checked_sub(1).and_then(|at| input.get(at)) {
                self.after_return = *last == b'\r';
            }
            self.input.consume(read);
            written += more;
            self.count += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::Record => return Ok(Some(blank_lines)),
                ReadRecordResult::End => return Ok(None),
                ReadRecordResult::OutputEndsFull => {
                    return Err(refused(&format!("a row has more than {MAX_CELLS} cells")));
                }
                ReadRecordResult::OutputFull if self.text.len() < MAX_RECORD_BYTES => {
                    self.text.resize((self.text.len() * 2).min(MAX_RECORD_BYTES), 0);
                }
                ReadRecordResult::OutputFull => {
                    let message = "a row has more than 4 MiB: a quotation mark without its other half?";
                    return Err(refused(message));
                }
            }
        }
    }

    /// The parser would skip them too, without a word.
    fn skip_blank_lines(&mut self) -> Result<u32> {
        let mut lines: u32 = 0;
        while let Some(byte) = self.input.fill_buf().map_err(unreadable)?.first().copied() {
            match byte {
                b'\n' if self.after_return => {}
                b'\n' | b'\r' => lines = lines.saturating_add(1),
                _ => break,
            }
            self.after_return = byte == b'\r';
            self.input.consume(1);
        }
        Ok(lines)
    }

    /// The cells of the record that was read last.
    pub(crate) fn cells(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let ends = self.ends.get(..self.count).unwrap_or_default();
        let begins = std::iter::once(0).chain(ends.iter().copied());
        begins
            .zip(ends)
            .map(|(begin, end)| String::from_utf8_lossy(self.text.get(begin..*end).unwrap_or_default()))
    }

    /// How much room a record has taken so far.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * size_of::<usize>()
    }
}
