//! What the columns of a table hold, in the space of one row.

use crate::bindings::exports::demo::csv_reader::csv::{Column, Numbers, Row, Summary};

pub(crate) struct Table {
    /// Whether the next row has the columns' names.
    named: bool,
    rows: u64,
    columns: Vec<Column>,
}

impl Table {
    pub(crate) fn new(named: bool) -> Self {
        Self { named, rows: 0, columns: Vec::new() }
    }

    pub(crate) fn add(&mut self, rows: Vec<Row>) {
        for row in rows {
            if std::mem::take(&mut self.named) {
                self.columns = row.fields.into_iter().map(|name| column(Some(name))).collect();
            } else {
                self.add_row(&row);
            }
        }
    }

    pub(crate) fn summary(self) -> Summary {
        Summary { rows: self.rows, columns: self.columns }
    }

    fn add_row(&mut self, row: &Row) {
        self.rows += 1;
        if self.columns.len() < row.fields.len() {
            self.columns.resize_with(row.fields.len(), || column(None));
        }
        for (column, field) in self.columns.iter_mut().zip(&row.fields) {
            if field.is_empty() {
                continue;
            }
            column.filled += 1;
            let number = field.trim().parse().ok().filter(|number: &f64| number.is_finite());
            if let Some(number) = number {
                column.numbers = Some(with(column.numbers, number));
            }
        }
    }
}

fn column(name: Option<String>) -> Column {
    Column { name, filled: 0, numbers: None }
}

fn with(numbers: Option<Numbers>, number: f64) -> Numbers {
    let Some(before) = numbers else {
        return Numbers { count: 1, mean: number, least: number, greatest: number };
    };
    let count = before.count + 1;
    Numbers {
        count,
        mean: before.mean + (number - before.mean) / as_f64(count),
        least: before.least.min(number),
        greatest: before.greatest.max(number),
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 rows")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(named: bool, rows: &[&[&str]]) -> Summary {
        let mut table = Table::new(named);
        let fields = |row: &&[&str]| row.iter().map(|&field| field.to_owned()).collect();
        table.add(rows.iter().map(|row| Row { line: 0, fields: fields(row) }).collect());
        table.summary()
    }

    #[test]
    fn columns_have_names_and_numbers() {
        let Summary { rows, columns } =
            summary(true, &[&["port", "depth"], &["Kiel", "12"], &["", " 8.5"], &["Visby", "?"]]);
        assert_eq!(rows, 3);
        let numbers = Numbers { count: 2, mean: 10.25, least: 8.5, greatest: 12.0 };
        let port = Column { name: Some("port".to_owned()), filled: 2, numbers: None };
        let depth = Column { name: Some("depth".to_owned()), filled: 3, numbers: Some(numbers) };
        assert_eq!(columns, [port, depth]);
    }

    #[test]
    fn rows_need_no_names_and_may_differ() {
        let Summary { rows, columns } = summary(false, &[&["1"], &["inf", "x"], &[]]);
        assert_eq!((rows, columns.len()), (3, 2));
        assert_eq!(columns[0].numbers.map(|numbers| numbers.count), Some(1));
        assert_eq!(summary(true, &[]), Summary { rows: 0, columns: Vec::new() });
    }
}
