//! Fits curves to points by least squares, with the algebra of whichever module serves it.

mod fit;

use bindings::{
    demo::linalg::linalg::{self, Matrix},
    exports::demo::regression::regression::{Curve, Guest, Point, Problem},
};

roadstead_guest::embed_wit!("wit");

#[allow(unsafe_code, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "module", generate_all });
    export!(Regression with_types_in self);
    use super::Regression;
}

struct Regression;

impl Guest for Regression {
    fn line(points: Vec<Point>) -> Result<Curve, Problem> {
        fit::polynomial(&Bound, &points, 1)
    }

    fn polynomial(points: Vec<Point>, degree: u32) -> Result<Curve, Problem> {
        fit::polynomial(&Bound, &points, degree)
    }
}

/// The module that the import is bound to.
struct Bound;

impl fit::Algebra for Bound {
    fn product(&self, a: &Matrix, b: &Matrix) -> Result<Matrix, linalg::Problem> {
        linalg::matmul(a, b)
    }

    fn solution(&self, a: &Matrix, b: &[f64]) -> Result<Vec<f64>, linalg::Problem> {
        linalg::solve(a, b)
    }
}
