//! What a file is called and what kind of file it is.

use infer::MatcherType;

const MAX_NAME_CHARS: usize = 60;
const MAX_EXTENSION_CHARS: usize = 29;

/// Extensions that an operating system runs on a double click.
const PROGRAM_EXTENSIONS: [&str; 13] =
    ["app", "bat", "cmd", "com", "dll", "exe", "jar", "js", "msi", "ps1", "scr", "sh", "vbs"];

/// How many of a file's first bytes its type is read from.
pub(crate) const HEAD_BYTES: usize = 8 * 1024;

/// The label for a file that a client called `raw`: its base name without control characters, at most 60
/// characters long and never empty.
pub fn clean_file_name(raw: &str) -> String {
    let base = raw.rsplit(['/', '\\']).next().unwrap_or_default();
    let visible: String = base.chars().filter(|c| !is_invisible(*c)).collect();
    let (stem, extension) = split_extension(trim(&visible));
    let room = MAX_NAME_CHARS - extension.chars().count();
    let name: String = stem.chars().take(room).chain(extension.chars()).collect();
    match trim(&name) {
        "" => "attachment".to_owned(),
        name => name.to_owned(),
    }
}

/// Control characters, and those that turn the writing direction and so disguise an extension.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Drops surrounding blanks and final dots, which Windows drops too when it looks for an extension.
fn trim(name: &str) -> &str {
    name.trim_start().trim_end_matches(|c: char| c == '.' || c.is_whitespace())
}

/// Splits before the dot of an extension that is short enough to keep.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && extension.chars().count() <= MAX_EXTENSION_CHARS => {
            name.split_at(stem.len())
        }
        _ => (name, ""),
    }
}

/// Whether the label is that of a program.
pub(crate) fn has_program_name(file_name: &str) -> bool {
    file_name
        .rsplit_once('.')
        .is_some_and(|(_, extension)| PROGRAM_EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str()))
}

/// Whether the file is an ELF, PE or Mach-O program; `false` while `head` is too short to tell.
pub(crate) fn has_program_head(head: &[u8]) -> bool {
    // The high byte of the PE header's offset: small in a program, never in a text that begins with "MZ".
    let is_pe = head.starts_with(b"MZ") && head.get(0x3f).is_some_and(|byte| *byte < b'\t');
    is_pe || head.starts_with(b"\x7fELF") || infer::app::is_mach(head)
}

/// The media type by the first bytes, else by the extension.
pub(crate) fn content_type(head: &[u8], file_name: &str) -> &'static str {
    // Programs were refused; the library's other matches of that kind rest on two letters and hit plain text.
    let sniffed =
        infer::get(head).filter(|kind| kind.matcher_type() != MatcherType::App).map(|kind| kind.mime_type());
    let named = mime_guess::from_path(file_name).first_raw();
    match sniffed {
        // Office documents are such containers, and often only the name says which one.
        Some(container @ ("application/zip" | "application/x-ole-storage")) => named.unwrap_or(container),
        Some(sniffed) => sniffed,
        None => named.unwrap_or("application/octet-stream"),
    }
}
