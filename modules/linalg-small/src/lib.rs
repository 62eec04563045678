//! Products and equations of matrices.

mod matrix;

use bindings::exports::demo::linalg::linalg::{Guest, Matrix, Problem};

roadstead_guest::embed_wit!("wit");

#[allow(unsafe_code, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "module" });
    export!(LinalgSmall with_types_in self);
    use super::LinalgSmall;
}

struct LinalgSmall;

impl Guest for LinalgSmall {
    fn matmul(a: Matrix, b: Matrix) -> Result<Matrix, Problem> {
        let (left, right) = (matrix::rows(&a)?, matrix::columns(&b)?);
        if a.columns != b.rows {
            return Err(Problem::Shape(format!("{} columns by {} rows", a.columns, b.rows)));
        }
        let values =
            left.iter().flat_map(|row| right.iter().map(|column| matrix::dot(row, column)));
        Ok(Matrix { rows: a.rows, columns: b.columns, values: values.collect() })
    }

    fn solve(a: Matrix, b: Vec<f64>) -> Result<Vec<f64>, Problem> {
        let rows = matrix::rows(&a)?;
        if a.rows != a.columns {
            return Err(Problem::Shape(format!("{} × {} is no square", a.rows, a.columns)));
        }
        if rows.len() != b.len() {
            return Err(Problem::Shape(format!("{} rows and {} numbers", rows.len(), b.len())));
        }
        matrix::solve(&rows, &b).ok_or(Problem::Singular)
    }
}
