//! Columns that stand under each other.

use std::fmt::Write as _;

use anyhow::Result;

/// On which side a column is flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

use Align::{Left, Right};

/// What stands between two columns.
const GAP: &str = "  ";

/// How wide text may be where standard output is no terminal.
const DEFAULT_WIDTH: usize = 120;

/// Rows under a header.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    aligns: [Align; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// Begins with the header. A name that ends in `>` heads a column of numbers.
    pub(crate) fn new(header: [&str; N]) -> Self {
        let aligns = header.map(|name| if name.ends_with('>') { Right } else { Left });
        Self {
            aligns,
            rows: vec![header.map(|name| name.trim_end_matches('>').to_owned())],
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// Whether there is nothing below the header.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// The table as text, each line after `indent`.
    pub(crate) fn text(&self, indent: &str) -> String {
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            let mut line = indent.to_owned();
            for ((cell, &width), align) in row.iter().zip(&widths).zip(self.aligns) {
                // Writing to a string cannot fail.
                let _ = match align {
                    Left => write!(line, "{cell:<width$}{GAP}"),
                    Right => write!(line, "{cell:>width$}{GAP}"),
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// How many characters fit on a line of the terminal.
pub(crate) fn terminal_width() -> usize {
    terminal_columns().unwrap_or(DEFAULT_WIDTH)
}

fn terminal_columns() -> Result<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout())?;
    anyhow::ensure!(size.ws_col > 0, "the terminal does not say how wide it is");
    Ok(usize::from(size.ws_col))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_flush_left_and_numbers_flush_right() {
        let mut table = Table::new(["plugin", "lag>", "state"]);
        assert!(table.is_empty());
        table.row(["größe".into(), "5".into(), "active".into()]);
        table.row(["b".into(), "12,345".into(), String::new()]);
        assert_eq!(
            table.text("  "),
            "  plugin     lag  state\n  größe        5  active\n  b       12,345\n"
        );
    }
}
