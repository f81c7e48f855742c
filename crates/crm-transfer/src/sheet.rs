//! A workbook that is written row by row and never in memory as a whole.

use crm_core::{Code, Error, Result};
use rust_xlsxwriter::{Workbook, XlsxError};
use tempfile::NamedTempFile;

use crate::Cell;

/// What Excel takes in one sheet, the header among it.
const MAX_ROWS: u32 = 1_048_576;

/// What Excel takes in one cell; a longer text is cut there.
const MAX_CHARS: usize = 32_767;

/// A workbook with one sheet under way.
pub struct Sheet {
    workbook: Workbook,
    row: u32,
}

impl std::fmt::Debug for Sheet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sheet").field("row", &self.row).finish_non_exhaustive()
    }
}

impl Sheet {
    /// A sheet of that name with `header` on top.
    ///
    /// # Errors
    /// `Internal` without room for temporary files.
    pub fn new(name: &str, header: &[&str]) -> Result<Self> {
        let mut workbook = Workbook::new();
        let sheet = workbook.add_worksheet_with_constant_memory().map_err(Error::internal)?;
        sheet.set_name(name).map_err(Error::internal)?;
        sheet.set_freeze_panes(1, 0).map_err(Error::internal)?;
        let mut this = Self { workbook, row: 0 };
        this.push(&header.iter().map(|name| Cell::Text((*name).to_owned())).collect::<Vec<_>>())?;
        Ok(this)
    }

    /// Adds a row.
    ///
    /// # Errors
    /// 422 beyond what Excel takes.
    pub fn push(&mut self, cells: &[Cell]) -> Result<()> {
        if self.row == MAX_ROWS {
            let message = format!("a sheet has {MAX_ROWS} rows at most: export csv, or fewer rows");
            return Err(Error::Refused(Code::ValidationFailed, message.into()));
        }
        self.write(cells).map_err(Error::internal)?;
        self.row += 1;
        Ok(())
    }

    fn write(&mut self, cells: &[Cell]) -> Result<(), XlsxError> {
        let sheet = self.workbook.worksheet_from_index(0)?;
        for (column, cell) in (0_u16..).zip(cells) {
            match cell {
                Cell::Empty => {}
                Cell::Bool(value) => drop(sheet.write_boolean(self.row, column, *value)?),
                Cell::Text(text) => {
                    let cut = text.chars().take(MAX_CHARS).collect::<String>();
                    sheet.write_string(self.row, column, cut)?;
                }
                Cell::Number(number) => match number.parse::<f64>() {
                    Ok(number) => drop(sheet.write_number(self.row, column, number)?),
                    Err(_) => drop(sheet.write_string(self.row, column, number)?),
                },
            }
        }
        Ok(())
    }

    /// The finished file. It takes a while where there are many rows: not for a thread that others wait for.
    ///
    /// # Errors
    /// `Internal` without room for temporary files.
    pub fn finish(mut self) -> Result<NamedTempFile> {
        let file = NamedTempFile::new().map_err(Error::internal)?;
        self.workbook.save_to_writer(file.as_file()).map_err(Error::internal)?;
        Ok(file)
    }
}
