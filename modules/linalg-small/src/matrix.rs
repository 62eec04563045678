//! Rows and columns of numbers.

use crate::bindings::exports::demo::linalg::linalg::{Matrix, Problem};

/// The rows of a matrix that has as many numbers as it says.
pub(crate) fn rows(matrix: &Matrix) -> Result<Vec<Vec<f64>>, Problem> {
    let Matrix { rows, columns, values } = matrix;
    let (rows, columns) = (size(*rows), size(*columns));
    if rows.checked_mul(columns) != Some(values.len()) {
        let text = format!("{rows} × {columns} are not {} numbers", values.len());
        return Err(Problem::Shape(text));
    }
    if columns == 0 {
        return Ok(vec![Vec::new(); rows]);
    }
    Ok(values.chunks(columns).map(<[f64]>::to_vec).collect())
}

pub(crate) fn columns(matrix: &Matrix) -> Result<Vec<Vec<f64>>, Problem> {
    let mut columns = vec![Vec::new(); size(matrix.columns)];
    for row in rows(matrix)? {
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(value);
        }
    }
    Ok(columns)
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Elimination with the largest pivot of each column. None where one is next to nothing.
pub(crate) fn solve(rows: &[Vec<f64>], b: &[f64]) -> Option<Vec<f64>> {
    let largest = rows.iter().flatten().fold(0.0_f64, |most, value| most.max(value.abs()));
    let nothing = largest * f64::EPSILON * rows.len() as f64;
    // What is left of the equations, the right side last.
    let mut open: Vec<Vec<f64>> =
        rows.iter().zip(b).map(|(row, b)| row.iter().copied().chain([*b]).collect()).collect();
    let mut pivots: Vec<Vec<f64>> = Vec::new();
    while !open.is_empty() {
        let head = |row: &Vec<f64>| row.first().map_or(0.0, |value| value.abs());
        let (at, _) =
            open.iter().enumerate().max_by(|(_, a), (_, b)| head(a).total_cmp(&head(b)))?;
        let pivot = open.swap_remove(at);
        let (first, rest) = pivot.split_first()?;
        if first.abs() <= nothing || !first.is_finite() {
            return None;
        }
        for row in &mut open {
            let (head, tail) = row.split_first()?;
            let factor = head / first;
            *row = tail.iter().zip(rest).map(|(value, pivot)| value - factor * pivot).collect();
        }
        pivots.push(pivot);
    }
    // The last unknown first.
    let mut solved: Vec<f64> = Vec::new();
    for pivot in pivots.iter().rev() {
        let ([first, known @ ..], Some((right, _))) = (&**pivot, pivot.split_last()) else {
            return None;
        };
        let sum: f64 = known.iter().zip(solved.iter().rev()).map(|(a, x)| a * x).sum();
        solved.push((right - sum) / first);
    }
    solved.reverse();
    Some(solved)
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_have_their_solution() {
        let rows = [vec![0.0, 2.0, 1.0], vec![1.0, -2.0, -3.0], vec![-1.0, 1.0, 2.0]];
        let found = solve(&rows, &[-8.0, 0.0, 3.0]).unwrap();
        for (found, expected) in found.iter().zip([-4.0, -5.0, 2.0]) {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
        assert_eq!(solve(&[], &[]), Some(Vec::new()));
    }

    #[test]
    fn what_has_no_inverse_has_no_solution() {
        assert_eq!(solve(&[vec![1.0, 2.0], vec![2.0, 4.0]], &[1.0, 2.0]), None);
        assert_eq!(solve(&[vec![f64::NAN]], &[1.0]), None);
    }

    #[test]
    fn a_matrix_has_as_many_numbers_as_it_says() {
        let matrix = |rows, columns| Matrix { rows, columns, values: vec![1.0, 2.0, 3.0, 4.0] };
        assert_eq!(rows(&matrix(2, 2)).unwrap(), [[1.0, 2.0], [3.0, 4.0]]);
        assert_eq!(columns(&matrix(2, 2)).unwrap(), [[1.0, 3.0], [2.0, 4.0]]);
        assert!(rows(&matrix(2, 3)).is_err());
        assert!(rows(&matrix(u32::MAX, u32::MAX)).is_err());
    }
}
