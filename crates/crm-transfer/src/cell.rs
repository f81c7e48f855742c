//! What stands in one cell of a table on its way out or in.

/// The content of a cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing.
    Empty,
    /// A text, whatever it looks like.
    Text(String),
    /// A number, as it is written.
    Number(String),
    /// Yes or no.
    Bool(bool),
}

impl Cell {
    /// As it stands in a CSV file.
    pub fn csv(&self) -> String {
        match self {
            Self::Empty => String::new(),
            Self::Text(text) => guard(text),
            Self::Number(number) => number.clone(),
            Self::Bool(value) => value.to_string(),
        }
    }
}

/// What begins a formula.
const FORMULA: [char; 4] = ['=', '+', '-', '@'];

/// Whether a spreadsheet might take the text for a formula, with any number of apostrophes in front of it.
fn is_formula(text: &str) -> bool {
    let text = text.trim_start_matches('\'');
    text.starts_with(FORMULA) || text.starts_with(['\t', '\r', '\n'])
}

/// Whether a spreadsheet that separates cells by something else than commas might begin one behind `before`. In such a file our quotation
/// marks do not stand at the beginning of a cell and mean nothing to it.
fn begins_cell(before: char, rest: &str) -> bool {
    matches!(before, ';' | '\t' | '\r' | '\n') && rest.trim_start_matches('\'').starts_with(FORMULA)
}

/// The text so that no spreadsheet calculates with it, wherever it cuts it: an apostrophe in front of what could be a formula.
pub fn guard(text: &str) -> String {
    let mut guarded = String::with_capacity(text.len() + 1);
    if is_formula(text) {
        guarded.push('\'');
    }
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        guarded.push(c);
        if begins_cell(c, rest.as_str()) {
            guarded.push('\'');
        }
    }
    guarded
}

/// The text without the apostrophes that [`guard`] put into it.
pub fn unguard(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.strip_prefix('\'').filter(|rest| is_formula(rest)).unwrap_or(text).chars();
    while let Some(c) = rest.next() {
        plain.push(c);
        if begins_cell(c, rest.as_str()) && rest.as_str().starts_with('\'') {
            rest.next();
        }
    }
    plain
}

/// Several texts in one cell: separated by semicolons, those inside a text with a backslash in front.
pub fn join<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let escaped = parts.into_iter().map(|part| part.replace('\\', "\\\\").replace(';', "\\;"));
    escaped.collect::<Vec<_>>().join(";")
}

/// The texts of a cell as [`join`] wrote them, or as somebody typed them; blank ones are left out.
pub fn split(text: &str) -> Vec<String> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => part.push(chars.next_if(|next| matches!(next, '\\' | ';')).unwrap_or('\\')),
            ';' => parts.push(std::mem::take(&mut part)),
            c => part.push(c),
        }
    }
    parts.push(part);
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_a_formula_is_none_and_comes_back_as_it_was() {
        for (text, guarded) in [
            ("=1+1", "'=1+1"),
            ("+49 30 1234567", "'+49 30 1234567"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t'=1"),
            ("\r=1", "'\r'=1"),
            ("\tx", "'\tx"),
            ("foo;=HYPERLINK(\"x\")", "foo;'=HYPERLINK(\"x\")"),
            ("foo;'=1;;@x", "foo;''=1;;'@x"),
            ("a\t+1\n-2", "a\t'+1\n'-2"),
            ("a; =1, -1", "a; =1, -1"),
            ("=1;=2", "'=1;'=2"),
            ("'=1", "''=1"),
            ("plain", "plain"),
            ("a=b", "a=b"),
            ("'tis", "'tis"),
            ("", ""),
        ] {
            assert_eq!(guard(text), guarded);
            assert_eq!(unguard(guarded), text);
        }
        assert_eq!(Cell::Number("-12.5".into()).csv(), "-12.5", "a number is no text");
    }

    #[test]
    fn a_list_of_what_could_be_formulas_is_none_and_comes_back() {
        let parts = ["a", "=1+1", "@x", "'-2", "b;=3"];
        let cell = guard(&join(parts));
        assert_eq!(cell, "a;'=1+1;'@x;''-2;b\\;'=3");
        assert_eq!(split(&unguard(&cell)), parts);
    }

    #[test]
    fn several_texts_fit_into_one_cell() {
        for parts in [vec!["a", "b c"], vec!["a;b", "c\\d", "e\\;f"], vec![], vec!["one"]] {
            assert_eq!(split(&join(parts.iter().copied())), parts);
        }
        assert_eq!(split(" a ; ;b;"), ["a", "b"]);
        assert_eq!(split("a\\b"), ["a\\b"]);
    }
}
