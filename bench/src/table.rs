//! Tables of Markdown. Pure.

/// A heading and as many cells in each row.
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Columns of words, which stand to the left; figures stand to the right.
    words: usize,
}

impl Table {
    pub(crate) fn new<S: Into<String>>(words: usize, head: impl IntoIterator<Item = S>) -> Self {
        Self { head: head.into_iter().map(Into::into).collect(), rows: Vec::new(), words }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The text, with an empty line behind it; nothing where there are no rows.
    pub(crate) fn text(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let lines = || std::iter::once(&self.head).chain(&self.rows);
        let width = |column: usize| {
            lines().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<_> = (0..self.head.len()).map(|at| width(at).unwrap_or(0)).collect();
        let mut text = String::new();
        for (number, line) in lines().enumerate() {
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                text.push_str(&if column < self.words {
                    format!("| {cell:<width$} ")
                } else {
                    format!("| {cell:>width$} ")
                });
            }
            text.push_str("|\n");
            if number == 0 {
                self.rule(&widths, &mut text);
            }
        }
        text.push('\n');
        text
    }

    fn rule(&self, widths: &[usize], text: &mut String) {
        for (column, width) in widths.iter().enumerate() {
            let (left, right) = if column < self.words { ("|:", "-") } else { ("|-", ":") };
            text.push_str(left);
            text.push_str(&"-".repeat(*width));
            text.push_str(right);
        }
        text.push_str("|\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align() {
        let mut table = Table::new(1, ["what", "n"]);
        assert_eq!(table.text(), "");
        table.row(vec!["a".to_owned(), "1".to_owned()]);
        table.row(vec!["long".to_owned(), "22".to_owned()]);
        let text = table.text();
        assert_eq!(text, "| what |  n |\n|:-----|---:|\n| a    |  1 |\n| long | 22 |\n\n");
    }
}
