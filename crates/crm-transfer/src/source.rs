//! A file of rows: whatever its encoding, its delimiter and the habits of the program that wrote it.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, Write};

use crm_core::{Code, Error, FieldCode, Result};
use encoding_rs::{CoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::table::Table;

/// Rows of data that one file may have.
pub const MAX_ROWS: u32 = 200_000;

/// Columns that one file may have.
const MAX_COLUMNS: usize = 500;

/// How much of a file its delimiter is told from.
const SAMPLE_BYTES: u64 = 64 * 1024;

const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// A file that is understood as far as its header.
#[derive(Debug)]
pub struct Source {
    /// What separates its cells.
    pub delimiter: char,
    /// How its text is written: the name that browsers know.
    pub encoding: &'static str,
    /// What stands above its columns; blank ones at the end are left out.
    pub header: Vec<String>,
    table: Table,
    number: u32,
    last: u32,
    counted: Option<Counted>,
}

/// What a whole file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted {
    /// Rows that are not blank.
    rows: u32,
    /// The place of the last one.
    last: u32,
}

/// A row of data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its place below the header, from 1; blank ones count, so that it is found in a spreadsheet.
    pub number: u32,
    /// Its cells, as many as the header has.
    pub cells: Vec<String>,
    /// Whether it has more cells with something in them than the header.
    pub is_ragged: bool,
}

impl Source {
    /// Looks at a file from its beginning.
    ///
    /// # Errors
    /// 422 naming `file` for what is no table of text, and `delimiter` for one that is no single character.
    pub fn open(file: File, delimiter: Option<&str>) -> Result<Self> {
        let given = delimiter.map(one_byte).transpose()?;
        let (mut text, encoding) = as_utf8(file).map_err(unreadable)??;
        let mut sample = Vec::new();
        Read::by_ref(&mut text).take(SAMPLE_BYTES).read_to_end(&mut sample).map_err(unreadable)?;
        let (skipped, told) = told_separator(&sample);
        let rest = sample.get(skipped..).unwrap_or_default();
        let delimiter = given.or(told).unwrap_or_else(|| sniff(rest));
        let begin = if sample.starts_with(b"\xef\xbb\xbf") { skipped.max(3) } else { skipped };
        let mut this = Self {
            delimiter: char::from(delimiter),
            encoding: encoding.name(),
            header: Vec::new(),
            table: Table::new(text, begin as u64, delimiter),
            number: 0,
            last: 0,
            counted: None,
        };
        this.restart()?;
        if this.header.is_empty() {
            return Err(refused("the file has no header: its first row must name the columns"));
        }
        if this.header.len() > MAX_COLUMNS {
            return Err(refused(&format!("a file may have {MAX_COLUMNS} columns at most")));
        }
        Ok(this)
    }

    /// Looks at a whole file, so that a fault anywhere in it is told at once, and begins again. It takes a while where there are many
    /// rows: not for a thread that others wait for.
    ///
    /// # Errors
    /// As [`Source::open`] and [`Source::next_row`].
    pub fn survey(file: File, delimiter: Option<&str>) -> Result<Self> {
        let mut this = Self::open(file, delimiter)?;
        let mut rows = 0;
        while this.next_row()?.is_some() {
            rows += 1;
        }
        this.counted = Some(Counted { rows, last: this.last });
        this.restart()?;
        Ok(this)
    }

    /// Begins with the first row again.
    fn restart(&mut self) -> Result<()> {
        (self.number, self.last) = (0, 0);
        self.header.clear();
        self.table.rewind()?;
        while self.header.is_empty() && self.table.next()?.is_some() {
            self.header = self.table.cells().map(|cell| clean(&cell).to_owned()).collect();
            while self.header.last().is_some_and(String::is_empty) {
                self.header.pop();
            }
        }
        Ok(())
    }

    /// The next row that is not blank.
    ///
    /// # Errors
    /// 422 naming `file` beyond [`MAX_ROWS`], and for a row that no program writes.
    pub fn next_row(&mut self) -> Result<Option<Row>> {
        while let Some(blank_lines) = self.table.next()? {
            self.number = self.number.saturating_add(blank_lines).saturating_add(1);
            let columns = self.header.len();
            let mut cells = Vec::with_capacity(columns);
            let mut is_ragged = false;
            for (place, raw) in self.table.cells().enumerate() {
                let cell = cell(&raw);
                is_ragged |= place >= columns && !cell.is_empty();
                // Spreadsheets leave blank cells at the end of a row out, or write too many of them.
                if place < columns || place < MAX_COLUMNS && !cell.is_empty() {
                    cells.resize(place, String::new());
                    cells.push(cell);
                }
            }
            if cells.iter().all(String::is_empty) && !is_ragged {
                continue;
            }
            cells.resize(cells.len().max(columns), String::new());
            if self.number > MAX_ROWS {
                return Err(refused(&format!("a file may have {MAX_ROWS} rows at most: import it in parts")));
            }
            self.last = self.number;
            return Ok(Some(Row { number: self.number, cells, is_ragged }));
        }
        Ok(None)
    }

    /// The next rows, `most` at most; none at the end.
    ///
    /// # Errors
    /// As [`Source::next_row`].
    pub fn next_rows(&mut self, most: usize) -> Result<Vec<Row>> {
        let mut rows = Vec::with_capacity(most);
        while rows.len() < most
            && let Some(row) = self.next_row()?
        {
            rows.push(row);
        }
        Ok(rows)
    }

    /// The place of the last row that was read.
    pub fn read_so_far(&self) -> u32 {
        self.last
    }

    /// The place of the last row of the whole file, where that is known.
    pub fn last_row(&self) -> Option<u32> {
        self.counted.map(|counted| counted.last)
    }

    /// Whether the whole file is known to have nothing below its header.
    pub fn has_no_rows(&self) -> bool {
        self.counted.is_some_and(|counted| counted.rows == 0)
    }
}

pub(crate) fn refused(message: &str) -> Error {
    Error::field("file", FieldCode::InvalidValue, message)
}

pub(crate) fn unreadable(error: std::io::Error) -> Error {
    Error::internal(error)
}

fn one_byte(text: &str) -> Result<u8> {
    let byte = match text {
        "tab" | "\\t" => Some(b'\t'),
        text => match text.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n' | 0) => Some(*byte),
            _ => None,
        },
    };
    let message = "must be one ASCII character, such as ; or , or tab";
    byte.ok_or_else(|| Error::parameter("delimiter", FieldCode::InvalidValue, message))
}

/// The content of a cell without what programs put around it.
fn cell(raw: &str) -> String {
    let text = clean(raw);
    // What Excel is given so that it leaves a text alone: ="00123".
    let kept = text.strip_prefix("=\"").and_then(|rest| rest.strip_suffix('"'));
    match kept {
        Some(kept) => kept.replace("\"\"", "\""),
        None => crate::unguard(text),
    }
}

fn clean(raw: &str) -> &str {
    raw.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}'))
}

/// The file as UTF-8: itself, or a copy.
fn as_utf8(mut file: File) -> std::io::Result<Result<(File, &'static Encoding)>> {
    file.rewind()?;
    let mut head = [0; 4];
    let read = read_some(&mut file, &mut head)?;
    let head = head.get(..read).unwrap_or_default();
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"\xd0\xcf\x11\xe0") {
        let message = "this is a workbook and no table of text: save it as CSV first";
        return Ok(Err(Error::Refused(Code::UnsupportedMediaType, message.into())));
    }
    let encoding = match head {
        [0xff, 0xfe, 0, 0] | [0, 0, 0xfe, 0xff] => {
            return Ok(Err(refused("the file is UTF-32, which is not read here: save it as UTF-8")));
        }
        [0xff, 0xfe, ..] => UTF_16LE,
        [0xfe, 0xff, ..] => UTF_16BE,
        _ => {
            file.rewind()?;
            match is_utf8(&mut file)? {
                None => return Ok(Err(no_text())),
                Some(true) => UTF_8,
                Some(false) => WINDOWS_1252,
            }
        }
    };
    file.rewind()?;
    if encoding == UTF_8 {
        return Ok(Ok((file, encoding)));
    }
    let Some(mut copy) = transcoded(file, encoding)? else { return Ok(Err(no_text())) };
    copy.rewind()?;
    Ok(Ok((copy, encoding)))
}

fn no_text() -> Error {
    refused("the file has the character U+0000, which no table of text has: save it as UTF-8")
}

fn read_some(file: &mut File, into: &mut [u8]) -> std::io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = into.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

/// Whether all of it is UTF-8; none where it has the character U+0000, which no text has.
fn is_utf8(file: &mut File) -> std::io::Result<Option<bool>> {
    let mut buffer = vec![0; 64 * 1024];
    let (mut kept, mut valid) = (0, true);
    loop {
        let read = read_some(file, buffer.get_mut(kept..).unwrap_or_default())?;
        let whole = buffer.get(..kept + read).unwrap_or_default();
        if whole.contains(&0) {
            return Ok(None);
        }
        if read == 0 {
            return Ok(Some(valid && kept == 0));
        }
        if !valid {
            kept = 0;
            continue;
        }
        let good = match std::str::from_utf8(whole) {
            Ok(_) => whole.len(),
            // A character may go on in the next part.
            Err(cut) if cut.error_len().is_none() => cut.valid_up_to(),
            Err(_) => {
                valid = false;
                whole.len()
            }
        };
        let length = whole.len();
        buffer.copy_within(good..length, 0);
        kept = length - good;
    }
}

/// The file in UTF-8; none where it has the character U+0000.
fn transcoded(mut file: File, encoding: &'static Encoding) -> std::io::Result<Option<File>> {
    let mut out = BufWriter::new(tempfile::tempfile()?);
    let mut decoder = encoding.new_decoder_with_bom_removal();
    let (mut buffer, mut text) = (vec![0; 64 * 1024], String::with_capacity(256 * 1024));
    loop {
        let read = file.read(&mut buffer)?;
        let mut rest = buffer.get(..read).unwrap_or_default();
        loop {
            let (result, consumed, _) = decoder.decode_to_string(rest, &mut text, read == 0);
            if text.contains('\0') {
                return Ok(None);
            }
            out.write_all(text.as_bytes())?;
            text.clear();
            rest = rest.get(consumed..).unwrap_or_default();
            if result == CoderResult::InputEmpty {
                break;
            }
        }
        if read == 0 {
            return out.into_inner().map(Some).map_err(std::io::IntoInnerError::into_error);
        }
    }
}

/// A first line such as `sep=;`, which Excel reads and does not show: its length and what it says.
fn told_separator(sample: &[u8]) -> (usize, Option<u8>) {
    let mark = if sample.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let text = sample.get(mark..).unwrap_or_default();
    let line = text.split(|b| *b == b'\n').next().unwrap_or_default();
    let plain: Vec<u8> = line.iter().copied().filter(|b| !matches!(b, b'\r' | b'"')).collect();
    match plain.as_slice() {
        [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', told] => {
            ((mark + line.len() + 1).min(sample.len()), Some(*told))
        }
        _ => (0, None),
    }
}

/// The delimiter with which the first rows look most like a table.
fn sniff(sample: &[u8]) -> u8 {
    let rank = |delimiter: u8| {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .from_reader(sample);
        let widths: Vec<usize> =
            reader.byte_records().take(20).map_while(Result::ok).map(|row| row.len()).collect();
        let header = widths.first().copied().unwrap_or(0);
        let alike = widths.iter().filter(|width| **width == header).count();
        (header > 1, alike * 100 / widths.len().max(1), header)
    };
    // The first of those that are as good as each other.
    DELIMITERS.into_iter().rev().max_by_key(|delimiter| rank(*delimiter)).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(bytes: &[u8], delimiter: Option<&str>) -> Result<Source> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Source::open(file, delimiter)
    }

    fn utf16(text: &str, big: bool) -> Vec<u8> {
        let mark = if big { vec![0xfe, 0xff] } else { vec![0xff, 0xfe] };
        let units =
            text.encode_utf16().flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() });
        mark.into_iter().chain(units).collect()
    }

    #[test]
    fn whatever_a_program_writes_is_the_same_table() {
        let comma = "name,city\r\n\"Müller, A\",Köln\r\n";
        let semicolon = "name;city\n\"Müller, A\";Köln\n";
        let with_mark = [b"\xef\xbb\xbf".as_slice(), semicolon.as_bytes()].concat();
        let latin: Vec<u8> = semicolon.chars().map(|c| c as u8).collect();
        for (bytes, delimiter, encoding) in [
            (comma.as_bytes().to_vec(), ',', "UTF-8"),
            (semicolon.as_bytes().to_vec(), ';', "UTF-8"),
            (with_mark.clone(), ';', "UTF-8"),
            (b"sep=;\r\n".iter().copied().chain(semicolon.bytes()).collect(), ';', "UTF-8"),
            ([b"\xef\xbb\xbfsep=;\n".as_slice(), semicolon.as_bytes()].concat(), ';', "UTF-8"),
            (b"name\tcity\n\"M\xc3\xbcller, A\"\tK\xc3\xb6ln".to_vec(), '\t', "UTF-8"),
            (b"name|city\nM\xc3\xbcller, A|K\xc3\xb6ln".to_vec(), '|', "UTF-8"),
            (latin, ';', "windows-1252"),
            (utf16(semicolon, false), ';', "UTF-16LE"),
            (utf16("name\tcity\r\n\"Müller, A\"\tKöln", true), '\t', "UTF-16BE"),
            (b"\n\nname,city,,\n\"M\xc3\xbcller, A\", K\xc3\xb6ln ,,\n,,,\n".to_vec(), ',', "UTF-8"),
            (b"name,city\n\"=\"\"M\xc3\xbcller, A\"\"\",'K\xc3\xb6ln".to_vec(), ',', "UTF-8"),
        ] {
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            let mut source = open(&bytes, None).unwrap();
            assert_eq!((source.delimiter, source.encoding), (delimiter, encoding), "{shown}");
            assert_eq!(source.header, ["name", "city"], "{shown}");
            let rows = source.next_rows(10).unwrap();
            let city = rows[0].cells[1].trim_start_matches('\'');
            assert_eq!((rows.len(), rows[0].cells[0].as_str(), city), (1, "Müller, A", "Köln"), "{shown}");
        }
    }

    #[test]
    fn cells_lose_what_programs_put_around_them_and_nothing_else() {
        let mut source = open(
            b"a,b\n=\"00123\",'+49 30\n'tis,-5\n\n\"two\nlines\",\"a \"\"b\"\"\"\n1,2,3\n1\n1,2,,\n",
            None,
        )
        .unwrap();
        let rows = source.next_rows(10).unwrap();
        let cells: Vec<_> = rows.iter().map(|row| (row.number, row.is_ragged, row.cells.join("|"))).collect();
        let want = [
            (1, false, "00123|+49 30"),
            (2, false, "'tis|-5"),
            (4, false, "two\nlines|a \"b\""),
            (5, true, "1|2|3"),
            (6, false, "1|"),
            (7, false, "1|2"),
        ];
        assert_eq!(cells, want.map(|(number, ragged, text)| (number, ragged, text.to_owned())));
    }

    #[test]
    fn rows_keep_their_place_in_the_file_whatever_ends_its_lines() {
        for end in ["\n", "\r\n", "\r"] {
            let text = format!("{end}a,b{end}1,{end}{end},{end}{end}{end}2,\"x\n\ny\"{end}3,{end}{end}{end}");
            let mut source = open(text.as_bytes(), None).unwrap();
            let rows = source.next_rows(10).unwrap();
            let got: Vec<_> = rows.iter().map(|row| (row.number, row.cells[0].as_str())).collect();
            assert_eq!(got, [(1, "1"), (6, "2"), (7, "3")], "{end:?}");
            assert_eq!(source.read_so_far(), 7, "{end:?}");
        }
    }

    #[test]
    fn a_survey_counts_the_rows_and_begins_again() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"\xef\xbb\xbfsep=;\n\na;b\n1;2\n\n3;4\n;\n\n").unwrap();
        let mut source = Source::survey(file, None).unwrap();
        assert_eq!((source.last_row(), source.has_no_rows()), (Some(3), false));
        assert_eq!(source.header, ["a", "b"]);
        let numbers: Vec<_> = source.next_rows(9).unwrap().iter().map(|row| row.number).collect();
        assert_eq!(numbers, [1, 3]);
        let mut empty = tempfile::tempfile().unwrap();
        empty.write_all(b"a;b\n;\n\n").unwrap();
        assert!(Source::survey(empty, None).unwrap().has_no_rows());
    }

    #[test]
    fn a_row_without_end_is_refused_before_it_fills_the_memory() {
        let commas = vec![b','; 25 * 1024 * 1024];
        let below = [b"a,b\n1,2\n".as_slice(), &commas].concat();
        let letters = [b"a,b\n\"".as_slice(), &vec![b'x'; 25 * 1024 * 1024]].concat();
        assert!(open(&commas, None).is_err(), "as a header");
        for bytes in [below, letters] {
            let mut source = open(&bytes, None).unwrap();
            assert!(source.next_rows(10).is_err());
            assert!(source.table.room() < 8 * 1024 * 1024, "{}", source.table.room());
        }
        // Spreadsheets write as many blank cells as they have columns.
        let wide = format!("a,b\n1,2{}\n3{}\n", ",".repeat(10_000), ",".repeat(9_000));
        let rows = open(wide.as_bytes(), None).unwrap().next_rows(10).unwrap();
        assert_eq!(
            rows.iter().map(|row| (row.cells.len(), row.is_ragged)).collect::<Vec<_>>(),
            [(2, false); 2]
        );
        assert!(open(",".repeat(600).as_bytes(), None).is_err());
        assert!(open("a,".repeat(600).as_bytes(), None).is_err());
    }

    #[test]
    fn no_text_has_the_character_that_the_database_can_not_store() {
        for bytes in [
            utf16("a;b\n1;x\0y\n", false),
            utf16("a;b\n1;x\0y\n", true),
            b"a;b\n1;x\0y\n".to_vec(),
            b"a;b\n1;\xe9\0y\n".to_vec(),
            // UTF-32 begins as UTF-16 does.
            "\u{feff}a;b".chars().flat_map(|c| u32::from(c).to_le_bytes()).collect(),
            "\u{feff}a;b".chars().flat_map(|c| u32::from(c).to_be_bytes()).collect(),
        ] {
            let error = open(&bytes, None).unwrap_err();
            assert_eq!(error.code(), Code::ValidationFailed, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for bytes in [b"".as_slice(), b"\n\n", b"\xef\xbb\xbf", b"PK\x03\x04abc", b"a,b\n1,\x00\n", b",,,\n"]
        {
            assert!(open(bytes, None).is_err(), "{bytes:?}");
        }
        assert!(open(b"a\n1", Some("")).is_err());
        assert!(open(b"a\n1", Some("ab")).is_err());
        assert_eq!(open(b"a^b\n1^2", Some("^")).unwrap().header, ["a", "b"]);
        assert_eq!(open(b"a\tb", Some("tab")).unwrap().header, ["a", "b"]);
    }
}
