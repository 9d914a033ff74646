//! Fits tables into a terminal: too many columns go below each other, each part with the first column; prose is wrapped.

use std::io::{IsTerminal, stdout};
use std::sync::OnceLock;

use comfy_table::{Cell, ContentArrangement, Row, Table};
use rustix::termios::tcgetwinsize;

/// A column with wider cells than this holds prose, which may be wrapped; numbers and names may not.
const PROSE: u16 = 30;
/// Blanks around a cell: one before it, and two up to the next.
const PADDING: usize = 3;

/// Columns of the terminal; nothing where the output goes elsewhere, which has all the room there is.
static WIDTH: OnceLock<Option<usize>> = OnceLock::new();

/// Makes tables fit the terminal, if stdout is one.
pub fn to_terminal() {
    let size = stdout()
        .is_terminal()
        .then(|| tcgetwinsize(stdout()).ok())
        .flatten();
    let columns = size.map(|size| usize::from(size.ws_col));
    // Set once, at the start.
    let _ = WIDTH.set(columns.filter(|columns| *columns > 0));
}

/// `table` as it fits the terminal.
pub(super) fn fitted(table: &Table) -> String {
    match WIDTH.get().copied().flatten() {
        Some(width) => within(table, width),
        None => table.trim_fmt(),
    }
}

/// `table` in lines of at most `width` columns.
fn within(table: &Table, width: usize) -> String {
    let widths = table.column_max_content_widths();
    let needed: Vec<usize> = widths
        .iter()
        .map(|&content| usize::from(content) + PADDING)
        .collect();
    if needed.iter().sum::<usize>() <= width {
        return table.trim_fmt();
    }
    if widths.iter().any(|&content| content > PROSE) {
        let mut table = table.clone();
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
        return table.trim_fmt();
    }
    let parts = parts(&needed, width);
    let parts: Vec<_> = parts.iter().map(|columns| part(table, columns)).collect();
    parts.join("\n\n")
}

/// Which columns go together: as many as fit beside the first, at least one.
fn parts(needed: &[usize], width: usize) -> Vec<Vec<usize>> {
    let first = needed.first().copied().unwrap_or_default();
    let mut parts: Vec<Vec<usize>> = Vec::new();
    let mut taken = usize::MAX;
    for (column, &own) in needed.iter().enumerate().skip(1) {
        match parts.last_mut().filter(|_| taken + own <= width) {
            Some(part) => part.push(column),
            None => {
                parts.push(vec![0, column]);
                taken = first;
            }
        }
        taken += own;
    }
    parts
}

/// The `columns` of `table`.
fn part(table: &Table, columns: &[usize]) -> String {
    let chosen = |row: &Row| -> Vec<Cell> {
        let cells: Vec<&Cell> = row.cell_iter().collect();
        let cells = columns.iter().map(|&column| cells.get(column).copied());
        cells
            .map(|cell| cell.cloned().unwrap_or_else(|| Cell::new("")))
            .collect()
    };
    let header = table.header().map(chosen).unwrap_or_default();
    let mut part = super::table(header);
    part.add_rows(table.row_iter().map(chosen));
    part.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widest(text: &str) -> usize {
        let widths = text.lines().map(|line| line.chars().count());
        widths.max().unwrap_or_default()
    }

    #[test]
    fn columns_that_do_not_fit_go_below_with_the_first_again() {
        let names: Vec<String> = (0..9).map(|place| format!("number {place}")).collect();
        let mut table = super::super::table([&["name".to_owned()], &names[..]].concat());
        table.add_row([&["first".to_owned()], &names[..]].concat());
        assert_eq!(within(&table, 1000), table.trim_fmt());
        let text = within(&table, 40);
        assert!(widest(&text) <= 40, "{text}");
        for name in &names {
            assert_eq!(text.matches(name.as_str()).count(), 2, "{name} in {text}");
        }
        assert_eq!(text.matches("first").count(), text.matches("name").count());
    }

    #[test]
    fn prose_is_wrapped_beside_its_key() {
        let mut table = super::super::table(["key", "text"]);
        table.add_row(["one", &"many words ".repeat(20)]);
        let text = within(&table, 60);
        assert!(widest(&text) <= 60, "{text}");
        assert_eq!(text.matches("one").count(), 1);
        assert_eq!(text.matches("words").count(), 20);
    }
}
