//! How far something is, on one line of a terminal.

use std::io::{IsTerminal as _, Write as _};

/// Cells of the bar.
const CELLS: u64 = 30;

/// A bar on standard error; nothing where that is no terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    label: &'static str,
    shown: Option<u64>,
}

/// Whether anybody would see a bar.
pub(crate) fn is_seen() -> bool {
    std::io::stderr().is_terminal()
}

impl Progress {
    pub(crate) fn new(label: &'static str) -> Self {
        Self { label, shown: None }
    }

    /// Draws how far it is. Drawn again only when that can be seen.
    pub(crate) fn draw(&mut self, done: u64, of: u64) {
        let percent = done
            .saturating_mul(100)
            .checked_div(of)
            .unwrap_or(0)
            .min(100);
        if !is_seen() || self.shown == Some(percent) {
            return;
        }
        self.shown = Some(percent);
        // Half a line on a terminal that is gone is no loss.
        let _ = write!(
            std::io::stderr(),
            "\r{} {} {percent:>3} %",
            self.label,
            bar(percent)
        );
    }

    /// Wipes the line, for what is printed next.
    pub(crate) fn clear(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn bar(percent: u64) -> String {
    (0..CELLS)
        .map(|cell| {
            if cell * 100 < percent * CELLS {
                '█'
            } else {
                '░'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_empty_at_the_start_and_full_at_the_end() {
        let filled = |percent| bar(percent).chars().filter(|cell| *cell == '█').count();
        assert_eq!((filled(0), filled(50), filled(100)), (0, 15, 30));
    }
}
